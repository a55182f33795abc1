//! What comes before a conversation: which protocol the server speaks, its terms, and the model that is asked.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::info;

use super::classic::{self, Posted};
use super::current;
use super::server::Server;
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{Session, Watch, one_line};
use crate::server::{Model, Protocol};

/// The model that is asked when a request names none.
pub(super) struct DefaultModel {
    id: String,
    /// Chosen by the user, so that no other may take its place.
    is_named: bool,
    /// The server was asked, and has it.
    is_known: bool,
}

/// The models that the settings were posted for, under the session that they were posted for.
#[derive(Default)]
pub(super) struct SetUp {
    session: Option<Session>,
    models: HashSet<String>,
}

impl DefaultModel {
    /// The one that the user has named, or else the usual one until more is known.
    pub(super) fn new(named: Option<String>, usual: &str) -> DefaultModel {
        DefaultModel {
            is_named: named.is_some(),
            id: named.unwrap_or_else(|| usual.to_owned()),
            is_known: false,
        }
    }
}

impl Server {
    /// The model that is asked when a request names none, as far as is known.
    pub(crate) fn default_model(&self) -> String {
        lock(&self.default_model).id.clone()
    }

    /// Does what there is to do before a conversation is opened with this model, or the default one. Returns the model.
    pub(crate) fn set_up(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        match self.protocol.get() {
            None => self.find_out(watch, named),
            Some(Protocol::Classic) => self.set_up_classic(watch, named),
            Some(Protocol::Current) => self.set_up_current(watch, named),
        }
    }

    /// The protocol, found out if need be.
    pub(super) fn protocol(&self, watch: &Watch) -> Result<Protocol> {
        if let Some(known) = self.protocol.get() {
            return Ok(*known);
        }
        let model = self.default_model();
        let Some(posted) = self.recognise(watch, &self.origin.session(), &model)? else {
            return Ok(Protocol::Current);
        };
        // What may be wrong with the model does not matter here.
        let _ = self.settle(watch, posted, &model, false);
        Ok(Protocol::Classic)
    }

    /// Does what there is to do with a server of which nothing is known yet. Returns the model.
    fn find_out(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        let model = named.map_or_else(|| self.default_model(), str::to_owned);
        match self.recognise(watch, &self.origin.session(), &model)? {
            Some(posted) => self.settle(watch, posted, &model, named.is_some()),
            None => self.set_up_current(watch, named),
        }
    }

    /// The first step on a classic server tells the protocols from each other. Returns what became of the settings, or
    /// none if the server is a current one.
    fn recognise(&self, watch: &Watch, session: &Session, model: &str) -> Result<Option<Posted>> {
        let posted = classic::post_settings(self, watch, session, model)?;
        let Posted::Foreign(error) = posted else {
            self.is(Protocol::Classic);
            return Ok(Some(posted));
        };
        if error.status() == Some(500) {
            let models = current::models_unless_old(self, watch)?;
            self.adopt_first(&models);
        }
        self.is(Protocol::Current);
        Ok(None)
    }

    fn is(&self, protocol: Protocol) {
        // Another thread may have found out the same.
        let _ = self.protocol.set(protocol);
    }

    fn set_up_classic(&self, watch: &Watch, named: Option<&str>) -> Result<String> {
        let model = named.map_or_else(|| self.default_model(), str::to_owned);
        if self.is_set_up(&self.origin.session(), &model) {
            return Ok(model);
        }
        self.set_up_classic_anew(watch, &model, named.is_some())
    }

    pub(super) fn set_up_classic_anew(
        &self,
        watch: &Watch,
        model: &str,
        is_named: bool,
    ) -> Result<String> {
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
    pub(super) fn post_settings(
        &self,
        watch: &Watch,
        session: &Session,
        model: &str,
    ) -> Result<Session> {
        let posted = match self.protocol.get() {
            Some(Protocol::Current) => None,
            Some(Protocol::Classic) => Some(classic::post_settings(self, watch, session, model)?),
            None => self.recognise(watch, session, model)?,
        };
        match posted {
            Some(Posted::Accepted(session)) => Ok(session),
            Some(Posted::UnknownModel(error) | Posted::Foreign(error)) => Err(error),
            None => current::post_settings(self, watch, session, model),
        }
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
