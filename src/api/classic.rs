//! The classic servers, chat-ui up to 0.6: a reply is a stream of text-generation-inference events.

use serde_json::{Map, Value, json};

use super::account::SETTINGS;
use super::context::{Context, FORM, JSON, form_encoded};
use super::json_body::{JsonBody, not_a_stream};
use super::listing;
use super::message::{MessageState, OutgoingMessage, RemoteConversation, StoredMessage, is_id};
use super::page::{field, read_page};
use super::reply_stream::ReplyStream;
use crate::decode::Decoder;
use crate::error::{Error, Result, Step};
use crate::http::{HttpRequest, Redirect, Response, SessionCookie, Timer};
use crate::json::read_json;
use crate::message::{Message, Role};
use crate::server::{ConversationSummary, Model};

/// The longest request body that the servers accept, in bytes.
pub(super) const MAX_REQUEST: usize = 512 * 1024;

/// The outcome of posting a form of settings.
pub(super) enum SettingsOutcome {
    /// They hold for this session.
    Accepted(SessionCookie),
    /// The server does not have the model, as far as its error can tell.
    UnknownModel(Error),
    /// The response of a server that is not classic.
    NotClassic(Error),
}

impl SettingsOutcome {
    /// Returns the session for which the settings hold.
    pub(super) fn accepted(self) -> Result<SessionCookie> {
        match self {
            SettingsOutcome::Accepted(session) => Ok(session),
            SettingsOutcome::UnknownModel(error) | SettingsOutcome::NotClassic(error) => Err(error),
        }
    }
}

/// Accepts the terms in a session that this crate has invented.
pub(super) fn post_first_settings(
    context: &Context,
    timer: &Timer,
    session: &SessionCookie,
    model: &str,
) -> Result<SettingsOutcome> {
    let share = if context.share_with_model_authors {
        "shareConversationsWithModelAuthors=true&"
    } else {
        ""
    };
    let form = format!(
        "ethicsModalAccepted=true&{share}ethicsModalAcceptedAt=&activeModel={}&searchEnabled=true",
        form_encoded(model)
    );
    post_settings(context, timer, session, &form)
}

/// Posts a form of settings. The response tells the protocols apart.
pub(super) fn post_settings(
    context: &Context,
    timer: &Timer,
    session: &SessionCookie,
    form: &str,
) -> Result<SettingsOutcome> {
    let request = HttpRequest::post(Step::PostSettings, SETTINGS)
        .session(session)
        .body(FORM, form.as_bytes())
        .idempotent();
    let response = context.http.send(timer, &request)?;
    if response.status() == 403 && !context.base().is_https() {
        return post_with_other_scheme(context, timer, request, response);
    }
    settings_outcome(context, timer, response)
}

/// Posts the form again with the other scheme in its `Referer`, and remembers the scheme if that
/// helps.
///
/// A server that does not know its own address considers itself an https server, and refuses forms
/// of http pages.
fn post_with_other_scheme(
    context: &Context,
    timer: &Timer,
    request: HttpRequest,
    refused: Response,
) -> Result<SettingsOutcome> {
    // The scheme that was sent: another thread may have changed it meanwhile.
    let https = refused.referer.starts_with("http://");
    let (error, body) = refused.into_error_and_body(timer);
    if is_not_classic(403, &body) {
        return Ok(SettingsOutcome::NotClassic(error));
    }
    let request = request.with_https_referer(https);
    let response = context.http.send(timer, &request)?;
    if response.status() == 403 {
        response.discard(timer);
        return Err(error);
    }
    context.http.set_expects_https(https);
    settings_outcome(context, timer, response)
}

fn settings_outcome(
    context: &Context,
    timer: &Timer,
    response: Response,
) -> Result<SettingsOutcome> {
    let (session, status) = (response.session.clone(), response.status());
    // To a browser, success is a redirect back to the page that the form came from.
    let is_back = |location: &str| context.base().is_first_page(SETTINGS, location);
    if matches!(status, 302 | 303) && response.location().is_some_and(is_back) {
        response.discard(timer);
        return Ok(SettingsOutcome::Accepted(session));
    }
    if status == 403 || status == 500 {
        let (error, body) = response.into_error_and_body(timer);
        return match () {
            () if is_not_classic(status, &body) => Ok(SettingsOutcome::NotClassic(error)),
            () if parse(&body)["type"] == "error" => Ok(SettingsOutcome::UnknownModel(error)),
            () => Err(error),
        };
    }
    let response = response.error_for_status(timer)?;
    let Some(body) = JsonBody::read_unless_empty(response, timer)? else {
        return Ok(SettingsOutcome::Accepted(session));
    };
    match (body["type"].as_str(), body["location"].as_str()) {
        (Some("redirect"), Some(location)) if !is_back(location) => {
            Err(body.redirected(Redirect::new(context.base(), SETTINGS, location)))
        }
        (Some("redirect" | "success"), _) => Ok(SettingsOutcome::Accepted(session)),
        _ => Err(body.unexpected()),
    }
}

/// Returns whether chat-ui from 0.7 responds like this to a form of settings.
fn is_not_classic(status: u16, body: &[u8]) -> bool {
    const NO_ORIGIN: &str = "Non-JSON form requests need to have an origin";
    match status {
        403 => parse(body)["error"] == NO_ORIGIN || body == NO_ORIGIN.as_bytes(),
        _ => parse(body)["message"] == "Internal Error",
    }
}

fn parse(body: &[u8]) -> Value {
    read_json(body).unwrap_or_default()
}

/// Creates a conversation. The server stores no system prompt.
pub(super) fn create(
    context: &Context,
    timer: &Timer,
    model: &str,
    system: Option<&str>,
) -> Result<RemoteConversation> {
    let body = json!({ "model": model }).to_string();
    let request =
        HttpRequest::post(Step::CreateConversation, "/conversation").body(JSON, body.as_bytes());
    let response = context.http.send(timer, &request)?.error_for_status(timer)?;
    let session = response.session.clone();
    let body = JsonBody::read(response, timer)?;
    match body["conversationId"].as_str() {
        Some(id) if is_id(id) => Ok(RemoteConversation {
            system: system.map(str::to_owned),
            ..RemoteConversation::new(id, session, Some(model))
        }),
        _ => Err(body.unexpected()),
    }
}

/// Sends a message, and returns when the reply begins.
pub(super) fn send(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
    message: &OutgoingMessage,
) -> Result<ReplyStream> {
    let path = conversation.path();
    let request = HttpRequest::post(Step::SendMessage, &path)
        .session(&conversation.session)
        .body(JSON, &message.body);
    let response = context.http.send(timer, &request)?.error_for_status(timer)?;
    if response.content_type().is_some() && !response.has_type("text/event-stream") {
        return Err(not_a_stream(response, timer));
    }
    Ok(ReplyStream::new(Decoder::tgi(), response))
}

/// Renders the request body of a message in this conversation, or in a new one.
pub(super) fn render(
    conversation: Option<&RemoteConversation>,
    message: &OutgoingMessage,
) -> Vec<u8> {
    let system = conversation.and_then(|it| it.system.as_ref()).filter(|_| message.is_first);
    let body = json!({
        "inputs": system.map_or(String::new(), |text| format!("{text}\n\n")) + &message.text,
        "parameters": parameters(&message.parameters),
        "stream": true,
        "options": {
            "id": message.id,
            "response_id": OutgoingMessage::new_id(),
            "is_retry": message.state != MessageState::New,
            "use_cache": false,
            "web_search_id": "",
        },
    });
    body.to_string().into_bytes()
}

/// The defaults of the service's own page, with the caller's parameters.
fn parameters(callers: &Map<String, Value>) -> Value {
    let mut parameters = json!({
        "temperature": 0.4,
        "truncate": 2048,
        "max_new_tokens": 1024,
        "do_sample": true,
        "repetition_penalty": 1.2,
        "return_full_text": false,
    });
    for (name, value) in callers {
        parameters[name] = value.clone();
    }
    parameters
}

/// Reads the first page, which has the models and the account's settings.
pub(super) fn first_page(context: &Context, timer: &Timer) -> Result<JsonBody> {
    read_page(context, timer, &HttpRequest::get(Step::ListModels, "/__data.json"))
}

pub(super) fn models_of(page: &JsonBody) -> Result<Vec<Model>> {
    field(page, "models")?.list(Step::ListModels, listing::model)
}

pub(super) fn list_models(context: &Context, timer: &Timer) -> Result<Vec<Model>> {
    models_of(&first_page(context, timer)?)
}

pub(super) fn list_conversations(
    context: &Context,
    timer: &Timer,
) -> Result<Vec<ConversationSummary>> {
    let step = Step::ListConversations;
    let page = read_page(context, timer, &HttpRequest::get(step, "/__data.json"))?;
    field(&page, "conversations")?.list(step, listing::conversation)
}

/// The messages of a conversation.
pub(super) fn history(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
) -> Result<Vec<StoredMessage>> {
    let path = format!("{}/__data.json", conversation.path());
    let request = HttpRequest::get(Step::ReadHistory, &path).session(&conversation.session);
    let page = read_page(context, timer, &request)?;
    field(&page, "messages")?.list(Step::ReadHistory, |text| {
        let role = Role::by_name(&text("from")?)?;
        Some(StoredMessage {
            id: text("id").unwrap_or_default(),
            message: Message::new(role, text("content")?),
        })
    })
}
