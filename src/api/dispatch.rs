//! The calls that a client and its conversations make, whichever protocol it speaks.

use std::time::Duration;

use log::info;
use serde_json::json;

use super::context::{ApiConfig, Context, JSON};
use super::h2ogpte::AUTO;
use super::listing::{is_unlisted, unknown_model};
use super::message::{OutgoingMessage, RemoteConversation, StoredMessage, is_id};
use super::reply_stream::ReplyStream;
use super::version::{StopSupport, no_attachments, no_tools};
use super::{attachments, chat_ui, classic, h2ogpte};
use crate::error::{Error, Result, Step};
use crate::http::{BaseUrl, HttpRequest, SessionCookie, Timer};
use crate::server::{ConversationSummary, Model, Protocol, ServerInfo};
use crate::text::one_line;

pub(crate) struct Api(Context);

impl Api {
    pub(crate) fn new(config: ApiConfig) -> Api {
        Api(Context::new(config))
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        self.0.base()
    }

    pub(crate) fn session(&self) -> SessionCookie {
        self.0.http.session()
    }

    pub(crate) fn default_model(&self) -> String {
        self.0.default_model()
    }

    /// Returns whether the protocol is known, so that nothing is sent to detect it.
    pub(crate) fn is_detected(&self) -> bool {
        self.0.protocol.get().is_some()
    }

    /// Refuses a text that is too long for a request to this server, as far as is known yet.
    pub(crate) fn check_length(&self, text: &str) -> Result<()> {
        check_size(text.len(), self.max_request())
    }

    fn max_request(&self) -> usize {
        match self.0.protocol.get() {
            Some(Protocol::ChatUiClassic) => classic::MAX_REQUEST,
            Some(Protocol::H2ogpte) => h2ogpte::MAX_REQUEST,
            Some(Protocol::ChatUi) | None => chat_ui::MAX_REQUEST,
        }
    }

    /// Does what has to be done before a conversation is created with this model, or the default
    /// one. Returns the model.
    pub(crate) fn set_up(&self, timer: &Timer, named: Option<&str>) -> Result<String> {
        self.0.set_up(timer, named)
    }

    /// Returns whether a conversation can have a system prompt. Otherwise it is a part of the first
    /// message.
    pub(crate) fn stores_system_prompts(&self, timer: &Timer) -> Result<bool> {
        Ok(self.0.detect_protocol(timer)? != Protocol::ChatUiClassic)
    }

    /// Returns whether each message can have a system prompt of its own.
    pub(crate) fn has_system_prompt_of_message(&self) -> bool {
        self.is_h2ogpte()
    }

    /// Refuses to regenerate a reply if the server cannot do that.
    pub(crate) fn check_regenerates(&self) -> Result<()> {
        if self.is_h2ogpte() {
            return Err(Error::unsupported(
                "this server cannot regenerate a reply: send the message again",
            ));
        }
        Ok(())
    }

    /// Refuses a conversation about a collection of documents if the server has none.
    pub(crate) fn check_collection(&self, collection: Option<&str>) -> Result<()> {
        match collection {
            Some(_) if !self.is_h2ogpte() => {
                Err(Error::unsupported("only h2oGPTe has collections of documents"))
            }
            Some(id) if !is_id(id) => {
                let id = one_line(id);
                let message = format!("invalid collection id {id:?}");
                Err(Error::invalid_input(message))
            }
            _ => Ok(()),
        }
    }

    /// It is never detected, because the API key selects it.
    fn is_h2ogpte(&self) -> bool {
        self.0.protocol.get() == Some(&Protocol::H2ogpte)
    }

    /// Renders the body for a classic server, whose messages do not depend on the history. Refuses
    /// a message that is too large for any server.
    pub(crate) fn render(
        &self,
        timer: &Timer,
        conversation: Option<&RemoteConversation>,
        message: &mut OutgoingMessage,
    ) -> Result<()> {
        let protocol = self.0.detect_protocol(timer)?;
        let size = match protocol {
            Protocol::ChatUiClassic => {
                message.body = classic::render(conversation, message);
                message.body.len()
            }
            Protocol::ChatUi => {
                let known = self.0.version.get();
                known.map_or(Ok(()), |version| version.check(message))?;
                attachments::size(message)
            }
            Protocol::H2ogpte => message.text.len(),
        };
        if protocol != Protocol::ChatUi && !message.attachments.is_empty() {
            return Err(no_attachments());
        }
        if protocol != Protocol::ChatUi && !message.tools.is_empty() {
            return Err(no_tools());
        }
        check_size(size, self.max_request())
    }

    /// Refuses attachments that the model does not take.
    pub(crate) fn check_attachments(
        &self,
        timer: &Timer,
        model: Option<&str>,
        message: &OutgoingMessage,
    ) -> Result<()> {
        match model {
            Some(model) if !message.attachments.is_empty() => {
                attachments::check(&self.0, timer, model, &message.attachments)
            }
            _ => Ok(()),
        }
    }

    /// Creates a conversation.
    pub(crate) fn create(
        &self,
        timer: &Timer,
        model: &str,
        system: Option<&str>,
        collection: Option<&str>,
    ) -> Result<RemoteConversation> {
        let create = || match self.0.detect_protocol(timer)? {
            Protocol::ChatUiClassic => classic::create(&self.0, timer, model, system),
            Protocol::ChatUi => chat_ui::create(&self.0, timer, model, system),
            Protocol::H2ogpte => h2ogpte::create(&self.0, timer, model, system, collection),
        };
        self.with_terms(timer, &self.session(), model, create)
    }

    /// Sends a rendered message, and returns when the reply begins.
    pub(crate) fn send(
        &self,
        timer: &Timer,
        conversation: &mut RemoteConversation,
        message: &OutgoingMessage,
    ) -> Result<ReplyStream> {
        let is_resumed = conversation.model.is_none();
        if is_resumed && !self.0.share_with_model_authors {
            // This client has set nothing up for it.
            self.0.set_up(timer, None)?;
        }
        let model = conversation.model.clone().unwrap_or_else(|| self.default_model());
        let known: &RemoteConversation = conversation;
        let send = || match self.0.detect_protocol(timer)? {
            Protocol::ChatUiClassic => classic::send(&self.0, timer, known, message),
            Protocol::ChatUi => chat_ui::send(&self.0, timer, known, message),
            Protocol::H2ogpte => h2ogpte::send(&self.0, timer, known, message, &model),
        };
        let stream = self.with_terms(timer, &known.session, &model, send);
        // From now on there are messages after it.
        conversation.root = None;
        conversation.last_message = self.is_h2ogpte().then(|| message.text.clone());
        stream
    }

    /// Calls `request`. If the server answers that its terms are not accepted, accepts them and
    /// calls it once more.
    fn with_terms<T>(
        &self,
        timer: &Timer,
        session: &SessionCookie,
        model: &str,
        request: impl Fn() -> Result<T>,
    ) -> Result<T> {
        let error = match request() {
            Err(error) if error.status() == Some(405) && !self.is_h2ogpte() => error,
            outcome => return outcome,
        };
        info!("{error}; accepting the terms");
        // The grace is for the request only.
        let timer = timer.without_grace();
        let accepted = self.0.accept_terms(&timer, session, model);
        if accepted.map_err(|second| second.at(error.step()))? { request() } else { Err(error) }
    }

    /// Returns whether the server obeys a stop only while the stream of the reply is open.
    pub(crate) fn stops_only_while_open(&self) -> bool {
        let support = self.stop_support();
        matches!(support, StopSupport::WhileOpen | StopSupport::WhileReading)
    }

    fn stop_support(&self) -> StopSupport {
        match self.0.protocol.get() {
            Some(Protocol::ChatUi) => chat_ui::stop_support(&self.0),
            Some(Protocol::H2ogpte) => StopSupport::WhileOpen,
            Some(Protocol::ChatUiClassic) | None => StopSupport::Always,
        }
    }

    /// How long after a stop the next message has to wait, if the stop may have come too late.
    pub(crate) fn wait_after_late_stop(&self) -> Duration {
        match self.0.protocol.get() {
            Some(Protocol::ChatUi) => chat_ui::wait_after_late_stop(&self.0),
            _ => Duration::ZERO,
        }
    }

    /// Stops the generation that is running in a conversation, if the server can do that. If the
    /// server requires it, reads the reply until it has ended.
    pub(crate) fn stop(
        &self,
        timer: &Timer,
        conversation: &RemoteConversation,
        stream: Option<&mut ReplyStream>,
    ) -> Result<()> {
        let support = self.stop_support();
        if support == StopSupport::Never {
            return Ok(());
        }
        if self.is_h2ogpte() {
            return h2ogpte::stop(&self.0, timer, conversation);
        }
        let path = format!("{}/stop-generating", conversation.path());
        let request = HttpRequest::post(Step::StopGeneration, &path)
            .session(&conversation.session)
            .idempotent();
        self.clean_up(timer, conversation, || {
            let response = self.0.http.send(timer, &request)?.error_for_status(timer)?;
            response.discard(timer);
            Ok(())
        })?;
        if let Some(stream) = stream.filter(|_| support == StopSupport::WhileReading) {
            // If this fails, nothing more can be done to stop it.
            let _ = stream.wait_for_end(timer);
        }
        Ok(())
    }

    /// Deletes a conversation. Returns whether it was still there.
    pub(crate) fn delete(&self, timer: &Timer, conversation: &RemoteConversation) -> Result<bool> {
        if self.is_h2ogpte() {
            return h2ogpte::delete(&self.0, timer, conversation);
        }
        let path = conversation.path();
        let request =
            HttpRequest::delete(Step::DeleteConversation, &path).session(&conversation.session);
        self.clean_up(timer, conversation, || {
            let response = self.0.http.send(timer, &request)?;
            let was_there = response.status() != 404;
            let response = if was_there { response.error_for_status(timer)? } else { response };
            response.discard(timer);
            Ok(was_there)
        })
    }

    /// Calls `request`, and accepts the terms for it if necessary. In a session that the user has
    /// given, it never posts settings, because the request only cleans up.
    fn clean_up<T>(
        &self,
        timer: &Timer,
        conversation: &RemoteConversation,
        request: impl Fn() -> Result<T>,
    ) -> Result<T> {
        if !conversation.session.session.is_invented() {
            return request();
        }
        let model = conversation.model.clone().unwrap_or_else(|| self.default_model());
        self.with_terms(timer, &conversation.session, &model, request)
    }

    /// Changes the title of a conversation.
    pub(crate) fn rename(
        &self,
        timer: &Timer,
        conversation: &RemoteConversation,
        title: &str,
    ) -> Result<()> {
        let (path, field) = match self.0.detect_protocol(timer)? {
            Protocol::ChatUiClassic | Protocol::ChatUi => (conversation.path(), "title"),
            Protocol::H2ogpte => (h2ogpte::path(conversation), "name"),
        };
        let body = json!({ field: title }).to_string();
        let request = HttpRequest::patch(Step::RenameConversation, &path)
            .session(&conversation.session)
            .body(JSON, body.as_bytes());
        let model = conversation.model.clone().unwrap_or_else(|| self.default_model());
        self.with_terms(timer, &conversation.session, &model, || {
            let response = self.0.http.send(timer, &request)?.error_for_status(timer)?;
            response.discard(timer);
            Ok(())
        })
    }

    pub(crate) fn list_models(&self, timer: &Timer) -> Result<Vec<Model>> {
        match self.0.detect_protocol(timer)? {
            Protocol::ChatUiClassic => classic::list_models(&self.0, timer),
            Protocol::ChatUi => chat_ui::list_models(&self.0, timer),
            Protocol::H2ogpte => h2ogpte::list_models(&self.0, timer),
        }
    }

    pub(crate) fn list_conversations(&self, timer: &Timer) -> Result<Vec<ConversationSummary>> {
        match self.0.detect_protocol(timer)? {
            Protocol::ChatUiClassic => classic::list_conversations(&self.0, timer),
            Protocol::ChatUi => chat_ui::list_conversations(&self.0, timer),
            Protocol::H2ogpte => h2ogpte::list_conversations(&self.0, timer),
        }
    }

    /// The messages of a conversation.
    pub(crate) fn history(
        &self,
        timer: &Timer,
        conversation: &RemoteConversation,
    ) -> Result<Vec<StoredMessage>> {
        match self.0.detect_protocol(timer)? {
            Protocol::ChatUiClassic => classic::history(&self.0, timer, conversation),
            Protocol::ChatUi => chat_ui::history(&self.0, timer, conversation),
            Protocol::H2ogpte => h2ogpte::history(&self.0, timer, conversation),
        }
    }

    /// Looks at the server as a new client would.
    pub(crate) fn server_info(&self, timer: &Timer) -> Result<ServerInfo> {
        let (protocol, model) = if self.0.has_given_session() {
            (self.0.detect_protocol(timer)?, None)
        } else if self.0.protocol.get() == Some(&Protocol::ChatUiClassic) {
            let model = self.0.set_up_invented(timer, &self.default_model(), false)?;
            (Protocol::ChatUiClassic, Some(model))
        } else {
            let model = self.0.set_up(timer, None)?;
            (self.0.detect_protocol(timer)?, Some(model))
        };
        let models = match protocol {
            // Only the list shows whether this is an h2oGPTe server.
            Protocol::H2ogpte => self.list_models(timer)?,
            _ => self.models_if_listed(timer)?,
        };
        if model.is_none() {
            self.0.adopt_default(&models);
        }
        let model = model.unwrap_or_else(|| self.default_model());
        let is_known = model == AUTO || models.iter().any(|known| known.id == model);
        if !models.is_empty() && !is_known {
            return Err(unknown_model(Step::ListModels, &model, &models));
        }
        Ok(ServerInfo {
            url: self.base().to_string(),
            protocol,
            models,
            model,
            expects_https: self.0.http.expects_https(),
        })
    }

    /// The models, or none if the server has no list that can be read.
    fn models_if_listed(&self, timer: &Timer) -> Result<Vec<Model>> {
        match self.list_models(timer) {
            Err(error) if is_unlisted(&error) => Ok(Vec::new()),
            models => models,
        }
    }
}

fn check_size(size: usize, max: usize) -> Result<()> {
    if size > max {
        return Err(Error::invalid_input(format!(
            "the request has {size} bytes, but the server accepts at most {max}"
        )));
    }
    Ok(())
}
