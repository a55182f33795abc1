//! Ctrl-C, and the other signals that ask a program to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use h2o_chat::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use super::Failure;

/// Those that nobody takes back: the end of the terminal, and `kill`.
#[cfg(unix)]
const FINAL: [i32; 2] = [signal_hook::consts::SIGHUP, SIGTERM];
#[cfg(not(unix))]
const FINAL: [i32; 1] = [SIGTERM];

/// A stop for the whole program, which each of them sets. A second Ctrl-C ends the program at once.
pub fn stop() -> Result<Stop, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // Registered first, so that it is not the first Ctrl-C that finds the flag set.
    let code = super::INTERRUPTED.into();
    flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&interrupted))
        .map_err(Failure::Signals)?;
    register(&interrupted)?;
    Ok(Stop::from(interrupted))
}

fn register(flag: &Arc<AtomicBool>) -> Result<Vec<SigId>, Failure> {
    let signals = FINAL.into_iter().chain([SIGINT]);
    let actions = signals.map(|signal| flag::register(signal, Arc::clone(flag)));
    actions.collect::<io::Result<_>>().map_err(Failure::Signals)
}

/// The signals of a program that goes on after a Ctrl-C.
pub struct Signals {
    over: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
    #[cfg(unix)]
    presses: std::os::unix::net::UnixStream,
}

impl Signals {
    /// From now on none of them ends the program by itself.
    pub fn watch() -> Result<Signals, Failure> {
        Signals::new().map_err(Failure::Signals)
    }

    fn new() -> io::Result<Signals> {
        let over = Arc::new(AtomicBool::new(false));
        let deaf = Arc::new(AtomicBool::new(false));
        flag::register_conditional_default(SIGTERM, Arc::clone(&deaf))?;
        for signal in FINAL {
            flag::register(signal, Arc::clone(&over))?;
        }
        Ok(Signals {
            over,
            deaf,
            #[cfg(unix)]
            presses: presses()?,
        })
    }

    /// How often Ctrl-C was pressed since this was asked last.
    pub fn presses(&self) -> usize {
        #[cfg(unix)]
        return io::Read::read(&mut &self.presses, &mut [0; 64]).unwrap_or(0);
        #[cfg(not(unix))]
        return 0;
    }

    /// Whether the program is to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits for what no flag can wake: `kill` ends the program meanwhile, as if nobody watched.
    pub fn deaf<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.deaf.store(true, Ordering::SeqCst);
        let waited = wait();
        self.deaf.store(false, Ordering::SeqCst);
        waited
    }
}

/// A byte for each Ctrl-C, which a flag could not count.
#[cfg(unix)]
fn presses() -> io::Result<std::os::unix::net::UnixStream> {
    let (read, write) = std::os::unix::net::UnixStream::pair()?;
    read.set_nonblocking(true)?;
    low_level::pipe::register(SIGINT, write)?;
    Ok(read)
}

/// A stop for one call, which each of the signals sets until this is dropped.
pub struct Call {
    pub stop: Stop,
    actions: Vec<SigId>,
}

impl Call {
    pub fn new() -> Result<Call, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        Ok(Call {
            actions: register(&flag)?,
            stop: Stop::from(flag),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            low_level::unregister(action);
        }
    }
}
