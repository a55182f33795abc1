//! A reply as it arrives: the body of a response, read under a timer and decoded.

use std::io;
use std::time::{Duration, Instant};

use ureq::BodyReader;

use super::json_body::encoded;
use crate::decode::{Decoder, Update};
use crate::error::{Error, ErrorKind, Result, Step, Timeout};
use crate::http::{Interrupt, Response, Timer, unreadable};
use crate::text::one_line;

/// How long to look for the end of a reply after the call's time is over.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// Returns whether this is the error of [`ReplyStream::next`] where it may not wait. No other read
/// of a reply is limited by the cleanup timeout.
pub(crate) fn would_have_waited(error: &Error) -> bool {
    error.kind() == ErrorKind::Timeout(Timeout::Cleanup)
}

pub(crate) struct ReplyStream {
    decoder: Decoder,
    body: BodyReader<'static>,
    /// The encoding that the body should not have.
    encoding: Option<String>,
}

impl ReplyStream {
    pub(super) fn new(decoder: Decoder, response: Response) -> ReplyStream {
        let encoding = response.encoding().map(one_line);
        ReplyStream { decoder, body: response.into_reader(), encoding }
    }

    /// The next update, or `None` at the end of the body, which does not prove that the reply is
    /// complete. The token timeout counts from `since`, or from the first wait: the clock is
    /// read only when there is something to wait for.
    ///
    /// # Errors
    /// If it may not wait but would have to, one that [`would_have_waited`] recognises. The next
    /// call continues.
    pub(crate) fn next(
        &mut self,
        timer: &Timer,
        since: &mut Option<Instant>,
        may_wait: bool,
    ) -> Result<Option<Update>> {
        loop {
            match timer.check() {
                Ok(()) => {}
                Err(Interrupt::Cancelled) => {
                    return Err(Interrupt::Cancelled.at(Step::ReadReply));
                }
                Err(expired) => {
                    let end = self.end_that_has_arrived()?;
                    return end.ok_or_else(|| expired.at(Step::ReadReply)).map(Some);
                }
            }
            match self.decoder.next() {
                Ok(None) => {}
                Ok(update) => return Ok(update),
                Err(error) => return Err(self.with_encoding(error)),
            }
            let since = *since.get_or_insert_with(Instant::now);
            let no_wait = (!may_wait).then(|| Timer::cleanup(Duration::ZERO));
            let timer = no_wait.as_ref().unwrap_or(timer);
            let read = timer.run(since, || self.decoder.fill(&mut self.body));
            if read.map_err(|error| unreadable(Step::ReadReply, error))? == 0 {
                return self.decoder.finish();
            }
        }
    }

    /// Reads the id and the probability of each token too, and the events that are not text, from
    /// now on.
    pub(crate) fn read_metadata(&mut self) {
        self.decoder.read_metadata();
    }

    /// The error of a reply whose stream has ended without a last update.
    pub(crate) fn unfinished(&self) -> Error {
        self.with_encoding(self.decoder.unfinished())
    }

    /// Returns an error of the decoder, or the one of an encoded body, which it cannot read.
    fn with_encoding(&self, error: Error) -> Error {
        let is_read = self.decoder.has_begun() || error.kind() == ErrorKind::Generation;
        match &self.encoding {
            Some(encoding) if !is_read => encoded(Step::ReadReply, encoding),
            _ => error,
        }
    }

    /// The last update, if it has already arrived and is next. A complete reply must not fail
    /// because the caller took long between two tokens.
    fn end_that_has_arrived(&mut self) -> Result<Option<Update>> {
        let mut update = self.decoder.next()?;
        if update.is_none() {
            let timer = Timer::cleanup(LAST_LOOK);
            // Errors do not matter here: the time was over before.
            let read = timer.run(Instant::now(), || self.decoder.fill(&mut self.body));
            update = match read {
                Ok(0) => self.decoder.finish()?,
                _ => self.decoder.next()?,
            };
        }
        Ok(update.filter(|update| self.decoder.is_ending(update)))
    }

    /// Reads on until the generation has ended. Returns whether the server says that a stop ended
    /// it.
    ///
    /// # Errors
    /// Only if the client gives up: every other end of the reply ends the generation too.
    pub(crate) fn wait_for_end(&mut self, timer: &Timer) -> Result<bool> {
        loop {
            match self.next(timer, &mut None, true) {
                Ok(Some(update)) if update.is_last() => return Ok(update.is_interrupted),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(error) if error.is_interrupt() => return Err(error.at(Step::SendMessage)),
                // The generation goes on although its reply cannot be decoded.
                Err(_) => return self.skip_to_end(timer).map(|()| false),
            }
        }
    }

    fn skip_to_end(&mut self, timer: &Timer) -> Result<()> {
        let read = timer.run(Instant::now(), || io::copy(&mut self.body, &mut io::sink()));
        match read.map_err(|error| unreadable(Step::SendMessage, error)) {
            Err(error) if error.is_interrupt() => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads what follows the last event, so that the connection can be reused.
    pub(crate) fn drain(mut self, timeout: Duration) {
        let timer = Timer::cleanup(timeout);
        // If that fails, the connection is closed.
        let _ = timer.run(Instant::now(), || io::copy(&mut self.body, &mut io::sink()));
    }
}
