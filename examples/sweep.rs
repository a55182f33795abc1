//! Lists the conversations of a session, for example those of a killed process, and deletes them
//! with `--delete`. With an API key, which may be in `H2OGPTE_API_KEY`, these are all conversations
//! of its user. Exits with 1 after an error, and with 2 if the command line is invalid.

use std::{env::var, error::Error, ffi::OsString, io, io::Write, process};

use h2o_chat::{Client, Proxy};
use lexopt::prelude::Long;

const USAGE: &str = "usage: sweep --url URL (--session SESSION | --api-key KEY) [--delete]
             [--header 'NAME: VALUE']... [--cookie-name NAME] [--proxy URL]";

fn main() {
    let (client, delete) = options().unwrap_or_else(|error| fail(2, error.as_ref()));
    sweep(&client, delete).unwrap_or_else(|error| fail(1, error.as_ref()));
}

fn fail<T>(code: i32, error: &dyn Error) -> T {
    eprintln!("sweep: {error}");
    process::exit(code)
}

fn sweep(client: &Client, delete: bool) -> Result<(), Box<dyn Error>> {
    let (conversations, mut outcome) = (client.list_conversations()?, Ok(()));
    for found in &conversations {
        // With {:?}, a title cannot control the terminal.
        writeln!(io::stdout(), "{} {:?}", found.id, found.title)?;
        if delete {
            outcome = outcome.and(client.delete_conversation(&found.id));
        }
    }
    let done = if delete { "deleted" } else { "found" };
    Ok(outcome.map(|()| eprintln!("sweep: {} {done}", conversations.len()))?)
}

/// Returns the client, and whether to delete. No error shows a value, because sessions and headers
/// are secrets.
fn options() -> Result<(Client, bool), Box<dyn Error>> {
    let (mut url, mut session) = (var("H2O_CHAT_URL").ok(), var("H2O_CHAT_SESSION").ok());
    let mut api_key = None;
    let (mut cookie_name, mut headers) = ("hf-chat".to_owned(), Vec::new());
    let (mut proxy, mut delete) = (Proxy::env(), false);
    let text = |value: OsString| value.into_string().map_err(|_| "a value is not UTF-8");
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("url") => url = Some(text(arguments.value()?)?),
            Long("api-key") => api_key = Some(text(arguments.value()?)?),
            Long("session") => session = Some(text(arguments.value()?)?),
            Long("header") => headers.push(text(arguments.value()?)?),
            Long("cookie-name") => cookie_name = text(arguments.value()?)?,
            Long("proxy") => proxy = Proxy::url(text(arguments.value()?)?),
            Long("delete") => delete = true,
            Long("help") => {
                println!("{USAGE}");
                process::exit(0);
            }
            _ => return Err(USAGE.into()),
        }
    }
    if session.is_none() && api_key.is_none() {
        api_key = Some(var("H2OGPTE_API_KEY").map_err(|_| USAGE)?);
    }
    let mut builder = Client::builder(&url.ok_or(USAGE)?).proxy(proxy);
    if let Some(key) = api_key {
        builder = builder.api_key(key);
    }
    if let Some(session) = session {
        builder = builder.session(session).cookie_name(cookie_name);
    }
    for header in headers {
        let (name, value) = header.split_once(": ").ok_or(USAGE)?;
        builder = builder.header(name, value);
    }
    Ok((builder.build()?, delete))
}
