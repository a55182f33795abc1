//! The line on standard error that tells what `ask` waits for. Only a terminal gets it, and only
//! before the text: later, the cursor is in the middle of the text.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use h2o_chat::{Request, Step};

/// How long the screen stays empty before the line appears.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of characters to remove. A terminal adds `^C` after Ctrl-C.
const WIDTH: usize = "ask: waiting for a conversation, 86400 s^C".len();

static IS_SHOWN: AtomicBool = AtomicBool::new(false);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Makes the request show the line while it waits. The line has no color.
pub fn show(request: Request) -> Request {
    if !io::stderr().is_terminal() {
        return request;
    }
    let start = Instant::now();
    let shown = AtomicU64::new(0);
    request.on_wait(move |wait| {
        let elapsed = start.elapsed();
        if elapsed < PATIENCE || IS_OVER.load(Ordering::Relaxed) {
            return;
        }
        // Written again only when the number changes, or when the line has been removed.
        let seconds = elapsed.as_secs();
        let is_new = shown.swap(seconds, Ordering::Relaxed) != seconds;
        if is_new || !IS_SHOWN.load(Ordering::Relaxed) {
            let what = match wait.step() {
                Step::CreateConversation => "a conversation",
                Step::SendMessage | Step::ReadReply => "the reply",
                _ => "the server",
            };
            remove();
            print(&format!("ask: waiting for {what}, {seconds} s"));
            IS_SHOWN.store(true, Ordering::Relaxed);
        }
    })
}

/// Removes the line, if it is shown.
pub fn remove() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        print(&format!("\r{:WIDTH$}\r", ""));
    }
}

/// Removes the line for good.
pub fn end() {
    IS_OVER.store(true, Ordering::Relaxed);
    remove();
}

/// Ignores errors, because standard error may be closed.
fn print(text: &str) {
    let mut err = io::stderr();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}
