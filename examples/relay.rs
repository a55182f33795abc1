//! A small HTTP server that passes the tokens of a reply on to its client as they come.
//!
//! Usage: `relay [URL [ADDRESS]]`, and then `curl -N -d 'Why is the sky blue?' 127.0.0.1:8080`. The
//! body of a request is the prompt. A client that leaves ends its reply, also while nothing comes:
//! the generation is stopped and the conversation deleted. Ctrl-C ends all replies.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, atomic::AtomicBool};
use std::time::Duration;
use std::{env, thread};

use h2o_chat::{CancelHandle, Client, Request};
use signal_hook::{consts::SIGINT, flag};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or("http://127.0.0.1:3000".into());
    let listener = TcpListener::bind(arguments.next().unwrap_or("127.0.0.1:8080".into()))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    let handle = CancelHandle::from(interrupted);
    let mut builder = Client::builder(&url).cancel_handle(&handle);
    if let Ok(key) = env::var("H2OGPTE_API_KEY") {
        builder = builder.api_key(key); // The server is h2oGPTe.
    }
    let client = builder.build()?;
    eprintln!("relay: http://{}", listener.local_addr()?);
    listener.set_nonblocking(true)?; // Ctrl-C would not end a blocking `accept`.
    thread::scope(|scope| {
        while !handle.is_cancelled() {
            if let Ok((connection, _)) = listener.accept() {
                let client = &client;
                scope.spawn(move || {
                    serve(client, &connection).unwrap_or_else(|error| eprintln!("relay: {error}"));
                });
            } else {
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    Ok(())
}

fn serve(client: &Client, mut connection: &TcpStream) -> Result<(), Box<dyn Error>> {
    connection.set_nonblocking(false)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    connection.set_write_timeout(Some(Duration::from_secs(30)))?; // The client does not read.
    let watched = connection.try_clone()?;
    let request = Request::new(read_prompt(connection)?).on_wait(move |wait| {
        if has_left(&watched).unwrap_or(true) {
            wait.cancel();
        }
    });
    let reply = client.stream(request);
    let (first, tokens) = match reply.and_then(|mut it| Ok((it.next().transpose()?, it))) {
        Ok(begun) => begun,
        Err(error) => return Ok(writeln!(connection, "HTTP/1.1 502 Bad Gateway\r\n\r\n{error}")?),
    };
    connection.write_all(HEAD.as_bytes())?;
    for token in first.map(Ok).into_iter().chain(tokens) {
        let token = token?; // Without the last chunk, the client knows that the reply broke off.
        if !token.is_empty() {
            let chunk = format!("{:x}\r\n{token}\r\n", token.len());
            connection.write_all(chunk.as_bytes())?; // Fails if the client has left.
        }
    }
    Ok(connection.write_all(b"0\r\n\r\n")?)
}

/// Returns whether the client has closed the connection.
fn has_left(connection: &TcpStream) -> io::Result<bool> {
    connection.set_nonblocking(true)?;
    let peeked = connection.peek(&mut [0]);
    connection.set_nonblocking(false)?;
    match peeked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        peeked => Ok(peeked? == 0),
    }
}

/// Returns the body of a request, which has a `Content-Length`. Refuses one of more than 1 MiB.
fn read_prompt(connection: &TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(connection.take(2 << 20));
    let (mut line, mut length, mut prompt) = (String::new(), 0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    if length > 1 << 20 {
        return Err(io::Error::other("the prompt is too long"));
    }
    reader.take(length).read_to_string(&mut prompt)?;
    Ok(prompt)
}
