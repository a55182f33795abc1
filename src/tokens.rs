//! The iterator over the tokens of one reply, which tidies up after itself.

use std::fmt;
use std::io::Write;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::mem;
use std::time::Instant;

use log::warn;

use crate::conversation::Conversation;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::Watch;
use crate::reply::{End, Reply};

/// The tokens of a reply, as they arrive.
///
/// Made by [`Client::generate`](crate::Client::generate). Each item is a piece of text, never empty; special
/// tokens, which are not text, are left out. An error is the last item: the reply is not complete then,
/// whatever has come. `None` without an error before it means that the server said the reply is complete, and
/// that the conversation has been deleted. If only the deletion failed, that is the last item, with
/// [`Step::Delete`] and the id in [`Error::undeleted`].
///
/// However it is left, by `break`, `?`, a panic, dropping: the generation is stopped on the server and the
/// conversation deleted, within the client's [cleanup budget](crate::ClientBuilder::cleanup_budget).
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
#[must_use = "a reply is read as it is iterated over; dropped, it is stopped and the conversation deleted"]
pub struct Tokens<'c> {
    conversation: Conversation,
    watch: Watch,
    received: u64,
    end: Option<End>,
    /// Nothing more is to be read.
    over: bool,
    turn: PhantomData<&'c mut Conversation>,
}

impl Tokens<'static> {
    /// A reply with a conversation of its own.
    pub(crate) fn new(conversation: Conversation, watch: Watch) -> Tokens<'static> {
        Tokens {
            conversation,
            watch,
            received: 0,
            end: None,
            over: false,
            turn: PhantomData,
        }
    }

    /// Ends the reply where it is and deletes the conversation.
    ///
    /// Dropping does the same but has no place for an error; call this to see it.
    ///
    /// # Errors
    /// As [`Conversation::delete`].
    pub fn delete(mut self) -> Result<()> {
        self.conversation.close_()
    }

    /// Ends the reply where it is and leaves the conversation on the server. What is returned is not armed.
    ///
    /// A conversation is deleted when its reply is complete, and after an error: to keep it, call this before
    /// the iterator has returned `None` or an error.
    pub fn keep(mut self) -> Conversation {
        self.conversation.interrupt();
        self.conversation.disarm();
        self.conversation
    }
}

impl Tokens<'_> {
    /// The rest of the reply as one text.
    ///
    /// # Errors
    /// As the iterator, with the text so far in [`Error::received`]. A failed deletion is no error here, since
    /// the text is complete: it is logged as a warning.
    pub fn text(self) -> Result<String> {
        Ok(self.reply()?.text)
    }

    /// The rest of the reply as one text, and its end.
    ///
    /// # Errors
    /// As [`text`](Tokens::text); and if the reply was read before to an end that was no good one.
    pub fn reply(mut self) -> Result<Reply> {
        let mut text = String::new();
        for token in &mut self {
            match token {
                Ok(token) => text.push_str(&token),
                Err(error) if error.step() == Step::Delete => warn!("{error}"),
                Err(error) => return Err(error.with_received(text)),
            }
        }
        match self.end.take() {
            Some(end) => Ok(Reply { text, end }),
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
        self.end.as_ref()
    }

    /// The id of the conversation.
    #[must_use]
    pub fn conversation_id(&self) -> &str {
        self.conversation.id()
    }

    /// The next token; none when the reply is complete.
    fn advance(&mut self) -> Result<Option<String>> {
        let since = Instant::now();
        while !self.over && self.end.is_none() {
            let Some(frame) = self.conversation.frame(&self.watch, since)? else {
                return Err(Error::new(
                    ErrorKind::Truncated,
                    Step::Reply,
                    "the reply ended without its last event",
                ));
            };
            self.end = frame.end;
            if frame.token.is_some() {
                self.received += 1;
                return Ok(frame.token);
            }
        }
        Ok(None)
    }

    /// After the last token of a complete reply.
    fn finish(&mut self) -> Result<()> {
        if mem::replace(&mut self.over, true) {
            return Ok(());
        }
        self.conversation.finish();
        self.conversation.close_()
    }

    /// Tidies up before the error is seen, and adds to it what is left behind.
    fn fail(&mut self, error: Error) -> Error {
        self.over = true;
        self.end = None;
        self.conversation.fail(error.after(self.received))
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        match self.advance() {
            Ok(Some(token)) => Some(Ok(token)),
            Ok(None) => self.finish().err().map(Err),
            Err(error) => Some(Err(self.fail(error))),
        }
    }
}

impl FusedIterator for Tokens<'_> {}

impl fmt::Debug for Tokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("conversation", &self.conversation)
            .field("received", &self.received)
            .field("complete", &self.end.is_some())
            .finish_non_exhaustive()
    }
}
