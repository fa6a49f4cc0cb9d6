//! A TCP connection to one of several addresses, each tried a moment after the one before it (RFC 8305): a record may hold
//! addresses of pods that have just gone, which answer nothing at all.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::sleep};

/// How much earlier than the next one an address is tried.
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(200);

/// A socket to the first address that takes one. The caller bounds the time.
///
/// # Errors
/// The last one, when no address does.
pub(crate) async fn connect(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts: FuturesUnordered<_> = (0..)
        .zip(addresses)
        .map(|(place, address)| async move {
            sleep(CONNECTION_ATTEMPT_DELAY * place).await;
            TcpStream::connect(address).await
        })
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use tokio::{
        net::{TcpListener, TcpSocket},
        time::timeout,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(3);

    #[tokio::test]
    async fn unresponsive_address_does_not_delay_the_next() {
        // A full queue of connections that nobody accepts swallows further attempts.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(socket) = timeout(CONNECTION_ATTEMPT_DELAY, TcpStream::connect(silent.local_addr().unwrap())).await
        {
            waiting.push(socket.unwrap());
        }
        let answering = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [silent.local_addr().unwrap(), answering.local_addr().unwrap()];
        let socket = timeout(SOON, connect(addresses.into_iter())).await.unwrap().unwrap();
        assert_eq!(socket.peer_addr().unwrap(), answering.local_addr().unwrap());
    }

    #[tokio::test]
    async fn last_connect_error_is_reported() {
        assert_eq!(connect(std::iter::empty()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(connect([closed].into_iter()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
