//! One client's connection: reads its requests in turn, and responds or reacts to each.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use super::chat_ui::{self, Reply};
use super::h2ogpte;
use super::peek::PeekReader;
use super::request::{self, Request};
use super::response::BAD_REQUEST;
use super::state::Shared;
use super::stream::{Running, Stream};
use super::{Config, Dialect, Reaction};

/// True if the connection can serve another request.
type IsKept = io::Result<bool>;

pub(super) struct Connection<'a> {
    config: &'a Config,
    pub shared: &'a Arc<Shared>,
    socket: &'a TcpStream,
    /// Its number in the state.
    pub id: usize,
    reader: RefCell<PeekReader<'a>>,
    /// True if each byte is written on its own.
    pub bytewise: Cell<bool>,
    ends_with_reset: Cell<bool>,
}

impl<'a> Connection<'a> {
    pub fn new(
        config: &'a Config,
        shared: &'a Arc<Shared>,
        socket: &'a TcpStream,
        id: usize,
    ) -> Self {
        Self {
            config,
            shared,
            socket,
            id,
            reader: RefCell::new(PeekReader::new(socket)),
            bytewise: Cell::new(false),
            ends_with_reset: Cell::new(false),
        }
    }

    /// Serves the client until one of them closes the connection.
    pub fn serve(&self) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        loop {
            let limit = self.config.dialect.body_limit();
            let request = request::read_request(&mut *self.reader.borrow_mut(), self.id, limit);
            let request = match request {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return self.write(BAD_REQUEST);
                }
                request => request?,
            };
            self.socket.set_read_timeout(None)?;
            let is_page = chat_ui::is_page(self.config, &request);
            self.shared.change(|state| {
                state.counts.pages += usize::from(is_page);
                state.requests.push(request.clone());
            });
            if !self.react(&request)? || request.wants_close() {
                return Ok(());
            }
            // Only a connection that has served counts as idle.
            self.socket.set_read_timeout(Some(self.config.idle))?;
        }
    }

    fn react(&self, request: &Request) -> IsKept {
        let close = request.wants_close();
        self.bytewise.set(false);
        match (self.config.intercept)(request) {
            None => self.reply(request, close),
            Some(Reaction::Bytewise) => {
                self.bytewise.set(true);
                self.reply(request, close)
            }
            Some(Reaction::Farewell) => {
                self.shared.refuse(self.socket.local_addr()?);
                self.reply(request, true).map(|_| false)
            }
            Some(Reaction::Lost(instead)) => {
                if let (_, Some(job)) = self.response(request) {
                    Running::start(self.shared, &job, self.id).leave();
                }
                self.perform(*instead)
            }
            Some(reaction) => self.perform(reaction),
        }
    }

    /// Performs a reaction that does not depend on the request.
    pub fn perform(&self, reaction: Reaction) -> IsKept {
        match reaction {
            Reaction::Response(bytes) => self.write(&bytes).map(|()| true),
            Reaction::ResponseAndClose(bytes) => self.write(&bytes).map(|()| false),
            Reaction::NoResponse => {
                io::copy(&mut *self.reader.borrow_mut(), &mut io::sink()).map(|_| false)
            }
            Reaction::Close => Ok(false),
            Reaction::Reset => {
                self.ends_with_reset.set(true);
                Ok(false)
            }
            Reaction::Endless { start, more, pace } => {
                self.write(&start)?;
                loop {
                    self.write(&more)?;
                    thread::sleep(pace);
                }
            }
            Reaction::Bytewise => {
                self.bytewise.set(true);
                Ok(true)
            }
            Reaction::Farewell | Reaction::Lost(_) => {
                unreachable!("there is no response to replace")
            }
        }
    }

    fn reply(&self, request: &Request, close: bool) -> IsKept {
        match self.response(request) {
            (response, None) => self.write(&response.render(close)).map(|()| true),
            (response, Some(job)) => Ok(Stream::new(self, &job, response.head(close)).run(job)),
        }
    }

    fn response(&self, request: &Request) -> Reply {
        match self.config.dialect {
            Dialect::H2ogpte => h2ogpte::reply(self.config, self.shared, request),
            _ => chat_ui::reply(self.config, self.shared, request),
        }
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        if self.bytewise.get() {
            bytes.chunks(1).try_for_each(|byte| socket.write_all(byte))
        } else {
            socket.write_all(bytes)
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // Close it before it is counted as closed, although the state has a clone. A shutdown would
        // not be a reset.
        if !self.ends_with_reset.get() {
            let _ = self.reader.borrow_mut().take_seen();
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        self.shared.change(|state| state.sockets.remove(&self.id));
    }
}
