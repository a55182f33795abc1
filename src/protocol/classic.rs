//! The classic servers, chat-ui up to 0.6: a reply is what text-generation-inference says, event by event.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::info;
use serde_json::{Value, json};

use super::packed::Packed;
use super::success::{json_of, no_stream, refused_inside, unexpected};
use super::{Entry, Opened, Place, Stream, Turn, is_id};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Answer, BaseUrl, Call, Origin, Session, Watch, one_line};
use crate::request::{Message, Role};
use crate::server::{Model, ServerInfo, Summary};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// A classic server, as one client sees it.
pub(crate) struct Classic {
    origin: Origin,
    share_with_model_authors: bool,
    /// Asked when a request names no model.
    default_model: Mutex<DefaultModel>,
    set_up: Mutex<SetUp>,
}

/// The model that is asked when a request names none.
struct DefaultModel {
    id: String,
    /// Chosen by the user, so that no other may take its place.
    is_named: bool,
}

/// The models that the settings were posted for, under the session that they were posted for.
#[derive(Default)]
struct SetUp {
    session: Option<Session>,
    models: HashSet<String>,
}

/// The largest body that the servers take, in bytes.
const LARGEST_BODY: usize = 512 * 1024;

impl Classic {
    /// Asks the named model by default, or this one if the server has it.
    pub(crate) fn new(
        origin: Origin,
        share_with_model_authors: bool,
        named: Option<String>,
        otherwise: &str,
    ) -> Classic {
        let is_named = named.is_some();
        let id = named.unwrap_or_else(|| otherwise.to_owned());
        Classic {
            origin,
            share_with_model_authors,
            default_model: Mutex::new(DefaultModel { id, is_named }),
            set_up: Mutex::default(),
        }
    }

    /// The model that is asked when a request names none.
    pub(crate) fn default_model(&self) -> String {
        lock(&self.default_model).id.clone()
    }

    /// Accepts the server's terms and chooses the model, unless that has been done. Returns the model.
    pub(crate) fn set_up(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        let (model, is_named) = match named {
            Some(named) => (named.to_owned(), true),
            None => (self.default_model(), lock(&self.default_model).is_named),
        };
        // The server says only that something is wrong with it.
        let error = match self.set_up_for(watch, &model) {
            Err(error) if error.status() == Some(500) => error,
            done => return done.map(|()| model),
        };
        let Ok(models) = self.models(watch) else {
            return Err(error);
        };
        match models.first() {
            None => Err(error),
            Some(_) if models.iter().any(|known| known.id == model) => Err(error),
            Some(_) if is_named => Err(unknown_model(&model, &models, error)),
            Some(first) => {
                info!(
                    "the server does not have {model}; asking its first model, {}",
                    first.id
                );
                self.set_up_for(watch, &first.id)?;
                lock(&self.default_model).id.clone_from(&first.id);
                Ok(first.id.clone())
            }
        }
    }

    fn set_up_for(&self, watch: &Watch, model: &str) -> Result<()> {
        // Not locked while waiting: two threads may both post, which does no harm.
        let session = self.origin.session();
        let set_up = lock(&self.set_up);
        if set_up.session.as_ref() == Some(&session) && set_up.models.contains(model) {
            return Ok(());
        }
        drop(set_up);
        let session = self.post_settings(watch, &session, model)?;
        let mut set_up = lock(&self.set_up);
        if set_up.session.as_ref() != Some(&session) {
            *set_up = SetUp {
                session: Some(session),
                models: HashSet::new(),
            };
        }
        set_up.models.insert(model.to_owned());
        Ok(())
    }

    /// Posts the settings; returns the session that they hold for.
    fn post_settings(&self, watch: &Watch, session: &Session, model: &str) -> Result<Session> {
        let form = self.settings(model);
        let call = Call::post(Step::Settings, "/settings")
            .session(session)
            .body(FORM, form.as_bytes())
            .repeatable();
        let mut answer = self.origin.exchange(watch, &call)?;
        if answer.status() == 403 && self.origin.referer().starts_with("http://") {
            let refusal = answer.refusal(watch);
            // A server that was not told its own address takes itself for an https one.
            self.origin.set_https_referer(true);
            answer = match self.origin.exchange(watch, &call) {
                Ok(answer) if answer.status() != 403 => answer,
                second => {
                    self.origin.set_https_referer(false);
                    return Err(second.err().unwrap_or(refusal));
                }
            };
        }
        let session = answer.session.clone();
        // To a browser the same success is a redirect back to the page that it gave.
        if answer.status() == 303 && answer.location() == Some(&self.origin.referer()) {
            answer.skip(watch);
            return Ok(session);
        }
        let answer = json_of(answer.accepted(watch)?, watch, Step::Settings)?;
        match answer["type"].as_str() {
            Some("redirect" | "success") => Ok(session),
            _ => Err(unexpected(Step::Settings, &answer)),
        }
    }

    /// Asks something under a session; if the server has forgotten that its terms were accepted, once more
    /// after they have been.
    fn exchange(&self, watch: &Watch, model: &str, call: &Call) -> Result<Answer> {
        let answer = self.origin.exchange(watch, call)?;
        if answer.status() != 405 {
            return Ok(answer);
        }
        let why = answer.refusal(watch);
        info!("{why}; posting the settings again");
        let session = call.session_or(self.origin.session());
        let posted = self.post_settings(watch, &session, model);
        posted.map_err(|error| error.at(why.step()))?;
        self.origin.exchange(watch, call)
    }

    /// The same, about a conversation.
    fn exchange_in(&self, watch: &Watch, place: &Place, call: &Call) -> Result<Answer> {
        let model = place.model.clone().unwrap_or_else(|| self.default_model());
        self.exchange(watch, &model, call)
    }

    /// The models that the server offers.
    pub(crate) fn models(&self, watch: &Watch) -> Result<Vec<Model>> {
        let page = self.page(watch, &Call::get(Step::Models, "/__data.json"))?;
        let models = found(&page, "models", Step::Models)?;
        let model = |packed: Packed| {
            let text = |name| Some(packed.field(name)?.text()?.to_owned());
            let id = text("id").or_else(|| text("name"))?;
            Some(Model {
                name: text("displayName").unwrap_or_else(|| id.clone()),
                description: text("description"),
                id,
            })
        };
        Ok(models.items().filter_map(model).collect())
    }

    /// The conversations of the session.
    pub(crate) fn conversations(&self, watch: &Watch) -> Result<Vec<Summary>> {
        let page = self.page(watch, &Call::get(Step::Conversations, "/__data.json"))?;
        let conversations = found(&page, "conversations", Step::Conversations)?;
        let summary = |packed: Packed| {
            let text = |name| Some(packed.field(name)?.text()?.to_owned());
            Some(Summary {
                id: text("id").filter(|id| is_id(id))?,
                title: text("title").unwrap_or_default(),
                model: text("model"),
            })
        };
        Ok(conversations.items().filter_map(summary).collect())
    }

    /// What has been said in a conversation.
    pub(crate) fn messages(&self, watch: &Watch, place: &Place) -> Result<Vec<Entry>> {
        let path = format!("{}/__data.json", place.path());
        let call = Call::get(Step::History, &path).session(&place.session);
        let page = self.page(watch, &call)?;
        let messages = found(&page, "messages", Step::History)?;
        let entry = |packed: Packed| {
            let text = |name| packed.field(name)?.text();
            let role = Role::by_name(text("from")?)?;
            Some(Entry {
                id: text("id").unwrap_or_default().to_owned(),
                message: Message::new(role, text("content")?),
            })
        };
        Ok(messages.items().filter_map(entry).collect())
    }

    /// What a page is made of.
    fn page(&self, watch: &Watch, call: &Call) -> Result<Value> {
        let answer = self.origin.exchange(watch, call)?.accepted(watch)?;
        json_of(answer, watch, call.step())
    }

    /// Looks whether this is a server to talk to, and what it offers.
    pub(crate) fn check(&self, watch: &Watch) -> Result<ServerInfo> {
        let model = self.set_up(watch, None)?;
        Ok(ServerInfo {
            url: self.origin.base().to_string(),
            models: self.models(watch).unwrap_or_default(),
            model,
            expects_https: self.origin.referer() != self.origin.base().referer(),
        })
    }

    fn settings(&self, model: &str) -> String {
        // An unset checkbox of a form is not sent: the servers take any text for a yes.
        let share = if self.share_with_model_authors {
            "shareConversationsWithModelAuthors=true&"
        } else {
            ""
        };
        format!(
            "ethicsModalAccepted=true&{share}ethicsModalAcceptedAt=&activeModel={}&searchEnabled=true",
            form_encoded(model)
        )
    }

    /// Refuses what the servers would, before anything is sent.
    #[allow(clippy::unused_self, reason = "another kind of server takes more")]
    pub(crate) fn judge(&self, turn: &Turn) -> Result<()> {
        let size = body_of(turn).len();
        if size > LARGEST_BODY {
            return Err(Error::input(format!(
                "the request has {size} bytes; the servers take {LARGEST_BODY} at the most"
            )));
        }
        Ok(())
    }

    /// Opens a conversation. The servers have no place for a system prompt but the first message.
    pub(crate) fn open(&self, watch: &Watch, model: &str, system: Option<&str>) -> Result<Opened> {
        let body = json!({ "model": model }).to_string();
        let call = Call::post(Step::Conversation, "/conversation").body(JSON, body.as_bytes());
        let answer = self.exchange(watch, model, &call)?.accepted(watch)?;
        let session = answer.session.clone();
        let answer = json_of(answer, watch, Step::Conversation)?;
        match answer["conversationId"].as_str() {
            Some(id) if is_id(id) => Ok(Opened {
                place: Place {
                    id: id.to_owned(),
                    session,
                    model: Some(model.to_owned()),
                },
                preamble: system.map(str::to_owned),
            }),
            _ => Err(unexpected(Step::Conversation, &answer)),
        }
    }

    /// Sends the message; returns when the reply begins.
    pub(crate) fn ask(&self, watch: &Watch, place: &Place, turn: &Turn) -> Result<Stream> {
        let (path, body) = (place.path(), body_of(turn));
        let call = Call::post(Step::Message, &path)
            .session(&place.session)
            .body(JSON, &body);
        let answer = self.exchange_in(watch, place, &call)?.accepted(watch)?;
        if !answer.content_type().is_none_or(is_event_stream) {
            return Err(no_stream(answer, watch));
        }
        Ok(Stream::new(answer.into_reader()))
    }

    /// Ends the generation that is running in the conversation.
    pub(crate) fn stop(&self, watch: &Watch, place: &Place) -> Result<()> {
        let path = format!("{}/stop-generating", place.path());
        let call = Call::post(Step::Stop, &path)
            .session(&place.session)
            .repeatable();
        self.exchange_in(watch, place, &call)?
            .accepted(watch)?
            .skip(watch);
        Ok(())
    }

    /// A conversation that is gone already is as good as deleted.
    pub(crate) fn delete(&self, watch: &Watch, place: &Place) -> Result<()> {
        let path = place.path();
        let call = Call::delete(Step::Delete, &path).session(&place.session);
        let answer = self.exchange_in(watch, place, &call)?;
        let answer = match answer.status() {
            404 => answer,
            _ => answer.accepted(watch)?,
        };
        answer.skip(watch);
        Ok(())
    }

    pub(crate) fn session(&self) -> Session {
        self.origin.session()
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        self.origin.base()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value of a page, or the error that the page is instead.
fn found<'a>(page: &'a Value, field: &str, step: Step) -> Result<Packed<'a>> {
    if let Some(found) = Packed::find(page, field) {
        return Ok(found);
    }
    // Behind a status of 200.
    let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let error = nodes.iter().find(|node| node["type"] == "error");
    Err(error.map_or_else(
        || unexpected(step, page),
        |error| refused_inside(step, error),
    ))
}

fn body_of(turn: &Turn) -> Vec<u8> {
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

fn unknown_model(model: &str, models: &[Model], error: Error) -> Error {
    let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    let has = one_line(&ids.join(", "));
    let message = format!("the server does not have the model {model:?}; it has {has}");
    Error::new(ErrorKind::UnknownModel, Step::Settings, message).with_source(error)
}

impl Place {
    fn path(&self) -> String {
        format!("/conversation/{}", self.id)
    }
}

fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}

fn form_encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
        out
    })
}
