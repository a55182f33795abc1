//! The generation of a reply, as far as it is known on this side: read, interrupted, and waited for.

use std::mem;
use std::time::{Duration, Instant};

use log::info;

use crate::error::{Error, ErrorKind, Limit, Result, Step};
use crate::http::Watch;
use crate::protocol::{Frame, Place, Stream};
use crate::shared::Shared;

/// How long a complete reply may take to end, so that its connection can be used again.
const DRAIN: Duration = Duration::from_millis(250);

/// How long after a stop the servers were seen to go on generating, and a little more.
const AFTERMATH: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Generation {
    /// The reply that is being read, or one that was stopped and may not have ended yet.
    stream: Option<Stream>,
    /// It may be running on the server, which a deletion would not stop.
    running: bool,
    /// When it was stopped, unless it was seen to end.
    stopped: Option<Instant>,
}

impl Generation {
    /// Begins it with a request, which is answered when the reply begins.
    pub(crate) fn begin(&mut self, ask: impl FnOnce() -> Result<Stream>) -> Result<()> {
        self.running = true;
        self.stream = Some(ask()?);
        Ok(())
    }

    /// The next frame of the reply, or none at the end of its bytes, which proves nothing. The stall is counted
    /// from `since`, or from the first wait.
    pub(crate) fn frame(
        &mut self,
        watch: &Watch,
        since: &mut Option<Instant>,
    ) -> Result<Option<Frame>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let frame = stream.next(watch, since)?;
        // A clean end as well: the server has nothing more to generate then.
        if frame.as_ref().is_none_or(Frame::is_last) {
            self.running = false;
        }
        match frame {
            Some(frame) if frame.stopped.is_some() => Err(Error::new(
                ErrorKind::Truncated,
                Step::Reply,
                "the reply was interrupted: its generation has been stopped",
            )),
            frame => Ok(frame),
        }
    }

    /// Takes from an error what it says about the end.
    pub(crate) fn ended_by(&mut self, error: &Error) {
        if error.ends_the_generation() {
            self.running = false;
        }
    }

    /// Ends the reading of a complete reply.
    pub(crate) fn finish(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.drain(DRAIN);
        }
    }

    /// Stops it, if it may be running. The reply is kept, to see the end by it.
    pub(crate) fn interrupt(&mut self, shared: &Shared, place: &Place) -> Result<()> {
        if !self.running {
            if self.stopped.is_none() {
                self.stream = None;
            }
            return Ok(());
        }
        let stopped = shared.stop(place);
        // What could not be stopped is stopped again when the conversation is deleted.
        self.running = stopped.is_err();
        self.stopped = Some(Instant::now());
        stopped
    }

    /// Closes the connection. Says whether it may be running on the server.
    pub(crate) fn abandon(&mut self) -> bool {
        self.stream = None;
        mem::take(&mut self.running)
    }

    /// Waits until a generation that was stopped has ended: what it still has to say would get in the way.
    pub(crate) fn settle(&mut self, shared: &Shared, watch: &Watch) -> Result<()> {
        let Some(stopped) = self.stopped else {
            return Ok(());
        };
        let within = watch.within(shared.limits.cleanup);
        let ended_by_it = match &mut self.stream {
            Some(stream) => stream.wait_for_end(&within),
            None => pause(&within, AFTERMATH.saturating_sub(stopped.elapsed())).map(|()| false),
        };
        let ended_by_it = match ended_by_it {
            Ok(ended_by_it) => ended_by_it,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Stopped | ErrorKind::Timeout(Limit::Deadline)
                ) =>
            {
                return Err(error);
            }
            Err(error) => {
                info!("a stopped generation may go on: {error}");
                false
            }
        };
        // Otherwise it may have come too late.
        if !ended_by_it {
            let left = shared.server.aftermath_of_late_stop();
            pause(watch, left.saturating_sub(stopped.elapsed()))?;
        }
        self.stream = None;
        self.stopped = None;
        Ok(())
    }
}

fn pause(watch: &Watch, length: Duration) -> Result<()> {
    watch.pause(length).map_err(|cut| cut.at(Step::Message))
}
