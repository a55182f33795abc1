//! Lists the conversations that are on the server in a session, such as a killed process leaves there, and deletes
//! them if it is told to.
//!
//! Exits with 1 after an error, 2 if the command line cannot be used.

use std::process::ExitCode;

use h2o_chat::{Client, Summary};

mod common;

use common::{Failure, Host, Screen, Server, tell, text};

const NAME: &str = "sweep";

const HELP: &str = "\
Usage: sweep --url URL --session ID [--delete]

Lists the id, the model and the title of every conversation in the session, kept ones too.

  --url URL       the server [H2O_CHAT_URL]
  --session ID    the session to look into [H2O_CHAT_SESSION]
  --delete        delete them as well
  --proxy P       http://, socks5:// or socks5h:// URL, or none
  --help          print this";

struct Options {
    server: Server,
    delete: bool,
}

fn main() -> ExitCode {
    common::start(NAME, HELP, options(), |options| {
        common::finish(NAME, &run(options))
    })
}

fn run(options: &Options) -> Result<(), Failure> {
    let host = Host::of(NAME, &options.server);
    let client = options.server.client(&host).build()?;
    let conversations = client.conversations()?;
    list(&conversations)?;
    if options.delete {
        delete(&client, &conversations)?;
    }
    let number = match conversations.len() {
        1 => "1 conversation".to_owned(),
        number => format!("{number} conversations"),
    };
    let fate = if options.delete {
        "deleted"
    } else {
        "found; see --delete"
    };
    tell(NAME, &format!("{number} {fate}"));
    Ok(())
}

fn list(conversations: &[Summary]) -> Result<(), Failure> {
    let mut screen = Screen::new();
    for Summary {
        id, title, model, ..
    } in conversations
    {
        let model = model.as_deref().unwrap_or("-");
        let line = format!("{id}  {model}  {title}").replace('\n', " ");
        screen.print(&format!("{line}\n"))?;
    }
    Ok(())
}

/// Goes on after one that cannot be deleted.
fn delete(client: &Client, conversations: &[Summary]) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for conversation in conversations {
        if let Err(error) = client.delete(&conversation.id) {
            tell(NAME, &error.to_string());
            outcome = Err(Failure::Told);
        }
    }
    outcome
}

fn options() -> Result<Option<Options>, Failure> {
    use lexopt::prelude::{Long, Short};

    let mut options = Options {
        server: Server::from_env()?,
        delete: false,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("delete") => options.delete = true,
            Long("help") | Short('h') => return Ok(None),
            Long(name) => match options.server.setting(name) {
                Some(setting) => *setting = Some(text(arguments.value()?)?),
                None => return Err(argument.unexpected().into()),
            },
            _ => return Err(argument.unexpected().into()),
        }
    }
    let missing = match &options.server {
        server if server.url.is_none() => "--url",
        server if server.session.is_none() => "--session",
        _ => return Ok(Some(options)),
    };
    Err(Failure::Usage(format!("{missing} is missing")))
}
