//! A call is tried again only where nothing can be lost or done twice.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use h2o_chat::{Client, ClientBuilder, ErrorKind, Limit, Request, Step, Stop};

mod stand_in;

use stand_in::{Reaction, StandIn};

fn builder(server: &StandIn) -> ClientBuilder {
    Client::builder(&server.url())
}

/// Which requests are meant.
type Kind = fn(&stand_in::Request) -> bool;

/// Reacts like this to the first so many requests of this kind.
fn at_first(
    times: usize,
    is_meant: Kind,
    reaction: impl Fn() -> Reaction + Send + Sync + 'static,
) -> StandIn {
    let seen = AtomicUsize::new(0);
    let react = move |request: &stand_in::Request| {
        let react = is_meant(request) && seen.fetch_add(1, Ordering::Relaxed) < times;
        react.then(&reaction)
    };
    StandIn::builder().intercept(react).start()
}

fn busy(status: &str, headers: &str) -> Reaction {
    Reaction::Answer(format!("HTTP/1.1 {status}\r\n{headers}content-length: 4\r\n\r\nbusy").into())
}

fn is_settings(request: &stand_in::Request) -> bool {
    request.path == "/settings"
}

fn is_opening(request: &stand_in::Request) -> bool {
    request.path == "/conversation"
}

fn is_message(request: &stand_in::Request) -> bool {
    request.body.starts_with(b"{\"inputs\"")
}

fn is_stop(request: &stand_in::Request) -> bool {
    request.path.ends_with("/stop-generating")
}

fn is_delete(request: &stand_in::Request) -> bool {
    request.method == "DELETE"
}

const KINDS: [Kind; 3] = [is_settings, is_opening, is_message];

#[test]
fn a_busy_server_is_asked_again_at_every_step_before_the_reply() {
    for is_meant in KINDS {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let server = at_first(2, is_meant, move || busy(status, "retry-after: 0\r\n"));
            assert_eq!(
                builder(&server).build().unwrap().ask("/count 1").unwrap(),
                "0 "
            );
            let counts = server.counts();
            assert_eq!(
                (counts.requests, counts.created, counts.conversations),
                (6, 1, 0)
            );
            assert_eq!(counts.connections, 1);
        }
    }
}

#[test]
fn the_number_of_retries_is_the_users() {
    for times in [0, 1, 3] {
        let server = at_first(usize::MAX, is_opening, || {
            busy("503 Service Unavailable", "retry-after: 0\r\n")
        });
        let error = builder(&server)
            .retries(times)
            .build()
            .unwrap()
            .ask("hello")
            .unwrap_err();
        assert_eq!(
            (error.step(), error.status()),
            (Step::Conversation, Some(503))
        );
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
        assert_eq!(server.counts().requests, 2 + times as usize);
    }
}

#[test]
fn it_is_waited_for_as_long_as_the_server_asks_but_no_longer_than_the_user_allows() {
    let server = at_first(1, is_message, || {
        busy("429 Too Many Requests", "retry-after: 1\r\n")
    });
    let start = Instant::now();
    builder(&server).build().unwrap().ask("/count 1").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let header = format!("retry-after: {}\r\n", http_date(in_an_hour));
    let server = at_first(1, is_message, move || {
        busy("429 Too Many Requests", &header)
    });
    let error = builder(&server).build().unwrap().ask("hello").unwrap_err();
    let asked = error.retry_after().unwrap();
    assert!(
        (Duration::from_secs(3500)..=Duration::from_secs(3600)).contains(&asked),
        "{asked:?}"
    );
    assert!(error.is_retryable());
    assert_eq!(server.counts().conversations, 0);
}

/// As servers write it.
fn http_date(at: SystemTime) -> String {
    let days_in = |year: u64| {
        if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) {
            366
        } else {
            365
        }
    };
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (mut days, time) = (seconds / 86400, seconds % 86400);
    let mut year = 1970;
    while days >= days_in(year) {
        days -= days_in(year);
        year += 1;
    }
    let february = days_in(year) - 337;
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "Mon, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
        days + 1,
        names[month]
    )
}

#[test]
fn a_wait_that_the_deadline_has_no_time_for_is_not_begun() {
    let server = at_first(1, is_message, || {
        busy("429 Too Many Requests", "retry-after: 5\r\n")
    });
    let client = builder(&server)
        .deadline(Duration::from_secs(2))
        .build()
        .unwrap();
    let start = Instant::now();
    assert_eq!(client.ask("hello").unwrap_err().status(), Some(429));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_stop_ends_the_wait_for_a_retry() {
    let server = at_first(1, is_message, || {
        busy("429 Too Many Requests", "retry-after: 9\r\n")
    });
    let (client, stop) = (builder(&server).build().unwrap(), Stop::default());
    let request = Request::new("hello").stop(&stop);
    let (error, took) = thread::scope(|scope| {
        let call = scope.spawn(|| client.ask(request).unwrap_err());
        server.wait_for("the refusal", |counts| counts.requests == 3);
        let start = Instant::now();
        stop.stop();
        (call.join().unwrap(), start.elapsed())
    });
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert!(took < Duration::from_millis(250), "{took:?}");
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn nobody_listening_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let client = Client::new(&format!("http://127.0.0.1:{port}")).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let call = scope.spawn(|| client.ask("/count 1"));
        // Longer than the first try takes, and shorter than the wait after it.
        thread::sleep(Duration::from_millis(100));
        let server = StandIn::builder().port(port).start();
        assert_eq!(call.join().unwrap().unwrap(), "0 ");
        drop(server);
    });
    assert!(start.elapsed() >= Duration::from_millis(250));
}

#[test]
fn what_does_no_harm_twice_is_repeated_once_when_its_connection_ends() {
    let all: [(Kind, &str); 3] = [
        (is_settings, "/count 1"),
        (is_delete, "/count 1"),
        (is_stop, "/slow"),
    ];
    for (is_meant, prompt) in all {
        let server = at_first(1, is_meant, || Reaction::Close);
        let client = builder(&server).build().unwrap();
        let mut tokens = client.generate(prompt).unwrap();
        tokens.next().unwrap().unwrap();
        tokens.delete().unwrap();
        server.wait_for("the end of the generation", |counts| counts.running == 0);
        assert_eq!(
            (server.counts().created, server.counts().conversations),
            (1, 0)
        );
    }
    let server = at_first(usize::MAX, is_settings, || Reaction::Close);
    let error = builder(&server).build().unwrap().ask("hello").unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Truncated, Step::Settings)
    );
    assert_eq!(server.counts().requests, 2);
}

#[test]
fn a_request_that_could_make_a_second_conversation_or_generation_is_never_repeated() {
    for is_meant in [is_opening, is_message] {
        // The connection is pooled: the settings went over it. The server reads the request and closes.
        let server = at_first(1, is_meant, || Reaction::Close);
        let error = builder(&server)
            .retries(5)
            .build()
            .unwrap()
            .ask("hello")
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        let requests = server.requests();
        assert_eq!(
            requests.iter().filter(|request| is_meant(request)).count(),
            1
        );
        assert_eq!(server.counts().conversations, 0);
    }
}

#[test]
fn nothing_is_tried_again_after_a_token() {
    let server = StandIn::start();
    for prompt in ["/dropped", "/error-event", "/no-final"] {
        builder(&server)
            .retries(5)
            .build()
            .unwrap()
            .ask(prompt)
            .unwrap_err();
    }
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|request| is_message(request))
            .count(),
        3
    );
}

#[test]
fn tidying_up_does_not_wait_for_a_busy_server() {
    let server = at_first(1, is_delete, || {
        busy("503 Service Unavailable", "retry-after: 1\r\n")
    });
    let error = builder(&server)
        .build()
        .unwrap()
        .generate("/slow")
        .unwrap()
        .delete()
        .unwrap_err();
    assert_eq!((error.step(), error.status()), (Step::Delete, Some(503)));
}

#[test]
fn a_lost_acceptance_of_the_terms_is_made_good_once() {
    let server = StandIn::start();
    let client = builder(&server).build().unwrap();
    client.ask("/count 1").unwrap();
    server.forget_sessions();
    client.ask("/count 1").unwrap();
    let settings = || {
        server
            .requests()
            .iter()
            .filter(|request| is_settings(request))
            .count()
    };
    assert_eq!(settings(), 2);

    // While a conversation is open, too.
    let mut tokens = client.generate("/slow").unwrap();
    tokens.next().unwrap().unwrap();
    server.forget_sessions();
    tokens.delete().unwrap();
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
    assert_eq!(settings(), 3);
}

#[test]
fn terms_that_cannot_be_accepted_again_leave_the_conversation_named() {
    let posted = AtomicUsize::new(0);
    let server = StandIn::builder()
        .intercept(move |request| {
            let again = is_settings(request) && posted.fetch_add(1, Ordering::Relaxed) > 0;
            again.then(|| busy("502 Bad Gateway", ""))
        })
        .start();
    let client = builder(&server).build().unwrap();
    let mut tokens = client.generate("/slow").unwrap();
    tokens.next().unwrap().unwrap();
    server.forget_sessions();
    let error = tokens.delete().unwrap_err();
    assert_eq!((error.step(), error.status()), (Step::Delete, Some(502)));
    assert_eq!(error.undeleted(), Some(server.conversations()[0].as_str()));
}

#[test]
fn other_cookies_are_kept_and_sent_back_to_this_server_only() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/conversation", other.local_addr().unwrap());
    let redirect = Mutex::new(Some(location));
    let server = StandIn::builder()
        .intercept(move |request| match request.path.as_str() {
            "/settings" => Some(Reaction::Answer(
                b"HTTP/1.1 200 OK\r\nset-cookie: lb=node-3; Path=/\r\ncontent-length: 19\r\n\r\n{\"type\":\"redirect\"}\n"
                    .to_vec(),
            )),
            _ => redirect.lock().unwrap().take().map(|location| {
                Reaction::Answer(format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into())
            }),
        })
        .start();
    let client = builder(&server).header("Cookie", "mine=1").build().unwrap();
    client.ask("hello").unwrap_err();
    client.ask("hello").unwrap_err();
    let requests = server.requests();
    let session = client.session();
    let expected = format!("hf-chat={}; lb=node-3; mine=1", session.as_str());
    let others: Vec<_> = requests
        .iter()
        .filter(|request| !is_settings(request))
        .collect();
    assert!(others.len() >= 2);
    for request in others {
        assert_eq!(request.header("cookie"), Some(expected.as_str()));
    }
    other.set_nonblocking(true).unwrap();
    assert!(
        other.accept().is_err(),
        "a redirect was followed to another server"
    );
}

#[test]
fn a_server_that_never_answers_the_retry_is_given_up_within_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(&format!("http://{}", listener.local_addr().unwrap()))
        .deadline(Duration::from_millis(800))
        .build()
        .unwrap();
    let error = thread::scope(|scope| {
        let call = scope.spawn(|| client.ask("hello").unwrap_err());
        let (mut first, _) = listener.accept().unwrap();
        let _ = first.read(&mut [0; 4096]).unwrap();
        first
            .write_all(b"HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        call.join().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::Timeout(Limit::Deadline));
}

#[test]
fn numbers_beyond_all_measure_do_no_harm() {
    let server = at_first(1, is_settings, || {
        busy(
            "503 Service Unavailable",
            "retry-after: 18446744073709551615\r\n",
        )
    });
    let client = builder(&server)
        .retries(u32::MAX)
        .longest_retry_wait(Duration::MAX)
        .build()
        .unwrap();
    let (stop, request) = (Stop::default(), Request::new("hello"));
    let request = request.stop(&stop);
    let error = thread::scope(|scope| {
        let call = scope.spawn(|| client.ask(request).unwrap_err());
        server.wait_for("the refusal", |counts| counts.requests == 1);
        stop.stop();
        call.join().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::Stopped);
}
