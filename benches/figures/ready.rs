//! A server with prepared replies. It accepts every step of a reply and responds without delay.
#![allow(dead_code, reason = "a test uses a part of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::tokens::LAST_CHUNK;

/// The server. It runs until the process ends.
pub struct Ready {
    reply: Box<Reply>,
    deletion: Box<dyn Fn() + Send + Sync>,
    counts: Counts,
}

/// Writes the chunks of a reply, except the last.
type Reply = dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync;

#[derive(Default)]
pub struct Counts {
    pub opened: AtomicUsize,
    pub deleted: AtomicUsize,
    /// Replies that are being written.
    pub running: AtomicUsize,
    pub max_running: AtomicUsize,
}

struct Request {
    method: String,
    path: String,
    closes: bool,
}

impl Ready {
    pub fn new(reply: impl Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'static) -> Ready {
        Ready { reply: Box::new(reply), deletion: Box::new(|| {}), counts: Counts::default() }
    }

    /// Sets a function to call before the response to a deletion.
    pub fn before_deletion(mut self, deletion: impl Fn() + Send + Sync + 'static) -> Ready {
        self.deletion = Box::new(deletion);
        self
    }

    pub fn start(self) -> io::Result<(SocketAddr, Arc<Ready>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ready = Arc::new(self);
        let accepting = Arc::clone(&ready);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let ready = Arc::clone(&accepting);
                // An error means that the client has gone.
                thread::spawn(move || ready.serve(&socket));
            }
        });
        Ok((address, ready))
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn serve(&self, mut socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut reader = BufReader::new(socket);
        while let Some(request) = read_request(&mut reader)? {
            match (request.method.as_str(), request.path.as_str()) {
                ("DELETE", _) => {
                    (self.deletion)();
                    self.counts.deleted.fetch_add(1, SeqCst);
                    respond(socket, "")?;
                }
                ("POST", "/settings") => respond(socket, r#"{"type":"redirect","status":303}"#)?,
                ("POST", "/conversation") => {
                    let id = self.counts.opened.fetch_add(1, SeqCst);
                    respond(socket, &format!(r#"{{"conversationId":"{id:024x}"}}"#))?;
                }
                _ => {
                    socket.write_all(HEAD)?;
                    self.reply(socket)?;
                    socket.write_all(LAST_CHUNK.as_bytes())?;
                }
            }
            if request.closes {
                return Ok(());
            }
        }
        Ok(())
    }

    fn reply(&self, mut socket: &TcpStream) -> io::Result<()> {
        let counts = &self.counts;
        let running = counts.running.fetch_add(1, SeqCst) + 1;
        counts.max_running.fetch_max(running, SeqCst);
        let written = (self.reply)(&mut socket);
        counts.running.fetch_sub(1, SeqCst);
        written
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      transfer-encoding: chunked\r\n\r\n";

fn respond(mut socket: &TcpStream, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
    socket.write_all(format!("{head}: {length}\r\n\r\n{body}").as_bytes())
}

/// Reads a request. Returns `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let (mut length, mut closes) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap_or_default(),
            Some(("connection", value)) => closes = value == "close",
            _ => {}
        }
        if header.is_empty() {
            break;
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(Some(Request { method, path, closes }))
}
