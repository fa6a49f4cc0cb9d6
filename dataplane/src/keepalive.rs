//! TCP keepalive, for connections of clients and to upstreams alike: a peer that is gone without a word is found, and what
//! translates addresses in between does not forget a connection that is silent. Azure's forgets after 4 minutes, AWS's
//! after 350 seconds, and neither tells the ends.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// From a connection's last byte to the first probe.
pub const TIME: Duration = Duration::from_secs(60);
/// Between probes.
pub const INTERVAL: Duration = Duration::from_secs(20);
/// So many unanswered ones end the connection: two minutes after its last byte.
pub const RETRIES: u32 = 3;

/// Lets the kernel probe the peer.
///
/// # Errors
/// When the system refuses the options.
pub fn enable(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(TIME).with_interval(INTERVAL).with_retries(RETRIES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn silent_peer_is_probed_after_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        enable(&socket).unwrap();
        let socket = SockRef::from(&socket);
        let found = (socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap());
        assert_eq!(found, (true, TIME));
        assert_eq!(
            (socket.tcp_keepalive_interval().unwrap(), socket.tcp_keepalive_retries().unwrap()),
            (INTERVAL, RETRIES)
        );
    }
}
