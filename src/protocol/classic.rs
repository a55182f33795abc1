//! The classic servers, chat-ui up to 0.6: a reply is what text-generation-inference says, event by event.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Frame, Place, Stream, is_id};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Answer, Call, Origin, Session, Watch, one_line};
use crate::reply::{Details, End};
use crate::request::Request;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// A classic server, as one client sees it.
pub(crate) struct Classic {
    pub(crate) origin: Origin,
    share_with_model_authors: bool,
    /// The models that the settings were posted for.
    set_up: Mutex<HashSet<String>>,
}

/// The body of a message.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Judges the request on the way.
    pub(crate) fn new(request: &Request) -> Result<Message> {
        let message = json!({
            "inputs": request.prompt()?,
            "parameters": request.parameters(),
            "stream": true,
            "options": {
                "id": Uuid::new_v4().to_string(),
                "response_id": Uuid::new_v4().to_string(),
                "is_retry": false,
                "use_cache": false,
                "web_search_id": "",
            },
        });
        Ok(Message(message.to_string().into_bytes()))
    }
}

impl Classic {
    pub(crate) fn new(origin: Origin, share_with_model_authors: bool) -> Classic {
        Classic {
            origin,
            share_with_model_authors,
            set_up: Mutex::default(),
        }
    }

    /// Accepts the server's terms and chooses the model, unless that has been done.
    pub(crate) fn set_up(&self, watch: &Watch, model: &str) -> Result<()> {
        // Not held while waiting: two threads may both post, which does no harm.
        let models = || self.set_up.lock().unwrap_or_else(PoisonError::into_inner);
        if models().contains(model) {
            return Ok(());
        }
        let form = self.settings(model);
        let call = Call::post(Step::Settings, "/settings").body(FORM, form.as_bytes());
        let answer = self.origin.exchange(watch, &call)?;
        // To a browser the same success is a redirect.
        if answer.status() == 303 {
            answer.skip(watch);
        } else {
            let answer = json_of(answer.accepted(watch)?, watch, Step::Settings)?;
            if !matches!(answer["type"].as_str(), Some("redirect" | "success")) {
                return Err(unexpected(Step::Settings, &answer));
            }
        }
        models().insert(model.to_owned());
        Ok(())
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

    /// Opens a conversation.
    pub(crate) fn open(&self, watch: &Watch, model: &str) -> Result<Place> {
        let body = json!({ "model": model }).to_string();
        let call = Call::post(Step::Conversation, "/conversation").body(JSON, body.as_bytes());
        let answer = self.origin.exchange(watch, &call)?.accepted(watch)?;
        let session = answer.session.clone();
        let answer = json_of(answer, watch, Step::Conversation)?;
        match answer["conversationId"].as_str() {
            Some(id) if is_id(id) => Ok(Place {
                id: id.to_owned(),
                session,
            }),
            _ => Err(unexpected(Step::Conversation, &answer)),
        }
    }

    /// Sends the message; returns when the reply begins.
    pub(crate) fn ask(&self, watch: &Watch, place: &Place, message: &Message) -> Result<Stream> {
        let path = place.path();
        let call = Call::post(Step::Message, &path)
            .session(&place.session)
            .body(JSON, &message.0);
        let answer = self.origin.exchange(watch, &call)?.accepted(watch)?;
        if !answer.content_type().is_none_or(is_event_stream) {
            return Err(no_stream(answer, watch));
        }
        Ok(Stream::new(answer.into_reader()))
    }

    /// Ends the generation that is running in the conversation.
    pub(crate) fn stop(&self, watch: &Watch, place: &Place) -> Result<()> {
        let path = format!("{}/stop-generating", place.path());
        let call = Call::post(Step::Stop, &path).session(&place.session);
        self.origin
            .exchange(watch, &call)?
            .accepted(watch)?
            .skip(watch);
        Ok(())
    }

    /// A conversation that is gone already is as good as deleted.
    pub(crate) fn delete(&self, watch: &Watch, place: &Place) -> Result<()> {
        let path = place.path();
        let call = Call::delete(Step::Delete, &path).session(&place.session);
        let answer = self.origin.exchange(watch, &call)?;
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
}

impl Place {
    fn path(&self) -> String {
        format!("/conversation/{}", self.id)
    }
}

/// What an event of the reply says; none if it says nothing.
pub(super) fn frame(event: &[u8]) -> Result<Option<Frame>> {
    if event == b"[DONE]" {
        return Ok(None);
    }
    let event: Value = serde_json::from_slice(event).map_err(|error| {
        Error::new(ErrorKind::Protocol, Step::Reply, "an event is not JSON").with_source(error)
    })?;
    if !event["error"].is_null() {
        return Err(generation_failed(&event["error"]));
    }
    let token = &event["token"];
    let end = event["generated_text"].as_str().map(|text| End {
        text: text.to_owned(),
        details: details(&event["details"]),
    });
    let text = match token["text"].as_str() {
        Some(text) => text,
        None if token.is_null() && end.is_some() => "",
        None => return Err(unexpected(Step::Reply, &event)),
    };
    let is_text = !text.is_empty() && token["special"] != true;
    Ok(Some(Frame {
        token: is_text.then(|| text.to_owned()),
        end,
    }))
}

fn details(details: &Value) -> Option<Details> {
    details.is_object().then(|| Details {
        finish_reason: details["finish_reason"].as_str().map(str::to_owned),
        generated_tokens: details["generated_tokens"].as_u64(),
        seed: details["seed"].as_u64(),
        input_length: details["input_length"].as_u64(),
    })
}

fn generation_failed(error: &Value) -> Error {
    let words = one_line(
        &error
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned),
    );
    Error::new(
        ErrorKind::Generation,
        Step::Reply,
        format!("the server reported: {words}"),
    )
    .with_server_message(words)
}

fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}

/// A success that is no reply: a login page, another service.
fn no_stream(answer: Answer, watch: &Watch) -> Error {
    let kind = one_line(answer.content_type().unwrap_or_default());
    let status = answer.status();
    let words = answer.words(watch);
    let message = format!("the reply is {kind}, not an event stream: {words}");
    Error::new(ErrorKind::Protocol, Step::Message, message)
        .with_status(status)
        .with_server_message(words)
}

fn json_of(answer: Answer, watch: &Watch, step: Step) -> Result<Value> {
    let status = answer.status();
    let body = answer.bytes(watch)?;
    serde_json::from_slice(&body).map_err(|error| {
        let start = one_line(&String::from_utf8_lossy(&body));
        let message =
            format!("the answer is not JSON; is this a chat-ui server? It begins: {start}");
        Error::new(ErrorKind::Protocol, step, message)
            .with_status(status)
            .with_source(error)
    })
}

fn unexpected(step: Step, answer: &Value) -> Error {
    let answer = one_line(&answer.to_string());
    Error::new(
        ErrorKind::Protocol,
        step,
        format!("unexpected answer {answer}"),
    )
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
