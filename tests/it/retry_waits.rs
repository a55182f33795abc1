//! The wait before a retry.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use h2o_chat::{CancelHandle, Client, ClientBuilder, ErrorKind, Request, Step, Timeout};

use crate::stand_in::StandIn;
use crate::support::{PROMPT, always, at_first, busy};

/// Much shorter than the waits that must not happen, on a busy machine too.
const SOON: Duration = Duration::from_secs(3);

/// A client with the default number of retries.
fn builder(server: &StandIn) -> ClientBuilder {
    Client::builder(&server.url())
}

#[test]
fn a_retry_waits_for_retry_after_up_to_the_maximum() {
    let server = at_first(1, Step::SendMessage, || busy(429, "retry-after: 1\r\n"));
    let start = Instant::now();
    builder(&server).build().unwrap().ask("/count 1").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let header = format!("retry-after: {}\r\n", http_date(in_an_hour));
    let server = at_first(1, Step::SendMessage, move || busy(429, &header));
    let error = builder(&server).build().unwrap().ask("hello").unwrap_err();
    let asked = error.retry_after().unwrap();
    assert!((Duration::from_secs(3500)..=Duration::from_secs(3600)).contains(&asked), "{asked:?}");
    assert!(error.is_retryable());
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_retry_after_date_is_honored() {
    let at = SystemTime::now() + Duration::from_secs(2);
    let header = format!("retry-after: {}\r\n", http_date(at));
    let server = at_first(1, Step::SendMessage, move || busy(503, &header));
    builder(&server).build().unwrap().ask("/count 1").unwrap();
    // A date has no fractions of a second.
    assert!(SystemTime::now() > at - Duration::from_secs(1));
}

#[test]
fn the_maximum_wait_shortens_the_default_waits() {
    let server = always(Step::PostSettings, || busy(503, ""));
    let client =
        builder(&server).retries(5).max_retry_wait(Duration::from_millis(10)).build().unwrap();
    let start = Instant::now();
    client.ask("hello").unwrap_err();
    assert_eq!(server.counts().requests, 6);
    assert!(start.elapsed() < SOON);
}

/// Formats a date for the header.
fn http_date(at: SystemTime) -> String {
    let days_in = |year: u64| {
        if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 }
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
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("Mon, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", days + 1, names[month])
}

#[test]
fn a_retry_that_would_miss_the_deadline_is_not_waited_for() {
    let server = at_first(1, Step::SendMessage, || busy(429, "retry-after: 5\r\n"));
    let client = builder(&server).total_timeout(Duration::from_secs(4)).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.ask("hello").unwrap_err().status(), Some(429));
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_cancel_ends_the_wait_for_a_retry() {
    for (step, requests) in
        [Step::PostSettings, Step::CreateConversation, Step::SendMessage].into_iter().zip(1..)
    {
        let server = at_first(1, step, || busy(429, "retry-after: 9\r\n"));
        let (client, handle) = (builder(&server).build().unwrap(), CancelHandle::default());
        let request = Request::new("hello").cancel_handle(&handle);
        let (error, took) = thread::scope(|scope| {
            let call = scope.spawn(|| client.ask(request).unwrap_err());
            server.wait_for("the refusal", |counts| counts.requests == requests);
            let start = Instant::now();
            handle.cancel();
            (call.join().unwrap(), start.elapsed())
        });
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(took < PROMPT, "{took:?}");
        assert_eq!(server.counts().conversations, 0);
    }
}

#[test]
fn a_cancel_before_a_retried_creation_leaves_no_doubt() {
    for (status, headers) in [(503, "retry-after: 0\r\n"), (503, "retry-after: 9\r\n"), (405, "")] {
        let handle = CancelHandle::default();
        let from_the_server = handle.clone();
        let server = always(Step::CreateConversation, move || {
            from_the_server.cancel();
            busy(status, headers)
        });
        let client = builder(&server).build().unwrap();
        let start = Instant::now();
        let error = client.ask(Request::new("hello").cancel_handle(&handle)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(!error.maybe_undeleted(), "{error}");
        assert!(start.elapsed() < SOON);
        assert_eq!(server.counts().requests, 2);
    }
}

#[test]
fn the_total_timeout_includes_retries() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(&format!("http://{}", listener.local_addr().unwrap()))
        .total_timeout(Duration::from_millis(800))
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
    assert_eq!(error.kind(), ErrorKind::Timeout(Timeout::Total));
}

#[test]
fn huge_retry_values_are_harmless() {
    let server =
        at_first(1, Step::PostSettings, || busy(503, "retry-after: 18446744073709551615\r\n"));
    let client = builder(&server).retries(u32::MAX).max_retry_wait(Duration::MAX).build().unwrap();
    let (handle, request) = (CancelHandle::default(), Request::new("hello"));
    let request = request.cancel_handle(&handle);
    let error = thread::scope(|scope| {
        let call = scope.spawn(|| client.ask(request).unwrap_err());
        server.wait_for("the refusal", |counts| counts.requests == 1);
        handle.cancel();
        call.join().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
