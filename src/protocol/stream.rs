//! A reply on its way: bytes are read, and the decoder of the server's protocol makes frames of them.

use std::io;
use std::time::{Duration, Instant};

use ureq::BodyReader;

use super::{Frame, jsonl, tgi};
use crate::error::{Result, Step};
use crate::http::{Cut, Watch, unreadable};
use crate::stream::Events;

/// The longest event of a reply that has no text yet, in bytes.
const LONGEST_EVENT: usize = 1 << 20;

/// How many bytes JSON may write for a byte of text, as in `\u0007`. The last event repeats the whole text.
const LONGEST_ESCAPE: usize = 6;

/// By how much the last event may be longer for the sake of the text, in bytes, whatever a server has sent before.
const LONGEST_REPEAT: usize = 16 << 20;

/// For how long it is looked whether a reply's end is here.
const GLANCE: Duration = Duration::from_millis(1);

pub(crate) struct Stream {
    decoder: Decoder,
    longest_event: usize,
    body: BodyReader<'static>,
}

/// One for each form in which servers reply.
enum Decoder {
    /// An event stream of text-generation-inference.
    Tgi(Events),
    /// Lines of JSON.
    Jsonl(jsonl::Decoder),
}

impl Decoder {
    /// The next frame, if all of it is here.
    fn next(&mut self, longest: usize) -> Result<Option<Frame>> {
        match self {
            Decoder::Tgi(events) => {
                while let Some(event) = events.next(longest)? {
                    if let Some(frame) = tgi::frame(event)? {
                        return Ok(Some(frame));
                    }
                }
            }
            Decoder::Jsonl(lines) => return lines.next(longest),
        }
        Ok(None)
    }

    fn fill(&mut self, body: &mut BodyReader) -> io::Result<usize> {
        match self {
            Decoder::Tgi(events) => events.fill(body),
            Decoder::Jsonl(lines) => lines.fill(body),
        }
    }
}

impl Stream {
    pub(super) fn of_events(body: BodyReader<'static>) -> Stream {
        Stream::new(Decoder::Tgi(Events::default()), body)
    }

    pub(super) fn of_lines(body: BodyReader<'static>) -> Stream {
        Stream::new(Decoder::Jsonl(jsonl::Decoder::default()), body)
    }

    fn new(decoder: Decoder, body: BodyReader<'static>) -> Stream {
        Stream {
            decoder,
            longest_event: LONGEST_EVENT,
            body,
        }
    }

    /// The next frame, or none at the end of the bytes, which proves nothing. The stall is counted from
    /// `since`, or from the first wait: a frame that is here already is not worth a look at the clock.
    pub(crate) fn next(
        &mut self,
        watch: &Watch,
        since: &mut Option<Instant>,
    ) -> Result<Option<Frame>> {
        loop {
            match watch.check() {
                Ok(()) => {}
                Err(Cut::Stopped) => return Err(Cut::Stopped.at(Step::Reply)),
                Err(cut) => {
                    return self
                        .late_end()?
                        .ok_or_else(|| cut.at(Step::Reply))
                        .map(Some);
                }
            }
            if let Some(frame) = self.received()? {
                return Ok(Some(frame));
            }
            let since = *since.get_or_insert_with(Instant::now);
            let read = watch.run(since, || self.decoder.fill(&mut self.body));
            if read.map_err(|error| unreadable(Step::Reply, error))? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next frame, if all of it has been read.
    fn received(&mut self) -> Result<Option<Frame>> {
        let frame = self.decoder.next(self.longest_event)?;
        if let Some(text) = frame
            .as_ref()
            .and_then(|frame| frame.event.as_ref()?.text())
        {
            let longer = self.longest_event + text.len() * LONGEST_ESCAPE;
            self.longest_event = longer.min(LONGEST_EVENT + LONGEST_REPEAT);
        }
        Ok(frame)
    }

    /// The last frame, if there is nothing but that to come and it is here: a reply that is complete does not become
    /// too late because the caller took his time.
    fn late_end(&mut self) -> Result<Option<Frame>> {
        let mut frame = self.received()?;
        if frame.is_none() {
            let glance = Watch::cleanup(GLANCE);
            // Whatever goes wrong in it, the limit was reached before.
            let _ = glance.run(Instant::now(), || self.decoder.fill(&mut self.body));
            frame = self.received()?;
        }
        Ok(frame.filter(Frame::is_last))
    }

    /// Reads on, without a look at the text, until the generation has ended. Says whether the server calls that the
    /// work of a stop.
    ///
    /// # Errors
    /// Only if this side gives up: however else the reply ends, the generation does with it.
    pub(crate) fn wait_for_end(&mut self, watch: &Watch) -> Result<bool> {
        loop {
            match self.next(watch, &mut None) {
                Ok(Some(frame)) if frame.is_last() => return Ok(frame.stopped.is_some()),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(error) if error.is_cut() => return Err(error.at(Step::Message)),
                // What is not understood on this side does not end it on the other.
                Err(_) => return self.read_out(watch).map(|()| false),
            }
        }
    }

    fn read_out(&mut self, watch: &Watch) -> Result<()> {
        let read = watch.run(Instant::now(), || io::copy(&mut self.body, &mut io::sink()));
        match read.map_err(|error| unreadable(Step::Message, error)) {
            Err(error) if error.is_cut() => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads what follows the last event, so that the connection can be used again.
    pub(crate) fn drain(mut self, limit: Duration) {
        let watch = Watch::cleanup(limit);
        // Without success the connection is closed, and that is all.
        let _ = watch.run(Instant::now(), || io::copy(&mut self.body, &mut io::sink()));
    }
}
