//! The iterator over the tokens of one reply. It owns the stream that it reads.

use std::fmt;
use std::io::Write;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use log::warn;

use crate::api::{ReplyStream, would_have_waited};
use crate::conversation::Conversation;
use crate::decode::{Thinking, Update};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::Timer;
use crate::reply::{End, Event, Reply};

/// The longest text that is collected, reasoning included, in bytes: two million tokens, more than
/// any model writes.
const MAX_TEXT: usize = 8 << 20;

/// How long to wait for the end of a complete reply, so that its connection can be reused.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// How much text [`Tokens::write_to`] gathers, in bytes.
const MAX_GATHERED: usize = 8 << 10;

/// The tokens of a reply, as they arrive.
///
/// Returned by [`Client::stream`](crate::Client::stream) and, for a turn of a conversation, by
/// [`Conversation::stream`]. Each item is a piece of the answer and never empty. Special tokens,
/// which are not text, are left out, and so is [reasoning](Event::Reasoning).
///
/// * `None` means that the reply is complete, and that its conversation has been deleted (unless
///   it is a turn). If only the deletion failed, an error of [`Step::DeleteConversation`] comes
///   before the `None`.
/// * An error is the last item. The reply is then incomplete.
///
/// Leaving the iterator early, by `break`, `?`, a panic or dropping it, stops the generation on the
/// server. It also deletes the conversation, unless the reply is a turn. Both take at most the
/// client's [cleanup timeout](crate::ClientBuilder::cleanup_timeout).
///
/// A `for` loop consumes the iterator. Loop over `&mut tokens` to use it afterwards:
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut tokens = client.stream("Why is the sky blue?")?;
/// for token in &mut tokens {
///     print!("{}", token?);
/// }
/// let end = tokens.end().expect("a complete reply has an end");
/// println!("\n{} characters", end.text.chars().count());
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[must_use = "a reply is read by iterating; dropping it stops it"]
pub struct Tokens<'c> {
    /// `None` once the reply is over.
    stream: Option<ReplyStream>,
    conversation: Owner<'c>,
    timer: Timer,
    /// Since when a token is waited for. `None` before the first wait.
    since: Option<Instant>,
    /// The time spent waiting for a token before `next_event` last returned. The program's own time
    /// does not count.
    waited: Option<Duration>,
    thinking: Thinking,
    /// The answer has not begun, so tokens go through `thinking`.
    is_thinking: bool,
    /// The error that comes after the tokens that `thinking` still has.
    error: Option<Error>,
    received: u64,
    end: Option<Box<End>>,
}

/// The conversation that a reply belongs to.
enum Owner<'c> {
    /// Created for this reply, and deleted with it.
    Owned(Box<Conversation>),
    /// Stays usable after it.
    Borrowed(&'c mut Conversation),
}

impl Owner<'_> {
    fn is_own(&self) -> bool {
        matches!(self, Owner::Owned(_))
    }

    fn get(&self) -> &Conversation {
        match self {
            Owner::Owned(conversation) => conversation,
            Owner::Borrowed(conversation) => conversation,
        }
    }

    fn get_mut(&mut self) -> &mut Conversation {
        match self {
            Owner::Owned(conversation) => conversation,
            Owner::Borrowed(conversation) => conversation,
        }
    }
}

impl Tokens<'static> {
    /// A reply with a conversation of its own.
    pub(crate) fn of_own(
        conversation: Conversation,
        stream: ReplyStream,
        timer: Timer,
    ) -> Tokens<'static> {
        Tokens::new(Owner::Owned(Box::new(conversation)), stream, timer)
    }

    /// Ends the reply here, and leaves its conversation on the server. The returned conversation
    /// is not deleted when it is dropped.
    ///
    /// Call this before the iterator returns `None` or an error, because that deletes the
    /// conversation. To keep a conversation in any case, create it with
    /// [`Client::conversation`](crate::Client::conversation). A turn belongs to its conversation,
    /// so it cannot be kept:
    ///
    /// ```compile_fail,E0597
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut chat = client.conversation()?;
    /// let kept = chat.stream("Name a prime.")?.keep();
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut tokens = client.stream("Count to a million.")?;
    /// let first = tokens.next().transpose()?;
    /// let mut chat = tokens.keep();
    /// println!("{}", chat.ask("Why did you stop?")?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn keep(mut self) -> Conversation {
        let stream = self.stream.take();
        self.conversation.get_mut().hand_over(stream)
    }
}

impl<'c> Tokens<'c> {
    /// A reply in a conversation that stays usable after it.
    pub(crate) fn of_turn(
        conversation: &'c mut Conversation,
        stream: ReplyStream,
        timer: Timer,
    ) -> Tokens<'c> {
        Tokens::new(Owner::Borrowed(conversation), stream, timer)
    }

    fn new(conversation: Owner<'c>, stream: ReplyStream, timer: Timer) -> Tokens<'c> {
        timer.set_step(Step::ReadReply);
        let keeps_thinking = conversation.get().keeps_thinking();
        Tokens {
            stream: Some(stream),
            conversation,
            timer,
            since: None,
            waited: None,
            thinking: Thinking::new(),
            is_thinking: !keeps_thinking,
            error: None,
            received: 0,
            end: None,
        }
    }
}

impl Tokens<'_> {
    /// Ends the reply here. Dropping does the same, but can only log errors.
    ///
    /// Stops the generation on the server and, unless the reply is a turn, deletes the
    /// conversation.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut tokens = client.stream("Count to a million.")?;
    /// let first = tokens.next().transpose()?;
    /// tokens.cancel()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the conversation cannot be deleted or, for a turn, if the generation cannot be stopped.
    #[doc(alias = "stop")]
    #[doc(alias = "abort")]
    pub fn cancel(mut self) -> Result<()> {
        self.leave()
    }

    /// Collects the rest of the answer. Reasoning is left out, but counts towards the maximum of
    /// 8 MiB.
    ///
    /// # Errors
    /// Those of the iterator, with the text so far in [`Error::received`]. A failed deletion is
    /// only logged, as a warning: the text is complete.
    pub fn text(self) -> Result<String> {
        Ok(self.reply()?.text)
    }

    /// Collects the rest of the reply: its text and reasoning, together of at most 8 MiB, and its
    /// end.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use h2o_chat::Request;
    ///
    /// let reply = client.stream(Request::new("Name a prime.").details(true))?.reply()?;
    /// println!("{} {:?}", reply.text, reply.end.details);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`text`](Tokens::text), and if the reply had already failed.
    pub fn reply(mut self) -> Result<Reply> {
        let (mut text, mut reasoning) = (String::new(), String::new());
        loop {
            let event = self.read_generated();
            let (piece, is_thought) = match self.item(event) {
                Some(Ok(Event::Reasoning(thought))) => (thought, true),
                Some(Ok(event)) => (event.into_text().unwrap_or_default(), false),
                Some(Err(error)) if error.step() == Step::DeleteConversation => {
                    warn!("{error}");
                    break;
                }
                Some(Err(error)) => return Err(error.with_received(text)),
                None => break,
            };
            if text.len() + reasoning.len() + piece.len() > MAX_TEXT {
                let message = format!("the text is longer than {MAX_TEXT} bytes");
                let error = Error::new(ErrorKind::TooLarge, Step::ReadReply, message);
                return Err(self.fail(error).with_received(text));
            }
            match is_thought {
                false => text.push_str(&piece),
                true if reasoning.is_empty() => reasoning.push_str(piece.trim_start()),
                true => reasoning.push_str(&piece),
            }
        }
        reasoning.truncate(reasoning.trim_end().len());
        match self.end.take() {
            Some(end) => Ok(Reply { text, reasoning, end: *end }),
            None => Err(truncated("the reply has failed before")),
        }
    }

    /// Writes the rest of the answer as it arrives.
    ///
    /// Gathers up to 8 KiB of text, so `out` need not be buffered. Before a wait for the next
    /// token, and before this returns, all text is written and flushed. Text is never cut within a
    /// character, unless `out` accepts only a part of a write.
    ///
    /// # Errors
    /// Those of the iterator. If only the deletion failed, the whole text has been written. An
    /// error of the writer ends the reply, and is the source of an [`ErrorKind::Write`].
    pub fn write_to(&mut self, mut out: impl Write) -> Result<()> {
        let mut text = String::new();
        loop {
            let mut read = self.read_text(false);
            let would_wait = read.as_ref().is_err_and(would_have_waited);
            // Also before the cleanup, which takes its time.
            let is_due = would_wait || !matches!(read, Ok(Some(_))) || text.len() >= MAX_GATHERED;
            if is_due && !text.is_empty() {
                if let Err(error) = write(&mut text, &mut out) {
                    return Err(self.fail(error));
                }
                // The writer's time does not count as a wait for the next token.
                self.since = None;
            }
            if would_wait {
                read = self.read_text(true);
            }
            match self.item(read) {
                Some(token) => text.push_str(&token?),
                None => break,
            }
        }
        match self.end {
            Some(_) => Ok(()),
            None => Err(truncated("the reply has failed before")),
        }
    }

    /// The number of tokens so far that are text, reasoning in the text included.
    #[must_use]
    pub fn token_count(&self) -> u64 {
        self.received
    }

    /// The server's last event. `None` before the end, and after an error.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_deref()
    }

    /// The id of the conversation.
    #[must_use]
    pub fn conversation_id(&self) -> &str {
        self.conversation.get().id()
    }

    /// The next event of the reply, or `None` when it is complete. Besides the iterator's items,
    /// events are titles, reasoning, special tokens, empty tokens and whatever else the server
    /// tells: see [`Event`].
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use h2o_chat::Event;
    ///
    /// let mut tokens = client.stream("Why is the sky blue?")?;
    /// while let Some(event) = tokens.next_event() {
    ///     if let Event::Token(token) = event? {
    ///         println!("{:?} {:?}", token.text, token.logprob);
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn next_event(&mut self) -> Option<Result<Event>> {
        if let Some(stream) = &mut self.stream {
            stream.read_metadata();
        }
        if let Some(waited) = self.waited.take() {
            self.since = Instant::now().checked_sub(waited);
        }
        let event = self.read_event(true);
        self.waited = self.since.take().map(|since| since.elapsed());
        self.item(event)
    }

    /// Reads the next event, with reasoning apart from the answer, or `None` when the reply is
    /// complete. See [`ReplyStream::next`] for `may_wait`.
    fn read_event(&mut self, may_wait: bool) -> Result<Option<Event>> {
        if self.is_thinking { self.read_thinking(may_wait) } else { self.read_raw_event(may_wait) }
    }

    /// Reads the next event before the answer has begun. Out of line, because nearly all tokens
    /// come after that.
    #[cold]
    fn read_thinking(&mut self, may_wait: bool) -> Result<Option<Event>> {
        while !self.thinking.is_over() {
            if let Some(event) = self.thinking.next() {
                return Ok(Some(event));
            }
            match self.read_raw_event(may_wait) {
                Ok(Some(Event::Token(token))) if token.is_text() => self.thinking.add(token),
                Ok(Some(event)) => return Ok(Some(event)),
                // To return what is held first would hold back the panic of a callback.
                Err(error) if would_have_waited(&error) || error.kind() == ErrorKind::Cancelled => {
                    return Err(error);
                }
                ended => {
                    self.thinking.finish();
                    self.error = ended.err();
                    if self.error.as_ref().is_some_and(Error::ends_the_generation) {
                        self.conversation.get_mut().generation_ended();
                    }
                }
            }
        }
        self.is_thinking = false;
        match self.error.take() {
            Some(error) => Err(error),
            None => self.read_raw_event(may_wait),
        }
    }

    /// Reads the next event as the server sent it, or `None` when the reply is complete.
    fn read_raw_event(&mut self, may_wait: bool) -> Result<Option<Event>> {
        while self.end.is_none() {
            let Some(stream) = &mut self.stream else {
                return Ok(None);
            };
            let update = stream.next(&self.timer, &mut self.since, may_wait)?;
            let conversation = self.conversation.get_mut();
            // The end of the stream also ends the generation.
            if update.as_ref().is_none_or(Update::is_last) {
                conversation.generation_ended();
            }
            let Some(update) = update else {
                return Err(stream.unfinished());
            };
            if update.is_interrupted {
                return Err(truncated("the generation of the reply was stopped"));
            }
            conversation.message_accepted();
            self.end = update.end;
            if let Some(event) = update.event {
                self.received += u64::from(event.text().is_some());
                if event.is_generated() {
                    self.since = None;
                    self.timer.end_wait();
                }
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Reads the next piece of text or reasoning, or `None` when the reply is complete.
    fn read_generated(&mut self) -> Result<Option<Event>> {
        loop {
            match self.read_event(true)? {
                Some(event) if !event.is_generated() => {}
                event => return Ok(event),
            }
        }
    }

    /// Reads the next token that is text, or `None` when the reply is complete.
    fn read_text(&mut self, may_wait: bool) -> Result<Option<String>> {
        while let Some(event) = self.read_event(may_wait)? {
            if let Some(text) = event.into_text() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Turns what was read into the item for the caller, and cleans up at the end.
    fn item<T>(&mut self, read: Result<Option<T>>) -> Option<Result<T>> {
        match read {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => self.finish().err().map(Err),
            Err(error) => Some(Err(self.fail(error))),
        }
    }

    /// After the last token of a complete reply.
    fn finish(&mut self) -> Result<()> {
        let Some(stream) = self.stream.take() else {
            return Ok(());
        };
        stream.drain(DRAIN_TIMEOUT);
        self.leave()
    }

    /// Cleans up after an error. If that fails, adds the conversation to the error.
    fn fail(&mut self, error: Error) -> Error {
        self.end = None;
        self.is_thinking = false;
        let error = error.after_tokens(self.received);
        let stream = self.stream.take();
        let is_own = self.conversation.is_own();
        let error = self.conversation.get_mut().fail_reply(is_own, error, stream);
        self.timer.resume_panic();
        error
    }

    /// Stops the generation if it may be running, and deletes a conversation of the reply's own.
    fn leave(&mut self) -> Result<()> {
        let stream = self.stream.take();
        let is_own = self.conversation.is_own();
        self.conversation.get_mut().end_reply(is_own, stream)
    }
}

impl Drop for Tokens<'_> {
    fn drop(&mut self) {
        // Without a stream, the reply is over and cleaned up already.
        if self.stream.is_some() {
            if let Err(error) = self.leave() {
                warn!("{error}");
            }
        }
    }
}

/// Writes and flushes the text, and clears it.
fn write(text: &mut String, out: &mut impl Write) -> Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    text.clear();
    written.map_err(|error| {
        let message = format!("the text cannot be written: {error}");
        Error::new(ErrorKind::Write, Step::ReadReply, message).with_source(error)
    })
}

fn truncated(message: &str) -> Error {
    Error::new(ErrorKind::Truncated, Step::ReadReply, message)
}

impl Iterator for Tokens<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        let text = self.read_text(true);
        self.item(text)
    }
}

impl FusedIterator for Tokens<'_> {}

impl fmt::Debug for Tokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("conversation", self.conversation.get())
            .field("received", &self.received)
            .field("complete", &self.end.is_some())
            .finish_non_exhaustive()
    }
}
