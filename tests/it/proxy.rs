//! Connections through a proxy, and its refusals.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{CancelHandle, Client, ErrorKind, Proxy, Request, Step, Timeout};

use crate::stand_in::StandIn;
use crate::support::{GREETING, PROMPT, assert_failed, assert_nothing_left, builder, nobody};

/// The handshake of a proxy, which returns the target of the connection.
type Handshake = fn(&mut TcpStream) -> io::Result<String>;

/// A proxy that tunnels to the target of the handshake.
struct TestProxy {
    address: String,
    targets: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    fn start(handshake: Handshake) -> TestProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let targets = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&targets);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                thread::spawn(move || tunnel(client, handshake, &asked));
            }
        });
        TestProxy { address, targets }
    }

    /// The requested targets of its tunnels.
    fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap().clone()
    }
}

fn tunnel(
    mut client: TcpStream,
    handshake: Handshake,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let target = handshake(&mut client)?;
    asked.lock().unwrap().push(target.clone());
    // Every name is this machine's.
    let port = target.rsplit(':').next().and_then(|port| port.parse().ok());
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port.unwrap()))?;
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
    let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    Ok(head.collect())
}

/// Accepts clients with the password.
fn connect(client: &mut TcpStream) -> io::Result<String> {
    let head = connect_head(client)?;
    let password = "Proxy-Authorization: Basic bWU6c2VjcmV0".to_owned();
    assert!(head.contains(&password), "{head:?}");
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    Ok(head[0].split(' ').nth(1).unwrap().to_owned())
}

/// Accepts clients with the password, or without one, to an address or a name.
fn socks5(client: &mut TcpStream) -> io::Result<String> {
    const PASSWORD: u8 = 2;
    let [_, methods] = read(client)?;
    if read_vec(client, methods)?.contains(&PASSWORD) {
        client.write_all(&[5, PASSWORD])?;
        let [_, user] = read(client)?;
        assert_eq!(read_vec(client, user)?, b"me");
        let [password] = read(client)?;
        assert_eq!(read_vec(client, password)?, b"secret");
        client.write_all(&[1, 0])?;
    } else {
        client.write_all(&[5, 0])?;
    }
    let [version, command, _, kind] = read(client)?;
    assert_eq!((version, command), (5, 1));
    let host = match kind {
        1 => Ipv4Addr::from(read::<4>(client)?).to_string(),
        3 => {
            let [length] = read(client)?;
            String::from_utf8_lossy(&read_vec(client, length)?).into_owned()
        }
        4 => format!("[{}]", Ipv6Addr::from(read::<16>(client)?)),
        kind => panic!("an address of kind {kind}"),
    };
    let port = u16::from_be_bytes(read(client)?);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(format!("{host}:{port}"))
}

fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).map(|()| bytes)
}

fn read_vec(client: &mut TcpStream, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes).map(|()| bytes)
}

#[test]
fn a_reply_through_an_http_proxy() {
    let (server, proxy) = (StandIn::start(), TestProxy::start(connect));
    for url in
        [format!("http://me:secret@{}", proxy.address), format!("me:secret@{}", proxy.address)]
    {
        let client = builder(&server).proxy(Proxy::url(url)).build().unwrap();
        assert_eq!(client.ask("hello").unwrap(), GREETING);
        client.stream("/slow").unwrap().cancel().unwrap();
    }
    // Each client has one for both replies, and one to stop and delete.
    assert_eq!(proxy.targets().len(), 4);
    assert_nothing_left(&server);
}

#[test]
fn only_a_socks5h_proxy_resolves_names() {
    let server = StandIn::start();
    let by_name = format!("localhost:{}", server.port());
    let by_number = format!("127.0.0.1:{}", server.port());
    let mut found = by_name.to_socket_addrs().unwrap();
    let found = found.next().unwrap().to_string();
    let mut cases = Vec::new();
    for (scheme, server, target) in [
        ("socks5", &by_number, &by_number),
        ("socks5", &by_name, &found),
        ("socks5h", &by_number, &by_number),
        ("socks5h", &by_name, &by_name),
    ] {
        for user in ["", "me:secret@"] {
            cases.push((scheme, user, server, target));
        }
    }
    let walk = |(scheme, user, server, target): (_, _, &String, &String)| {
        let proxy = TestProxy::start(socks5);
        let url = format!("{scheme}://{user}{}", proxy.address);
        let client = Client::builder(&format!("http://{server}")).proxy(Proxy::url(url));
        assert_eq!(client.build().unwrap().ask("hello").unwrap(), GREETING);
        assert_eq!(proxy.targets(), [target.as_str()], "{scheme} {server}");
    };
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || walk(case));
        }
    });
}

#[test]
fn timeouts_and_cancels_work_through_a_proxy() {
    let (server, proxy) = (StandIn::start(), TestProxy::start(connect));
    let url = format!("http://me:secret@{}", proxy.address);
    let client = builder(&server)
        .proxy(Proxy::url(url))
        .idle_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let error = client.ask("/hang").unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(Timeout::Idle), Step::ReadReply);
    assert_eq!(error.received(), " Hi there, how can");
    assert_nothing_left(&server);
}

#[test]
fn a_proxy_that_refuses_says_so() {
    let refuse: Handshake = |client| {
        connect_head(client)?;
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")?;
        Err(io::ErrorKind::PermissionDenied.into())
    };
    let (server, proxy) = (StandIn::start(), TestProxy::start(refuse));
    let client = builder(&server).proxy(Proxy::url(&proxy.address)).build().unwrap();
    let error = client.ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Proxy, Step::PostSettings);
    let expected = format!("to the proxy http://{}: it answered 407 (Proxy", proxy.address);
    assert!(error.to_string().contains(&expected), "{error}");
    assert_eq!(server.counts().connections, 0);
}

#[test]
fn an_unreachable_proxy_is_named_without_its_password() {
    let (nobody, _kept) = nobody();
    for scheme in ["http", "socks5", "socks5h"] {
        let client = Client::builder("http://127.0.0.1:9")
            .proxy(Proxy::url(format!("{scheme}://me:secret@{nobody}")))
            .retries(0)
            .build()
            .unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        let expected = format!("no connection to the proxy {scheme}://{nobody}: ");
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(error.hint().unwrap().contains("at the proxy"), "{error}");
    }
}

#[test]
fn a_refusing_or_wrong_socks_proxy_is_an_error() {
    let refuse: Handshake = |client| {
        client.read_exact(&mut [0; 3])?;
        client.write_all(&[5, 0])?;
        client.read_exact(&mut [0; 10])?;
        // Not allowed by the rule set.
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
        let client = Client::builder("http://127.0.0.1:9").proxy(Proxy::url(url)).build().unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_failed(&error, ErrorKind::Proxy, Step::PostSettings);
        assert!(!error.is_retryable());
    }
}

#[test]
fn an_unresponsive_proxy_hits_the_timeouts() {
    // Never accepted.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(300);
    let builder = || Client::builder("http://127.0.0.1:9").proxy(Proxy::url(&address));

    let client = builder().connect_timeout(limit).build().unwrap();
    assert_eq!(client.ask("hello").unwrap_err().kind(), ErrorKind::Timeout(Timeout::Connect));
    let client = builder().total_timeout(limit).build().unwrap();
    assert_eq!(client.ask("hello").unwrap_err().kind(), ErrorKind::Timeout(Timeout::Total));

    // Each timeout is reached once: it is not retried.
    let _held = [proxy.accept().unwrap(), proxy.accept().unwrap()];
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.accept().is_err(), "tried again");
    proxy.set_nonblocking(false).unwrap();

    let (client, handle) = (builder().build().unwrap(), CancelHandle::default());
    let stopped = thread::scope(|scope| {
        let call =
            scope.spawn(|| client.ask(Request::new("hello").cancel_handle(&handle)).unwrap_err());
        // Dropping the socket would close it.
        let _held = proxy.accept().unwrap();
        let start = Instant::now();
        handle.cancel();
        let error = call.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        start.elapsed()
    });
    assert!(stopped < PROMPT, "{stopped:?}");
}
