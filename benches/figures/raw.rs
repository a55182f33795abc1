//! The lowest yardstick: a plain socket.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

/// Asks for a reply. The caller reads its bytes, head included. The server closes after it.
pub fn ask(server: SocketAddr) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    socket.write_all(
        b"POST /conversation/0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
          content-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    )?;
    Ok(socket)
}
