//! Opens a WebSocket to a provider (RFC 6455, section 4.1): the handshake alone. What is said on it is no business of this
//! module.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{
    answer_body::UpstreamBody,
    body::OutboundBody,
    client::Client,
    outbound::OutboundRequest,
    pool::{Switched, UpgradedIo},
    send_error::SendError,
    sent::MarkedBody,
};
use crate::clock;

/// What a server appends to a key before it hashes it (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes on the way from and to the built-in upstream.
const ECHO_BUFFER: usize = 16 << 10;

/// How a provider answers the handshake.
pub enum Opened {
    /// The WebSocket is open.
    Open(WebSocketIo),
    /// It is not a WebSocket's answer, though its status is one's.
    Wrong(&'static str),
    /// An answer like any other.
    Refused(Response<UpstreamBody>),
}

/// The connection of an open WebSocket. Dropping it closes the connection.
pub enum WebSocketIo {
    /// To a server.
    Http(UpgradedIo),
    /// To the built-in upstream, whose end is to be served by whoever opened it.
    Echo(DuplexStream),
}

/// The value of `sec-websocket-accept` for a key.
pub fn accept_value(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a header that is a list of names has this one.
pub fn lists(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
}

impl Client {
    /// Opens a WebSocket. For Echo, the second of what is returned is its end of the connection.
    ///
    /// # Errors
    /// When no connection can be had, or no answer came. The caller sets the time limit and cancels by dropping the future.
    pub async fn open_web_socket(
        &self,
        request: &OutboundRequest,
    ) -> Result<(Opened, Option<DuplexStream>), SendError> {
        let Self::Http { base, credentials, additions, host, proxy: _ } = self else {
            request.sent.set();
            let (ours, theirs) = tokio::io::duplex(ECHO_BUFFER);
            return Ok((Opened::Open(WebSocketIo::Echo(ours)), Some(theirs)));
        };
        let invalid = |error: &dyn std::fmt::Display| SendError::Invalid(error.to_string());
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| invalid(&error))?;
        let key = STANDARD.encode(nonce);
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::GET;
        parts.uri = base.join(&additions.path(&request.path)).map_err(|error| invalid(&error))?;
        for (name, value) in &request.headers {
            parts.headers.append(name, value.clone());
        }
        parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        parts.headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::try_from(&key).map_err(|error| invalid(&error))?);
        let body = OutboundBody::from(Bytes::new());
        credentials.current().apply(&mut parts, body.payload(), request.client_credential.as_ref(), clock::now())?;
        let handshake = Request::from_parts(parts, MarkedBody::new(body, request.sent.clone()));
        request.sent.set();
        let opened = match host.upgrade(handshake).await? {
            Switched::Not(response) => Opened::Refused(response.map(UpstreamBody::Http)),
            Switched::To(head, io) => match check(head.headers(), &key) {
                Ok(()) => Opened::Open(WebSocketIo::Http(io)),
                Err(why) => Opened::Wrong(why),
            },
        };
        Ok((opened, None))
    }
}

/// Whether it is the answer to our handshake, and none that takes more than was offered.
fn check(headers: &HeaderMap, key: &str) -> Result<(), &'static str> {
    if !lists(headers, UPGRADE, "websocket") || !lists(headers, CONNECTION, "upgrade") {
        return Err("switched to another protocol than WebSocket");
    }
    let accepted = headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accepted != Some(accept_value(key.as_bytes()).as_bytes()) {
        return Err("answered the WebSocket handshake of somebody else (sec-websocket-accept)");
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err("uses a WebSocket extension that was not offered");
    }
    Ok(())
}

// === impl WebSocketIo ===

impl AsyncRead for WebSocketIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http(upgraded) => Pin::new(&mut upgraded.io).poll_read(cx, buf),
            Self::Echo(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WebSocketIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Http(upgraded) => Pin::new(&mut upgraded.io).poll_write(cx, bytes),
            Self::Echo(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http(upgraded) => Pin::new(&mut upgraded.io).poll_flush(cx),
            Self::Echo(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http(upgraded) => Pin::new(&mut upgraded.io).poll_shutdown(cx),
            Self::Echo(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_the_rfcs() {
        // RFC 6455, section 1.3.
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_answer_that_is_not_ours_or_takes_more_is_refused() {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let answer = |more: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            let given = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
            for (name, value) in given.iter().chain(more) {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            check(&headers, KEY).err().unwrap_or_default()
        };
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer(&[accept]), "");
        assert!(answer(&[("sec-websocket-accept", "x")]).contains("somebody else"));
        assert!(answer(&[]).contains("somebody else"));
        assert!(answer(&[accept, ("upgrade", "h2c")]).contains("another protocol"));
        assert!(answer(&[accept, ("sec-websocket-extensions", "permessage-deflate")]).contains("extension"));
    }
}
