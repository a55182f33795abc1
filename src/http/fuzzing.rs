//! What the fuzzers need of this module: URLs, cookies, a server in memory instead of TCP, and a
//! clock that only waiting moves.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use super::cookies::{CookieJar, SessionCookie};
use super::redirect::Redirect;
use super::url::BaseUrl;
use crate::error::{Result, Step};
use crate::session::Session;

/// A server's URL.
#[derive(Debug)]
pub struct Url(BaseUrl);

impl Url {
    /// Parses and validates a URL.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn parse(url: &str) -> Result<Url> {
        BaseUrl::parse(url).map(Url)
    }

    /// The URL without user and password.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}", self.0)
    }

    /// The URL of a path.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        self.0.join(path)
    }

    /// The values of the headers that are made of it: `Referer`, `Origin`, and `Authorization` if
    /// it has a user or password.
    #[must_use]
    pub fn headers(&self) -> Vec<String> {
        let authorization = self.0.authorization().map(str::to_owned);
        let others = [self.0.referer(), self.0.origin().to_owned()];
        others.into_iter().chain(authorization).collect()
    }

    /// Whether a redirect of `path` leads to the first page, and the error that it is otherwise.
    #[must_use]
    pub fn redirected(&self, path: &str, location: &str) -> (bool, String) {
        let error = Redirect::new(&self.0, path, location).into_error(Step::PostSettings, 302);
        (self.0.is_first_page(path, location), error.to_string())
    }
}

/// A client's cookies.
pub struct Jar(CookieJar);

impl Jar {
    /// The jar of a client with this session, or one of its own, and other cookies of the user.
    #[must_use]
    pub fn new(session: Option<&str>, users: &str) -> Jar {
        let session = SessionCookie {
            name: "hf-chat".to_owned(),
            session: session.map_or_else(Session::random, Session::from),
        };
        Jar(CookieJar::new(session, users.to_owned()))
    }

    /// Stores the cookies of a response to a request that was made in the client's session.
    pub fn store(&mut self, set_cookies: &[HeaderValue], is_successful_post: bool) {
        let mut headers = HeaderMap::new();
        for cookie in set_cookies {
            headers.append(SET_COOKIE, cookie.clone());
        }
        let used = self.0.session().clone();
        self.0.store(&headers, &used, is_successful_post);
    }

    /// The name and value of the session's cookie.
    #[must_use]
    pub fn session(&self) -> (String, String) {
        let SessionCookie { name, session } = self.0.session();
        (name.clone(), session.as_str().to_owned())
    }

    /// The `Cookie` header of the next request.
    #[must_use]
    pub fn header(&self) -> String {
        self.0.header(self.0.session())
    }
}

/// What a server answers to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The bytes of the response.
    pub bytes: Vec<u8>,
    /// Whether the server closes the connection then. Otherwise it says nothing until it is sent
    /// another request.
    pub closes: bool,
}

/// A server: it is called with each whole request, and with `None` when somebody connects, which it
/// refuses with `None`.
pub type Server = Box<dyn FnMut(Option<&[u8]>) -> Option<Answer>>;

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
    static CUT: Cell<usize> = const { Cell::new(usize::MAX) };
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Puts this server behind every address that this thread connects to, and sets the clock. The
/// client gets at most `cut` bytes of a response at once.
pub fn serve(server: Server, cut: usize) {
    SERVER.set(Some(server));
    CUT.set(cut.max(1));
    CLOCK.set(Some(Instant::now()));
}

/// The time of the clock that only waiting moves.
pub(super) fn now() -> Instant {
    CLOCK.get().unwrap_or_else(Instant::now)
}

/// Moves the clock.
pub(super) fn sleep(length: Duration) {
    CLOCK.set(now().checked_add(length));
}

fn ask(request: Option<&[u8]>) -> Option<Answer> {
    SERVER.with_borrow_mut(|server| server.as_mut()?(request))
}

/// Connects to the server in memory.
#[derive(Debug, Default)]
pub(super) struct InMemoryConnector(());

impl<In: Transport> Connector<In> for InMemoryConnector {
    type Out = Either<In, InMemoryTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        ask(None).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(InMemoryTransport {
            buffers: LazyBuffers::new(input, output),
            request: Vec::new(),
            response: Vec::new(),
            is_closed: false,
        })))
    }
}

/// A connection to the server in memory.
#[derive(Debug)]
pub(super) struct InMemoryTransport {
    buffers: LazyBuffers,
    /// What has come of a request.
    request: Vec<u8>,
    /// What is still to be read.
    response: Vec<u8>,
    is_closed: bool,
}

impl Transport for InMemoryTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        if self.is_closed {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        self.request.extend_from_slice(&self.buffers.output()[..amount]);
        if is_whole(&self.request) {
            let Answer { bytes, closes } =
                ask(Some(&self.request)).unwrap_or(Answer { bytes: Vec::new(), closes: true });
            self.request.clear();
            self.response.extend_from_slice(&bytes);
            self.is_closed = closes;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if self.response.is_empty() && !self.is_closed {
            sleep(*timeout.after);
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        let input = self.buffers.input_append_buf();
        let length = CUT.get().min(input.len()).min(self.response.len());
        input[..length].copy_from_slice(&self.response[..length]);
        self.response.drain(..length);
        self.buffers.input_appended(length);
        Ok(length > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.is_closed
    }
}

/// Whether this is a request with all of its body.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let fields = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |it| it.trim().parse().expect("a length"));
    assert!(!fields.contains("transfer-encoding"), "bodies have a length");
    request.len() >= head + 4 + length
}
