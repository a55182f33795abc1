//! One request and its session: what every generation of the server does alike.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Config;
use super::accept::prefers_json;
use super::answer::Answer;
use super::classic;
use super::history::Turn;
use super::plan::Act;
use super::request::{BODY_LIMIT, Request};
use super::state::State;
use super::voice::Voice;

/// The answer to a request. If there is a job, the answer is only the head of its reply.
pub(super) type Reply = (Answer, Option<Job>);

/// A reply to be generated.
pub(super) struct Job {
    pub conversation: String,
    pub turn: Turn,
    pub acts: Box<dyn Iterator<Item = Act> + Send>,
    pub voice: Box<dyn Voice>,
    /// Whether an earlier stop ends it at its very beginning.
    pub stopped: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Route<'a> {
    Home,
    Listing,
    Login,
    Settings,
    /// Where conversations are begun.
    Conversation,
    Conversations,
    Of(&'a str),
    Messages(&'a str),
    Stop(&'a str),
}

impl<'a> Route<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [""] | ["", ""] => Some(Self::Home),
            ["", "__data.json"] => Some(Self::Listing),
            ["", "login"] => Some(Self::Login),
            ["", "settings"] => Some(Self::Settings),
            ["", "conversation"] => Some(Self::Conversation),
            ["", "conversations"] => Some(Self::Conversations),
            ["", "conversation", id] if !id.is_empty() => Some(Self::Of(id)),
            ["", "conversation", id, "__data.json"] => Some(Self::Messages(id)),
            ["", "conversation", id, "stop-generating"] => Some(Self::Stop(id)),
            _ => None,
        }
    }
}

/// Whether it asks for something to look at.
pub(super) fn is_page(config: &Config, request: &Request) -> bool {
    let route = path_below(&config.base_path, request).map(Route::parse);
    let is_data = matches!(route, Ok(Some(Route::Listing | Route::Messages(_))));
    request.method == "GET" && !is_data
}

/// What the server does with one request, in the order in which its layers see it.
pub(super) fn reply(config: &Config, state: &Arc<State>, request: &Request) -> Reply {
    let path = match path_below(&config.base_path, request) {
        Ok(path) => path,
        Err(refusal) => return (refusal, None),
    };
    let session = session(&config.cookie_name, request);
    let exchange = Exchange {
        config,
        state,
        request,
        session,
    };
    classic::reply(&exchange, Route::parse(path))
}

/// The path as the application sees it, unless the request does not come so far.
fn path_below<'a>(base: &str, request: &'a Request) -> Result<&'a str, Answer> {
    if request.content_length().is_ok_and(|len| len > BODY_LIMIT) {
        return Err(Answer::new(413).sized("Invalid request body"));
    }
    let end = request.path.find('?').unwrap_or(request.path.len());
    let (path, query) = request.path.split_at(end);
    let Some(below) = path.strip_prefix(base) else {
        let answer = Answer::new(404).header("content-type", "text/plain");
        return Err(answer.sized("Not found"));
    };
    match below.strip_suffix('/') {
        Some(slashless) if path != "/" && Route::parse(slashless).is_some() => {
            let answer = Answer::new(308).header("x-sveltekit-normalize", "1");
            Err(answer.header("location", format!("{base}{slashless}{query}")))
        }
        _ => Ok(below),
    }
}

/// The session is whatever the client says it is.
fn session(cookie_name: &str, request: &Request) -> String {
    let cookies = request.header("cookie").unwrap_or_default().split(';');
    cookies
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|&(name, value)| name == cookie_name && !value.is_empty())
        .map_or_else(
            || Uuid::new_v4().to_string(),
            |(_, value)| value.to_string(),
        )
}

pub(super) struct Exchange<'a> {
    pub config: &'a Config,
    pub state: &'a Arc<State>,
    pub request: &'a Request,
    pub session: String,
}

impl Exchange<'_> {
    pub fn header(&self, name: &str) -> &str {
        self.request.header(name).unwrap_or_default()
    }

    pub fn json(&self) -> Result<Value, Answer> {
        // Without a content type the server drops the body.
        match self.request.json() {
            Value::Object(fields) if !self.header("content-type").is_empty() => Ok(fields.into()),
            _ => Err(self.internal_error()),
        }
    }

    /// What the server believes to be its own.
    pub fn origin(&self) -> String {
        let scheme = if self.config.https_referer {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.header("host"))
    }

    pub fn is_form(&self) -> bool {
        const FORMS: [&str; 3] = [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/plain",
        ];
        let content_type = self.header("content-type").split(';').next();
        content_type.is_some_and(|content_type| FORMS.contains(&content_type))
    }

    pub fn knows(&self, model: &str) -> bool {
        self.config.models.iter().any(|known| known == model)
    }

    pub fn check_owned(&self, id: &str) -> Result<(), Answer> {
        if !is_id(id) {
            Err(self.internal_error())
        } else if !self.state.owns(&self.session, id) {
            Err(self.error(404, "Conversation not found"))
        } else {
            Ok(())
        }
    }

    pub fn rename(&self, id: &str) -> Result<Answer, Answer> {
        let body = self.json()?;
        let title = body["title"].as_str().unwrap_or_default().trim();
        if title.is_empty() || title.chars().count() > 100 {
            return Err(self.internal_error());
        }
        self.check_owned(id)?;
        self.state.rename(id, title);
        Ok(Answer::new(200))
    }

    pub fn delete(&self, id: &str) -> Result<Answer, Answer> {
        self.check_owned(id)?;
        self.state.forget(id);
        Ok(Answer::new(200))
    }

    pub fn with_cookie(&self, answer: Answer) -> Answer {
        let cookie = format!(
            "{}={}; Path=/; Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None",
            self.config.cookie_name, self.session
        );
        answer.header("set-cookie", cookie)
    }

    /// A refusal before the routes, where the media type is guessed and no cookie is set.
    pub fn hook_refusal(&self, status: u16, message: &str) -> Answer {
        let answer = Answer::new(status);
        if ["accept", "content-type"]
            .iter()
            .any(|name| self.header(name).contains("application/json"))
        {
            let answer = answer.header("content-type", "application/json");
            answer.body(json!({"error": message}).to_string())
        } else {
            answer.header("content-type", "text/plain").body(message)
        }
    }

    pub fn internal_error(&self) -> Answer {
        self.error(500, "Internal Error")
    }

    pub fn error(&self, status: u16, message: &str) -> Answer {
        if prefers_json(self.header("accept")) {
            Answer::message(status, message)
        } else {
            Answer::page(status, message)
        }
    }
}

/// Whether it has the form of a conversation's id.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
