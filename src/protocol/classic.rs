//! The classic servers, chat-ui up to 0.6: a reply is what text-generation-inference says, event by event.

use serde_json::{Value, json};

use super::page::{found, page};
use super::server::{FORM, JSON, Server, form_encoded};
use super::success::{Json, no_stream};
use super::{Entry, Opened, Place, Stream, Turn, is_id, listed};
use crate::error::{Error, Result, Step};
use crate::http::{Answer, Call, Redirect, Session, Watch, read_json};
use crate::message::{Message, Role};
use crate::server::{Model, Summary};

const SETTINGS: &str = "/settings";

/// The largest body that the servers take, in bytes.
pub(super) const LARGEST_BODY: usize = 512 * 1024;

/// What becomes of the settings.
pub(super) enum Posted {
    /// They hold for this session.
    Accepted(Session),
    /// The server does not have the model. It says only that something is wrong.
    UnknownModel(Error),
    /// This is what a server of another protocol says.
    Foreign(Error),
}

/// Posts the settings: the first step, by whose answer the protocols are told from each other.
pub(super) fn post_settings(
    server: &Server,
    watch: &Watch,
    session: &Session,
    model: &str,
) -> Result<Posted> {
    let form = settings(server, model);
    let call = Call::post(Step::Settings, SETTINGS)
        .session(session)
        .body(FORM, form.as_bytes())
        .repeatable();
    let answer = server.origin.exchange(watch, &call)?;
    if answer.status() == 403 && !server.base().is_https() {
        return post_from_elsewhere(server, watch, call, answer);
    }
    accepted(server, watch, answer)
}

/// A server that was not told its own address takes itself for an https one, and refuses a form from a http page: posts
/// as if from the other kind of page, and remembers if that was it.
fn post_from_elsewhere(
    server: &Server,
    watch: &Watch,
    call: Call,
    refused: Answer,
) -> Result<Posted> {
    // What was sent, since another thread may have found it out meanwhile.
    let https = refused.referer.starts_with("http://");
    let (refusal, body) = refused.refusal_and_body(watch);
    if is_foreign(403, &body) {
        return Ok(Posted::Foreign(refusal));
    }
    let answer = server
        .origin
        .exchange(watch, &call.with_https_referer(https))?;
    if answer.status() == 403 {
        answer.skip(watch);
        return Err(refusal);
    }
    server.origin.remember_https(https);
    accepted(server, watch, answer)
}

fn accepted(server: &Server, watch: &Watch, answer: Answer) -> Result<Posted> {
    let (session, status) = (answer.session.clone(), answer.status());
    let referer = answer.referer.clone();
    // To a browser the same success is a redirect back to the page that it gave.
    if status == 303 && answer.location() == Some(&referer) {
        answer.skip(watch);
        return Ok(Posted::Accepted(session));
    }
    if status == 403 || status == 500 {
        let (refusal, body) = answer.refusal_and_body(watch);
        return match () {
            () if is_foreign(status, &body) => Ok(Posted::Foreign(refusal)),
            () if read(&body)["type"] == "error" => Ok(Posted::UnknownModel(refusal)),
            () => Err(refusal),
        };
    }
    let answer = Json::of(answer.accepted(watch)?, watch)?;
    match (answer["type"].as_str(), answer["location"].as_str()) {
        (Some("redirect"), Some(location)) if location != referer => {
            Err(answer.redirect(&Redirect::new(server.base(), SETTINGS, location)))
        }
        (Some("redirect" | "success"), _) => Ok(Posted::Accepted(session)),
        _ => Err(answer.unexpected()),
    }
}

/// Whether this is what current servers, and 0.7, say to the settings of a classic one.
fn is_foreign(status: u16, body: &[u8]) -> bool {
    match status {
        403 => {
            read(body)["error"] == "Non-JSON form requests need to have an origin"
                || body == b"Non-JSON form requests need to have an origin"
        }
        _ => read(body)["message"] == "Internal Error",
    }
}

fn read(body: &[u8]) -> Value {
    read_json(body).unwrap_or_default()
}

fn settings(server: &Server, model: &str) -> String {
    // An unset checkbox of a form is not sent: the servers take any text for a yes.
    let share = if server.share_with_model_authors {
        "shareConversationsWithModelAuthors=true&"
    } else {
        ""
    };
    format!(
        "ethicsModalAccepted=true&{share}ethicsModalAcceptedAt=&activeModel={}&searchEnabled=true",
        form_encoded(model)
    )
}

/// Opens a conversation. The servers have no place for a system prompt but the first message.
pub(super) fn open(
    server: &Server,
    watch: &Watch,
    model: &str,
    system: Option<&str>,
) -> Result<Opened> {
    let body = json!({ "model": model }).to_string();
    let call = Call::post(Step::Conversation, "/conversation").body(JSON, body.as_bytes());
    let answer = server.exchange(watch, model, &call)?.accepted(watch)?;
    let session = answer.session.clone();
    let answer = Json::of(answer, watch)?;
    match answer["conversationId"].as_str() {
        Some(id) if is_id(id) => Ok(Opened {
            place: Place {
                id: id.to_owned(),
                session,
                model: Some(model.to_owned()),
            },
            preamble: system.map(str::to_owned),
            parent: None,
        }),
        _ => Err(answer.unexpected()),
    }
}

/// Sends the message; returns when the reply begins.
pub(super) fn ask(server: &Server, watch: &Watch, place: &Place, turn: &Turn) -> Result<Stream> {
    let (path, body) = (place.path(), body(turn));
    let call = Call::post(Step::Message, &path)
        .session(&place.session)
        .body(JSON, &body);
    let answer = server.exchange_in(watch, place, &call)?.accepted(watch)?;
    if !answer.content_type().is_none_or(is_event_stream) {
        return Err(no_stream(answer, watch));
    }
    Ok(Stream::of_events(answer.into_reader()))
}

/// The models that the server offers.
pub(super) fn models(server: &Server, watch: &Watch) -> Result<Vec<Model>> {
    let page = page(server, watch, &Call::get(Step::Models, "/__data.json"))?;
    let models = found(&page, "models")?;
    models.list(Step::Models, listed::model)
}

/// The conversations of the session.
pub(super) fn conversations(server: &Server, watch: &Watch) -> Result<Vec<Summary>> {
    let call = Call::get(Step::Conversations, "/__data.json");
    let page = page(server, watch, &call)?;
    let conversations = found(&page, "conversations")?;
    conversations.list(Step::Conversations, listed::summary)
}

/// What has been said in a conversation.
pub(super) fn messages(server: &Server, watch: &Watch, place: &Place) -> Result<Vec<Entry>> {
    let path = format!("{}/__data.json", place.path());
    let call = Call::get(Step::History, &path).session(&place.session);
    let page = page(server, watch, &call)?;
    let messages = found(&page, "messages")?;
    messages.list(Step::History, |text| {
        let role = Role::by_name(&text("from")?)?;
        Some(Entry {
            id: text("id").unwrap_or_default(),
            message: Message::new(role, text("content")?),
        })
    })
}

/// The body of a message.
pub(super) fn body(turn: &Turn) -> Vec<u8> {
    let message = json!({
        "inputs": turn.text,
        "parameters": turn.parameters,
        "stream": true,
        "options": {
            "id": turn.id,
            "response_id": Turn::new_id(),
            "is_retry": turn.is_retry,
            "use_cache": false,
            "web_search_id": "",
        },
    });
    message.to_string().into_bytes()
}

fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
