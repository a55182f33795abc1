//! Tests in separate processes.

use std::env;
use std::process::Command;

/// An environment variable that is set in such a process.
const ALONE: &str = "H2O_CHAT_ALONE";

/// Runs the test `name` of this program in a separate process, because it observes the whole
/// process.
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
