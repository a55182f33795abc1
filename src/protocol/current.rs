//! The current servers, chat-ui 0.8 up to today's: a reply is lines of JSON, and each message answers an earlier one.

use std::time::Duration;

use log::info;
use serde_json::{Value, json};

use super::packed::Packed;
use super::server::{FORM, JSON, Server, form_encoded, unknown_model};
use super::success::{Json, no_stream, unexpected};
use super::{Entry, Opened, Place, Stream, Turn, is_id};
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{Answer, Call, Session, Watch};
use crate::request::{Message, Role};
use crate::server::{Model, Summary};

/// The largest body that the servers take, in bytes.
pub(super) const LARGEST_BODY: usize = 15 * 1024 * 1024;

/// For how long the newest servers apply a stop to the next message when nothing was running.
pub(super) const AFTERMATH_OF_LATE_STOP: Duration = Duration::from_secs(5);

/// In which form a server takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// chat-ui 0.8 up to 0.9.1.
    Json,
    /// chat-ui from 0.9.2: a form with one field.
    Form,
}

impl BodyKind {
    fn other(self) -> BodyKind {
        match self {
            BodyKind::Json => BodyKind::Form,
            BodyKind::Form => BodyKind::Json,
        }
    }
}

/// The models of a server that answered the first step as these do, and as the version before them does: that one, 0.7,
/// has no list.
pub(super) fn models_unless_old(
    server: &Server,
    watch: &Watch,
    first_answer: Error,
) -> Result<Vec<Model>> {
    match models(server, watch) {
        Err(error) if error.status() == Some(404) => Err(too_old().with_source(first_answer)),
        models => models,
    }
}

fn too_old() -> Error {
    Error::new(
        ErrorKind::Protocol,
        Step::Settings,
        "this is a server of chat-ui 0.7, whose protocol is spoken neither before nor after it",
    )
    .with_hint(hint::OTHER_VERSION)
}

/// Accepts the terms of a server that asks for it; returns the session that this holds for.
pub(super) fn post_settings(
    server: &Server,
    watch: &Watch,
    session: &Session,
    model: &str,
) -> Result<Session> {
    let mut settings = json!({ "ethicsModalAccepted": true, "activeModel": model });
    if !server.share_with_model_authors {
        settings["shareConversationsWithModelAuthors"] = false.into();
    }
    let body = settings.to_string();
    let call = Call::post(Step::Settings, "/settings")
        .session(session)
        .body(JSON, body.as_bytes())
        .repeatable();
    let answer = server.origin.exchange(watch, &call)?.accepted(watch)?;
    let session = answer.session.clone();
    answer.skip(watch);
    Ok(session)
}

/// Opens a conversation, which has a place for a system prompt.
pub(super) fn open(
    server: &Server,
    watch: &Watch,
    model: &str,
    system: Option<&str>,
) -> Result<Opened> {
    let mut body = json!({ "model": model });
    if let Some(system) = system {
        body["preprompt"] = system.into();
    }
    let body = body.to_string();
    let call = Call::post(Step::Conversation, "/conversation").body(JSON, body.as_bytes());
    let answer = server.exchange(watch, model, &call)?;
    if matches!(answer.status(), 400 | 500) {
        let refusal = answer.refusal(watch);
        return Err(of_unknown_model(server, watch, model, refusal));
    }
    let answer = answer.accepted(watch)?;
    let session = answer.session.clone();
    let answer = Json::of(answer, watch)?;
    let Some(id) = answer["conversationId"].as_str().filter(|id| is_id(id)) else {
        return Err(answer.unexpected());
    };
    // The newest servers say at once what the first message answers to, and take it as a form.
    let parent = answer["conversation"].as_str().and_then(root_of);
    if parent.is_some() {
        let _ = server.body_kind.set(BodyKind::Form);
    }
    Ok(Opened {
        place: Place {
            id: id.to_owned(),
            session,
            model: Some(model.to_owned()),
        },
        preamble: None,
        parent,
    })
}

/// The id of the root message, of a conversation as the newest servers write it.
fn root_of(conversation: &str) -> Option<String> {
    let conversation: Value = serde_json::from_str(conversation).ok()?;
    let root = conversation["json"]["rootMessageId"].as_str()?;
    is_id(root).then(|| root.to_owned())
}

/// The server says only that the request is invalid.
fn of_unknown_model(server: &Server, watch: &Watch, model: &str, refusal: Error) -> Error {
    match models(server, watch) {
        Ok(models) if models.iter().all(|known| known.id != model) => {
            unknown_model(model, &models, refusal)
        }
        _ => refusal,
    }
}

/// Sends the message; returns when the reply begins, which these servers do at once.
pub(super) fn ask(
    server: &Server,
    watch: &Watch,
    place: &Place,
    parent: Option<String>,
    turn: &Turn,
) -> Result<Stream> {
    if turn.has_parameters {
        info!("the server samples as it sees fit: the request's parameters are not sent");
    }
    let message = match parent {
        Some(parent) if !turn.is_retry => question(&parent, turn),
        _ => {
            let history = History::of(server, watch, place)?;
            history.message(turn)?
        }
    };
    let known = server.body_kind.get().copied();
    let kind = known.unwrap_or(BodyKind::Form);
    let mut answer = post(server, watch, place, kind, &message)?;
    // Nothing was stored: it may be the form that is wrong.
    if known.is_none() && matches!(answer.status(), 403 | 500) {
        let refusal = answer.refusal(watch);
        answer = post(server, watch, place, kind.other(), &message)?;
        if !answer.is_success() {
            return Err(refusal);
        }
        let _ = server.body_kind.set(kind.other());
    }
    let answer = answer.accepted(watch)?;
    let _ = server.body_kind.set(kind);
    if answer
        .content_type()
        .is_some_and(|kind| kind.starts_with("text/html"))
    {
        return Err(no_stream(answer, watch));
    }
    Ok(Stream::of_lines(answer.into_reader()))
}

fn question(parent: &str, turn: &Turn) -> String {
    json!({ "id": parent, "inputs": turn.text, "is_retry": false }).to_string()
}

fn post(
    server: &Server,
    watch: &Watch,
    place: &Place,
    kind: BodyKind,
    message: &str,
) -> Result<Answer> {
    let path = place.path();
    let call = Call::post(Step::Message, &path).session(&place.session);
    match kind {
        BodyKind::Json => server.exchange_in(watch, place, &call.body(JSON, message.as_bytes())),
        BodyKind::Form => {
            let form = format!("data={}", form_encoded(message));
            let call = call.body(FORM, form.as_bytes()).with_origin();
            server.exchange_in(watch, place, &call)
        }
    }
}

/// What a server has of a conversation.
struct History {
    /// Without the system prompt.
    entries: Vec<Entry>,
    /// The id of the last message, whoever's.
    last: Option<String>,
}

impl History {
    /// Asks for it; on the way the form in which a message is taken shows.
    fn of(server: &Server, watch: &Watch, place: &Place) -> Result<History> {
        let path = format!("/api{}", place.path());
        let call = Call::get(Step::History, &path).session(&place.session);
        let answer = server.origin.exchange(watch, &call)?;
        if answer.status() == 403 {
            return History::of_page(server, watch, place);
        }
        let names_methods = answer.has_header("access-control-allow-methods");
        let answer = Json::of(answer.accepted(watch)?, watch)?;
        let messages = answer["messages"].as_array();
        let messages = messages.ok_or_else(|| answer.unexpected())?;
        let kind = if names_methods || answer.get("modelTools").is_some() {
            BodyKind::Form
        } else {
            BodyKind::Json
        };
        let _ = server.body_kind.set(kind);
        let text = |message: &Value, name: &str| message[name].as_str().map(str::to_owned);
        Ok(History::new(messages.iter().map(|message| {
            let text = |name| text(message, name);
            (text("id"), text("from"), text("content"))
        })))
    }

    /// Where the API is switched off, the page has it too.
    fn of_page(server: &Server, watch: &Watch, place: &Place) -> Result<History> {
        let path = format!("{}/__data.json", place.path());
        let call = Call::get(Step::History, &path).session(&place.session);
        let answer = server.origin.exchange(watch, &call)?.accepted(watch)?;
        let body = answer.bytes(watch)?;
        // Of several lines the first is the page.
        let page = body.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let page: Value = serde_json::from_slice(page).unwrap_or_default();
        let root = Packed::find(&page, "rootMessageId");
        let root = root.and_then(|root| root.text().map(str::to_owned));
        let messages = Packed::find(&page, "messages");
        let messages = messages.map(|messages| {
            messages.list(Step::History, |text| {
                Some((text("id"), text("from"), text("content")))
            })
        });
        let messages = messages.transpose()?.unwrap_or_default();
        let mut history = History::new(messages.into_iter());
        history.last = history.last.or(root);
        match history.last {
            Some(_) => Ok(history),
            None => Err(unexpected(Step::History, &page)),
        }
    }

    /// Of the ids, authors and texts of the messages.
    fn new(
        messages: impl Iterator<Item = (Option<String>, Option<String>, Option<String>)>,
    ) -> History {
        let mut history = History {
            entries: Vec::new(),
            last: None,
        };
        for (id, from, content) in messages {
            let Some(id) = id.filter(|id| is_id(id)) else {
                continue;
            };
            history.last = Some(id.clone());
            let role = from.as_deref().and_then(Role::by_name);
            if let (Some(role @ (Role::User | Role::Assistant)), Some(content)) = (role, content) {
                let message = Message::new(role, content);
                history.entries.push(Entry { id, message });
            }
        }
        history
    }

    /// The message to be sent now.
    fn message(&self, turn: &Turn) -> Result<String> {
        let answer = self.entries.last().filter(|last| !last.message.is_users());
        match (answer, &self.last) {
            (Some(answer), _) if turn.is_retry => {
                let asked = self.entries.iter().rfind(|entry| entry.message.is_users());
                if asked.is_some_and(|asked| asked.message.content().trim() != turn.text.trim()) {
                    return Err(Error::input(
                        "a current server answers its last message anew, but no other in its place",
                    ));
                }
                Ok(json!({ "id": answer.id, "is_retry": true }).to_string())
            }
            (_, Some(parent)) => Ok(question(parent, turn)),
            (_, None) => Err(Error::new(
                ErrorKind::Protocol,
                Step::History,
                "the conversation has no message to answer to",
            )),
        }
    }
}

/// What has been said in a conversation.
pub(super) fn messages(server: &Server, watch: &Watch, place: &Place) -> Result<Vec<Entry>> {
    Ok(History::of(server, watch, place)?.entries)
}

/// The models that the server offers.
pub(super) fn models(server: &Server, watch: &Watch) -> Result<Vec<Model>> {
    let list = list(server, watch, Step::Models, "/api/models")?;
    let model = |model: &Value| {
        let text = |name: &str| model[name].as_str().map(str::to_owned);
        let id = text("id").or_else(|| text("name"))?;
        Some(Model {
            name: text("displayName").unwrap_or_else(|| id.clone()),
            description: text("description"),
            id,
        })
    };
    Ok(list.iter().filter_map(model).collect())
}

/// The conversations of the session.
pub(super) fn conversations(server: &Server, watch: &Watch) -> Result<Vec<Summary>> {
    let list = list(server, watch, Step::Conversations, "/api/conversations")?;
    let summary = |conversation: &Value| {
        let text = |name: &str| conversation[name].as_str().map(str::to_owned);
        Some(Summary {
            id: text("id").filter(|id| is_id(id))?,
            title: text("title").unwrap_or_default(),
            model: text("modelId").or_else(|| text("model")),
        })
    };
    Ok(list.iter().filter_map(summary).collect())
}

fn list(server: &Server, watch: &Watch, step: Step, path: &str) -> Result<Vec<Value>> {
    let answer = server.origin.exchange(watch, &Call::get(step, path))?;
    Json::of(answer.accepted(watch)?, watch)?.into_list()
}
