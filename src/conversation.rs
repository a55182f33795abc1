//! The guard: a conversation on the server, deleted when it is no longer needed, and the turns taken in it.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use log::{debug, warn};

use crate::error::{Error, ErrorKind, Result};
use crate::generation::Generation;
use crate::http::Watch;
use crate::message::Message;
use crate::protocol::{Frame, Opened, Place, Turn};
use crate::request::Request;
use crate::shared::Shared;
use crate::tokens::Tokens;

/// A conversation of several turns. The server keeps the history: only what is new is sent.
///
/// Made by [`Client::conversation`](crate::Client::conversation), it is deleted from the server when it is dropped, within
/// the client's [cleanup budget](crate::ClientBuilder::cleanup_budget).
/// Made by [`Client::resume`](crate::Client::resume) or [`Tokens::keep`], it is not.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut chat = client.conversation()?;
/// println!("{}", chat.ask("Name a prime.")?);
/// chat.send("And the next one?")?.write_to(std::io::stdout())?;
/// chat.delete()?; // dropping it does the same, but could not say that it failed
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// A turn borrows its conversation until it is over, so that there are never two at once:
///
/// ```compile_fail,E0499
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut chat = client.conversation()?;
/// let one = chat.send("Name a prime.")?;
/// let two = chat.send("Name another.")?;
/// drop(one);
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// # Ending a turn early
///
/// Dropping the [`Tokens`] of a turn stops the generation, as an error on this side of the connection does (a limit, a
/// [`Stop`](crate::Stop)); the conversation can be gone on with. The next message waits until the server has ended the
/// stopped generation, for no longer than the cleanup budget.
///
/// A classic server may ignore a second stop within half a minute of the first in the same conversation, and those of
/// chat-ui 0.8.4 up to 0.9.4 ignore every one. If so, the generation goes on there after the wait: whichever of the two
/// replies is complete last is then the one in the server's history. The newest servers apply a stop that came too late,
/// when the generation had ended by itself, to the next message: that one is sent when five seconds are over.
#[must_use = "a conversation is deleted when it is dropped; a kept one is lost with its id"]
pub struct Conversation {
    shared: Arc<Shared>,
    place: Place,
    /// Dropping it deletes it from the server.
    armed: bool,
    /// Goes before the first message, where the server has no other place for it.
    preamble: Option<String>,
    /// What the first message answers to, where the server has said so.
    parent: Option<String>,
    /// The last message sent.
    last: Option<Last>,
    /// That of the last message.
    generation: Generation,
}

/// A message that can be answered anew.
#[derive(Clone)]
struct Last {
    id: String,
    request: Request,
    preamble: Option<String>,
    /// The server has been told the request's system message when the conversation was opened.
    system_is_told: bool,
    /// The server has it, as far as is known. It has none that it refused.
    is_stored: bool,
    /// Its prompt is another one than the server has.
    is_changed: bool,
}

impl Conversation {
    /// One that is deleted when dropped.
    pub(crate) fn new(shared: Arc<Shared>, opened: Opened) -> Conversation {
        Conversation {
            shared,
            place: opened.place,
            armed: true,
            preamble: opened.preamble,
            parent: opened.parent,
            last: None,
            generation: Generation::default(),
        }
    }

    /// One that is on the server already, and stays there.
    pub(crate) fn resumed(shared: Arc<Shared>, place: Place) -> Conversation {
        let opened = Opened {
            place,
            preamble: None,
            parent: None,
        };
        let mut conversation = Conversation::new(shared, opened);
        conversation.armed = false;
        conversation
    }

    /// The id that the server gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.place.id
    }

    /// Sends a message, and returns the whole reply.
    ///
    /// # Errors
    /// Whatever can go wrong with a reply; the text so far is in [`Error::received`]. The conversation can be gone on
    /// with, unless it is not on the server any more.
    pub fn ask(&mut self, request: impl Into<Request>) -> Result<String> {
        self.send(request)?.text()
    }

    /// Sends a message, and returns the reply as an iterator over its tokens.
    ///
    /// Returns when the server begins to reply. In a `match` or `if let` the borrow lasts to its end:
    /// [`ask`](Conversation::ask) is there for that.
    ///
    /// # Errors
    /// If the request is unfit to be sent, names another model than the conversation's (in a resumed one: any model), is
    /// refused, or does not begin to be answered within the limits. The conversation can be gone on with, unless it is not
    /// on the server any more: a status of 404 says that, and is never made good with a new one.
    pub fn send(&mut self, request: impl Into<Request>) -> Result<Tokens<'_>> {
        let request = request.into();
        let last = Last {
            id: Turn::new_id(),
            request,
            preamble: self.preamble.clone(),
            system_is_told: false,
            is_stored: false,
            is_changed: false,
        };
        self.turn(last, false)
    }

    /// Has the last message answered once more, in place of the last reply. Its parameters and deadline hold again,
    /// its [`Stop`](crate::Stop) does not.
    ///
    /// # Errors
    /// As [`send`](Conversation::send); and if no message was sent yet.
    pub fn retry(&mut self) -> Result<Tokens<'_>> {
        self.retry_with(|request| request)
    }

    /// As [`retry`](Conversation::retry), with a change to the request first: another temperature, a stop, even another
    /// prompt. A current server takes no other prompt in the place of one that it has.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// # let mut chat = client.conversation()?;
    /// let stop = h2o_chat::Stop::default();
    /// chat.ask("Write a haiku.")?;
    /// println!("{}", chat.retry_with(|request| request.temperature(1.2).stop(&stop))?.text()?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`retry`](Conversation::retry); on a current server with [`ErrorKind::Input`] if the prompt is another one. The
    /// last message is the same then as before.
    pub fn retry_with(&mut self, change: impl FnOnce(Request) -> Request) -> Result<Tokens<'_>> {
        let mut last = match &self.last {
            Some(last) => last.clone(),
            None => self.last_of_history()?,
        };
        let before = last.request.prompt();
        last.request = change(last.request);
        last.is_changed |= last.request.prompt().ok() != before.ok();
        self.turn(last, true)
    }

    /// What has been said in it, as the server has it, the oldest first.
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
    /// If the server cannot be reached, refuses, or does not have it any more.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let watch = self.shared.watch(None, None);
        let history = self.shared.server.messages(&watch, &self.place)?;
        Ok(history.into_iter().map(|entry| entry.message).collect())
    }

    /// Deletes it from the server. One that is gone already is no error.
    ///
    /// Dropping a conversation that is not kept does the same but has no place for an error; call this to see it.
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
    /// If the server cannot be reached within the client's [cleanup budget](crate::ClientBuilder::cleanup_budget), or
    /// refuses; the id is in [`Error::undeleted`] and among the client's [leftovers](crate::Client::leftovers).
    pub fn delete(mut self) -> Result<()> {
        self.armed = true;
        self.close_()
    }

    /// Leaves it on the server; returns its id, with which [`Client::resume`](crate::Client::resume) takes it up, in
    /// another process too if that has the same [session](crate::Client::session).
    #[must_use = "without its id the conversation is not found again"]
    pub fn keep(mut self) -> String {
        self.armed = false;
        self.place.id.clone()
    }

    fn turn(&mut self, mut last: Last, is_retry: bool) -> Result<Tokens<'_>> {
        let model = &last.request.model;
        if model.is_some() && *model != self.place.model {
            return Err(Error::input(
                "a conversation goes on with the model it was opened with",
            ));
        }
        let turn = last.turn(is_retry)?;
        self.shared.server.judge(&turn)?;
        let stop = last.request.stop.take();
        let watch = self.shared.watch(stop, last.request.deadline);
        self.generation.settle(&self.shared, &watch)?;
        match self.begin(&watch, &turn) {
            Ok(()) => {
                last.is_stored = true;
                last.is_changed = false;
                self.last = Some(last);
                Ok(Tokens::of_turn(self, watch))
            }
            Err(error) => {
                // What cannot be sent at all takes the place of nothing.
                if error.kind() != ErrorKind::Input {
                    last.is_stored |= !error.ends_the_generation();
                    self.last = Some(last);
                }
                self.interrupt_after(&error);
                Err(error)
            }
        }
    }

    /// The first turn of a conversation that is there for it alone.
    pub(crate) fn first_turn(
        &mut self,
        watch: &Watch,
        turn: Turn,
        mut request: Request,
    ) -> Result<()> {
        request.stop = None;
        // The system message has been said when the conversation was opened, or is a part of the text.
        let system_is_told = self.preamble.take().is_none();
        self.last = Some(Last {
            id: turn.id.clone(),
            request,
            preamble: None,
            system_is_told,
            is_stored: true,
            is_changed: false,
        });
        let turn = if system_is_told {
            turn.without_system()
        } else {
            turn
        };
        self.begin(watch, &turn)
    }

    fn begin(&mut self, watch: &Watch, turn: &Turn) -> Result<()> {
        let parent = self.parent.take();
        let ask = || self.shared.server.ask(watch, &self.place, parent, turn);
        self.generation.begin(ask)
    }

    /// The last message that the server knows of.
    fn last_of_history(&self) -> Result<Last> {
        let watch = self.shared.watch(None, None);
        let history = self.shared.server.messages(&watch, &self.place)?;
        let last = history.into_iter().rfind(|entry| entry.message.is_users());
        let last =
            last.ok_or_else(|| Error::input("there is no message yet to be answered once more"))?;
        Ok(Last {
            id: last.id,
            request: Request::new(last.message.content()),
            preamble: None,
            system_is_told: false,
            is_stored: true,
            is_changed: false,
        })
    }

    /// The next frame of the reply, or none at the end of its bytes, which proves nothing. The stall is counted
    /// from `since`, or from the first wait.
    pub(crate) fn frame(
        &mut self,
        watch: &Watch,
        since: &mut Option<Instant>,
    ) -> Result<Option<Frame>> {
        let frame = self.generation.frame(watch, since)?;
        // The server has the message now, and the preamble with it.
        self.preamble = None;
        Ok(frame)
    }

    /// Ends the reading of a complete reply.
    pub(crate) fn finish(&mut self) {
        self.generation.finish();
    }

    /// Ends the reply where it is.
    pub(crate) fn interrupt(&mut self) -> Result<()> {
        self.generation.interrupt(&self.shared, &self.place)
    }

    /// As `interrupt` after something went wrong, at best.
    pub(crate) fn interrupt_after(&mut self, error: &Error) {
        self.generation.ended_by(error);
        self.let_go();
    }

    /// As `interrupt`, at best.
    pub(crate) fn let_go(&mut self) {
        if let Err(error) = self.interrupt() {
            debug!("conversation {}: {error}", self.id());
        }
    }

    /// The same conversation in the hands of another; dropping what is left here does nothing.
    pub(crate) fn hand_over(&mut self) -> Conversation {
        let empty = Conversation::resumed(Arc::clone(&self.shared), self.place.clone());
        mem::replace(self, empty)
    }

    /// Dropping it does nothing from now on.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Stops and deletes, once; what `delete`, `Drop` and the end of a reply share.
    pub(crate) fn close_(&mut self) -> Result<()> {
        // Closed first, so that the server sees it gone before it is told to stop.
        let running = self.generation.abandon();
        if !mem::take(&mut self.armed) {
            return Ok(());
        }
        self.shared.remove(&self.place, running)
    }

    /// As `close_`, after something went wrong: adds to the error what that leaves behind.
    pub(crate) fn close_after(&mut self, error: Error) -> Error {
        self.generation.ended_by(&error);
        match self.close_() {
            Ok(()) => error,
            Err(second) => {
                debug!("{second}");
                error.with_undeleted(self.id())
            }
        }
    }
}

impl Last {
    fn turn(&self, is_retry: bool) -> Result<Turn> {
        let turn = Turn::new(&self.request, &self.id, is_retry && self.is_stored)?;
        let turn = turn.changed(self.is_changed);
        Ok(match &self.preamble {
            Some(preamble) => turn.after(preamble),
            None if self.system_is_told => turn.without_system(),
            None => turn,
        })
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Err(error) = self.close_() {
            warn!("{error}");
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("id", &self.place.id)
            .field("kept", &!self.armed)
            .finish_non_exhaustive()
    }
}
