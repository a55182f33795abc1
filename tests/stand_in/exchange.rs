//! One request and its session: what every generation of the server does alike.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::accept::{prefers_json, rank};
use super::answer::Answer;
use super::classic;
use super::current;
use super::history::Turn;
use super::plan::Act;
use super::request::Request;
use super::state::State;
use super::voice::Voice;
use super::{Config, Dialect};

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
    /// Whatever comes after `/api/`.
    Api(&'a str),
}

impl<'a> Route<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        if let Some(path) = path.strip_prefix("/api/") {
            return Some(Self::Api(path));
        }
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
    let is_data = match path_below(config, request).map(Route::parse) {
        Ok(Some(Route::Listing | Route::Messages(_))) => true,
        Ok(Some(Route::Api(_))) => config.dialect != Dialect::Classic,
        _ => false,
    };
    request.method == "GET" && !is_data
}

/// What the server does with one request, in the order in which its layers see it.
pub(super) fn reply(config: &Config, state: &Arc<State>, request: &Request) -> Reply {
    let path = match path_below(config, request) {
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
    let route = Route::parse(path);
    match config.dialect {
        Dialect::Classic => classic::reply(&exchange, route),
        _ => current::reply(&exchange, route),
    }
}

/// The path as the application sees it, unless the request does not come so far.
fn path_below<'a>(config: &Config, request: &'a Request) -> Result<&'a str, Answer> {
    let (base, limit) = (&*config.base_path, config.dialect.body_limit());
    if request.content_length().is_ok_and(|length| length > limit) {
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

    /// A form must come from this origin, and only its Referer says so.
    pub fn forged(&self) -> Option<Answer> {
        if self.request.method != "POST" || !self.is_form() {
            return None;
        }
        let Some(referer) = self.request.header("referer") else {
            let message = "Non-JSON form requests need to have a referer";
            return Some(self.hook_refusal(403, message));
        };
        let origin = referer.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let forged = origin != self.origin();
        forged.then(|| self.hook_refusal(403, "Invalid referer for POST request"))
    }

    /// Only pages and the settings are there before the modal is accepted.
    pub fn modal(&self, route: Option<Route>) -> Option<Answer> {
        let free = self.request.method == "GET"
            || matches!(route, Some(Route::Settings))
            || self.state.has_accepted(&self.session);
        let message = "You need to accept the welcome modal first";
        (!free).then(|| self.hook_refusal(405, message))
    }

    pub fn to_login(&self) -> Answer {
        let location = format!("{}{}/login", self.origin(), self.config.base_path);
        Answer::new(302).header("location", location).sized("")
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

    /// Whether a message can be sent there.
    pub fn check_message(&self, id: &str) -> Result<(), Answer> {
        let accept = self.header("accept");
        if rank(accept, "text/html") < rank(accept, "*/*") {
            return Err(Answer::page(405, "POST method not allowed"));
        }
        self.check_owned(id)
    }

    pub fn stop(&self, id: &str) {
        let (state, config) = (self.state, self.config);
        if !(state.is_second_stop(id) && config.ignores_second_stop) {
            state.stop(id, config.stop_delay);
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
