//! A server, as one client sees it: what is asked of it, and what it does alike whichever protocol it speaks.

use std::fmt::Display;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use log::info;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::current::Kind;
use super::set_up::{DefaultModel, SetUp, unknown_model};
use super::{Entry, Opened, Place, Stream, Turn, classic, current};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Answer, BaseUrl, Call, Origin, Session, Watch};
use crate::server::{Model, Protocol, ServerInfo, Summary};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";

pub(crate) struct Server {
    pub(super) origin: Origin,
    pub(super) share_with_model_authors: bool,
    /// Unknown until the first answer, unless the user has named it.
    pub(super) protocol: OnceLock<Protocol>,
    /// What a current server is like, once it has taken a message.
    pub(super) kind: OnceLock<Kind>,
    pub(super) default_model: Mutex<DefaultModel>,
    pub(super) set_up: Mutex<SetUp>,
}

/// What a [`Server`] is made of; all of it judged.
pub(crate) struct Config {
    pub(crate) origin: Origin,
    pub(crate) share_with_model_authors: bool,
    pub(crate) protocol: Option<Protocol>,
    /// The model that the user has named.
    pub(crate) model: Option<String>,
    /// The model to ask otherwise, if the server has it.
    pub(crate) usual_model: &'static str,
}

impl Server {
    pub(crate) fn new(config: Config) -> Server {
        let protocol = config.protocol.map(OnceLock::from).unwrap_or_default();
        Server {
            origin: config.origin,
            share_with_model_authors: config.share_with_model_authors,
            protocol,
            kind: OnceLock::new(),
            default_model: Mutex::new(DefaultModel::new(config.model, config.usual_model)),
            set_up: Mutex::default(),
        }
    }

    pub(crate) fn session(&self) -> Session {
        self.origin.session()
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        self.origin.base()
    }

    /// Refuses what this server would, before anything is sent.
    pub(crate) fn judge(&self, turn: &Turn) -> Result<()> {
        let (size, largest) = match self.protocol.get() {
            Some(Protocol::Classic) => (classic::body(turn).len(), classic::LARGEST_BODY),
            _ => (turn.text.len(), current::LARGEST_BODY),
        };
        if size > largest {
            return Err(Error::input(format!(
                "the request has {size} bytes; the server takes {largest} at the most"
            )));
        }
        Ok(())
    }

    /// Asks something under a session; if the server has forgotten that its terms were accepted, once more
    /// after they have been.
    pub(super) fn exchange(&self, watch: &Watch, model: &str, call: &Call) -> Result<Answer> {
        let answer = self.origin.exchange(watch, call)?;
        if answer.status() != 405 {
            return Ok(answer);
        }
        let why = answer.refusal(watch);
        info!("{why}; posting the settings again");
        let session = call.session_or(self.origin.session());
        // Unlike that of the call, its answer is not worth more time than the user gives.
        let posted = self.post_settings(&watch.without_grace(), &session, model);
        posted.map_err(|error| error.at(why.step()))?;
        self.origin.exchange(watch, call)
    }

    /// The same, about a conversation.
    pub(super) fn exchange_in(&self, watch: &Watch, place: &Place, call: &Call) -> Result<Answer> {
        let model = place.model.clone().unwrap_or_else(|| self.default_model());
        self.exchange(watch, &model, call)
    }

    /// Opens a conversation.
    pub(crate) fn open(&self, watch: &Watch, model: &str, system: Option<&str>) -> Result<Opened> {
        match self.protocol(watch)? {
            Protocol::Classic => classic::open(self, watch, model, system),
            Protocol::Current => current::open(self, watch, model, system),
        }
    }

    /// Sends the message, in answer to this one if that is known; returns when the reply begins.
    pub(crate) fn ask(
        &self,
        watch: &Watch,
        place: &Place,
        parent: Option<String>,
        turn: &Turn,
    ) -> Result<Stream> {
        match self.protocol(watch)? {
            Protocol::Classic => classic::ask(self, watch, place, turn),
            Protocol::Current => current::ask(self, watch, place, parent, turn),
        }
    }

    /// For how long a stop that came too late cuts the next message.
    pub(crate) fn aftermath_of_late_stop(&self) -> Duration {
        match self.protocol.get() {
            Some(Protocol::Current) => current::aftermath_of_late_stop(self),
            _ => Duration::ZERO,
        }
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

    /// A conversation that is gone already is as good as deleted. Says whether it was there.
    pub(crate) fn delete(&self, watch: &Watch, place: &Place) -> Result<bool> {
        let path = place.path();
        let call = Call::delete(Step::Delete, &path).session(&place.session);
        let answer = self.exchange_in(watch, place, &call)?;
        let is_gone = answer.status() == 404;
        let answer = if is_gone {
            answer
        } else {
            answer.accepted(watch)?
        };
        answer.skip(watch);
        Ok(!is_gone)
    }

    /// The models that the server offers.
    pub(crate) fn models(&self, watch: &Watch) -> Result<Vec<Model>> {
        match self.protocol(watch)? {
            Protocol::Classic => classic::models(self, watch),
            Protocol::Current => current::models(self, watch),
        }
    }

    /// The same, of a server that need not have a list to be one to talk to.
    fn models_if_listed(&self, watch: &Watch) -> Result<Vec<Model>> {
        let unlisted = |error: &Error| {
            let unreadable = [ErrorKind::Protocol, ErrorKind::TooLarge].contains(&error.kind());
            unreadable || error.status() == Some(404)
        };
        match self.models(watch) {
            Err(error) if unlisted(&error) => Ok(Vec::new()),
            models => models,
        }
    }

    /// The conversations of the session.
    pub(crate) fn conversations(&self, watch: &Watch) -> Result<Vec<Summary>> {
        match self.protocol(watch)? {
            Protocol::Classic => classic::conversations(self, watch),
            Protocol::Current => current::conversations(self, watch),
        }
    }

    /// What has been said in a conversation.
    pub(crate) fn messages(&self, watch: &Watch, place: &Place) -> Result<Vec<Entry>> {
        match self.protocol(watch)? {
            Protocol::Classic => classic::messages(self, watch, place),
            Protocol::Current => current::messages(self, watch, place),
        }
    }

    /// Looks whether this is a server to talk to, and what it offers. What was so before is not relied on.
    pub(crate) fn check(&self, watch: &Watch) -> Result<ServerInfo> {
        let model = match self.protocol.get() {
            Some(Protocol::Classic) => {
                self.set_up_classic_anew(watch, &self.default_model(), false)?
            }
            _ => self.set_up(watch, None)?,
        };
        let models = self.models_if_listed(watch)?;
        // A current server says so only when a conversation is to be opened.
        if !models.is_empty() && models.iter().all(|known| known.id != model) {
            return Err(unknown_model(Step::Models, &model, &models));
        }
        Ok(ServerInfo {
            url: self.origin.base().to_string(),
            protocol: self.protocol(watch)?,
            models,
            model,
            expects_https: self.origin.referer() != self.origin.base().referer(),
        })
    }
}

impl Place {
    pub(super) fn path(&self) -> String {
        format!("/conversation/{}", self.id)
    }
}

/// Percent-encodes a value of a form.
pub(super) fn form_encoded(text: &str) -> impl Display {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'*')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_');
    utf8_percent_encode(text, ENCODED)
}
