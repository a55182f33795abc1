//! A token of a reply costs the allocation of its text, and almost nothing else.

use h2o_chat::{Client, Proxy};

#[path = "../benches/figures/ready.rs"]
mod ready;
#[path = "../benches/figures/tokens.rs"]
mod tokens;

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
