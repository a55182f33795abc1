//! What a reply and an attachment cost in memory: a token the allocation of its text, a stream
//! little, an attachment its bytes.

use std::fs;
use std::iter;
use std::thread;
use std::time::Duration;

use h2o_chat::{Attachment, Client, Proxy, Request};

use stand_in::{Dialect, StandIn};

#[path = "../benches/figures/ready.rs"]
mod ready;
#[path = "../benches/figures/tokens.rs"]
mod tokens;

#[path = "stand_in/mod.rs"]
mod stand_in;

const TOKENS: usize = 100_000;

#[test]
fn a_token_costs_one_allocation() {
    let reply = tokens::tokens(TOKENS) + &tokens::last("");
    let ready = ready::Ready::new(move |socket| socket.write_all(reply.as_bytes()));
    let (server, _) = ready.start().unwrap();
    let client = Client::builder(&format!("http://{server}")).proxy(Proxy::none());
    let client = client.build().unwrap();
    let mut received = 0;
    // Counts this thread only. The server has its own.
    let counted = allocation_counter::measure(|| {
        for token in client.stream("hello").unwrap() {
            token.unwrap();
            received += 1;
        }
    });
    assert_eq!(received, TOKENS);
    let counted = u32::try_from(counted.count_total).map(f64::from).unwrap();
    let a_token = counted / f64::from(u32::try_from(TOKENS).unwrap());
    println!("\n{a_token:.3} allocations a token");
    assert!(a_token <= 1.1, "{a_token}");
}

#[test]
fn an_attachment_is_not_copied() {
    const SIZE: usize = 10 << 20;
    let path = std::env::temp_dir().join(format!("h2o-chat-{}.png", std::process::id()));
    fs::write(&path, vec![b'x'; SIZE]).unwrap();
    let server = StandIn::builder().dialect(Dialect::Newest).media_types(&[]).start();
    let client = Client::builder(&server.url()).proxy(Proxy::none()).build().unwrap();
    let counted = allocation_counter::measure(|| {
        let photo = Attachment::from_path(&path).unwrap();
        client.ask(Request::new("What is this?").attach(photo)).unwrap();
    });
    fs::remove_file(&path).unwrap();
    assert_eq!(server.files()[0][0].content.len(), SIZE);
    let above = usize::try_from(counted.bytes_max).unwrap() - SIZE;
    println!("\n{} KiB above the attachment's bytes", above / 1024);
    assert!(above <= 6 << 20, "{above}");
}

#[test]
fn a_stream_holds_at_most_40_kib() {
    const STREAMS: u16 = 50;
    let ready = ready::Ready::new(move |socket| {
        socket.write_all(tokens::tokens(20).as_bytes())?;
        loop {
            thread::park();
        }
    });
    let (server, _) = ready.start().unwrap();
    let client = Client::builder(&format!("http://{server}")).proxy(Proxy::none());
    let client = client.cleanup_timeout(Duration::from_millis(1)).build().unwrap();
    let open = || {
        let mut stream = client.stream("hello").unwrap();
        stream.next().unwrap().unwrap();
        stream
    };
    // What the client allocates only once.
    let mut streams = vec![open()];
    streams.reserve(STREAMS.into());
    let counted = allocation_counter::measure(|| {
        streams.extend(iter::repeat_with(open).take(STREAMS.into()));
    });
    let held = u32::try_from(counted.bytes_current).map(f64::from).unwrap();
    let kib = held / 1024.0 / f64::from(STREAMS);
    println!("\n{kib:.1} KiB a stream");
    assert!(kib <= 40.0, "{kib}");
}
