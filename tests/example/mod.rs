//! Runs the examples, as `cargo test` has built them, as processes of their own.
#![allow(dead_code, reason = "each test uses its own part")]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// An example's command, without anything of this process's environment that could change what it does.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(path(name));
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(variable);
        command.env_remove(variable.to_lowercase());
    }
    for variable in ["H2O_CHAT_URL", "H2O_CHAT_MODEL", "H2O_CHAT_SESSION"] {
        command.env_remove(variable);
    }
    command
}

fn path(name: &str) -> PathBuf {
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(name);
    path.set_extension(env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "no {}: build it with cargo build --examples",
        path.display()
    );
    path
}

/// A stand-in server in a process of its own, which ends with its standard input.
pub struct Server {
    process: Child,
    stdin: Option<ChildStdin>,
    /// What the server writes has to have somewhere to go.
    _stdout: BufReader<ChildStdout>,
    url: String,
}

pub fn stand_in() -> Server {
    let mut command = command("stand_in");
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut url = String::new();
    stdout.read_line(&mut url).unwrap();
    Server {
        stdin: process.stdin.take(),
        _stdout: stdout,
        process,
        url: url.trim().to_owned(),
    }
}

impl Server {
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.process.wait().unwrap();
    }
}
