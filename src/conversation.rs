//! A conversation on the server: the guard that deletes it, and the turns in it.

pub(crate) mod builder;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::api::{OutgoingMessage, RemoteConversation, ReplyStream};
use crate::error::{Error, ErrorKind, Result, Step, Timeout};
use crate::http::Timer;
use crate::message::Message;
use crate::request::Request;
use crate::shared::Shared;
use crate::tokens::Tokens;

/// A little more than the longest time that servers were seen to generate after a stop.
const STOP_DELAY: Duration = Duration::from_secs(1);

/// A conversation of several turns. The server keeps the history, so only the new message is sent.
///
/// One from [`Client::conversation`](crate::Client::conversation) is deleted from the server when
/// it is dropped, within the client's
/// [cleanup timeout](crate::ClientBuilder::cleanup_timeout). One from
/// [`Client::resume`](crate::Client::resume) or [`Tokens::keep`] is not.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut chat = client.conversation()?;
/// println!("{}", chat.ask("Name a prime.")?);
/// chat.stream("And the next one?")?.write_to(std::io::stdout())?;
/// chat.delete()?; // dropping does the same, but can only log errors
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// A turn borrows its conversation until it is over, so there are never two at once:
///
/// ```compile_fail,E0499
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut chat = client.conversation()?;
/// let one = chat.stream("Name a prime.")?;
/// let two = chat.stream("Name another.")?;
/// drop(one);
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// # Ending a turn early
///
/// Dropping the [`Tokens`] of a turn stops the generation on the server. So does an error of the
/// client, such as a timeout or a [`CancelHandle`](crate::CancelHandle). The conversation stays
/// usable. The next message waits until the stopped generation has ended, for at most the cleanup
/// timeout.
///
/// Not every server obeys. A classic server may ignore a second stop within half a minute of the
/// first in the same conversation, and chat-ui 0.8.4 to 0.9.4 ignore every stop. The generation
/// then continues after the wait, and the server's history keeps the reply that is completed last.
/// The newest servers apply a late stop to the next message, so the client sends that message only
/// five seconds after the stop. h2oGPTe has been able to stop a generation since June 2026.
#[must_use = "a conversation is deleted when it is dropped"]
pub struct Conversation {
    shared: Arc<Shared>,
    remote: RemoteConversation,
    /// Dropping deletes it.
    is_armed: bool,
    /// The system prompt to put before the first message, because the server does not store it.
    system: Option<String>,
    last: Option<LastMessage>,
    /// The server may be generating a reply, which deleting the conversation would not stop.
    is_running: bool,
    stopped: Option<Stopped>,
}

/// A generation that was stopped and may still be running.
struct Stopped {
    at: Instant,
    /// The rest of its reply, if the reply had begun.
    stream: Option<ReplyStream>,
}

/// The last message, which can be sent again to regenerate the reply.
#[derive(Clone)]
struct LastMessage {
    id: String,
    request: Request,
    system: SystemPrompt,
    /// The server has stored it, as far as is known.
    is_stored: bool,
    /// Its text is no longer the one that the server has stored.
    is_edited: bool,
}

/// Where the system prompt of a message goes.
#[derive(Clone)]
enum SystemPrompt {
    /// Into the text, with the request's other messages, if there is one.
    InText,
    /// Not into the text: the conversation has it, or the message brings it.
    Separate,
    /// Before the text.
    Prepended(String),
}

impl Conversation {
    /// Creates a conversation that is deleted when it is dropped.
    fn create(
        shared: &Arc<Shared>,
        timer: &Timer,
        model: &str,
        system: Option<&str>,
        collection: Option<&str>,
    ) -> Result<Conversation> {
        // If the response were lost, the conversation could not be deleted.
        let timer = timer.with_grace(shared.timeouts.cleanup);
        timer.check().map_err(|it| it.at(Step::CreateConversation))?;
        let remote = shared.api.create(&timer, model, system, collection);
        let remote = remote.map_err(Error::with_maybe_undeleted)?;
        let checked = remote.session.check_name(&shared.api.session(), Step::CreateConversation);
        let mut conversation = Conversation::new(Arc::clone(shared), remote);
        match checked {
            Ok(()) => Ok(conversation),
            Err(error) => Err(conversation.close_after(error, None)),
        }
    }

    /// Creates a conversation with a system prompt of its own.
    fn open(
        shared: &Arc<Shared>,
        model: Option<&str>,
        system: Option<String>,
        collection: Option<&str>,
    ) -> Result<Conversation> {
        shared.api.check_collection(collection)?;
        let timer = shared.timer(None, None);
        let model = shared.api.set_up(&timer, model)?;
        let has_own = shared.api.has_system_prompts(&timer)?;
        let mut conversation =
            Conversation::create(shared, &timer, &model, system.as_deref(), collection)?;
        conversation.system = system.filter(|_| !has_own);
        Ok(conversation)
    }

    /// Sends a request in a conversation that is created for it, and deleted with its reply.
    pub(crate) fn stream_once(
        shared: &Arc<Shared>,
        mut request: Request,
    ) -> Result<Tokens<'static>> {
        let api = &shared.api;
        api.check_length(&request.prompt()?)?;
        let timer = shared.timer(request.cancel.take(), request.total_timeout);
        let id = OutgoingMessage::new_id();
        let render = || {
            let (system, text) = match request.split_system() {
                Some((system, text)) if api.has_system_prompts(&timer)? => (Some(system), text),
                _ => (None, request.prompt()?),
            };
            let mut message = OutgoingMessage::new(&id, text, request.parameters());
            api.render(&timer, &mut message)?;
            Ok::<_, Error>((system, message))
        };
        // A request that is too large is refused before anything is sent, if the protocol is known.
        let rendered = api.is_detected().then(render).transpose()?;
        let model = api.set_up(&timer, request.model.as_deref())?;
        let (system, message) = rendered.map_or_else(render, Ok)?;
        let mut conversation =
            Conversation::create(shared, &timer, &model, system.as_deref(), None)?;
        conversation.last = Some(LastMessage {
            id,
            request,
            system: match system {
                Some(_) => SystemPrompt::Separate,
                None => SystemPrompt::InText,
            },
            is_stored: true,
            is_edited: false,
        });
        match conversation.send(&timer, &message) {
            Ok(stream) => Ok(Tokens::of_own(conversation, stream, timer)),
            Err(error) => Err(conversation.close_after(error, None)),
        }
    }

    /// A conversation that is deleted when it is dropped.
    fn new(shared: Arc<Shared>, remote: RemoteConversation) -> Conversation {
        Conversation {
            shared,
            remote,
            is_armed: true,
            system: None,
            last: None,
            is_running: false,
            stopped: None,
        }
    }

    /// A conversation that stays on the server when it is dropped.
    pub(crate) fn resumed(shared: Arc<Shared>, remote: RemoteConversation) -> Conversation {
        let mut conversation = Conversation::new(shared, remote);
        conversation.is_armed = false;
        conversation
    }

    /// The id of the conversation on the server.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.remote.id
    }

    /// Sends a message, and returns the whole reply.
    ///
    /// # Errors
    /// Those of [`stream`](Conversation::stream) and of the reply, with the text so far in
    /// [`Error::received`]. The conversation stays usable unless the server has deleted it (404).
    pub fn ask(&mut self, request: impl Into<Request>) -> Result<String> {
        self.stream(request)?.text()
    }

    /// Sends a message, and returns the reply as an iterator over its tokens.
    ///
    /// Returns when the server begins to reply. In the head of a `match` or `if let` the
    /// conversation stays borrowed to the end of the block: use [`ask`](Conversation::ask) there.
    ///
    /// # Errors
    /// If the request is invalid or names another model than the conversation's, if the server
    /// refuses, or if a timeout expires before the reply begins. In a resumed conversation the
    /// request must not name a model at all. The conversation stays usable unless the server has
    /// deleted it (404).
    #[doc(alias = "generate")]
    #[doc(alias = "send")]
    pub fn stream(&mut self, request: impl Into<Request>) -> Result<Tokens<'_>> {
        let system = match self.system.clone() {
            Some(system) => SystemPrompt::Prepended(system),
            None if self.shared.api.has_system_prompt_of_message() => SystemPrompt::Separate,
            None => SystemPrompt::InText,
        };
        let last = LastMessage {
            id: OutgoingMessage::new_id(),
            request: request.into(),
            system,
            is_stored: false,
            is_edited: false,
        };
        self.turn(last, false)
    }

    /// Regenerates the last reply. The parameters and the total timeout of its request apply again,
    /// but not its [`CancelHandle`](crate::CancelHandle).
    ///
    /// # Errors
    /// Those of [`stream`](Conversation::stream), and if no message was sent yet.
    /// [`ErrorKind::Unsupported`] on h2oGPTe, which cannot do this.
    #[doc(alias = "retry")]
    pub fn regenerate(&mut self) -> Result<Tokens<'_>> {
        self.regenerate_with(|request| request)
    }

    /// Regenerates the last reply with a changed request: another temperature, a cancel handle,
    /// another prompt. Servers from chat-ui 0.8 do not take another prompt, and h2oGPTe cannot
    /// regenerate at all.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// # let mut chat = client.conversation()?;
    /// chat.ask("Write a haiku.")?;
    /// println!("{}", chat.regenerate_with(|request| request.temperature(1.2))?.text()?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`regenerate`](Conversation::regenerate), and [`ErrorKind::Unsupported`] if the
    /// server does not take another prompt. That leaves the last message as it was.
    pub fn regenerate_with(
        &mut self,
        change: impl FnOnce(Request) -> Request,
    ) -> Result<Tokens<'_>> {
        self.shared.api.check_regenerates()?;
        let mut last = match &self.last {
            Some(last) => last.clone(),
            None => self.last_of_history()?,
        };
        let before = last.request.prompt();
        last.request = change(last.request);
        last.is_edited |= last.request.prompt().ok() != before.ok();
        self.turn(last, true)
    }

    /// The messages of the conversation that the server has stored, the oldest first.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// # let mut chat = client.conversation()?;
    /// for message in chat.messages()? {
    ///     println!("{:?}: {}", message.role(), message.content());
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or has deleted the conversation (404).
    pub fn messages(&self) -> Result<Vec<Message>> {
        let timer = self.shared.timer(None, None);
        let history = self.shared.api.history(&timer, &self.remote)?;
        Ok(history.into_iter().map(|stored| stored.message).collect())
    }

    /// Deletes the conversation from the server. Succeeds if it is already gone.
    ///
    /// Dropping does the same, but can only log errors.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// # let mut chat = client.conversation()?;
    /// if let Err(error) = chat.delete() {
    ///     eprintln!("{error}: {:?} is still there", error.undeleted());
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the server refuses, or does not respond within the
    /// [cleanup timeout](crate::ClientBuilder::cleanup_timeout). The conversation is then among the
    /// client's [leftovers](crate::Client::leftovers).
    pub fn delete(mut self) -> Result<()> {
        self.is_armed = true;
        self.close(None)
    }

    /// Leaves the conversation on the server, and returns its id for
    /// [`Client::resume`](crate::Client::resume).
    #[must_use = "the id is needed to find the conversation again"]
    pub fn keep(mut self) -> String {
        self.is_armed = false;
        self.remote.id.clone()
    }

    fn turn(&mut self, mut last: LastMessage, regenerates: bool) -> Result<Tokens<'_>> {
        let model = &last.request.model;
        if model.is_some() && *model != self.remote.model {
            return Err(Error::invalid_input("the model of a conversation cannot be changed"));
        }
        let (system, text) = last.system_and_text()?;
        self.shared.api.check_length(&text)?;
        let cancel = last.request.cancel.take();
        let timer = self.shared.timer(cancel, last.request.total_timeout);
        let mut message = OutgoingMessage::new(&last.id, text, last.request.parameters());
        message.system = system;
        message.regenerates = regenerates && last.is_stored;
        message.is_edited = last.is_edited;
        self.shared.api.render(&timer, &mut message)?;
        self.wait_for_stopped(&timer)?;
        match self.send(&timer, &message) {
            Ok(stream) => {
                last.is_stored = true;
                last.is_edited = false;
                self.last = Some(last);
                Ok(Tokens::of_turn(self, stream, timer))
            }
            Err(error) => {
                let is_sent =
                    !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported);
                if is_sent {
                    last.is_stored |= !error.ends_the_generation();
                    self.last = Some(last);
                }
                self.interrupt_after(&error, None);
                Err(error)
            }
        }
    }

    fn send(&mut self, timer: &Timer, message: &OutgoingMessage) -> Result<ReplyStream> {
        self.is_running = true;
        self.shared.api.send(timer, &mut self.remote, message)
    }

    /// The last message of the user that the server has stored.
    fn last_of_history(&self) -> Result<LastMessage> {
        let timer = self.shared.timer(None, None);
        let history = self.shared.api.history(&timer, &self.remote)?;
        let last = history.into_iter().rfind(|stored| stored.message.is_users());
        let last = last.ok_or_else(|| {
            Error::invalid_input("there is no reply to regenerate: no message was sent yet")
        })?;
        Ok(LastMessage {
            id: last.id,
            request: Request::new(last.message.content()),
            system: SystemPrompt::InText,
            is_stored: true,
            is_edited: false,
        })
    }

    /// Called when the server has stored the message, with the system prompt before its text.
    pub(crate) fn message_accepted(&mut self) {
        self.system = None;
    }

    pub(crate) fn generation_ended(&mut self) {
        self.is_running = false;
    }

    /// Stops the generation if it may be running. Keeps the rest of its reply, to wait for its end
    /// later.
    pub(crate) fn interrupt(&mut self, mut stream: Option<ReplyStream>) -> Result<()> {
        if !self.is_running {
            return Ok(());
        }
        let timer = self.shared.cleanup_timer();
        let stopped = self.shared.stop(&timer, &self.remote, stream.as_mut());
        // If that failed, it is stopped again when the conversation is deleted.
        self.is_running = stopped.is_err();
        self.stopped = Some(Stopped { at: Instant::now(), stream });
        stopped
    }

    /// Like [`interrupt`](Conversation::interrupt) after an error. A failure is only logged.
    pub(crate) fn interrupt_after(&mut self, error: &Error, stream: Option<ReplyStream>) {
        self.is_running &= !error.ends_the_generation();
        self.try_interrupt(stream);
    }

    /// Like [`interrupt`](Conversation::interrupt). A failure is only logged.
    pub(crate) fn try_interrupt(&mut self, stream: Option<ReplyStream>) {
        if let Err(error) = self.interrupt(stream) {
            debug!("conversation {}: {error}", self.id());
        }
    }

    /// Waits until a stopped generation has ended. Otherwise its end would mix with the next reply.
    fn wait_for_stopped(&mut self, timer: &Timer) -> Result<()> {
        let Some(Stopped { at, stream }) = &mut self.stopped else {
            return Ok(());
        };
        let limited = timer.within(self.shared.timeouts.cleanup);
        let ended = match stream {
            Some(stream) => stream.wait_for_end(&limited),
            None => pause(&limited, STOP_DELAY.saturating_sub(at.elapsed())).map(|()| false),
        };
        let was_in_time = match ended {
            Ok(was_in_time) => was_in_time,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Cancelled | ErrorKind::Timeout(Timeout::Total)
                ) =>
            {
                return Err(error);
            }
            Err(error) => {
                info!("a stopped generation may go on: {error}");
                false
            }
        };
        if !was_in_time {
            let wait = self.shared.api.wait_after_late_stop();
            pause(timer, wait.saturating_sub(at.elapsed()))?;
        }
        self.stopped = None;
        Ok(())
    }

    /// Hands the conversation over to the caller. Dropping either end leaves it on the server.
    pub(crate) fn hand_over(&mut self) -> Conversation {
        self.is_armed = false;
        let rest = Conversation::resumed(Arc::clone(&self.shared), self.remote.clone());
        mem::replace(self, rest)
    }

    /// Stops and deletes, once. `delete`, `Drop` and the end of a reply share it.
    pub(crate) fn close(&mut self, stream: Option<ReplyStream>) -> Result<()> {
        let stopped = self.stopped.take().and_then(|stopped| stopped.stream);
        let is_running = mem::take(&mut self.is_running);
        if !mem::take(&mut self.is_armed) {
            return Ok(());
        }
        let timer = self.shared.cleanup_timer();
        let stream = stream.or(stopped);
        self.shared.delete(&timer, &self.remote, is_running, stream)
    }

    /// Like [`close`](Conversation::close) after an error. If closing fails too, the error names
    /// the conversation.
    pub(crate) fn close_after(&mut self, error: Error, stream: Option<ReplyStream>) -> Error {
        self.is_running &= !error.ends_the_generation();
        match self.close(stream) {
            Ok(()) => error,
            Err(second) => {
                debug!("{second}");
                error.with_undeleted(self.id(), &self.remote.session.session)
            }
        }
    }
}

fn pause(timer: &Timer, length: Duration) -> Result<()> {
    let paused = timer.pause(length);
    paused.map_err(|interrupt| interrupt.at(Step::SendMessage))
}

impl LastMessage {
    /// A system prompt that is not in the text, and the text.
    fn system_and_text(&self) -> Result<(Option<String>, String)> {
        let prompt = self.request.prompt()?;
        Ok(match &self.system {
            SystemPrompt::InText => (None, prompt),
            SystemPrompt::Separate => match self.request.split_system() {
                Some((system, text)) => (Some(system), text),
                None => (None, prompt),
            },
            SystemPrompt::Prepended(system) => (None, format!("{system}\n\n{prompt}")),
        })
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Err(error) = self.close(None) {
            warn!("{error}");
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("id", &self.remote.id)
            .field("kept", &!self.is_armed)
            .finish_non_exhaustive()
    }
}
