//! The client: tungstenite's.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request};
use routeapi_tests::wait;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::gateway::{Gateway, SOON, TOKEN};

/// An open session.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Of the answer to the handshake.
    pub headers: HeaderMap,
}

/// A handshake that was answered otherwise.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: String,
}

impl Refused {
    pub fn error(&self) -> Value {
        serde_json::from_str::<Value>(&self.body).unwrap()["error"].clone()
    }
}

impl Client {
    /// With the usual token.
    pub async fn open(gateway: &Gateway, path: &str) -> Result<Self, Refused> {
        Self::open_with(gateway, path, &[("authorization", &format!("Bearer {TOKEN}"))]).await
    }

    pub async fn open_with(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Result<Self, Refused> {
        let mut request: Request<()> = format!("ws://{}{path}", gateway.address()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match timeout(SOON, client_async(request, stream)).await.unwrap() {
            Ok((socket, response)) => Ok(Self { socket, headers: response.into_parts().0.headers }),
            Err(Error::Http(response)) => {
                let (head, body) = (*response).into_parts();
                let body = String::from_utf8(body.unwrap_or_default()).unwrap();
                Err(Refused { status: head.status.as_u16(), body })
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn say(&mut self, event: Value) {
        self.socket.send(Message::text(event.to_string())).await.unwrap();
    }

    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// The next message, whatever it is.
    pub async fn next(&mut self) -> Result<Message, Error> {
        match timeout(SOON, self.socket.next()).await.expect("a message in time") {
            Some(message) => message,
            None => Err(Error::ConnectionClosed),
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.next().await.unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next event of a type; those before it are left out.
    pub async fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
            assert_ne!(event["type"], "error", "{event}");
        }
    }

    /// Says something and waits for the whole answer.
    pub async fn ask(&mut self, text: &str) -> Value {
        let content = json!([{"type": "input_text", "text": text}]);
        let item = json!({"type": "message", "role": "user", "content": content});
        self.say(json!({"type": "conversation.item.create", "item": item})).await;
        self.answer().await
    }

    pub async fn answer(&mut self) -> Value {
        self.say(json!({"type": "response.create"})).await;
        self.event_of("response.done").await
    }

    /// Closes it and waits for the answer to that.
    pub async fn close(mut self, code: u16, reason: &str) -> (u16, String) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.socket.close(Some(frame)).await.unwrap();
        self.closed().await.1
    }

    /// The events that come before the session is closed, and with what it is closed.
    pub async fn closed(&mut self) -> (Vec<Value>, (u16, String)) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Ok(Message::Text(text)) => events.push(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(Some(frame))) => return (events, (frame.code.into(), frame.reason.to_string())),
                Ok(Message::Close(None)) => return (events, (1005, String::new())),
                Ok(_) => {}
                Err(error) => panic!("closed without a word: {error}; before: {events:?}"),
            }
        }
    }

    /// Bytes past tungstenite.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let stream = self.socket.get_mut();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
    }

    /// The error event and the close code.
    pub async fn stopped(&mut self) -> (Value, u16) {
        let (events, (code, _)) = self.closed().await;
        let error = events.iter().find(|event| event["type"] == "error").cloned().unwrap_or_default();
        (error["error"].clone(), code)
    }
}

/// Waits until the page of metrics shows so many sessions.
pub async fn sessions_are(gateway: &Gateway, count: usize) {
    gateway.shows(&format!("routeapi_realtime_sessions {count}")).await;
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    wait::until_true(what, SOON, holds).await;
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
