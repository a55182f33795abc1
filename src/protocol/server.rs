//! A server, as one client sees it: what it does alike in all generations, and which one it is.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use log::info;

use super::classic::Posted;
use super::current::Kind;
use super::{Entry, Opened, Place, Stream, Turn, classic, current};
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{Answer, BaseUrl, Call, Origin, Session, Watch, one_line};
use crate::server::{Generation, Model, ServerInfo, Summary};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";

pub(crate) struct Server {
    pub(super) origin: Origin,
    pub(super) share_with_model_authors: bool,
    /// Unknown until the first answer, unless the user has named it.
    generation: OnceLock<Generation>,
    /// What a current server is like, once it has taken a message.
    pub(super) kind: OnceLock<Kind>,
    default_model: Mutex<DefaultModel>,
    set_up: Mutex<SetUp>,
}

/// What a [`Server`] is made of; all of it judged.
pub(crate) struct Config {
    pub(crate) origin: Origin,
    pub(crate) share_with_model_authors: bool,
    pub(crate) generation: Option<Generation>,
    /// The model that the user has named.
    pub(crate) model: Option<String>,
    /// The model to ask otherwise, if the server has it.
    pub(crate) usual_model: &'static str,
}

/// The model that is asked when a request names none.
struct DefaultModel {
    id: String,
    /// Chosen by the user, so that no other may take its place.
    is_named: bool,
    /// The server was asked, and has it.
    is_known: bool,
}

/// The models that the settings were posted for, under the session that they were posted for.
#[derive(Default)]
struct SetUp {
    session: Option<Session>,
    models: HashSet<String>,
}

impl Server {
    pub(crate) fn new(config: Config) -> Server {
        let generation = config.generation.map(OnceLock::from).unwrap_or_default();
        let is_named = config.model.is_some();
        Server {
            origin: config.origin,
            share_with_model_authors: config.share_with_model_authors,
            generation,
            kind: OnceLock::new(),
            default_model: Mutex::new(DefaultModel {
                id: config
                    .model
                    .unwrap_or_else(|| config.usual_model.to_owned()),
                is_named,
                is_known: false,
            }),
            set_up: Mutex::default(),
        }
    }

    pub(crate) fn session(&self) -> Session {
        self.origin.session()
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        self.origin.base()
    }

    /// The model that is asked when a request names none, as far as is known.
    pub(crate) fn default_model(&self) -> String {
        lock(&self.default_model).id.clone()
    }

    /// Refuses what this server would, before anything is sent.
    pub(crate) fn judge(&self, turn: &Turn) -> Result<()> {
        let (size, largest) = match self.generation.get() {
            Some(Generation::Classic) => (classic::body(turn).len(), classic::LARGEST_BODY),
            _ => (turn.text.len(), current::LARGEST_BODY),
        };
        if size > largest {
            return Err(Error::input(format!(
                "the request has {size} bytes; the server takes {largest} at the most"
            )));
        }
        Ok(())
    }

    /// Does what there is to do before a conversation is opened with this model, or the default one. Returns the model.
    pub(crate) fn set_up(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        match self.generation.get() {
            None => self.find_out(watch, named),
            Some(Generation::Classic) => self.set_up_classic(watch, named),
            Some(Generation::Current) => self.set_up_current(watch, named),
        }
    }

    /// The generation, found out if need be.
    fn generation(&self, watch: &Watch) -> Result<Generation> {
        if let Some(known) = self.generation.get() {
            return Ok(*known);
        }
        let model = self.default_model();
        let Some(posted) = self.recognise(watch, &self.origin.session(), &model)? else {
            return Ok(Generation::Current);
        };
        // What may be wrong with the model does not matter here.
        let _ = self.settle(watch, posted, &model, false);
        Ok(Generation::Classic)
    }

    /// Does what there is to do with a server of which nothing is known yet. Returns the model.
    fn find_out(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        let model = named.map_or_else(|| self.default_model(), str::to_owned);
        match self.recognise(watch, &self.origin.session(), &model)? {
            Some(posted) => self.settle(watch, posted, &model, named.is_some()),
            None => self.set_up_current(watch, named),
        }
    }

    /// The first step on a classic server tells the generations from each other. Returns what became of the settings, or
    /// none if the server is a current one.
    fn recognise(&self, watch: &Watch, session: &Session, model: &str) -> Result<Option<Posted>> {
        let posted = classic::post_settings(self, watch, session, model)?;
        let Posted::Foreign(error) = posted else {
            self.is(Generation::Classic);
            return Ok(Some(posted));
        };
        if error.status() == Some(500) {
            let models = current::models_unless_old(self, watch)?;
            self.adopt_first(&models);
        }
        self.is(Generation::Current);
        Ok(None)
    }

    fn is(&self, generation: Generation) {
        // Another thread may have found out the same.
        let _ = self.generation.set(generation);
    }

    fn set_up_classic(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        let model = named.map_or_else(|| self.default_model(), str::to_owned);
        if self.is_set_up(&self.origin.session(), &model) {
            return Ok(model);
        }
        self.set_up_classic_anew(watch, &model, named.is_some())
    }

    fn set_up_classic_anew(&self, watch: &Watch, model: &str, is_named: bool) -> Result<String> {
        // Not locked while waiting: two threads may both post, which does no harm.
        let session = self.origin.session();
        let posted = classic::post_settings(self, watch, &session, model)?;
        self.settle(watch, posted, model, is_named)
    }

    /// The model to ask after the settings were posted to a classic server for this one.
    fn settle(&self, watch: &Watch, posted: Posted, model: &str, is_named: bool) -> Result<String> {
        match posted {
            Posted::Accepted(session) => {
                self.remember_set_up(session, model);
                Ok(model.to_owned())
            }
            Posted::UnknownModel(error) => self.another_model(watch, model, is_named, error),
            Posted::Foreign(error) => Err(error),
        }
    }

    fn set_up_current(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        let model = match named {
            Some(named) => named.to_owned(),
            None => self.first_model(watch)?,
        };
        let session = self.origin.session();
        // A server that asks for no settings shares by default.
        if !self.share_with_model_authors && !self.is_set_up(&session, &model) {
            let session = self.post_settings(watch, &session, &model)?;
            self.remember_set_up(session, &model);
        }
        Ok(model)
    }

    /// The named model or, on a current server, the server's first.
    fn first_model(&self, watch: &Watch) -> Result<String> {
        let default = lock(&self.default_model);
        if default.is_named || default.is_known {
            return Ok(default.id.clone());
        }
        drop(default);
        let models = current::models(self, watch)?;
        self.adopt_first(&models);
        match models.into_iter().next() {
            Some(first) => Ok(first.id),
            None => Err(Error::new(
                ErrorKind::UnknownModel,
                Step::Models,
                "the server has no model to ask",
            )),
        }
    }

    /// Takes the server's first model for the default one, unless the user has named another.
    fn adopt_first(&self, models: &[Model]) {
        let mut default = lock(&self.default_model);
        if let Some(first) = models.first().filter(|_| !default.is_named) {
            default.id.clone_from(&first.id);
            default.is_known = true;
        }
    }

    /// After the settings were refused for a model: the server's first model, unless the user wants this one.
    fn another_model(
        &self,
        watch: &Watch,
        model: &str,
        is_named: bool,
        error: Error,
    ) -> Result<String> {
        let models = match classic::models(self, watch) {
            Ok(models) => models,
            // The server says only that something is wrong with it; without a list that is all there is to say.
            Err(second) if second.is_cut() => return Err(second),
            Err(_) => return Err(error.with_hint(hint::MODEL_IN_DOUBT)),
        };
        let is_named = is_named || lock(&self.default_model).is_named;
        match models.first() {
            None => Err(error.with_hint(hint::MODEL_IN_DOUBT)),
            Some(_) if models.iter().any(|known| known.id == model) => Err(error),
            Some(_) if is_named => {
                Err(unknown_model(error.step(), model, &models).with_source(error))
            }
            Some(first) => {
                let (model, id) = (one_line(model), one_line(&first.id));
                info!("the server does not have {model}; asking its first model, {id}");
                let session = self.post_settings(watch, &self.origin.session(), &first.id)?;
                self.remember_set_up(session, &first.id);
                self.adopt_first(&models);
                Ok(first.id.clone())
            }
        }
    }

    fn is_set_up(&self, session: &Session, model: &str) -> bool {
        let set_up = lock(&self.set_up);
        set_up.session.as_ref() == Some(session) && set_up.models.contains(model)
    }

    fn remember_set_up(&self, session: Session, model: &str) {
        let mut set_up = lock(&self.set_up);
        if set_up.session.as_ref() != Some(&session) {
            *set_up = SetUp {
                session: Some(session),
                models: HashSet::new(),
            };
        }
        set_up.models.insert(model.to_owned());
    }

    /// Accepts the server's terms and chooses the model; returns the session that this holds for.
    fn post_settings(&self, watch: &Watch, session: &Session, model: &str) -> Result<Session> {
        let posted = match self.generation.get() {
            Some(Generation::Current) => None,
            Some(Generation::Classic) => Some(classic::post_settings(self, watch, session, model)?),
            None => self.recognise(watch, session, model)?,
        };
        match posted {
            Some(Posted::Accepted(session)) => Ok(session),
            Some(Posted::UnknownModel(error) | Posted::Foreign(error)) => Err(error),
            None => current::post_settings(self, watch, session, model),
        }
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
        match self.generation(watch)? {
            Generation::Classic => classic::open(self, watch, model, system),
            Generation::Current => current::open(self, watch, model, system),
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
        match self.generation(watch)? {
            Generation::Classic => classic::ask(self, watch, place, turn),
            Generation::Current => current::ask(self, watch, place, parent, turn),
        }
    }

    /// For how long a stop that came too late cuts the next message.
    pub(crate) fn aftermath_of_late_stop(&self) -> Duration {
        match self.generation.get() {
            Some(Generation::Current) => current::aftermath_of_late_stop(self),
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

    /// The models that the server offers.
    pub(crate) fn models(&self, watch: &Watch) -> Result<Vec<Model>> {
        match self.generation(watch)? {
            Generation::Classic => classic::models(self, watch),
            Generation::Current => current::models(self, watch),
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
        match self.generation(watch)? {
            Generation::Classic => classic::conversations(self, watch),
            Generation::Current => current::conversations(self, watch),
        }
    }

    /// What has been said in a conversation.
    pub(crate) fn messages(&self, watch: &Watch, place: &Place) -> Result<Vec<Entry>> {
        match self.generation(watch)? {
            Generation::Classic => classic::messages(self, watch, place),
            Generation::Current => current::messages(self, watch, place),
        }
    }

    /// Looks whether this is a server to talk to, and what it offers. What was so before is not relied on.
    pub(crate) fn check(&self, watch: &Watch) -> Result<ServerInfo> {
        let model = match self.generation.get() {
            Some(Generation::Classic) => {
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
            generation: self.generation(watch)?,
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

pub(super) fn unknown_model(step: Step, model: &str, models: &[Model]) -> Error {
    let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    let has = one_line(&ids.join(", "));
    let message = format!("the server does not have the model {model:?}; it has {has}");
    Error::new(ErrorKind::UnknownModel, step, message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn form_encoded(text: &str) -> String {
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
