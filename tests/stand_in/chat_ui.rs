//! One request to chat-ui, and the rules of all its generations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::classic;
use super::current;
use super::dialect::OnStop;
use super::encoder::Encoder;
use super::history::Turn;
use super::plan::Act;
use super::request::Request;
use super::response::Response;
use super::state::{Conversation, Shared};
use super::{Config, Dialect};

/// The response to a request. With a job, it is only the head of a reply.
pub(super) type Reply = (Response, Option<Job>);

/// A reply to be generated.
pub(super) struct Job {
    pub conversation: String,
    pub turn: Turn,
    pub acts: Box<dyn Iterator<Item = Act> + Send>,
    pub encoder: Box<dyn Encoder>,
    /// True if an early stop ends it at its beginning.
    pub is_stopped: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Route<'a> {
    Home,
    HomeData,
    Login,
    Settings,
    /// The path that creates conversations.
    Create,
    Conversation(&'a str),
    ConversationData(&'a str),
    Stop(&'a str),
    /// The rest of a path below `/api/`.
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
            ["", "__data.json"] => Some(Self::HomeData),
            ["", "login"] => Some(Self::Login),
            ["", "settings"] => Some(Self::Settings),
            ["", "conversation"] => Some(Self::Create),
            ["", "conversation", id] if !id.is_empty() => Some(Self::Conversation(id)),
            ["", "conversation", id, "__data.json"] => Some(Self::ConversationData(id)),
            ["", "conversation", id, "stop-generating"] => Some(Self::Stop(id)),
            _ => None,
        }
    }
}

/// Returns whether the request is for an HTML page.
pub(super) fn is_page(config: &Config, request: &Request) -> bool {
    let is_data = match path_below(config, request).map(Route::parse) {
        Ok(Some(Route::HomeData | Route::ConversationData(_))) => true,
        Ok(Some(Route::Api(_))) => config.dialect != Dialect::Classic,
        _ => false,
    };
    request.method == "GET" && !is_data && config.dialect != Dialect::H2ogpte
}

pub(super) fn reply(config: &Config, shared: &Arc<Shared>, request: &Request) -> Reply {
    let path = match path_below(config, request) {
        Ok(path) => path,
        Err(refusal) => return (refusal, None),
    };
    let exchange =
        Exchange { config, shared, request, session: session(&config.cookie_name, request) };
    let route = Route::parse(path);
    match config.dialect {
        Dialect::Classic => classic::reply(&exchange, route),
        _ => current::reply(&exchange, route),
    }
}

/// Returns the path below the base path, or the refusal of a request that reaches no route.
fn path_below<'a>(config: &Config, request: &'a Request) -> Result<&'a str, Response> {
    let (base, limit) = (&*config.base_path, config.dialect.body_limit());
    if request.content_length().is_ok_and(|length| length > limit) {
        return Err(Response::new(413).sized("Invalid request body"));
    }
    let end = request.path.find('?').unwrap_or(request.path.len());
    let (path, query) = request.path.split_at(end);
    let Some(below) = path.strip_prefix(base) else {
        let response = Response::new(404).header("content-type", "text/plain");
        return Err(response.sized("Not found"));
    };
    match below.strip_suffix('/') {
        Some(slashless) if path != "/" && Route::parse(slashless).is_some() => {
            let response = Response::new(308).header("x-sveltekit-normalize", "1");
            Err(response.header("location", format!("{base}{slashless}{query}")))
        }
        _ => Ok(below),
    }
}

/// The session that the client claims, or a new one.
fn session(cookie_name: &str, request: &Request) -> String {
    let cookies = request.header("cookie").unwrap_or_default().split(';');
    cookies
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|&(name, value)| name == cookie_name && !value.is_empty())
        .map_or_else(|| Uuid::new_v4().to_string(), |(_, value)| value.to_string())
}

/// A request, the session that it comes from, and the server.
pub(super) struct Exchange<'a> {
    pub config: &'a Config,
    pub shared: &'a Arc<Shared>,
    pub request: &'a Request,
    pub session: String,
}

impl Exchange<'_> {
    pub fn is_post(&self) -> bool {
        self.request.method == "POST"
    }

    pub fn header(&self, name: &str) -> &str {
        self.request.header(name).unwrap_or_default()
    }

    pub fn json(&self) -> Result<Value, Response> {
        // Without a content type the server drops the body.
        match self.request.json() {
            Value::Object(fields) if !self.header("content-type").is_empty() => Ok(fields.into()),
            _ => Err(self.internal_error()),
        }
    }

    /// The server's own origin, as it believes.
    pub fn origin(&self) -> String {
        let scheme = if self.config.https_referer { "https" } else { "http" };
        format!("{scheme}://{}", self.header("host"))
    }

    /// Returns whether the server protects the request against forgery.
    pub fn is_form(&self) -> bool {
        const FORMS: [&str; 3] =
            ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
        let content_type = self.header("content-type").split(';').next();
        self.is_post() && content_type.is_some_and(|media| FORMS.contains(&media))
    }

    /// Refuses a form whose Referer is not of this origin.
    pub fn check_referer(&self) -> Result<(), Response> {
        if !self.is_form() {
            return Ok(());
        }
        let Some(referer) = self.request.header("referer") else {
            let message = "Non-JSON form requests need to have a referer";
            return Err(self.early_refusal(403, message));
        };
        let origin = referer.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        if origin == self.origin() {
            return Ok(());
        }
        Err(self.early_refusal(403, "Invalid referer for POST request"))
    }

    /// Refuses all but pages and the settings before the modal is accepted.
    pub fn check_modal(&self, route: Option<Route>) -> Result<(), Response> {
        let is_free = self.request.method == "GET" || matches!(route, Some(Route::Settings));
        if is_free || self.shared.lock().has_accepted(&self.session) {
            return Ok(());
        }
        Err(self.early_refusal(405, "You need to accept the welcome modal first"))
    }

    /// The login begins a session of its own.
    pub fn to_login(&self) -> Response {
        let location = format!("{}{}/login", self.origin(), self.config.base_path);
        let response = Response::new(302).header("location", location);
        response.header("set-cookie", self.cookie(&Uuid::new_v4().to_string())).sized("")
    }

    pub fn model<'b>(&self, body: &'b Value) -> Option<&'b str> {
        let model = body["model"].as_str()?;
        self.knows_model(model).then_some(model)
    }

    pub fn knows_model(&self, model: &str) -> bool {
        self.config.models.iter().any(|known| known == model)
    }

    /// Returns the session's conversation with this id.
    pub fn conversation(&self, id: &str) -> Result<Conversation, Response> {
        if !is_id(id) {
            return Err(self.internal_error());
        }
        let known = self.shared.lock().conversations.get(id).cloned();
        let own = known.filter(|known| known.session == self.session);
        own.ok_or_else(|| self.error(404, "Conversation not found"))
    }

    /// Returns the conversation that a message is for.
    pub fn message_conversation(&self, id: &str) -> Result<Conversation, Response> {
        if self.request.prefers_json() == Some(false) {
            return Err(Response::page(405, "POST method not allowed"));
        }
        self.conversation(id)
    }

    pub fn stop(&self, id: &str) -> Result<Response, Response> {
        const REMEMBERED: Duration = Duration::from_secs(30);
        const UNTIL_SEEN: Duration = Duration::from_millis(350);
        self.conversation(id)?;
        let (on_stop, now) = (self.config.dialect.on_stop(), Instant::now());
        let running = self.shared.change(|state| {
            let running = state.running_in(id);
            let conversation = state.conversations.get_mut(id)?;
            let before = conversation.last_stop.replace(now);
            let is_second = before.is_some_and(|before| now - before < REMEMBERED);
            if running.is_empty() && on_stop == OnStop::EndsOrCutsNext {
                conversation.early_stop = Some(now);
            }
            let is_ignored = is_second && self.config.ignores_second_stop;
            (on_stop != OnStop::Nothing && !is_ignored).then_some(running)
        });
        if let Some(running) = running {
            let only_read = on_stop == OnStop::EndsWhatIsRead;
            let delay = if only_read {
                // Long enough for keep-alive lines to show whether the client is still connected.
                self.config.stop_delay.max(UNTIL_SEEN)
            } else {
                self.config.stop_delay
            };
            self.shared.stop_after(delay, running, only_read);
        }
        Ok(Response::new(200))
    }

    pub fn rename(&self, id: &str) -> Result<Response, Response> {
        let body = self.json()?;
        let title = body["title"].as_str().unwrap_or_default().trim().to_string();
        if !(1..=100).contains(&title.chars().count()) {
            return Err(self.internal_error());
        }
        self.conversation(id)?;
        self.shared.change(|state| {
            if let Some(conversation) = state.conversations.get_mut(id) {
                conversation.title = title;
            }
        });
        Ok(Response::new(200))
    }

    pub fn delete(&self, id: &str) -> Result<Response, Response> {
        self.conversation(id)?;
        self.shared.change(|state| state.conversations.remove(id));
        Ok(Response::new(200))
    }

    pub fn with_cookie(&self, response: Response) -> Response {
        response.header("set-cookie", self.cookie(&self.session))
    }

    fn cookie(&self, session: &str) -> String {
        format!(
            "{}={session}; Path=/; Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; \
             SameSite=None",
            self.config.cookie_name
        )
    }

    /// A refusal before the routes: the media type is guessed, and no cookie is set.
    pub fn early_refusal(&self, status: u16, message: &str) -> Response {
        let response = Response::new(status);
        let mut headers = ["accept", "content-type"].iter();
        if headers.any(|name| self.header(name).contains("application/json")) {
            let response = response.header("content-type", "application/json");
            response.body(json!({"error": message}).to_string())
        } else {
            response.header("content-type", "text/plain").body(message)
        }
    }

    pub fn internal_error(&self) -> Response {
        self.error(500, "Internal Error")
    }

    /// A refusal of a route: a page, unless the client prefers JSON.
    pub fn error(&self, status: u16, message: &str) -> Response {
        match self.request.prefers_json() {
            Some(true) => Response::message(status, message),
            _ => Response::page(status, message),
        }
    }
}

/// Returns whether it has the form of a conversation's id.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
