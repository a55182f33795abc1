//! A conversation in the terminal.
//!
//! Without a URL it is held with a stand-in server that it starts itself. Input from a pipe works as well: each
//! line is a message, the replies go to standard output and everything else to standard error. Exits with 1 if
//! something went wrong with a message from a pipe, or it was killed, 2 if the command line cannot be used.

use std::process::ExitCode;

use h2o_chat::{Client, Conversation, Error, Request, Role, Tokens};

mod common;

use common::lines::{Entry, Lines};
use common::signals::{Call, Signals};
use common::{Failure, Host, Screen, Server, text, write};

const NAME: &str = "chat";

const HELP: &str = "\
Usage: chat [OPTIONS]

  --url URL       the server; without, a stand-in is started [H2O_CHAT_URL]
  --model M       the model to talk with [H2O_CHAT_MODEL]
  --system TEXT   what the model is told before the first message
  --session ID    the session to talk in [H2O_CHAT_SESSION]
  --resume ID     take up a conversation that was kept in this session
  --proxy P       http://, socks5:// or socks5h:// URL, or none
  --help          print this";

const COMMANDS: &str = "\
/retry     has the last message answered once more
/history   shows what has been said, as the server has it
/keep      leaves, with the conversation left on the server to be resumed
/delete    leaves, with the conversation deleted, a resumed one too
/quit      leaves, as Ctrl-D does: deletes the conversation unless it was resumed
/help      shows this
Any other line is a message, one that begins with a slash too; of two slashes at the beginning only one is sent.
Ctrl-C ends a reply; a second time, or twice at an empty prompt, it leaves.
";

struct Options {
    server: Server,
    system: Option<String>,
    resume: Option<String>,
}

fn main() -> ExitCode {
    common::start(NAME, HELP, options(), |options| {
        common::finish(NAME, &run(options))
    })
}

fn options() -> Result<Option<Options>, Failure> {
    use lexopt::prelude::{Long, Short};

    let mut options = Options {
        server: Server::from_env()?,
        system: None,
        resume: None,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("system") => options.system = Some(text(arguments.value()?)?),
            Long("resume") => options.resume = Some(text(arguments.value()?)?),
            Long("help") | Short('h') => return Ok(None),
            Long(name) => match options.server.setting(name) {
                Some(setting) => *setting = Some(text(arguments.value()?)?),
                None => return Err(argument.unexpected().into()),
            },
            _ => return Err(argument.unexpected().into()),
        }
    }
    judge(&options)?;
    Ok(Some(options))
}

/// What cannot be had together.
fn judge(options: &Options) -> Result<(), Failure> {
    let Options { server, system, .. } = options;
    let problem = match &options.resume {
        Some(_) if server.url.is_none() => "--resume needs the --url of the server that it is on",
        Some(_) if server.session.is_none() => "--resume needs the --session it was kept in",
        Some(_) if system.is_some() => "--system has its place before the first message only",
        _ => return Ok(()),
    };
    Err(Failure::Usage(problem.to_owned()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let signals = Signals::watch()?;
    let host = Host::of(NAME, &options.server);
    let client = options.server.client(&host).build()?;
    let mut lines = Lines::new()?;
    let mut chat = Chat {
        conversation: open(&client, options)?,
        usual: match options.resume {
            Some(_) => Leave::Resumed,
            None => Leave::Deleted,
        },
        signals,
        screen: Screen::new(),
        is_terminal: lines.is_terminal(),
        has_failed: false,
    };
    if chat.is_terminal {
        tell("/help shows what can be done here; Ctrl-C ends a reply, Ctrl-D leaves");
    }
    let talked = chat.talk(&mut lines);
    let leave = talked.as_ref().copied().unwrap_or(chat.usual);
    let verdict = chat.verdict();
    let left = leave.carry_out(chat.conversation, &client, &host);
    talked.and(left).and(verdict)
}

fn open(client: &Client, options: &Options) -> Result<Conversation, Failure> {
    if let Some(id) = &options.resume {
        let conversation = client.resume(id)?;
        // Better told now than after the first message that it is not there.
        conversation.messages()?;
        return Ok(conversation);
    }
    let call = Call::new()?;
    let mut builder = client.conversation_builder().stop(&call.stop);
    if let Some(system) = &options.system {
        builder = builder.system(system);
    }
    Ok(builder.open()?)
}

/// What becomes of the conversation at the end.
#[derive(Clone, Copy)]
enum Leave {
    Deleted,
    Kept,
    /// It was kept before, and still is.
    Resumed,
}

impl Leave {
    fn carry_out(self, chat: Conversation, client: &Client, host: &Host) -> Result<(), Failure> {
        match self {
            Leave::Deleted => return Ok(chat.delete()?),
            Leave::Resumed => tell(&format!("{} stays on the server", chat.keep())),
            Leave::Kept => {
                let id = chat.keep();
                write(&format!("{id}\n"))?;
                tell(&match host {
                    Host::Named(_) => {
                        let session = client.session();
                        let session = session.as_str();
                        format!("to go on with it: --session {session} --resume {id}")
                    }
                    Host::StandIn(_) => "it is gone with the stand-in, which ends now".to_owned(),
                });
            }
        }
        Ok(())
    }
}

struct Chat {
    conversation: Conversation,
    /// How it is left if nothing else is said.
    usual: Leave,
    signals: Signals,
    screen: Screen,
    /// A person sits before it.
    is_terminal: bool,
    /// Something went wrong with a line.
    has_failed: bool,
}

/// What follows on a line.
enum Next {
    Line,
    /// As well, after a Ctrl-C.
    Interrupted,
    Leave(Leave),
}

impl Chat {
    /// Until it is left.
    fn talk(&mut self, lines: &mut Lines) -> Result<Leave, Failure> {
        let mut interrupted = false;
        loop {
            let next = match lines.next(&self.signals)? {
                Entry::End => Next::Leave(self.usual),
                Entry::Interrupt { at_empty: true } if interrupted => Next::Leave(self.usual),
                Entry::Interrupt { .. } => {
                    tell("Ctrl-C once more leaves");
                    Next::Interrupted
                }
                Entry::Line(line) => self.obey(line.trim())?,
            };
            interrupted = match next {
                Next::Line => false,
                Next::Interrupted => true,
                Next::Leave(leave) => return Ok(leave),
            };
        }
    }

    fn obey(&mut self, line: &str) -> Result<Next, Failure> {
        match line {
            "" => Ok(Next::Line),
            "/quit" => Ok(Next::Leave(self.usual)),
            "/keep" => Ok(Next::Leave(Leave::Kept)),
            "/delete" => Ok(Next::Leave(Leave::Deleted)),
            "/help" => {
                write(COMMANDS)?;
                self.part()
            }
            "/history" => self.history(),
            "/retry" => self.turn(None),
            _ if line.starts_with("//") => self.turn(Some(&line[1..])),
            _ => self.turn(Some(line)),
        }
    }

    /// Sends a message, or has the last one answered once more, and shows the reply.
    fn turn(&mut self, message: Option<&str>) -> Result<Next, Failure> {
        let call = Call::new()?;
        self.wait()?;
        let tokens = match message {
            Some(message) => self
                .conversation
                .send(Request::new(message).stop(&call.stop)),
            None => self
                .conversation
                .retry_with(|request| request.stop(&call.stop)),
        };
        let shown = show(tokens, &mut self.screen, self.is_terminal);
        self.screen.close(shown.is_ok())?;
        match shown {
            Ok(()) => self.part(),
            Err(failure) if failure.is_interruption() => self.ended(),
            Err(Failure::Chat(error)) => self.complain(&error),
            Err(failure) => Err(failure),
        }
    }

    /// After a reply was ended by a signal.
    fn ended(&self) -> Result<Next, Failure> {
        // It takes a moment to end a reply, and Ctrl-C may be pressed again in it.
        if self.signals.is_over() || self.signals.presses() > 1 {
            return Ok(Next::Leave(self.usual));
        }
        tell("the reply is ended; Ctrl-C once more leaves");
        self.part()?;
        Ok(Next::Interrupted)
    }

    fn history(&mut self) -> Result<Next, Failure> {
        let messages = match self.conversation.messages() {
            Ok(messages) => messages,
            Err(error) => return self.complain(&error),
        };
        for message in messages {
            let role = match message.role() {
                Role::Assistant => "model",
                Role::System => "system",
                _ => "you",
            };
            let content = message.content().trim();
            self.screen.print(&format!("{role}: {content}\n"))?;
        }
        self.screen.close(false)?;
        self.part()
    }

    /// Something to look at until the first token comes.
    fn wait(&self) -> Result<(), Failure> {
        if self.is_terminal {
            write("...")
        } else {
            Ok(())
        }
    }

    /// A space between one turn and the next, for the eye.
    fn part(&self) -> Result<Next, Failure> {
        if self.is_terminal {
            write("\n")?;
        }
        Ok(Next::Line)
    }

    fn complain(&mut self, error: &Error) -> Result<Next, Failure> {
        self.has_failed = true;
        if error.status() == Some(404) {
            self.usual = Leave::Deleted;
            tell(&format!("{error}. It is gone: leave, and begin another"));
        } else {
            tell(&error.to_string());
        }
        self.part()
    }

    /// A person has seen what went wrong, a script has not.
    fn verdict(&self) -> Result<(), Failure> {
        if self.signals.is_over() || (self.has_failed && !self.is_terminal) {
            return Err(Failure::Told);
        }
        Ok(())
    }
}

/// Prints a reply as it comes, over what said that it is awaited.
fn show(
    tokens: h2o_chat::Result<Tokens>,
    screen: &mut Screen,
    is_terminal: bool,
) -> Result<(), Failure> {
    if is_terminal {
        write("\r     \r")?;
    }
    for token in tokens? {
        let token = token?;
        // Most replies begin with a space, for the model's sake.
        let is_first = is_terminal && screen.is_empty;
        screen.print(if is_first { token.trim_start() } else { &token })?;
    }
    Ok(())
}

fn tell(message: &str) {
    common::tell(NAME, message);
}
