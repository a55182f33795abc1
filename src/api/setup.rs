//! The steps before a conversation: detecting the protocol, accepting the terms, choosing the
//! model.
//!
//! In a session that this crate has invented, the first step is to post settings, as the service's
//! own page does; the response tells the protocols apart. In a session that the user has given,
//! the protocol is detected by GET, and settings are posted only where they are needed.

use log::info;

use super::account::{AccountSettings, Changes};
use super::chat_ui;
use super::classic::{self, SettingsOutcome};
use super::context::Context;
use super::listing::unknown_model;
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{SessionCookie, Timer};
use crate::server::{Model, Protocol};
use crate::text::one_line;

impl Context {
    /// The protocol, detected if need be.
    pub(super) fn detect_protocol(&self, timer: &Timer) -> Result<Protocol> {
        if let Some(known) = self.protocol.get() {
            return Ok(*known);
        }
        let model = self.default_model();
        let (protocol, outcome) = self.detect(timer, &self.http.session(), &model)?;
        if let Some(outcome) = outcome {
            // A wrong model does not matter here.
            let _ = self.finish_invented(timer, outcome, &model, false);
        }
        Ok(protocol)
    }

    /// Detects the protocol. In an invented session of a classic server, settings have then been
    /// posted with this model: returns the outcome too.
    fn detect(
        &self,
        timer: &Timer,
        session: &SessionCookie,
        model: &str,
    ) -> Result<(Protocol, Option<SettingsOutcome>)> {
        let (protocol, outcome) = if session.session.is_invented() {
            self.detect_by_settings(timer, session, model)?
        } else {
            (self.detect_by_get(timer)?, None)
        };
        self.set_protocol(protocol);
        Ok((protocol, outcome))
    }

    fn detect_by_settings(
        &self,
        timer: &Timer,
        session: &SessionCookie,
        model: &str,
    ) -> Result<(Protocol, Option<SettingsOutcome>)> {
        let outcome = classic::post_first_settings(self, timer, session, model)?;
        let SettingsOutcome::NotClassic(error) = outcome else {
            return Ok((Protocol::ChatUiClassic, Some(outcome)));
        };
        let is_from_0_8_4 = error.status() == Some(403);
        if !is_from_0_8_4 {
            let models = chat_ui::list_models_from_0_8(self, timer)?;
            self.adopt_first(&models);
        }
        let _ = self.is_from_0_8_4.set(is_from_0_8_4);
        Ok((Protocol::ChatUi, None))
    }

    fn detect_by_get(&self, timer: &Timer) -> Result<Protocol> {
        if let Some(models) = chat_ui::probe(self, timer)? {
            self.adopt_first(&models);
            return Ok(Protocol::ChatUi);
        }
        // The page of another service has no models.
        classic::list_models(self, timer)?;
        Ok(Protocol::ChatUiClassic)
    }

    /// Does what has to be done before a conversation is created. Returns the model to create it
    /// with: the named one, or the default.
    pub(super) fn set_up(&self, timer: &Timer, named: Option<&str>) -> Result<String> {
        let model = named.map_or_else(|| self.default_model(), str::to_owned);
        match self.protocol.get() {
            Some(Protocol::ChatUi) => self.set_up_chat_ui(timer, named),
            Some(Protocol::H2ogpte) => Ok(model),
            Some(Protocol::ChatUiClassic) => match &self.http.session() {
                session if self.is_ready(session, &model) => Ok(model),
                _ if self.has_given_session() => self.set_up_given(timer, named),
                _ => self.set_up_invented(timer, &model, named.is_some()),
            },
            None => match self.detect(timer, &self.http.session(), &model)? {
                (_, Some(outcome)) => self.finish_invented(timer, outcome, &model, named.is_some()),
                (_, None) => self.set_up(timer, named),
            },
        }
    }

    fn set_up_chat_ui(&self, timer: &Timer, named: Option<&str>) -> Result<String> {
        let model = match named {
            Some(named) => named.to_owned(),
            None => self.default_or_first(timer)?,
        };
        // Servers share by default.
        let mut session = self.http.session();
        if !self.share_with_model_authors && !self.is_ready(&session, &model) {
            if self.has_given_session() {
                let settings = AccountSettings::read(self, timer)?;
                let changes = settings.needed_changes(self).without_terms();
                if !changes.is_none() {
                    settings.post(self, timer, changes)?;
                }
            } else {
                session = chat_ui::post_settings(self, timer, &session, &model)?;
            }
            self.set_ready(session, &model);
        }
        Ok(model)
    }

    /// The default model or, where none was chosen, the first that the server lists.
    fn default_or_first(&self, timer: &Timer) -> Result<String> {
        if let Some(known) = self.known_default_model() {
            return Ok(known);
        }
        let models = chat_ui::list_models(self, timer)?;
        self.adopt_first(&models);
        match models.into_iter().next() {
            Some(first) => Ok(first.id),
            None => Err(Error::new(
                ErrorKind::UnknownModel,
                Step::ListModels,
                "the server has no models",
            )),
        }
    }

    /// Posts the settings of an invented session to a classic server.
    pub(super) fn set_up_invented(
        &self,
        timer: &Timer,
        model: &str,
        is_named: bool,
    ) -> Result<String> {
        // Not locked while waiting: two threads may both post, which does no harm.
        let session = self.http.session();
        let outcome = classic::post_first_settings(self, timer, &session, model)?;
        self.finish_invented(timer, outcome, model, is_named)
    }

    fn finish_invented(
        &self,
        timer: &Timer,
        outcome: SettingsOutcome,
        model: &str,
        is_named: bool,
    ) -> Result<String> {
        match outcome {
            SettingsOutcome::Accepted(session) => {
                self.set_ready(session, model);
                Ok(model.to_owned())
            }
            SettingsOutcome::UnknownModel(error) => {
                self.use_first_model(timer, model, is_named, error)
            }
            SettingsOutcome::NotClassic(error) => Err(error),
        }
    }

    /// After a classic server has refused the model: uses its first one, unless the user wants the
    /// refused one.
    fn use_first_model(
        &self,
        timer: &Timer,
        model: &str,
        is_named: bool,
        error: Error,
    ) -> Result<String> {
        let models = match classic::list_models(self, timer) {
            Ok(models) => models,
            Err(second) if second.is_interrupt() => return Err(second),
            // The server does not say why it refuses, so without a list this is a guess.
            Err(_) => return Err(error.with_hint(hint::MODEL_IN_DOUBT)),
        };
        match models.first() {
            None => Err(error.with_hint(hint::MODEL_IN_DOUBT)),
            Some(_) if models.iter().any(|known| known.id == model) => Err(error),
            Some(_) if is_named || self.is_model_chosen() => {
                Err(unknown_model(error.step(), model, &models).with_source(error))
            }
            Some(first) => {
                log_first_model(model, first);
                let session = self.http.session();
                let session = self.post_invented_settings(timer, &session, &first.id)?;
                self.set_ready(session, &first.id);
                self.adopt_first(&models);
                Ok(first.id.clone())
            }
        }
    }

    /// Prepares a given session on a classic server.
    fn set_up_given(&self, timer: &Timer, named: Option<&str>) -> Result<String> {
        let page = classic::first_page(self, timer)?;
        let models = classic::models_of(&page)?;
        let model = named.map_or_else(|| self.default_model(), str::to_owned);
        let has_it = models.iter().any(|known| known.id == model);
        let model = match models.first() {
            _ if has_it => model,
            Some(first) if named.is_none() && !self.is_model_chosen() => {
                log_first_model(&model, first);
                first.id.clone()
            }
            _ => return Err(unknown_model(Step::ListModels, &model, &models)),
        };
        self.adopt_default(&models);
        let settings = AccountSettings::of_page(&page)?;
        self.post_given_settings(timer, &settings, settings.needed_changes(self))?;
        self.set_ready(self.http.session(), &model);
        Ok(model)
    }

    /// Posts the settings of a given session back to a classic server, with these changes.
    fn post_given_settings(
        &self,
        timer: &Timer,
        settings: &AccountSettings,
        changes: Changes,
    ) -> Result<()> {
        if changes.is_none() {
            return Ok(());
        }
        let form = settings.to_form(changes)?;
        let session = self.http.session();
        let after = classic::post_settings(self, timer, &session, &form)?.accepted()?;
        after.check_name(&session, Step::PostSettings)
    }

    /// Accepts the terms after a 405. Returns true if settings were posted: the request can then be
    /// sent again.
    pub(super) fn accept_terms(
        &self,
        timer: &Timer,
        session: &SessionCookie,
        model: &str,
    ) -> Result<bool> {
        if session.session.is_invented() {
            return self.post_invented_settings(timer, session, model).map(|_| true);
        }
        if self.detect_protocol(timer)? == Protocol::ChatUi {
            let settings = AccountSettings::read(self, timer)?;
            let changes = settings.needed_changes(self);
            if !changes.is_none() {
                settings.post(self, timer, changes)?;
            }
            return Ok(!changes.is_none());
        }
        let page = classic::first_page(self, timer)?;
        let settings = AccountSettings::of_page(&page)?;
        let changes = settings.needed_changes(self);
        self.post_given_settings(timer, &settings, changes)?;
        Ok(!changes.is_none())
    }

    /// Posts the settings of an invented session. Returns the session for which they hold.
    fn post_invented_settings(
        &self,
        timer: &Timer,
        session: &SessionCookie,
        model: &str,
    ) -> Result<SessionCookie> {
        match self.protocol.get() {
            Some(Protocol::ChatUi) => chat_ui::post_settings(self, timer, session, model),
            Some(_) => classic::post_first_settings(self, timer, session, model)?.accepted(),
            None => match self.detect(timer, session, model)? {
                (_, Some(outcome)) => outcome.accepted(),
                (_, None) => chat_ui::post_settings(self, timer, session, model),
            },
        }
    }
}

fn log_first_model(missing: &str, first: &Model) {
    let (missing, first) = (one_line(missing), one_line(&first.id));
    info!("the server does not have {missing}; asking its first model, {first}");
}
