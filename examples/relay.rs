//! A small HTTP server that passes on replies token by token, and stops a generation when its reader
//! leaves. Usage: `relay [URL [ADDRESS]]`, then `curl -N -d 'Why is the sky blue?' ADDRESS`.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::{env, thread};

use h2o_chat::{CancelHandle, Client, ErrorKind, Request};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or("http://127.0.0.1:3000".into());
    let address = arguments.next().unwrap_or("127.0.0.1:8080".into());
    let mut builder = Client::builder(&url);
    if let Ok(key) = env::var("H2OGPTE_API_KEY") {
        builder = builder.api_key(key); // The server is h2oGPTe.
    }
    let client = builder.build()?;
    let listener = TcpListener::bind(address)?;
    println!("http://{}", listener.local_addr()?);
    for reader in listener.incoming().flatten() {
        let client = client.clone();
        thread::spawn(move || {
            let outcome = relay(&client, &reader);
            reader.shutdown(Shutdown::Both).ok(); // Ends the watching thread too.
            if let Err(error) = outcome {
                eprintln!("relay: {error}");
            }
        });
    }
    Ok(())
}

fn relay(client: &Client, mut reader: &TcpStream) -> Result<(), Box<dyn Error>> {
    let prompt = read_body(reader)?;
    let handle = CancelHandle::default();
    let (mut watched, left) = (reader.try_clone()?, handle.clone());
    thread::spawn(move || {
        while watched.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {}
        left.cancel(); // The reader has left.
    });
    let mut tokens =
        client.stream(Request::new(prompt).cancel_handle(&handle)).or_else(|error| {
            let status = match error.kind() {
                ErrorKind::InvalidInput => "400 Bad Request",
                _ => "502 Bad Gateway",
            };
            write!(reader, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{error}\n").ok();
            Err(error)
        })?;
    write!(
        reader,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )?;
    for token in &mut tokens {
        let token = token?; // Without a last chunk, the reader sees that the reply is incomplete.
        if !token.is_empty() {
            let chunk = format!("{:x}\r\n{token}\r\n", token.len());
            reader.write_all(chunk.as_bytes())?; // On an error, dropping the tokens cleans up.
        }
    }
    Ok(reader.write_all(b"0\r\n\r\n")?)
}

/// Reads a request of at most 1 MiB, and returns its body.
fn read_body(reader: &TcpStream) -> io::Result<String> {
    let mut request = BufReader::new(reader.take(1 << 20));
    let (mut line, mut length) = (String::new(), 0);
    while request.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = String::new();
    request.take(length).read_to_string(&mut body)?;
    Ok(body)
}
