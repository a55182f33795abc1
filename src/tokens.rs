//! The iterator over the tokens of one reply, which tidies up after itself.

use std::fmt;
use std::io::Write;
use std::iter::FusedIterator;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use log::warn;

use crate::conversation::Conversation;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::Watch;
use crate::reply::{End, Event, Reply};

/// The longest text that is gathered, in bytes: two million tokens, which no model says. A server that sends without
/// end would fill the memory.
const LONGEST_TEXT: usize = 8 << 20;

/// The tokens of a reply, as they arrive.
///
/// Made by [`Client::generate`](crate::Client::generate), and as a turn of a conversation by [`Conversation::send`].
/// Each item is a piece of text, never empty; special tokens, which are not text, are left out. An error is the last
/// item: the reply is not complete then, whatever has come. `None` without an error before it means that the server said
/// the reply is complete and, but for a turn, that the conversation has been deleted. If only the deletion failed, that
/// is the last item, with [`Step::Delete`] and the id in [`Error::undeleted`].
///
/// However it is left, by `break`, `?`, a panic, dropping: the generation is stopped on the server and, but for a
/// turn, the conversation deleted, within the client's [cleanup budget](crate::ClientBuilder::cleanup_budget).
///
/// A `for` loop takes the iterator; loop over `&mut tokens` to have it afterwards, for
/// [`end`](Tokens::end) for example.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut tokens = client.generate("Why is the sky blue?")?;
/// for token in &mut tokens {
///     print!("{}", token?);
/// }
/// let end = tokens.end().expect("a reply without an error has an end");
/// println!("\n{} characters", end.text.chars().count());
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[must_use = "a reply is read as it is iterated over; dropped, it is stopped"]
pub struct Tokens<'c> {
    conversation: Guard<'c>,
    watch: Watch,
    received: u64,
    end: Option<Box<End>>,
    /// Nothing more is to be read.
    over: bool,
}

/// The conversation that a reply belongs to.
enum Guard<'c> {
    /// One that is there for this reply alone.
    Own(Box<Conversation>),
    Turn(Borrowed<'c>),
}

/// A conversation lent for a turn; given back, no generation runs in it.
struct Borrowed<'c>(&'c mut Conversation);

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Deref for Guard<'_> {
    type Target = Conversation;

    fn deref(&self) -> &Conversation {
        match self {
            Guard::Own(conversation) => conversation,
            Guard::Turn(turn) => turn.0,
        }
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Conversation {
        match self {
            Guard::Own(conversation) => conversation,
            Guard::Turn(turn) => turn.0,
        }
    }
}

impl Tokens<'static> {
    /// A reply with a conversation of its own.
    pub(crate) fn new(conversation: Conversation, watch: Watch) -> Tokens<'static> {
        Tokens::of(Guard::Own(Box::new(conversation)), watch)
    }

    /// Ends the reply where it is, and leaves the conversation on the server, to be gone on with. What is returned is
    /// not deleted when it is dropped.
    ///
    /// A conversation is deleted when its reply is complete, and after an error: to keep it, call this before
    /// the iterator has returned `None` or an error, or open one with [`Client::conversation`](crate::Client::conversation)
    /// in the first place. A turn has nothing to keep, its conversation has:
    ///
    /// ```compile_fail,E0597
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut chat = client.conversation()?;
    /// let kept = chat.send("Name a prime.")?.keep();
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut tokens = client.generate("Count to a million.")?;
    /// let first = tokens.next().transpose()?;
    /// let mut chat = tokens.keep();
    /// println!("{}", chat.ask("Why did you stop?")?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn keep(mut self) -> Conversation {
        self.conversation.let_go();
        self.conversation.disarm();
        self.conversation.hand_over()
    }
}

impl<'c> Tokens<'c> {
    /// A reply in a conversation that goes on after it.
    pub(crate) fn of_turn(conversation: &'c mut Conversation, watch: Watch) -> Tokens<'c> {
        Tokens::of(Guard::Turn(Borrowed(conversation)), watch)
    }

    fn of(conversation: Guard<'c>, watch: Watch) -> Tokens<'c> {
        Tokens {
            conversation,
            watch,
            received: 0,
            end: None,
            over: false,
        }
    }
}

impl Tokens<'_> {
    /// Ends the reply here, and returns what dropping could only log.
    ///
    /// Stops the generation on the server. Deletes the conversation too, unless the reply is a turn of a
    /// [`Conversation`].
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut tokens = client.generate("Count to a million.")?;
    /// let first = tokens.next().transpose()?;
    /// tokens.cancel()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the conversation could not be deleted or, for a turn, the generation could not be stopped.
    pub fn cancel(mut self) -> Result<()> {
        self.leave()
    }

    /// The rest of the reply as one text, of 8 MiB at the most.
    ///
    /// # Errors
    /// As the iterator, with the text so far in [`Error::received`]. A failed deletion is no error here, since
    /// the text is complete: it is logged as a warning.
    pub fn text(self) -> Result<String> {
        Ok(self.reply()?.text)
    }

    /// The rest of the reply as one text, and its end.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use h2o_chat::Request;
    ///
    /// let reply = client.generate(Request::new("Name a prime.").details(true))?.reply()?;
    /// println!("{} {:?}", reply.text, reply.end.details);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`text`](Tokens::text); and if the reply was read before to an end that was no good one.
    pub fn reply(mut self) -> Result<Reply> {
        let mut text = String::new();
        while let Some(token) = self.next() {
            match token {
                Ok(token) if text.len() + token.len() > LONGEST_TEXT => {
                    let message = format!("the text is longer than {LONGEST_TEXT} bytes");
                    let error = Error::new(ErrorKind::TooLarge, Step::Reply, message);
                    return Err(self.fail(error).with_received(text));
                }
                Ok(token) => text.push_str(&token),
                Err(error) if error.step() == Step::Delete => warn!("{error}"),
                Err(error) => return Err(error.with_received(text)),
            }
        }
        match self.end.take() {
            Some(end) => Ok(Reply { text, end: *end }),
            None => Err(Error::new(
                ErrorKind::Truncated,
                Step::Reply,
                "the reply had failed before",
            )),
        }
    }

    /// Writes the rest of the reply, token by token as it arrives, each flushed.
    ///
    /// # Errors
    /// As the iterator, a failed deletion included: the whole text has been written then. And with
    /// [`ErrorKind::Output`] if the writer fails, whose error is the source; the reply ends there, stopped and
    /// deleted.
    pub fn write_to(&mut self, mut out: impl Write) -> Result<()> {
        while let Some(token) = self.next() {
            let token = token?;
            let written = out.write_all(token.as_bytes()).and_then(|()| out.flush());
            if let Err(error) = written {
                let message = format!("the text cannot be written: {error}");
                let error = Error::new(ErrorKind::Output, Step::Reply, message).with_source(error);
                return Err(self.fail(error));
            }
        }
        Ok(())
    }

    /// What the server said at the end; none before that, and none after an error in the reply.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_deref()
    }

    /// The id of the conversation.
    #[must_use]
    pub fn conversation_id(&self) -> &str {
        self.conversation.id()
    }

    /// The next event of the reply, for those who want more than its text; none when it is complete. What the
    /// iterator leaves out, special tokens and such without text, are events too.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use h2o_chat::Event;
    ///
    /// let mut tokens = client.generate("Why is the sky blue?")?;
    /// while let Some(event) = tokens.next_event() {
    ///     if let Event::Token(token) = event? {
    ///         println!("{:?} {:?}", token.text, token.logprob);
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn next_event(&mut self) -> Option<Result<Event>> {
        let event = self.event(&mut None);
        self.item(event)
    }

    /// The next event; none when the reply is complete. The wait for it began at `since`, or begins now.
    fn event(&mut self, since: &mut Option<Instant>) -> Result<Option<Event>> {
        while !self.over && self.end.is_none() {
            let Some(frame) = self.conversation.frame(&self.watch, since)? else {
                return Err(Error::new(
                    ErrorKind::Truncated,
                    Step::Reply,
                    "the reply ended without its last event",
                ));
            };
            self.end = frame.end;
            if let Some(event) = frame.event {
                self.received += u64::from(event.text().is_some());
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The next token that is text; none when the reply is complete.
    fn text_token(&mut self) -> Result<Option<String>> {
        let mut since = None;
        while let Some(event) = self.event(&mut since)? {
            // A model that thinks is at work.
            if matches!(event, Event::Reasoning(_)) {
                since = None;
            }
            if let Some(text) = event.into_text() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// What the caller gets for it.
    fn item<T>(&mut self, next: Result<Option<T>>) -> Option<Result<T>> {
        match next {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => self.finish().err().map(Err),
            Err(error) => Some(Err(self.fail(error))),
        }
    }

    /// After the last token of a complete reply.
    fn finish(&mut self) -> Result<()> {
        if mem::replace(&mut self.over, true) {
            return Ok(());
        }
        self.conversation.finish();
        self.leave()
    }

    /// Tidies up before the error is seen, and adds to it what is left behind.
    fn fail(&mut self, error: Error) -> Error {
        self.over = true;
        self.end = None;
        let error = error.after(self.received);
        match &mut self.conversation {
            Guard::Own(conversation) => conversation.close_after(error),
            Guard::Turn(turn) => {
                turn.0.interrupt_after(&error);
                error
            }
        }
    }

    /// Deletes a conversation that was there for this reply alone; in another only the generation is stopped, if one may
    /// be running.
    fn leave(&mut self) -> Result<()> {
        match &mut self.conversation {
            Guard::Own(conversation) => conversation.close_(),
            Guard::Turn(turn) => turn.0.interrupt(),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        let token = self.text_token();
        self.item(token)
    }
}

impl FusedIterator for Tokens<'_> {}

impl fmt::Debug for Tokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("conversation", &*self.conversation)
            .field("received", &self.received)
            .field("complete", &self.end.is_some())
            .finish_non_exhaustive()
    }
}
