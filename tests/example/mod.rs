//! Runs the examples that `cargo test` has built, each as a process of its own.
#![allow(dead_code, reason = "each test uses its own part")]

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// Returns the command of an example, without the environment variables that change what it does.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(path(name));
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(variable);
        command.env_remove(variable.to_lowercase());
    }
    for variable in ["H2O_CHAT_URL", "H2O_CHAT_MODEL", "H2O_CHAT_SESSION", "H2OGPTE_API_KEY"] {
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
    assert!(path.exists(), "no {}: build it with cargo build --examples", path.display());
    path
}

/// A running example, whose standard streams the test reads and writes.
pub struct Process {
    child: Running,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
    printed: String,
}

/// A child process, killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The exit status and the whole output of an example.
#[derive(Debug)]
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
        printed: String::new(),
    }
}

/// Starts an example whose standard input is this text.
pub fn start_with(command: &mut Command, stdin: &str) -> Process {
    let mut process = start(command);
    process.enter(stdin);
    process.close_input();
    process
}

/// Runs an example to its end, with this text as its standard input.
pub fn run(command: &mut Command, stdin: &str) -> Ended {
    start_with(command, stdin).end()
}

impl Process {
    /// Writes to the standard input. Ignores errors: the process may have ended without reading.
    pub fn enter(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        let _ = stdin.write_all(text.as_bytes());
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    pub fn close_output(&mut self) {
        self.stdout = None;
    }

    /// Sends a signal, for example `INT` for Ctrl-C.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.0.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
    }

    pub fn kill(self) {
        drop(self.child);
    }

    /// Waits until the output begins with this text, which must be ASCII.
    pub fn wait_for(&mut self, text: &str) {
        let mut missing = vec![0; text.len() - self.printed.len()];
        self.stdout.as_mut().unwrap().read_exact(&mut missing).unwrap();
        self.printed += std::str::from_utf8(&missing).unwrap();
        assert_eq!(self.printed, text);
    }

    /// Waits until the output ends with this text, and returns the output so far.
    pub fn read_until(&mut self, text: &str) -> String {
        let mut output = mem::take(&mut self.printed).into_bytes();
        while !output.ends_with(text.as_bytes()) {
            let mut byte = [0];
            self.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            output.extend(byte);
        }
        self.printed = String::from_utf8(output).unwrap();
        self.printed.clone()
    }

    /// Waits for the next line on standard error.
    pub fn error_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Waits for the next line on standard output.
    pub fn output_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Waits for the end. The output on standard error has to fit into a pipe.
    pub fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (self.printed, String::new());
        if let Some(mut out) = self.stdout.take() {
            out.read_to_string(&mut stdout).unwrap();
        }
        self.stderr.read_to_string(&mut stderr).unwrap();
        Ended { status: self.child.0.wait().unwrap(), stdout, stderr }
    }
}

/// A stand-in server in a process of its own.
pub struct Server {
    /// Starts the server, which ends with its standard input.
    process: Process,
    url: String,
}

pub fn stand_in() -> Server {
    stand_in_with(&[])
}

pub fn stand_in_with(options: &[&str]) -> Server {
    let mut process = start(command("stand_in").args(options));
    let url = process.output_line();
    Server { url: url.trim().to_owned(), process }
}

impl Server {
    pub fn url(&self) -> &str {
        &self.url
    }
}
