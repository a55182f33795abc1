//! Ctrl-C, and the other signals that ask a program to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use h2o_chat::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag};

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
