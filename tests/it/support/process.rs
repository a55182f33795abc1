//! Tests that need a process of their own.

use std::env;
use std::process::Command;

/// In the environment of such a process.
const ALONE: &str = "H2O_CHAT_ALONE";

/// Runs a test, which is called `name` in this program, in a process of its own: it looks at what
/// belongs to the whole process.
pub fn alone(name: &str, test: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return test();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let command = command.args([name, "--exact", "--nocapture"]);
    let output = command.env(ALONE, "1").output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    println!("{printed}");
    let has_run = printed.contains("test result: ok. 1 passed");
    assert!(has_run, "{name}, {}", output.status);
}
