//! The crate starts no thread. The server is another process, so all threads of this one are the
//! client's.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, Proxy};

mod example;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Returns the maximum number of threads during `work`, without the one that watches.
fn most_threads_while(work: impl FnOnce()) -> usize {
    let (done, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(threads(), Ordering::Relaxed);
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    most.into_inner() - 1
}

#[test]
fn a_reply_starts_no_thread() {
    let before = threads();

    let server = example::stand_in();
    let client = Client::new(server.url()).unwrap();
    let work = || {
        for _ in 0..20 {
            client.ask("/count 100").unwrap();
        }
        let mut tokens = client.stream("hello").unwrap();
        assert!(tokens.all(|token| token.is_ok()));
        client.stream("/slow").unwrap().cancel().unwrap();
    };
    assert_eq!(most_threads_while(work), before);
    // The watcher has ended, but the system may still show it for a moment.
    while threads() > before {
        thread::yield_now();
    }

    // Behind a proxy, ureq's own resolver would start a thread for the connect timeout.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://localhost:{}", proxy.local_addr().unwrap().port());
    let client = Client::builder("http://chat.example.org")
        .proxy(Proxy::url(url))
        .connect_timeout(Duration::from_millis(10))
        .build()
        .unwrap();
    let work = || {
        for _ in 0..20 {
            client.ask("hello").unwrap_err();
        }
    };
    assert_eq!(most_threads_while(work), before);
}
