//! Listening sockets, and the options of the sockets accepted from them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Clients that may wait to be accepted; the kernel's own `somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// Binds and listens. Errors: the kernel's, with the address named by the caller.
pub fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let listener = TcpListener::bind(address)?;
    // The standard library listens with a backlog of 128; listening again only changes it.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener.into())
}

/// Sets what every client connection wants: no delay of small replies, and keep-alive probes so that a vanished peer is
/// noticed (`None` = no probes).
pub fn configure(socket: impl AsFd, keepalive: Option<Duration>) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(idle) = keepalive {
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, idle)?;
        sockopt::set_tcp_keepintvl(&socket, (idle / 3).max(Duration::from_secs(1)))?;
        sockopt::set_tcp_keepcnt(&socket, 3)?;
    }
    Ok(())
}

/// The peer's and our own address of a connected socket.
pub fn addresses(socket: impl AsFd) -> io::Result<(SocketAddr, SocketAddr)> {
    let peer = rustix::net::getpeername(&socket)?.ok_or_else(|| io::Error::other("the socket has no peer"))?;
    let own = rustix::net::getsockname(&socket)?;
    let convert = |address: rustix::net::SocketAddrAny| {
        SocketAddr::try_from(address).map_err(|_| io::Error::other("not an internet address"))
    };
    Ok((convert(peer)?, convert(own)?))
}
