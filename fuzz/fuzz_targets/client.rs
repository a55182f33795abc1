//! The whole client, over a connection in memory. The input is a script: what is asked, and how the
//! server answers one request after the other. `fuzz/src/server.rs` describes it.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use h2o_chat::fuzzing::http::serve;
use h2o_chat::{Client, Conversation, Message, Protocol, Proxy, Result, Session};
use h2o_chat_fuzz::may_name;
use h2o_chat_fuzz::server::{Server, Spoken};
use libfuzzer_sys::fuzz_target;

/// More requests than any script has a reason for.
const MAX_REQUESTS: usize = 300;

fuzz_target!(|input: &[u8]| {
    let Some((&[call, protocol, session, cut], script)) = input.split_first_chunk() else {
        return;
    };
    let run = |cut| Run::new(call, protocol, session, script, cut);
    let (uncut, cut) = (run(usize::MAX), run(1 + usize::from(cut) % 64));
    // Of bytes that are not HTTP, what ureq reports depends on how many it sees at once.
    let mut kinds = script.split(|&byte| byte == 0xFF).filter_map(<[u8]>::first);
    if !kinds.any(|kind| b"rR".contains(kind)) {
        assert_eq!(cut, uncut);
    }
});

/// What the user and the server saw.
#[derive(Debug, PartialEq)]
struct Run {
    results: Vec<String>,
    requests: Vec<String>,
}

impl Run {
    fn new(call: u8, protocol: u8, session: u8, script: &[u8], cut: usize) -> Run {
        let protocol = match protocol % 3 {
            0 => None,
            1 => Some(Protocol::ChatUiClassic),
            _ => Some(Protocol::ChatUi),
        };
        let is_classic = protocol.map_or(call & 0x80 == 0, |it| it == Protocol::ChatUiClassic);
        let server = Rc::new(RefCell::new(Server::new(script, is_classic)));
        let behind = Rc::clone(&server);
        serve(Box::new(move |request| behind.borrow_mut().answer(request)), cut);

        // A server that says nothing costs a look at the clock each 0.1 s.
        let client = Client::builder("http://127.0.0.1:3000").idle_timeout(Duration::from_secs(1));
        // Waits before retries are random above it.
        let client = client.max_retry_wait(Duration::from_millis(250));
        let mut client = client.proxy(Proxy::none());
        if let Some(protocol) = protocol {
            client = client.protocol(protocol);
        }
        if session & 1 == 1 {
            client = client.session(Session::from("given"));
        }
        if session & 2 == 2 {
            client = client.share_with_model_authors(false);
        }
        let client = client.build().unwrap();
        let mut results = Vec::new();
        let outcome = talk(&client, call, &mut results);
        results.push(format!("{outcome:?}"));

        let server = server.borrow();
        assert!(server.requests.len() < MAX_REQUESTS, "{:?}", server.requests);
        let leftovers = client.leftovers();
        for (id, spoken) in &server.spoken {
            check_deleted(id, spoken, &leftovers);
        }
        if is_complete(&results) && server.unknown_replies == 0 {
            // The script may make the client take the server for one of the other protocol.
            let last = ["generated_text", "finalAnswer"];
            let is_last = |reply: &Vec<u8>| last.iter().any(|name| may_name(reply, name));
            let is_proved = server.replies.iter().any(is_last);
            assert!(is_proved, "complete without a last event: {results:?}");
        }
        let requests = server.requests.clone();
        Run { results, requests }
    }
}

/// Every conversation that was spoken in has been deleted or is a leftover.
fn check_deleted(id: &str, spoken: &Spoken, leftovers: &[String]) {
    let is_leftover = leftovers.iter().any(|it| it == id);
    assert!(spoken.is_asked_to_be_deleted || is_leftover, "{id} is lost: {spoken:?}");
    let is_gone = spoken.status.is_none_or(|it| it == 404 || (200..300).contains(&it));
    assert!(is_gone || is_leftover, "{id} was not deleted and is forgotten: {spoken:?}");
}

/// The mark of a reply that was reported as complete.
const COMPLETE: &str = "complete: ";

fn is_complete(results: &[String]) -> bool {
    results.iter().any(|result| result.starts_with(COMPLETE))
}

fn talk(client: &Client, call: u8, results: &mut Vec<String>) -> Result<()> {
    match call & 0xF {
        0 | 10.. => results.push(COMPLETE.to_owned() + &client.ask("Hi")?),
        1 => {
            let mut tokens = client.stream("Hi")?;
            loop {
                match tokens.next() {
                    Some(token) => {
                        let is_over = token.is_err();
                        results.push(format!("{token:?}"));
                        assert!(!is_over || tokens.next().is_none(), "an error is the last item");
                    }
                    None => break,
                }
            }
            assert!(tokens.next().is_none());
            if let Some(end) = tokens.end() {
                results.push(format!("{COMPLETE}{end:?}"));
            }
        }
        // Dropped after the first event.
        2 => {
            let mut tokens = client.stream("Hi")?;
            results.push(format!("{:?}", tokens.next_event()));
        }
        3 => {
            let mut tokens = client.stream("Hi")?;
            results.push(format!("{:?}", tokens.next()));
            results.push(format!("{:?}", tokens.cancel()));
        }
        4 => {
            let mut chat = client.conversation()?;
            for turn in ["Hi", "And then?"] {
                turns(&mut chat, turn, results);
            }
            chat.delete()?;
        }
        5 => {
            let mut chat = client.conversation_builder().system("Be brief.").open()?;
            turns(&mut chat, "Hi", results);
            results.push(format!("{:?}", chat.stream("Stop")?.next()));
            results.push(format!("{:?}", chat.regenerate()?.text()));
            results.push(format!("{:?}", chat.messages()));
        }
        6 => {
            let mut tokens = client.stream("Hi")?;
            results.push(format!("{:?}", tokens.next()));
            let id = tokens.keep().keep();
            let mut chat = client.resume(&id)?;
            turns(&mut chat, "Where were we?", results);
            client.delete_conversation(&id)?;
        }
        7 => {
            results.push(format!("{:?}", client.server_info()));
            results.push(format!("{:?}", client.list_models()));
            results.push(format!("{:?}", client.list_conversations()));
        }
        8 => {
            let messages = [Message::system("Be brief."), Message::user("Hi")];
            let reply = client.stream(messages).and_then(h2o_chat::Tokens::reply);
            results.push(match reply {
                Ok(reply) => format!("{COMPLETE}{reply:?}"),
                Err(error) => format!("{error:?}"),
            });
        }
        9 => {
            results.push(format!("{:?}", client.ask("Hi")));
            let before = client.leftovers();
            results.push(format!("{:?}", client.delete_leftovers()));
            let after = client.leftovers();
            assert!(after.iter().all(|id| before.contains(id)));
        }
    }
    Ok(())
}

fn turns(chat: &mut Conversation, prompt: &str, results: &mut Vec<String>) {
    results.push(match chat.ask(prompt) {
        Ok(text) => COMPLETE.to_owned() + &text,
        Err(error) => format!("{error:?}"),
    });
}
