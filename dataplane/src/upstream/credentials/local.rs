//! Calls to the endpoints of a node that give a pod its identity: metadata services and agents, at link-local addresses that
//! no upstream may have. Plain HTTP/1 on a connection of its own, without any proxy.

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderValue, Request, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::token::{Answer, FetchError, MAX_ANSWER};

/// Sends a request to `host` (`HOST` or `HOST:PORT`, an IPv6 address in brackets). The caller sets the time limit.
pub(super) async fn send(host: &str, mut request: Request<Bytes>) -> Result<Answer, FetchError> {
    let unreachable = |error: &dyn std::fmt::Display| FetchError::unreachable(error.to_string());
    let value = HeaderValue::try_from(host).map_err(|_| FetchError::missing("it is not a host"))?;
    request.headers_mut().insert(HOST, value);
    let stream = TcpStream::connect(with_port(host)).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let exchange = async {
        let response = sender.send_request(request.map(Full::new)).await.map_err(|error| unreachable(&error))?;
        let (head, body) = response.into_parts();
        #[expect(clippy::disallowed_methods, reason = "what is collected is limited")]
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| unreachable(&error))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() })
    };
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // The connection has ended, and what it brought is there.
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// The address to connect to.
fn with_port(host: &str) -> String {
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    if behind.contains(':') { host.to_owned() } else { format!("{host}:80") }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn ports_are_80_unless_stated() {
        for (host, address) in [
            ("169.254.169.254", "169.254.169.254:80"),
            ("metadata.google.internal:8080", "metadata.google.internal:8080"),
            ("[fd00:ec2::23]", "[fd00:ec2::23]:80"),
            ("[fd00:ec2::23]:81", "[fd00:ec2::23]:81"),
        ] {
            assert_eq!(with_port(host), address);
        }
    }
}
