//! Runs the examples, as `cargo test` has built them, as processes of their own.
#![allow(dead_code, reason = "each test uses its own part")]

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

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

/// An example that runs, with all that it reads and writes in the hands of the test.
pub struct Process {
    child: Running,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
}

/// A test that fails leaves no process behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an example has printed, and how it ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

pub fn start(command: &mut Command) -> Process {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
    Process {
        stdin: child.stdin.take(),
        stdout: child.stdout.take().map(BufReader::new),
        stderr: BufReader::new(child.stderr.take().unwrap()),
        child: Running(child),
    }
}

/// An example that runs with this input and no more.
pub fn start_with(command: &mut Command, stdin: &str) -> Process {
    let mut process = start(command);
    process.enter(stdin);
    process.stdin = None;
    process
}

/// Runs an example to its end, with this input.
pub fn run(command: &mut Command, stdin: &str) -> Ended {
    start_with(command, stdin).end()
}

impl Process {
    /// A process that has no use for it may have ended already.
    pub fn enter(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        let _ = stdin.write_all(text.as_bytes());
    }

    /// As the shell's `kill` does.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.0.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
    }

    /// What it says next on standard error; nothing at its end.
    pub fn error_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Without a chance to tidy up.
    pub fn kill(self) {
        drop(self.child);
    }

    pub fn stdout(&mut self) -> &mut BufReader<ChildStdout> {
        self.stdout.as_mut().unwrap()
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// From now on nobody reads what it prints.
    pub fn close_output(&mut self) {
        self.stdout = None;
    }

    /// Its end, and what it has printed since it was last looked at; on standard error it must be little.
    pub fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let Some(mut out) = self.stdout.take() {
            out.read_to_string(&mut stdout).unwrap();
        }
        self.stderr.read_to_string(&mut stderr).unwrap();
        Ended {
            status: self.child.0.wait().unwrap(),
            stdout,
            stderr,
        }
    }
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
