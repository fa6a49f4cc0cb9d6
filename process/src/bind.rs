//! Listening sockets for IPv4 and IPv6.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait in the kernel to be accepted, enough for every client to reconnect at once. The kernel
/// lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Listens on an address, without blocking.
///
/// `[::]` accepts IPv4 as well, regardless of `net.ipv6.bindv6only`, and becomes `0.0.0.0` on a host without IPv6, so
/// that it works in single-stack clusters of either family and in dual-stack ones. IPv4 peers then have mapped addresses
/// (`::ffff:a.b.c.d`); see [`std::net::IpAddr::to_canonical`].
///
/// # Errors
/// If the address cannot be bound; for `[::]`, if `0.0.0.0` cannot be bound either (the error is that of `[::]`).
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    with_fallback(address, open)
}

/// Opens the address, or for `[::]` its replacement `0.0.0.0` on a host without IPv6.
fn with_fallback<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let error = match open(address) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    let any = address.is_ipv6() && address.ip().is_unspecified();
    // These two do not mean that IPv6 is missing, and IPv4 would fail, too.
    if !any || matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) {
        return Err(error);
    }
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let opened = open(ipv4).map_err(|_| io::Error::new(error.kind(), error.to_string()))?;
    tracing::info!(requested = %address, listening = %ipv4, %error, "host has no IPv6, listening on IPv4 only");
    Ok(opened)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted process must not wait until its predecessor's connections leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        net::{Ipv6Addr, TcpStream},
    };

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

    #[test]
    fn any_address_accepts_both_families() {
        let listener = bind(ANY).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _ipv4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // Skipped on a host without IPv6.
        if listener.local_addr().unwrap().is_ipv6() {
            let _ipv6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_host_without_ipv6_listens_on_ipv4() {
        let tried = RefCell::new(Vec::new());
        let without_ipv6 = |address: SocketAddr| {
            tried.borrow_mut().push(address.to_string());
            if address.is_ipv6() { Err(io::Error::other("no such family")) } else { Ok(()) }
        };
        with_fallback("[::]:8080".parse().unwrap(), without_ipv6).unwrap();
        assert_eq!(tried.take(), ["[::]:8080", "0.0.0.0:8080"]);
        with_fallback("[::1]:8080".parse().unwrap(), without_ipv6).unwrap_err();
        assert_eq!(tried.take(), ["[::1]:8080"], "a specific address is not replaced");
    }

    #[test]
    fn other_errors_are_those_of_the_requested_address() {
        let first = bind(ANY).unwrap();
        let again = SocketAddr::new(ANY.ip(), first.local_addr().unwrap().port());
        assert_eq!(bind(again).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let everything_fails = |address: SocketAddr| Err::<(), _>(io::Error::other(format!("not {address}")));
        assert_eq!(
            with_fallback(ANY, everything_fails).unwrap_err().to_string(),
            "not [::]:0",
            "the error of the requested address"
        );
    }
}
