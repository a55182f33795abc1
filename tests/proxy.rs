//! Connections through a proxy, and what happens when it does not let them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, ErrorKind, Limit, Proxy, Request, Step, Stop};

mod stand_in;

use stand_in::StandIn;

/// How a proxy agrees on the connection that it is to make.
type Handshake = fn(&mut TcpStream) -> io::Result<String>;

/// A proxy that tunnels to the address of the handshake.
struct TestProxy {
    address: String,
    tunnels: Arc<AtomicUsize>,
}

impl TestProxy {
    fn start(handshake: Handshake) -> TestProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tunnels);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || tunnel(client, handshake));
            }
        });
        TestProxy { address, tunnels }
    }

    fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

fn tunnel(mut client: TcpStream, handshake: Handshake) -> io::Result<()> {
    let server = TcpStream::connect(handshake(&mut client)?)?;
    let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut up, &mut &server).and_then(|_| server.shutdown(std::net::Shutdown::Both))
    });
    io::copy(&mut down, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// Reads a CONNECT, which ends with an empty line.
fn connect_head(client: &TcpStream) -> io::Result<Vec<String>> {
    let lines = BufReader::new(client.try_clone()?).lines();
    let head = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    Ok(head.collect())
}

/// Lets in who knows the password.
fn connect(client: &mut TcpStream) -> io::Result<String> {
    let head = connect_head(client)?;
    let password = "Proxy-Authorization: Basic bWU6c2VjcmV0".to_owned();
    assert!(head.contains(&password), "{head:?}");
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    Ok(head[0].split(' ').nth(1).unwrap().to_owned())
}

/// Reads a SOCKS5 greeting and a request for an IPv4 address.
fn socks5(client: &mut TcpStream) -> io::Result<String> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting)?;
    client.read_exact(&mut vec![0; usize::from(greeting[1])])?;
    client.write_all(&[5, 0])?;
    let mut request = [0; 10];
    client.read_exact(&mut request)?;
    assert_eq!(request[..4], [5, 1, 0, 1]);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let [.., a, b, c, d, high, low] = request;
    Ok(format!(
        "{a}.{b}.{c}.{d}:{}",
        u16::from_be_bytes([high, low])
    ))
}

#[test]
fn a_reply_through_an_http_proxy() {
    let (server, proxy) = (StandIn::start(), TestProxy::start(connect));
    for url in [
        format!("http://me:secret@{}", proxy.address),
        format!("me:secret@{}", proxy.address),
    ] {
        let client = Client::builder(&server.url())
            .proxy(Proxy::url(url))
            .build()
            .unwrap();
        assert_eq!(client.ask("hello").unwrap(), " Hi there, how can I help?");
        client.generate("/slow").unwrap().delete().unwrap();
    }
    // For each client one for the first reply and the next, and one to stop and delete.
    assert_eq!(proxy.tunnels(), 4);
    assert_eq!(
        (server.counts().conversations, server.counts().running),
        (0, 0)
    );
}

#[test]
fn a_reply_through_a_socks_proxy() {
    let (server, proxy) = (StandIn::start(), TestProxy::start(socks5));
    for scheme in ["socks5", "socks5h"] {
        let url = format!("{scheme}://{}", proxy.address);
        let client = Client::builder(&server.url())
            .proxy(Proxy::url(url))
            .build()
            .unwrap();
        assert_eq!(client.ask("hello").unwrap(), " Hi there, how can I help?");
    }
    assert_eq!(proxy.tunnels(), 2);
}

#[test]
fn limits_and_stops_act_through_a_proxy() {
    let (server, proxy) = (StandIn::start(), TestProxy::start(connect));
    let url = format!("http://me:secret@{}", proxy.address);
    let client = Client::builder(&server.url())
        .proxy(Proxy::url(url))
        .silence_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let error = client.ask("/hang").unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Timeout(Limit::Silence), Step::Reply)
    );
    assert_eq!(error.received(), " Hi there, how can");
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

#[test]
fn a_proxy_that_refuses_says_so() {
    let refuse: Handshake = |client| {
        connect_head(client)?;
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")?;
        Err(io::ErrorKind::PermissionDenied.into())
    };
    let (server, proxy) = (StandIn::start(), TestProxy::start(refuse));
    let client = Client::builder(&server.url())
        .proxy(Proxy::url(&proxy.address))
        .build()
        .unwrap();
    let error = client.ask("hello").unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Proxy, Step::Settings)
    );
    let told = format!(
        "to the proxy http://{}: it answered 407 (Proxy",
        proxy.address
    );
    assert!(error.to_string().contains(&told), "{error}");
    assert_eq!(server.counts().connections, 0);
}

#[test]
fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let nobody = nobody.unwrap().to_string();
    for scheme in ["http", "socks5", "socks5h"] {
        let client = Client::builder("http://127.0.0.1:9")
            .proxy(Proxy::url(format!("{scheme}://me:secret@{nobody}")))
            .retries(0)
            .build()
            .unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        let told = format!("no connection to the proxy {scheme}://{nobody}: ");
        assert!(error.to_string().contains(&told), "{error}");
        assert!(error.hint().unwrap().contains("at the proxy"), "{error}");
    }
}

#[test]
fn a_socks_proxy_that_refuses_or_speaks_something_else_says_so() {
    let refuse: Handshake = |client| {
        client.read_exact(&mut [0; 3])?;
        client.write_all(&[5, 0])?;
        client.read_exact(&mut [0; 10])?;
        // The rule set does not allow it.
        client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0])?;
        Err(io::ErrorKind::PermissionDenied.into())
    };
    let no_method: Handshake = |client| {
        client.read_exact(&mut [0; 3])?;
        client.write_all(&[5, 0xff])?;
        Err(io::ErrorKind::PermissionDenied.into())
    };
    let http: Handshake = |client| {
        client.read_exact(&mut [0; 3])?;
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        Err(io::ErrorKind::InvalidData.into())
    };
    let close: Handshake = |client| {
        client.read_exact(&mut [0; 3])?;
        Err(io::ErrorKind::InvalidData.into())
    };
    for handshake in [refuse, no_method, http, close] {
        let proxy = TestProxy::start(handshake);
        let url = format!("socks5://{}", proxy.address);
        let client = Client::builder("http://127.0.0.1:9")
            .proxy(Proxy::url(url))
            .build()
            .unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Proxy, Step::Settings),
            "{error}"
        );
        assert!(!error.is_retryable());
    }
}

#[test]
fn a_proxy_that_says_nothing_is_waited_for_within_the_limits() {
    // Never accepted, so never answered.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(300);
    let builder = || Client::builder("http://127.0.0.1:9").proxy(Proxy::url(&address));

    let client = builder().connect_timeout(limit).build().unwrap();
    assert_eq!(
        client.ask("hello").unwrap_err().kind(),
        ErrorKind::Timeout(Limit::Connect)
    );
    let client = builder().deadline(limit).build().unwrap();
    assert_eq!(
        client.ask("hello").unwrap_err().kind(),
        ErrorKind::Timeout(Limit::Deadline)
    );

    // Each once: a limit that is reached is not waited for again.
    let _held = [proxy.accept().unwrap(), proxy.accept().unwrap()];
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.accept().is_err(), "tried again");
    proxy.set_nonblocking(false).unwrap();

    let (client, stop) = (builder().build().unwrap(), Stop::default());
    let stopped = thread::scope(|scope| {
        let call = scope.spawn(|| client.ask(Request::new("hello").stop(&stop)).unwrap_err());
        // Held, because dropping would close it.
        let _held = proxy.accept().unwrap();
        let start = Instant::now();
        stop.stop();
        let error = call.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        start.elapsed()
    });
    assert!(stopped < Duration::from_millis(250), "{stopped:?}");
}
