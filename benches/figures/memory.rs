//! The memory of a long reply: the peak of the example `ask`, as the system reports it while `ask`
//! waits for the response to its last request.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc;

use super::cargo::{DEFAULT, ask, build_ask};
use super::ready::Ready;
use super::rounds::float;
use super::table::Row;
use super::tokens;
use super::{Outcome, system};

const KIB_IN_MIB: f64 = 1024.0;

/// The number of tokens that the server writes at once.
const BLOCK: usize = 1000;

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let many = if quick { 100_000 } else { 1_000_000 };
    build_ask(DEFAULT)?;
    let (one, other) = (peak(BLOCK, false)?, peak(many, false)?);
    let repeated = peak(many, true)?;
    let (short, long) = (format!("{BLOCK} tokens"), format!("{many} tokens"));
    Ok(vec![
        Row::new("memory", format!("peak of {long}: {other:.2} MiB"))
            .against(format!("{short}: {one:.2} MiB"))
            .goal("at most 1 MiB more", other - one <= 1.0),
        Row::new("", format!("`ask`, total: {other:.2} MiB")).goal("below 6 MiB", other < 6.0),
        Row::new("", format!("last event repeats the text: {repeated:.2} MiB"))
            .against(format!("the text: {:.2} MiB", mib(text(many).len()))),
    ])
}

fn mib(bytes: usize) -> f64 {
    float(bytes) / KIB_IN_MIB / KIB_IN_MIB
}

fn text(count: usize) -> String {
    (0..count).map(|number| tokens::text(number % BLOCK)).collect()
}

/// The peak in MiB for a reply of `count` tokens. With `repeats`, the last event repeats the text.
fn peak(count: usize, repeats: bool) -> Outcome<f64> {
    let block = tokens::tokens(BLOCK);
    let last = tokens::last(&if repeats { text(count) } else { String::new() });
    let (tell_process, process) = mpsc::channel();
    let (tell_peak, peak) = mpsc::channel();
    let (process, tell_peak) = (Mutex::new(process), Mutex::new(tell_peak));
    let ready = Ready::new(move |socket| {
        for _ in 0..count / BLOCK {
            socket.write_all(block.as_bytes())?;
        }
        socket.write_all(last.as_bytes())
    });
    let ready = ready.before_deletion(move || {
        let process = process.lock().ok().and_then(|process| process.recv().ok());
        let peak = process.and_then(|process| system::status(process, "VmHWM:"));
        if let (Some(peak), Ok(tell)) = (peak, tell_peak.lock()) {
            let _ = tell.send(peak);
        }
    });
    let (server, _) = ready.start()?;
    let mut ask = ask();
    let ask = ask.args(["--proxy", "none", "--url", &format!("http://{server}"), "hello"]);
    let mut ask = ask.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    tell_process.send(ask.id())?;
    if !ask.wait()?.success() {
        return Err("`ask` has failed".into());
    }
    let peak = peak.try_recv().map_err(|_| "the system does not report the peak of a process")?;
    Ok(peak / KIB_IN_MIB)
}
