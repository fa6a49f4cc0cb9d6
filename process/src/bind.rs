//! Listening sockets that serve IPv4 and IPv6 alike.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until they are accepted; it takes less if `net.core.somaxconn` is smaller.
const BACKLOG: i32 = 1024;

/// Listens on an address, without blocking.
///
/// `[::]` takes IPv4 as well, whatever `net.ipv6.bindv6only` says, and means `0.0.0.0` on a host without IPv6: so one
/// address serves single-stack clusters of either family and dual-stack ones. Peers of IPv4 then appear with mapped
/// addresses (`::ffff:a.b.c.d`); see [`std::net::IpAddr::to_canonical`].
///
/// # Errors
/// When the address cannot be bound, for `[::]` neither so nor as `0.0.0.0`: then why `[::]` could not.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    either(address, open)
}

/// The address itself, or what stands in for it on a host without IPv6.
fn either<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let error = match open(address) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    let any = address.is_ipv6() && address.ip().is_unspecified();
    // These two would be no different for IPv4, and must not be told as a lack of IPv6.
    if !any || matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) {
        return Err(error);
    }
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let opened = open(ipv4).map_err(|_| io::Error::new(error.kind(), error.to_string()))?;
    tracing::info!(wanted = %address, listening = %ipv4, %error, "no IPv6 on this host: listening on IPv4 only");
    Ok(opened)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before it.
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
    fn any_address_takes_both_families() {
        let listener = bind(ANY).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _ipv4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // Of a host without IPv6 there is nothing more to ask.
        if listener.local_addr().unwrap().is_ipv6() {
            let _ipv6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_host_without_ipv6_listens_on_ipv4() {
        let asked = RefCell::new(Vec::new());
        let without_ipv6 = |address: SocketAddr| {
            asked.borrow_mut().push(address.to_string());
            if address.is_ipv6() { Err(io::Error::other("no such family")) } else { Ok(()) }
        };
        either("[::]:8080".parse().unwrap(), without_ipv6).unwrap();
        assert_eq!(asked.take(), ["[::]:8080", "0.0.0.0:8080"]);
        either("[::1]:8080".parse().unwrap(), without_ipv6).unwrap_err();
        assert_eq!(asked.take(), ["[::1]:8080"], "an address that was named is not replaced");
    }

    #[test]
    fn a_port_that_is_taken_is_said_as_such() {
        let first = bind(ANY).unwrap();
        let again = SocketAddr::new(ANY.ip(), first.local_addr().unwrap().port());
        assert_eq!(bind(again).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let everything_fails = |address: SocketAddr| Err::<(), _>(io::Error::other(format!("not {address}")));
        assert_eq!(
            either(ANY, everything_fails).unwrap_err().to_string(),
            "not [::]:0",
            "of the address that was asked for"
        );
    }
}
