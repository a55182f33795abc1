//! Several turns in one conversation, of which the server keeps the history.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, ErrorKind, Event, Limit, Message, Request, Step, Stop};

mod stand_in;

use stand_in::{Plan, Reaction, StandIn};

const GREETING: &str = " Hi there, how can I help?";

fn client(server: &StandIn) -> Client {
    Client::new(&server.url()).unwrap()
}

/// Of each message that was sent: what was asked.
fn inputs(server: &StandIn) -> Vec<String> {
    let requests = server.requests().into_iter();
    let inputs = requests.map(|request| request.json()["inputs"].clone());
    inputs
        .filter_map(|inputs| inputs.as_str().map(str::to_owned))
        .collect()
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

#[test]
fn the_server_keeps_the_history_and_only_what_is_new_is_sent() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    assert_eq!(chat.ask("first").unwrap(), GREETING);
    assert_eq!(chat.ask("second").unwrap(), GREETING);
    assert_eq!(inputs(&server), ["first", "second"]);
    let second = server.model_prompts().pop().unwrap();
    assert!(
        second.contains("first") && second.contains(GREETING) && second.contains("second"),
        "{second}"
    );
    assert_eq!(
        chat.messages().unwrap(),
        [
            Message::user("first"),
            Message::assistant(GREETING),
            Message::user("second"),
            Message::assistant(GREETING)
        ]
    );
    // Settings, conversation, two messages, the history: all on one connection.
    let counts = server.counts();
    assert_eq!((counts.requests, counts.connections), (5, 1));
    drop(chat);
    assert_nothing_left(&server);
}

#[test]
fn each_turn_of_an_open_conversation_costs_one_round_trip() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    for turn in 1..=3 {
        let before = server.counts().requests;
        let mut tokens = chat.send("hello").unwrap();
        tokens.next().unwrap().unwrap();
        assert_eq!(server.counts().requests, before + 1, "turn {turn}");
        assert!(tokens.all(|token| token.is_ok()));
    }
}

#[test]
fn dropping_a_conversation_deletes_it_and_delete_shows_the_error() {
    let server = StandIn::builder()
        .intercept(|request| {
            let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
            (request.method == "DELETE").then(|| Reaction::Answer(answer.into()))
        })
        .start();
    let client = client(&server);
    let chat = client.conversation().unwrap();
    let id = chat.id().to_owned();
    let error = chat.delete().unwrap_err();
    assert_eq!((error.step(), error.status()), (Step::Delete, Some(503)));
    assert_eq!(error.undeleted(), Some(id.as_str()));
    assert_eq!(client.leftovers(), [id]);

    let server = StandIn::start();
    drop(self::client(&server).conversation().unwrap());
    assert_nothing_left(&server);
}

#[test]
fn a_turn_that_is_ended_early_is_stopped_and_the_conversation_goes_on() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    let mut tokens = chat.send("/slow").unwrap();
    tokens.next().unwrap().unwrap();
    drop(tokens);
    // Sent only when the stopped generation has ended: its answer has its place in the history.
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    assert_eq!(server.counts().stopped, 1);
    let prompt = server.model_prompts().pop().unwrap();
    assert!(
        prompt.contains("/slow") && prompt.contains(" s0"),
        "{prompt}"
    );
    let messages = chat.messages().unwrap();
    assert_eq!(messages.len(), 4);
    drop(chat);
    assert_nothing_left(&server);
}

#[test]
fn two_interruptions_within_five_seconds_leave_the_conversation_usable() {
    let start = Instant::now();
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    for _ in 0..2 {
        let mut tokens = chat.send("/slow").unwrap();
        tokens.next().unwrap().unwrap();
        tokens.cancel().unwrap();
    }
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(server.counts().stopped, 2);
    assert_eq!(chat.messages().unwrap().len(), 6);
}

#[test]
fn a_server_that_ignores_a_second_stop_is_waited_for_within_the_budget_only() {
    const BUDGET: Duration = Duration::from_millis(300);
    let server = StandIn::builder().ignores_second_stop().start();
    let client = Client::builder(&server.url())
        .cleanup_budget(BUDGET)
        .build()
        .unwrap();
    let mut chat = client.conversation().unwrap();
    for _ in 0..2 {
        let mut tokens = chat.send("/slow").unwrap();
        tokens.next().unwrap().unwrap();
        drop(tokens);
    }
    let start = Instant::now();
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    assert!(start.elapsed() >= BUDGET);
    assert_eq!(server.counts().stopped, 1);
}

#[test]
fn a_stop_or_a_limit_in_a_turn_does_not_spoil_the_next() {
    let server = StandIn::start();
    let client = Client::builder(&server.url())
        .silence_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let mut chat = client.conversation().unwrap();

    let stop = Stop::default();
    let mut tokens = chat.send(Request::new("/slow").stop(&stop)).unwrap();
    tokens.next().unwrap().unwrap();
    stop.stop();
    assert_eq!(
        tokens.next().unwrap().unwrap_err().kind(),
        ErrorKind::Stopped
    );
    assert!(tokens.next().is_none());
    drop(tokens);
    assert_eq!(chat.ask("hello").unwrap(), GREETING);

    // In the wait for the head there is no stream yet by which to see the end.
    for prompt in ["/silent", "/hang"] {
        let error = chat.ask(prompt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Limit::Silence));
        assert_eq!(error.undeleted(), None);
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "after {prompt}");
    }
    assert_eq!(server.counts().stopped, 3);
}

#[test]
fn an_error_in_a_turn_does_not_spoil_the_next() {
    let server = StandIn::start();
    let client = Client::builder(&server.url()).retries(0).build().unwrap();
    let mut chat = client.conversation().unwrap();
    for prompt in [
        "/422",
        "/429",
        "/502",
        "/dead",
        "/error-event-first",
        "/error-event",
        "/no-final",
        "/dropped",
    ] {
        let error = chat.ask(prompt).unwrap_err();
        assert_eq!(error.undeleted(), None, "{prompt}");
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "after {prompt}");
    }
    let id = chat.id().to_owned();
    assert_eq!(server.conversations(), [id]);
}

#[test]
fn a_conversation_that_is_gone_is_never_silently_a_new_one() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    chat.ask("hello").unwrap();
    server.forget(chat.id());
    for _ in 0..2 {
        let error = chat.ask("hello").unwrap_err();
        assert_eq!((error.step(), error.status()), (Step::Message, Some(404)));
    }
    let error = chat.messages().unwrap_err();
    assert_eq!((error.step(), error.status()), (Step::History, Some(404)));
    let said = error.server_message().unwrap();
    assert!(said.starts_with("Conversation not found"), "{said}");
    assert_eq!(server.counts().created, 1);
}

#[test]
fn a_retry_takes_the_place_of_the_last_reply() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    chat.ask("first").unwrap();
    chat.ask(Request::new("second").temperature(0.9)).unwrap();
    assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING);
    let [.., second, retry] = &server.requests()[..] else {
        panic!()
    };
    let (second, retry) = (second.json(), retry.json());
    assert_eq!(retry["options"]["is_retry"], true);
    assert_eq!(retry["options"]["id"], second["options"]["id"]);
    assert_ne!(
        retry["options"]["response_id"],
        second["options"]["response_id"]
    );
    assert_eq!(retry["parameters"], second["parameters"]);
    assert_eq!(chat.messages().unwrap().len(), 4);

    // With another temperature, and then with another prompt, the same message once more.
    let change = |request: Request| request.temperature(0.2);
    chat.retry_with(change).unwrap().text().unwrap();
    assert_eq!(
        server.requests().last().unwrap().json()["parameters"]["temperature"],
        0.2
    );
    let change = |_| Request::new("a better question");
    chat.retry_with(change).unwrap().text().unwrap();
    let messages = chat.messages().unwrap();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2], Message::user("a better question"));
}

#[test]
fn a_stop_ends_one_try_only() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    let stop = Stop::default();
    let mut tokens = chat.send(Request::new("/slow").stop(&stop)).unwrap();
    tokens.next().unwrap().unwrap();
    stop.stop();
    tokens.next().unwrap().unwrap_err();
    drop(tokens);
    let mut again = chat.retry().unwrap();
    assert_eq!(again.next().unwrap().unwrap(), " s0");
    drop(again);

    let error = chat
        .retry_with(|request| request.stop(&stop))
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    // Not even a request that failed at once is forgotten.
    assert!(chat.retry().is_ok());
}

#[test]
fn there_is_nothing_to_retry_before_the_first_message() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    let error = chat.retry().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
}

#[test]
fn a_kept_conversation_is_taken_up_by_another_client_of_the_session() {
    let server = StandIn::start();
    let first = client(&server);
    let mut chat = first.conversation().unwrap();
    chat.ask("first").unwrap();
    let id = chat.keep();
    assert_eq!(server.conversations(), std::slice::from_ref(&id));

    // Another process knows nothing but these two.
    let second = Client::builder(&server.url())
        .session(first.session())
        .build()
        .unwrap();
    let mut chat = second.resume(&id).unwrap();
    assert_eq!(chat.messages().unwrap()[0], Message::user("first"));
    assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING);
    assert_eq!(chat.messages().unwrap().len(), 2);
    chat.ask("second").unwrap();
    drop(chat);
    assert_eq!(
        server.conversations(),
        std::slice::from_ref(&id),
        "taken up is not armed"
    );

    let stranger = client(&server);
    let error = stranger.resume(&id).unwrap().ask("hello").unwrap_err();
    assert!(matches!(error.status(), Some(404 | 405)), "{error}");

    second.resume(&id).unwrap().delete().unwrap();
    assert_nothing_left(&server);
}

#[test]
fn a_reply_that_is_kept_becomes_a_conversation() {
    let server = StandIn::start();
    let client = client(&server);
    let mut tokens = client.generate("/slow").unwrap();
    tokens.next().unwrap().unwrap();
    let mut chat = tokens.keep();
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    assert_eq!(server.counts().stopped, 1);
    assert!(chat.retry().is_ok());
    let id = chat.keep();
    assert_eq!(server.conversations(), std::slice::from_ref(&id));
    client.delete(&id).unwrap();
    assert_nothing_left(&server);
}

#[test]
fn a_conversation_has_its_model_and_system_prompt() {
    let refusal = || Plan::Refusal {
        status: 500,
        message: "Internal Error",
    };
    let plan = move |prompt: &str| {
        let answered = || Plan::for_prompt(prompt);
        prompt
            .contains("refused")
            .then(refusal)
            .unwrap_or_else(answered)
    };
    let server = StandIn::builder().plan(plan).start();
    let mut chat = client(&server)
        .conversation_builder()
        .model("other/model")
        .system("Be brief.")
        .open()
        .unwrap();
    // Nothing was stored of the first, so that the second has to say it again.
    chat.ask("refused").unwrap_err();
    chat.ask("first").unwrap();
    chat.ask("second").unwrap();
    assert_eq!(
        inputs(&server),
        ["Be brief.\n\nrefused", "Be brief.\n\nfirst", "second"]
    );
    assert_eq!(server.requests()[1].json()["model"], "other/model");

    chat.ask(Request::new("third").model("other/model"))
        .unwrap();
    let requests = server.counts().requests;
    let error = chat
        .ask(Request::new("third").model("yet/another"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(server.counts().requests, requests);

    let empty = client(&server).conversation_builder().system(" ").open();
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn the_system_prompt_is_said_again_when_the_first_message_is() {
    let server = StandIn::start();
    let mut chat = client(&server)
        .conversation_builder()
        .system("Be brief.")
        .open()
        .unwrap();
    chat.ask("first").unwrap();
    chat.retry().unwrap().text().unwrap();
    assert_eq!(
        inputs(&server),
        ["Be brief.\n\nfirst", "Be brief.\n\nfirst"]
    );
}

#[test]
fn the_conversations_of_the_session_are_listed_and_deleted_by_id() {
    let server = StandIn::start();
    let client = client(&server);
    let first = client.conversation().unwrap().keep();
    let other = client.conversation_builder().model("other/model");
    let second = other.open().unwrap().keep();
    let listed = client.conversations().unwrap();
    let ids: Vec<&str> = listed.iter().map(|summary| summary.id.as_str()).collect();
    assert!(ids.contains(&first.as_str()) && ids.contains(&second.as_str()));
    assert_eq!(ids.len(), 2);
    let with_other = listed.iter().find(|summary| summary.id == second).unwrap();
    assert_eq!(with_other.model.as_deref(), Some("other/model"));
    assert!(!with_other.title.is_empty());
    assert_eq!(
        self::client(&server).conversations().unwrap(),
        [],
        "of another session"
    );

    client.delete(&first).unwrap();
    client.delete(&first).unwrap();
    assert_eq!(server.conversations(), std::slice::from_ref(&second));
    for bad in ["", "a/b", "..", "a b", "a?b", &"x".repeat(65)] {
        let requests = server.counts().requests;
        assert_eq!(client.delete(bad).unwrap_err().kind(), ErrorKind::Input);
        assert_eq!(client.resume(bad).unwrap_err().kind(), ErrorKind::Input);
        assert_eq!(server.counts().requests, requests);
    }
}

#[test]
fn the_events_say_more_than_the_text() {
    let server = StandIn::builder()
        .plan(|_| Plan::tokens(["a", "", "b"]))
        .start();
    let mut chat = client(&server).conversation().unwrap();
    let mut tokens = chat.send(Request::new("hello").details(true)).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = tokens.next_event() {
        let Event::Token(token) = event.unwrap() else {
            continue;
        };
        assert_eq!(token.logprob, Some(-0.1));
        assert!(token.id.is_some());
        seen.push((token.text, token.special));
    }
    let texts: Vec<(&str, bool)> = seen
        .iter()
        .map(|(text, special)| (&**text, *special))
        .collect();
    assert_eq!(
        texts,
        [
            ("a", false),
            ("", false),
            ("b", false),
            ("<|endoftext|>", true)
        ]
    );
    let end = tokens.end().unwrap();
    assert_eq!(end.text, "ab");
    assert!(end.details.is_some());
    assert!(tokens.next_event().is_none());
}

#[test]
fn a_conversation_can_go_to_another_thread() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    chat.ask("first").unwrap();
    thread::spawn(move || chat.ask("second").unwrap())
        .join()
        .unwrap();
    assert_nothing_left(&server);
}

#[test]
fn a_conversation_dropped_in_mid_turn_is_stopped_and_deleted() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    let mut tokens = chat.send("/slow").unwrap();
    tokens.next().unwrap().unwrap();
    // A turn that is forgotten cannot be stopped by its own drop.
    std::mem::forget(tokens);
    drop(chat);
    assert_nothing_left(&server);
    assert_eq!(server.counts().stopped, 1);
}

#[test]
fn a_stop_that_failed_is_made_good_when_the_conversation_is_deleted() {
    let failed = AtomicBool::new(false);
    let server = StandIn::builder()
        .intercept(move |request| {
            let is_stop = request.path.ends_with("/stop-generating");
            let answer = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
            let fails = is_stop && !failed.swap(true, Ordering::Relaxed);
            fails.then(|| Reaction::Answer(answer.into()))
        })
        .start();
    let mut tokens = client(&server).generate("/slow").unwrap();
    tokens.next().unwrap().unwrap();
    let kept = tokens.keep();
    assert_eq!(server.counts().running, 1);
    kept.delete().unwrap();
    assert_nothing_left(&server);
}
