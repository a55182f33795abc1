//! A conversation on the server: the guard that deletes it, and the turns in it.

pub(crate) mod builder;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::api::{MessageState, OutgoingMessage, RemoteConversation, ReplyStream};
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
/// The newest servers may apply a late stop to the next message. If the stop may have come too
/// late, the client sends that message only five seconds after it. h2oGPTe has been able to stop a
/// generation since June 2026.
#[must_use = "a conversation is deleted when it is dropped"]
pub struct Conversation {
    shared: Arc<Shared>,
    remote: RemoteConversation,
    /// Dropping deletes it.
    is_armed: bool,
    /// The server has stored a message.
    has_begun: bool,
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
    /// The system message is sent in a field of its own, not in the text.
    system_is_apart: bool,
    is_first: bool,
    state: MessageState,
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
            Err(error) => Err(conversation.fail_reply(true, error, None)),
        }
    }

    /// Creates a conversation with a system prompt of its own.
    fn open(
        shared: &Arc<Shared>,
        model: Option<&str>,
        system: Option<&str>,
        collection: Option<&str>,
    ) -> Result<Conversation> {
        shared.api.check_collection(collection)?;
        let timer = shared.timer(None, None);
        let model = shared.api.set_up(&timer, model)?;
        Conversation::create(shared, &timer, &model, system, collection)
    }

    /// Sends a request in a conversation that is created for it, and deleted with its reply.
    pub(crate) fn stream_once(
        shared: &Arc<Shared>,
        mut request: Request,
    ) -> Result<Tokens<'static>> {
        let timer = shared.timer_of(&mut request);
        let tokens = Conversation::stream_within(shared, request, &timer);
        tokens.inspect_err(|_| timer.resume_panic())
    }

    fn stream_within(
        shared: &Arc<Shared>,
        request: Request,
        timer: &Timer,
    ) -> Result<Tokens<'static>> {
        let api = &shared.api;
        api.check_length(&request.prompt()?)?;
        let model = request.model.clone();
        let mut last = LastMessage::new(request, true);
        let mut render = || {
            last.system_is_apart = api.stores_system_prompts(timer)?;
            last.render(shared, timer, None)
        };
        // A request that is too large is refused before anything is sent, if the protocol is known.
        let rendered = api.is_detected().then(&mut render).transpose()?;
        let model = api.set_up(timer, model.as_deref())?;
        let message = rendered.map_or_else(render, Ok)?;
        api.check_attachments(timer, Some(&model), &message)?;
        let system = message.system.as_deref();
        let mut conversation = Conversation::create(shared, timer, &model, system, None)?;
        last.state = MessageState::Stored;
        conversation.last = Some(last);
        match conversation.send(timer, &message) {
            Ok(stream) => Ok(Tokens::of_own(conversation, stream, timer.clone())),
            Err(error) => Err(conversation.fail_reply(true, error, None)),
        }
    }

    /// A conversation that is deleted when it is dropped.
    fn new(shared: Arc<Shared>, remote: RemoteConversation) -> Conversation {
        Conversation {
            shared,
            remote,
            is_armed: true,
            has_begun: false,
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
        let mut last = LastMessage::new(request.into(), !self.has_begun);
        last.system_is_apart = self.shared.api.has_system_prompt_of_message();
        self.turn(last)
    }

    /// Regenerates the last reply. The parameters and the total timeout of its request apply again,
    /// but not its [`CancelHandle`](crate::CancelHandle) or its [`on_wait`](Request::on_wait).
    ///
    /// # Errors
    /// Those of [`stream`](Conversation::stream), and if no message was sent yet.
    /// [`ErrorKind::Unsupported`] on h2oGPTe, which cannot do this.
    #[doc(alias = "retry")]
    pub fn regenerate(&mut self) -> Result<Tokens<'_>> {
        self.regenerate_with(|request| request)
    }

    /// Regenerates the last reply with a changed request: another temperature, a cancel handle,
    /// another prompt. h2oGPTe cannot regenerate at all.
    ///
    /// Another prompt replaces the message. A server from chat-ui 0.8 on keeps the replaced one
    /// too, and [`messages`](Conversation::messages) has both; the model sees only the new one.
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
    /// Those of [`regenerate`](Conversation::regenerate). [`ErrorKind::Unsupported`] if the system
    /// prompt that the conversation was created with is changed.
    pub fn regenerate_with(
        &mut self,
        change: impl FnOnce(Request) -> Request,
    ) -> Result<Tokens<'_>> {
        self.shared.api.check_regenerates()?;
        let mut last = match &self.last {
            Some(last) => last.clone(),
            None => self.last_of_history()?,
        };
        let before = last.request.clone();
        last.request = change(last.request);
        let system = |request: &Request| request.split_system().map(|(system, _)| system);
        if last.system_is_apart && system(&last.request) != system(&before) {
            return Err(Error::unsupported(
                "the system prompt of a conversation cannot be changed",
            ));
        }
        if last.state == MessageState::Stored && !last.request.has_prompt_of(&before) {
            let before = OutgoingMessage::new(&last.id, &before, last.system_is_apart)?;
            last.state = MessageState::Edited(before.text);
        }
        self.turn(last)
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

    /// Changes the title that lists of conversations show.
    ///
    /// chat-ui chooses a title with the first reply if none was set, and accepts at most 100
    /// characters.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// # let mut chat = client.conversation()?;
    /// chat.rename("Primes")?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the title is empty. Otherwise, if the server cannot be
    /// reached, refuses, or has deleted the conversation (404).
    pub fn rename(&mut self, title: &str) -> Result<()> {
        if title.trim().is_empty() {
            return Err(Error::invalid_input("the title is empty"));
        }
        let timer = self.shared.timer(None, None);
        self.shared.api.rename(&timer, &self.remote, title)
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

    fn turn(&mut self, mut last: LastMessage) -> Result<Tokens<'_>> {
        let timer = self.shared.timer_of(&mut last.request);
        let tokens = self.turn_within(last, &timer);
        tokens.inspect_err(|_| timer.resume_panic())
    }

    fn turn_within(&mut self, mut last: LastMessage, timer: &Timer) -> Result<Tokens<'_>> {
        let model = &last.request.model;
        if model.is_some() && *model != self.remote.model {
            return Err(Error::invalid_input("the model of a conversation cannot be changed"));
        }
        self.shared.api.check_length(&last.request.prompt()?)?;
        let message = last.render(&self.shared, timer, Some(&self.remote))?;
        self.shared.api.check_attachments(timer, self.remote.model.as_deref(), &message)?;
        self.wait_for_stopped(timer)?;
        match self.send(timer, &message) {
            Ok(stream) => {
                last.state = MessageState::Stored;
                self.last = Some(last);
                Ok(Tokens::of_turn(self, stream, timer.clone()))
            }
            Err(error) => {
                let is_sent =
                    !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported);
                if is_sent {
                    if last.state == MessageState::New && !error.ends_the_generation() {
                        last.state = MessageState::Stored;
                    }
                    self.last = Some(last);
                }
                Err(self.fail_reply(false, error, None))
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
        let request = Request::new(last.message.content());
        let state = MessageState::Stored;
        Ok(LastMessage { id: last.id, state, ..LastMessage::new(request, false) })
    }

    /// Called when the server has stored a message.
    pub(crate) fn message_accepted(&mut self) {
        self.has_begun = true;
    }

    /// Returns whether the reply to the last message keeps its reasoning in the text.
    pub(crate) fn keeps_thinking(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.request.keep_thinking)
    }

    pub(crate) fn generation_ended(&mut self) {
        self.is_running = false;
    }

    /// Ends a reply: deletes the conversation if it is the reply's own, or else stops a generation
    /// that may be running.
    pub(crate) fn end_reply(&mut self, is_own: bool, stream: Option<ReplyStream>) -> Result<()> {
        if is_own { self.close(stream) } else { self.interrupt(stream) }
    }

    /// Like [`end_reply`](Conversation::end_reply) after an error. If the deletion fails too, the
    /// error names the conversation.
    pub(crate) fn fail_reply(
        &mut self,
        is_own: bool,
        error: Error,
        stream: Option<ReplyStream>,
    ) -> Error {
        self.is_running &= !error.ends_the_generation();
        match self.end_reply(is_own, stream) {
            Ok(()) => error,
            Err(second) => {
                debug!("conversation {}: {second}", self.id());
                if is_own {
                    error.with_undeleted(self.id(), &self.remote.session.session)
                } else {
                    error
                }
            }
        }
    }

    /// Stops the generation if it may be running. Keeps the rest of its reply, to wait for its end
    /// later.
    fn interrupt(&mut self, mut stream: Option<ReplyStream>) -> Result<()> {
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

    /// Waits until a stopped generation has ended. Otherwise its end would mix with the next reply.
    fn wait_for_stopped(&mut self, timer: &Timer) -> Result<()> {
        let Some(Stopped { at, stream }) = &mut self.stopped else {
            return Ok(());
        };
        timer.set_step(Step::SendMessage);
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

    /// Ends a reply of its own, and hands the conversation over to the caller. Dropping either end
    /// leaves it on the server.
    pub(crate) fn hand_over(&mut self, stream: Option<ReplyStream>) -> Conversation {
        if let Err(error) = self.interrupt(stream) {
            debug!("conversation {}: {error}", self.id());
        }
        self.is_armed = false;
        let rest = Conversation::resumed(Arc::clone(&self.shared), self.remote.clone());
        mem::replace(self, rest)
    }

    /// Stops and deletes, once. `delete`, `Drop` and the end of a reply share it.
    fn close(&mut self, stream: Option<ReplyStream>) -> Result<()> {
        let stopped = self.stopped.take().and_then(|stopped| stopped.stream);
        let is_running = mem::take(&mut self.is_running);
        if !mem::take(&mut self.is_armed) {
            return Ok(());
        }
        let timer = self.shared.cleanup_timer();
        let stream = stream.or(stopped);
        self.shared.delete(&timer, &self.remote, is_running, stream)
    }
}

impl LastMessage {
    fn new(request: Request, is_first: bool) -> LastMessage {
        LastMessage {
            id: OutgoingMessage::new_id(),
            request,
            system_is_apart: false,
            is_first,
            state: MessageState::New,
        }
    }

    /// What is sent of it, in this conversation or a new one.
    fn render(
        &self,
        shared: &Shared,
        timer: &Timer,
        conversation: Option<&RemoteConversation>,
    ) -> Result<OutgoingMessage> {
        let mut message = OutgoingMessage::new(&self.id, &self.request, self.system_is_apart)?;
        message.is_first = self.is_first;
        message.state = self.state.clone();
        shared.api.render(timer, conversation, &mut message)?;
        Ok(message)
    }
}

fn pause(timer: &Timer, length: Duration) -> Result<()> {
    let paused = timer.pause(length);
    paused.map_err(|interrupt| interrupt.at(Step::SendMessage))
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
