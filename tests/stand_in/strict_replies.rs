//! How the server frames a reply, and what ends it.

use std::iter;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use crate::raw_client::{
    Client, begun, chunks, empty_success, event, last_event, prompt, stream_head,
};
use crate::stand_in::{Act, Plan, StandIn};

const WHOLE: [&str; 8] = [" Hi", " there", ",", " how", " can", " I", " help", "?"];

fn events(count: usize) -> Vec<String> {
    let texts = WHOLE.iter().take(count).enumerate();
    texts.map(|(id, text)| event(id, text)).collect()
}

#[test]
fn a_reply_is_one_chunk_to_an_event_and_a_clean_end() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let last = last_event(" Hi there, how can I help?");
    let error = r#"data:{"error":"Request failed during generation: Server error: CUDA out of memory","error_type":"generation"}"#;
    let mut commented = events(8);
    commented[3] += ":\n\n";
    for (plan, expected) in [
        ("hello", [events(8), vec![last.clone()]].concat()),
        ("/comments", [commented, vec![last]].concat()),
        ("/no-final", events(5)),
        ("/empty", vec![last_event("")]),
        (
            "/error-event",
            [events(5), vec![format!("{error}\n\n")]].concat(),
        ),
    ] {
        let expected = format!("{}{}0\r\n\r\n", stream_head(), chunks(&expected));
        assert_eq!(client.ask(&prompt(&id, plan)), expected, "{plan}");
        assert_eq!(server.counts().running, 0);
    }
    assert_eq!(server.counts().connections, 1);
}

#[test]
fn an_event_is_cut_anywhere() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "/emoji"));
    assert_eq!(client.head(), stream_head());
    for piece in ["dat", "a:{\"tok", "en\":{\"i", "d\":0,\"t", "ext\":\" "] {
        assert_eq!(client.chunk(), chunks(&[piece.to_string()]));
    }
    // What is not whole characters the client shows byte by byte.
    let mut rest = iter::repeat_with(|| client.chunk());
    assert!(rest.any(|chunk| chunk == "7\r\next\":\"ï\r\n"));
    assert!(rest.any(|chunk| chunk == "7\r\n¿½\",\"lo\r\n"));
}

#[test]
fn a_dropped_reply_has_no_last_chunk() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "/dropped"));
    assert_eq!(client.rest(), stream_head() + &chunks(&events(5)));
}

#[test]
fn the_head_comes_only_with_the_first_byte() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "/silent"));
    server.wait_for("the generation", |counts| counts.running == 1);
    stop(&server, &id);
    assert_eq!(client.rest(), "");
    assert_eq!(server.counts().streaming, 0);
}

fn stop(server: &StandIn, id: &str) {
    let stop = format!("POST /conversation/{id}/stop-generating");
    assert_eq!(Client::of(server).ask(&stop), empty_success());
}

#[test]
fn a_stop_ends_a_generation_without_the_last_chunk() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "/slow"));
    assert_eq!(client.head(), stream_head());
    assert_eq!(client.chunk(), chunks(&[event(0, " s0")]));
    stop(&server, &id);
    let rest = client.rest();
    assert!(rest.is_empty() || rest.ends_with("}\n\n\r\n"), "{rest}");
    let counts = server.counts();
    assert_eq!(
        (counts.running, counts.stopped, counts.streaming),
        (0, 1, 1)
    );
}

/// Says so when a generation is over.
struct Over(Sender<()>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn only_a_stop_ends_a_generation_which_nobody_reads() {
    let (sender, over) = mpsc::channel();
    let endless = move |_: &str| {
        let over = Over(sender.clone());
        Plan::acts(iter::repeat_with(move || {
            let _ = &over;
            // More than the sockets hold, so that the second one is stuck in its write.
            Act::Send(vec![b' '; 1 << 24])
        }))
    };
    let server = StandIn::builder().plan(endless).start();
    let (mut gone, id) = begun(&server);
    gone.send(&prompt(&id, "from a client that goes away"));
    server.wait_for("the first reply", |counts| counts.streaming == 1);
    drop(gone);
    let mut busy = Client::of(&server);
    busy.send(&prompt(&id, "from a client that does not read"));
    server.wait_for("the second reply", |counts| counts.streaming == 2);
    assert_eq!(server.counts().running, 2);
    stop(&server, &id);
    for _ in 0..2 {
        over.recv_timeout(Duration::from_secs(10)).unwrap();
    }
    assert_eq!(server.counts().stopped, 2);
    assert!(busy.rest().starts_with(&stream_head()));
}

#[test]
fn deleting_stops_nothing() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "/hang"));
    server.wait_for("the reply", |counts| counts.streaming == 1);
    let delete = format!("DELETE /conversation/{id}");
    assert_eq!(Client::of(&server).ask(&delete), empty_success());
    let counts = server.counts();
    assert_eq!(
        (counts.conversations, counts.running, counts.stopped),
        (0, 1, 0)
    );
    drop(server);
    assert!(client.rest().starts_with(&stream_head()));
}

#[test]
fn a_long_reply_costs_its_own_bytes() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let answer = client.ask(&prompt(&id, "/count 20000"));
    assert_eq!(answer.matches("\"special\":false").count(), 20_000);
    let whole = answer.split("\"generated_text\":\"").nth(1).unwrap();
    assert!(whole.starts_with("0 1 2 ") && whole.len() < 100_000);
}
