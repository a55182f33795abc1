//! The current servers, chat-ui 0.8 up to today's: a reply is lines of JSON, and each message answers an earlier one.

use std::collections::HashSet;
use std::time::Duration;

use log::info;
use serde_json::{Value, json};

use super::page::{found, page};
use super::server::{FORM, JSON, Server, form_encoded};
use super::set_up::unknown_model;
use super::success::{Json, no_stream};
use super::{Entry, Opened, Place, Stream, Turn, is_id, listed};
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{Answer, Call, Session, Watch, read_json};
use crate::message::{Message, Role};
use crate::server::{Model, Summary};

/// The largest body that the servers take, in bytes.
pub(super) const LARGEST_BODY: usize = 15 * 1024 * 1024;

/// For how long the newest servers apply a stop to the next message when nothing was running.
const AFTERMATH_OF_LATE_STOP: Duration = Duration::from_secs(5);

/// What a current server is like, as far as it matters to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// chat-ui 0.8 up to 0.9.1: a message is JSON.
    Json,
    /// chat-ui 0.9.2 up to 0.9.5: a message is a form with one field.
    Form,
    /// chat-ui from 0.9.6: the same, and a stop when nothing is running is for the next message.
    Newest,
}

impl Kind {
    /// What it could be instead, if a message was refused.
    fn other(self) -> Kind {
        match self {
            Kind::Json => Kind::Newest,
            Kind::Form | Kind::Newest => Kind::Json,
        }
    }

    /// For how long it applies a stop to the next message when nothing was running.
    fn aftermath_of_late_stop(self) -> Duration {
        match self {
            Kind::Json | Kind::Form => Duration::ZERO,
            Kind::Newest => AFTERMATH_OF_LATE_STOP,
        }
    }
}

/// For how long the server applies a stop to the next message when nothing was running, as far as is known.
pub(super) fn aftermath_of_late_stop(server: &Server) -> Duration {
    let kind = server.kind.get().copied();
    kind.unwrap_or(Kind::Newest).aftermath_of_late_stop()
}

/// The models of a server that answered the first step as these do, and as the version before them does: that one, 0.7,
/// has no list.
pub(super) fn models_unless_old(server: &Server, watch: &Watch) -> Result<Vec<Model>> {
    match models(server, watch) {
        Err(error) if error.status() == Some(404) => Err(too_old().with_source(error)),
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
    Ok(Opened {
        place: Place {
            id: id.to_owned(),
            session,
            model: Some(model.to_owned()),
        },
        preamble: None,
        // Only the newest servers say at once what the first message answers to.
        parent: answer["conversation"].as_str().and_then(root_of),
    })
}

/// The id of the root message, of a conversation as the newest servers write it.
fn root_of(conversation: &str) -> Option<String> {
    let conversation = read_json(conversation.as_bytes()).ok()?;
    let root = conversation["json"]["rootMessageId"].as_str()?;
    is_id(root).then(|| root.to_owned())
}

/// The server says only that the request is invalid.
fn of_unknown_model(server: &Server, watch: &Watch, model: &str, refusal: Error) -> Error {
    match models(server, watch) {
        Ok(models) if models.iter().all(|known| known.id != model) => {
            unknown_model(refusal.step(), model, &models).with_source(refusal)
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
    let (message, likely) = match parent {
        Some(parent) if !turn.is_retry => (question(&parent, turn), Kind::Newest),
        _ => {
            let history = History::of(server, watch, place)?;
            (history.message(turn)?, history.kind)
        }
    };
    let known = server.kind.get().copied();
    let mut kind = known.unwrap_or(likely);
    let mut answer = post(server, watch, place, kind, &message)?;
    // Nothing was stored: it may be the form that is wrong.
    if known.is_none() && matches!(answer.status(), 403 | 500) {
        let refusal = answer.refusal(watch);
        kind = kind.other();
        answer = post(server, watch, place, kind, &message)?;
        if !answer.is_success() {
            return Err(refusal);
        }
    }
    let answer = answer.accepted(watch)?;
    if answer
        .content_type()
        .is_some_and(|kind| kind.starts_with("text/html"))
    {
        return Err(no_stream(answer, watch));
    }
    let _ = server.kind.set(kind);
    Ok(Stream::of_lines(answer.into_reader()))
}

fn question(parent: &str, turn: &Turn) -> String {
    json!({ "id": parent, "inputs": turn.text, "is_retry": false }).to_string()
}

fn post(
    server: &Server,
    watch: &Watch,
    place: &Place,
    kind: Kind,
    message: &str,
) -> Result<Answer> {
    let path = place.path();
    let call = Call::post(Step::Message, &path).session(&place.session);
    match kind {
        Kind::Json => server.exchange_in(watch, place, &call.body(JSON, message.as_bytes())),
        Kind::Form | Kind::Newest => {
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
    /// What the server seems to be.
    kind: Kind,
}

impl History {
    /// Asks for it; on the way it shows what the server is.
    fn of(server: &Server, watch: &Watch, place: &Place) -> Result<History> {
        let path = format!("/api{}", place.path());
        let call = Call::get(Step::History, &path).session(&place.session);
        let answer = server.origin.exchange(watch, &call)?;
        if answer.status() == 403 {
            answer.skip(watch);
            return History::of_page(server, watch, place);
        }
        let names_methods = answer.has_header("access-control-allow-methods");
        let answer = Json::of(answer.accepted(watch)?, watch)?;
        let messages = answer["messages"].as_array();
        let messages = messages.ok_or_else(|| answer.unexpected())?;
        let kind = match answer.get("modelTools") {
            _ if names_methods => Kind::Newest,
            Some(_) => Kind::Form,
            None => Kind::Json,
        };
        let messages = messages.iter().map(|message| {
            let text = |name: &str| message[name].as_str().map(str::to_owned);
            (text("id"), text("from"), text("content"))
        });
        Ok(History::new(kind, messages))
    }

    /// Where the API is switched off, the page has it too.
    fn of_page(server: &Server, watch: &Watch, place: &Place) -> Result<History> {
        let path = format!("{}/__data.json", place.path());
        let call = Call::get(Step::History, &path).session(&place.session);
        let page = page(server, watch, &call)?;
        let messages = found(&page, "messages")?;
        let messages = messages.list(Step::History, |text| {
            Some((text("id"), text("from"), text("content")))
        })?;
        Ok(History::new(Kind::Newest, messages.into_iter()))
    }

    /// Of the ids, authors and texts of the messages.
    fn new(
        kind: Kind,
        messages: impl Iterator<Item = (Option<String>, Option<String>, Option<String>)>,
    ) -> History {
        let mut history = History {
            entries: Vec::new(),
            last: None,
            kind,
        };
        for (id, from, content) in messages {
            let Some(id) = id.filter(|id| is_id(id)) else {
                continue;
            };
            history.last = Some(id.clone());
            let role = from.as_deref().and_then(Role::by_name);
            if let (Some(role @ (Role::User | Role::Assistant)), Some(content)) = (role, content) {
                let message = Message::new(role, content);
                history.push(Entry { id, message });
            }
        }
        history
    }

    /// An answer after an answer is another one to the same question.
    fn push(&mut self, entry: Entry) {
        match self
            .entries
            .last_mut()
            .filter(|last| !last.message.is_users())
        {
            Some(last) if !entry.message.is_users() => *last = entry,
            _ => self.entries.push(entry),
        }
    }

    /// Whether this was the last message. Servers change the ends of its lines.
    fn has_asked(&self, text: &str) -> bool {
        let asked = self.entries.iter().rfind(|entry| entry.message.is_users());
        let told = |text: &str| text.replace('\r', "").trim().to_owned();
        asked.is_some_and(|asked| told(asked.message.content()) == told(text))
    }

    /// The message to be sent now.
    fn message(&self, turn: &Turn) -> Result<String> {
        let answer = self.entries.last().filter(|last| !last.message.is_users());
        match (answer, &self.last) {
            (Some(answer), _) if turn.is_retry && self.has_asked(&turn.text) => {
                Ok(json!({ "id": answer.id, "is_retry": true }).to_string())
            }
            (Some(_), _) if turn.is_retry && turn.is_changed => Err(Error::input(
                "a current server answers its last message anew, but no other in its place",
            )),
            // A message to be answered anew that the server does not have is a new one.
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
    list(server, watch, Step::Models, "models", listed::model)
}

/// The conversations of the session, which are listed page by page.
pub(super) fn conversations(server: &Server, watch: &Watch) -> Result<Vec<Summary>> {
    const MOST_PAGES: usize = 1000;
    let step = Step::Conversations;
    let (mut all, mut ids, mut size) = (Vec::new(), HashSet::new(), 0);
    for page in 0..MOST_PAGES {
        let query = match page {
            0 => String::new(),
            page => format!("?p={page}"),
        };
        let name = format!("conversations{query}");
        let listed = list(server, watch, step, &name, listed::summary)?;
        let before = all.len();
        all.extend(listed.into_iter().filter(|new| ids.insert(new.id.clone())));
        // A server that knows no pages says the same again.
        if all.len() == before {
            break;
        }
        size += all[before..].iter().map(listed::size).sum::<usize>();
        if size > listed::LARGEST {
            return Err(listed::too_large(step));
        }
    }
    Ok(all)
}

/// A list of this name, of objects that are made out of the texts of their fields.
fn list<T>(
    server: &Server,
    watch: &Watch,
    step: Step,
    name: &str,
    make: impl Fn(listed::Text) -> Option<T>,
) -> Result<Vec<T>> {
    let path = format!("/api/{name}");
    let answer = server.origin.exchange(watch, &Call::get(step, &path))?;
    if answer.status() == 403 {
        answer.skip(watch);
        // Where the API is switched off, the first page has it too.
        let page = page(server, watch, &Call::get(step, "/__data.json"))?;
        let name = name.split('?').next().unwrap_or_default();
        return found(&page, name)?.list(step, make);
    }
    let list = Json::of(answer.accepted(watch)?, watch)?.into_list()?;
    let objects = list.iter();
    let text = |object: &Value, name: &str| object[name].as_str().map(str::to_owned);
    Ok(objects
        .filter_map(|object| make(&|name| text(object, name)))
        .collect())
}
