//! The state of one server that the protocol modules share.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::version::Version;
use crate::http::{BaseUrl, HttpClient, SessionCookie};
use crate::server::{Model, Protocol};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";

pub(crate) struct ApiConfig {
    pub(crate) http: HttpClient,
    pub(crate) share_with_model_authors: bool,
    pub(crate) protocol: Option<Protocol>,
    /// The model that the user has chosen.
    pub(crate) model: Option<String>,
    /// The model to ask first if the user has chosen none.
    pub(crate) usual_model: &'static str,
}

pub(super) struct Context {
    pub(super) http: HttpClient,
    pub(super) share_with_model_authors: bool,
    /// Known after the first contact.
    pub(super) protocol: OnceLock<Protocol>,
    /// Of a chat-ui from 0.8. Known after the first message.
    pub(super) version: OnceLock<Version>,
    /// True if a chat-ui from 0.8 is 0.8.4 or newer. Known if settings were posted first.
    pub(super) is_from_0_8_4: OnceLock<bool>,
    /// The media types that each model takes, `None` if the server does not say.
    pub(super) accepted_types: OnceLock<AcceptedTypes>,
    /// Set if an h2oGPTe server is too old to stop a generation.
    pub(super) has_no_stop: OnceLock<()>,
    default_model: Mutex<DefaultModel>,
    ready: Mutex<ReadySession>,
}

/// The media types of attachments that models take, by the id of the model. `None` is any.
pub(super) type AcceptedTypes = HashMap<String, Option<Vec<String>>>;

/// The model that is asked when a request names none.
struct DefaultModel {
    id: String,
    /// Chosen by the user: no other may take its place.
    is_chosen: bool,
    /// The server has it.
    is_confirmed: bool,
}

/// The models that a session is ready to be asked with.
#[derive(Default)]
struct ReadySession {
    session: Option<SessionCookie>,
    models: HashSet<String>,
}

impl Context {
    pub(super) fn new(config: ApiConfig) -> Context {
        Context {
            http: config.http,
            share_with_model_authors: config.share_with_model_authors,
            protocol: config.protocol.map(OnceLock::from).unwrap_or_default(),
            version: OnceLock::new(),
            is_from_0_8_4: OnceLock::new(),
            accepted_types: OnceLock::new(),
            has_no_stop: OnceLock::new(),
            default_model: Mutex::new(DefaultModel {
                is_chosen: config.model.is_some(),
                id: config.model.unwrap_or_else(|| config.usual_model.to_owned()),
                is_confirmed: false,
            }),
            ready: Mutex::default(),
        }
    }

    pub(super) fn base(&self) -> &BaseUrl {
        self.http.base()
    }

    /// Returns whether the session is the user's, with an account that must not be damaged.
    pub(super) fn has_given_session(&self) -> bool {
        !self.http.session().session.is_invented()
    }

    pub(super) fn set_protocol(&self, protocol: Protocol) {
        // Another thread may have detected the same.
        let _ = self.protocol.set(protocol);
    }

    /// The model that is asked when a request names none, as far as is known.
    pub(super) fn default_model(&self) -> String {
        lock(&self.default_model).id.clone()
    }

    /// The default model, if it was chosen by the user or confirmed by the server.
    pub(super) fn known_default_model(&self) -> Option<String> {
        let default = lock(&self.default_model);
        (default.is_chosen || default.is_confirmed).then(|| default.id.clone())
    }

    pub(super) fn is_model_chosen(&self) -> bool {
        lock(&self.default_model).is_chosen
    }

    /// Makes the server's first model the default, unless the user has chosen another.
    pub(super) fn adopt_first(&self, models: &[Model]) {
        let mut default = lock(&self.default_model);
        if let Some(first) = models.first().filter(|_| !default.is_chosen) {
            default.id.clone_from(&first.id);
            default.is_confirmed = true;
        }
    }

    /// Makes the server's first model the default, unless it has the present one.
    pub(super) fn adopt_default(&self, models: &[Model]) {
        let default = self.default_model();
        if models.iter().all(|model| model.id != default) {
            self.adopt_first(models);
        }
    }

    /// Returns whether a conversation with this model can be created in this session at once.
    pub(super) fn is_ready(&self, session: &SessionCookie, model: &str) -> bool {
        let ready = lock(&self.ready);
        ready.session.as_ref() == Some(session) && ready.models.contains(model)
    }

    pub(super) fn set_ready(&self, session: SessionCookie, model: &str) {
        let mut ready = lock(&self.ready);
        if ready.session.as_ref() != Some(&session) {
            *ready = ReadySession { session: Some(session), models: HashSet::new() };
        }
        ready.models.insert(model.to_owned());
    }
}

/// Percent-encodes a value of a form.
pub(super) fn form_encoded(text: &str) -> impl Display {
    const ENCODED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
    utf8_percent_encode(text, ENCODED)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
