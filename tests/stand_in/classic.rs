//! The routes of a classic chat-ui server, and what it refuses.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Config;
use super::accept::{prefers_json, rank};
use super::answer::{Answer, stream_head};
use super::listing::listing;
use super::parameters;
use super::plan::{Act, Plan, Wanted};
use super::request::{BODY_LIMIT, Request};
use super::state::{Settings, State};

/// The answer to a request. If there is a job, the answer is only the head of its reply.
pub(super) type Reply = (Answer, Option<Job>);

/// A reply to be generated.
pub(super) struct Job {
    pub conversation: String,
    pub acts: Box<dyn Iterator<Item = Act> + Send>,
    /// None if no details are wanted.
    pub details: Option<Wanted>,
}

enum Route<'a> {
    Home,
    Listing,
    Login,
    Settings,
    Conversations,
    Conversation(&'a str),
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
            ["", "conversation"] => Some(Self::Conversations),
            ["", "conversation", id] if !id.is_empty() => Some(Self::Conversation(id)),
            ["", "conversation", id, "stop-generating"] => Some(Self::Stop(id)),
            _ => None,
        }
    }
}

/// Whether it asks for something to look at.
pub(super) fn is_page(config: &Config, request: &Request) -> bool {
    let below = path_below(&config.base_path, request);
    let is_listing = below.is_ok_and(|path| matches!(Route::parse(path), Some(Route::Listing)));
    request.method == "GET" && !is_listing
}

/// What the server does with one request, in the order in which its layers see it.
pub(super) fn reply(config: &Config, state: &State, request: &Request) -> Reply {
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
    exchange.reply(Route::parse(path))
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

struct Exchange<'a> {
    config: &'a Config,
    state: &'a State,
    request: &'a Request,
    session: String,
}

impl Exchange<'_> {
    fn reply(&self, route: Option<Route>) -> Reply {
        let refusal = self
            .login(route.as_ref())
            .or_else(|| self.forged())
            .or_else(|| self.modal(route.as_ref()));
        if let Some(refusal) = refusal {
            return (refusal, None);
        }
        let (answer, job) = match route {
            Some(Route::Conversation(id)) if self.request.method == "POST" => self.message(id),
            route => self.plain(route).map(|answer| (answer, None)),
        }
        .unwrap_or_else(|refusal| (refusal, None));
        (self.with_cookie(answer), job)
    }

    fn with_cookie(&self, answer: Answer) -> Answer {
        let cookie = format!(
            "{}={}; Path=/; Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None",
            self.config.cookie_name, self.session
        );
        answer.header("set-cookie", cookie)
    }

    /// What the server believes to be its own.
    fn origin(&self) -> String {
        let scheme = if self.config.https_referer {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.header("host"))
    }

    /// The wall before everything, where one is wanted.
    fn login(&self, route: Option<&Route>) -> Option<Answer> {
        let free = !self.config.requires_login
            || (self.request.method == "GET" && matches!(route, Some(Route::Login)));
        let location = format!("{}{}/login", self.origin(), self.config.base_path);
        (!free).then(|| Answer::new(302).header("location", location).sized(""))
    }

    /// A form must come from this origin, and only its Referer says so.
    fn forged(&self) -> Option<Answer> {
        const FORMS: [&str; 3] = [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/plain",
        ];
        let content_type = self.header("content-type").split(';').next()?;
        if self.request.method != "POST" || !FORMS.contains(&content_type) {
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
    fn modal(&self, route: Option<&Route>) -> Option<Answer> {
        let free = self.request.method == "GET"
            || matches!(route, Some(Route::Settings))
            || self.state.has_accepted(&self.session);
        let message = "You need to accept the welcome modal first";
        (!free).then(|| self.hook_refusal(405, message))
    }

    fn plain(&self, route: Option<Route>) -> Result<Answer, Answer> {
        match (self.request.method.as_str(), route) {
            ("GET", Some(Route::Home)) => Ok(Answer::page(200, "Chat")),
            ("GET", Some(Route::Login)) => Ok(Answer::page(200, "Login")),
            ("GET", Some(Route::Listing)) => {
                let body = listing(self.config, self.state, &self.session);
                let answer = Answer::json(200, &body);
                Ok(answer.header("cache-control", "private, no-store"))
            }
            ("POST", Some(Route::Settings)) => self.settings(),
            ("POST", Some(Route::Conversations)) => self.create(),
            ("POST", Some(Route::Stop(id))) => {
                self.check_owned(id)?;
                self.state.stop(id);
                Ok(Answer::new(200))
            }
            ("DELETE", Some(Route::Conversation(id))) => {
                self.check_owned(id)?;
                self.state.forget(id);
                Ok(Answer::new(200))
            }
            _ => Err(Answer::page(404, "Not Found")),
        }
    }

    fn settings(&self) -> Result<Answer, Answer> {
        let in_json = prefers_json(self.request.header("accept").unwrap_or("*/*"));
        if !self.save_settings() {
            let body = r#"{"type":"error","error":{"message":"Internal Error"}}"#;
            return Err(if in_json {
                Answer::json(500, body)
            } else {
                Answer::page(500, "Internal Error")
            });
        }
        let location = self.header("referer");
        Ok(if in_json {
            // Written out, for the order of the fields.
            let location = Value::from(location);
            let body = format!(r#"{{"type":"redirect","status":303,"location":{location}}}"#);
            Answer::json(200, &body)
        } else {
            Answer::new(303).header("location", location)
        })
    }

    /// Whether they could be saved.
    fn save_settings(&self) -> bool {
        let form = self.request.form();
        let value = |name| {
            let field = form.iter().find(|(field, _)| field == name);
            field.map(|(_, value)| value.as_str())
        };
        let content_type = self.header("content-type");
        let shares = value("shareConversationsWithModelAuthors");
        let valid =
            content_type.starts_with("application/x-www-form-urlencoded") && shares != Some("");
        let model = value("activeModel").filter(|model| valid && self.knows(model));
        let Some(model) = model else { return false };
        let settings = Settings {
            accepted: value("ethicsModalAccepted") == Some("true"),
            shares: shares.is_some(),
            active_model: model.to_string(),
        };
        self.state.save_settings(&self.session, settings);
        true
    }

    fn create(&self) -> Result<Answer, Answer> {
        let body = self.json()?;
        let Some(model) = body["model"].as_str().filter(|name| self.knows(name)) else {
            return Err(self.internal_error());
        };
        let id = self.state.create(&self.session, model);
        let body = json!({"conversationId": id}).to_string();
        let answer = Answer::new(200).header("content-type", "application/json");
        Ok(answer.body(body))
    }

    fn message(&self, id: &str) -> Result<Reply, Answer> {
        let accept = self.header("accept");
        if rank(accept, "text/html") < rank(accept, "*/*") {
            return Err(Answer::page(405, "POST method not allowed"));
        }
        self.check_owned(id)?;
        let body = self.json()?;
        let inputs = body["inputs"].as_str().unwrap_or_default();
        if inputs.trim().is_empty() || !are_options(&body["options"]) {
            return Err(self.internal_error());
        }
        let plan = (self.config.plan)(inputs);
        let parameters = &body["parameters"];
        let plan = match plan {
            // This one never asks the model's server.
            Plan::Refusal { .. } => plan,
            plan => parameters::refusal(parameters).unwrap_or(plan),
        };
        Ok(match plan {
            Plan::Refusal { status, message } => (self.error(status, message), None),
            Plan::Answer {
                status,
                reason,
                headers,
                body,
            } => (
                Answer::with_reason(status, &reason).relayed(headers, body),
                None,
            ),
            Plan::Acts(acts) => {
                let details = (parameters["details"] == true).then(|| Wanted {
                    seed: parameters["seed"].clone(),
                    input_length: inputs.split_whitespace().count(),
                });
                let conversation = id.to_string();
                let job = Job {
                    conversation,
                    acts,
                    details,
                };
                (stream_head(), Some(job))
            }
        })
    }

    fn check_owned(&self, id: &str) -> Result<(), Answer> {
        let well_formed = id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !well_formed {
            Err(self.internal_error())
        } else if !self.state.owns(&self.session, id) {
            Err(self.error(404, "Conversation not found"))
        } else {
            Ok(())
        }
    }

    fn json(&self) -> Result<Value, Answer> {
        // Without a content type the server drops the body.
        match self.request.json() {
            Value::Object(fields) if !self.header("content-type").is_empty() => Ok(fields.into()),
            _ => Err(self.internal_error()),
        }
    }

    fn knows(&self, model: &str) -> bool {
        self.config.models.iter().any(|known| known == model)
    }

    fn header(&self, name: &str) -> &str {
        self.request.header(name).unwrap_or_default()
    }

    /// A refusal before the routes, where the media type is guessed and no cookie is set.
    fn hook_refusal(&self, status: u16, message: &str) -> Answer {
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

    fn internal_error(&self) -> Answer {
        self.error(500, "Internal Error")
    }

    fn error(&self, status: u16, message: &str) -> Answer {
        if prefers_json(self.header("accept")) {
            Answer::message(status, message)
        } else {
            Answer::page(status, message)
        }
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

fn are_options(options: &Value) -> bool {
    let absent_or = |name, allows: fn(&Value) -> bool| options.get(name).is_none_or(allows);
    options.is_object()
        && absent_or("id", is_uuid)
        && absent_or("response_id", is_uuid)
        && absent_or("is_retry", Value::is_boolean)
        && absent_or("web_search_id", Value::is_string)
}

fn is_uuid(value: &Value) -> bool {
    // The other ways to write one have other lengths.
    value
        .as_str()
        .is_some_and(|text| text.len() == 36 && Uuid::try_parse(text).is_ok())
}
