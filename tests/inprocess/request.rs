//! A client that sees every byte: one connection per request, so that leaving means closing it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::gateway::{Gateway, TOKEN};

/// An answer whose body is still to come.
pub struct Opened {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    connection: JoinHandle<()>,
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the body broke off instead of ending.
    pub broken: bool,
}

/// A request to make.
pub struct Ask {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Ask {
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        let (method, path, body) = (Method::POST, path.to_owned(), body.into());
        Self { method, path, headers: Vec::new(), body }.header("authorization", &format!("Bearer {TOKEN}"))
    }

    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, ..Self::post(path, Bytes::new()) }
    }

    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Without the usual token.
    pub fn anonymous(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "authorization");
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.anonymous().header("authorization", &format!("Bearer {token}"))
    }

    /// Sends it and waits for the head of the answer.
    pub async fn open(self, gateway: &Gateway) -> Opened {
        self.open_at(gateway.address()).await
    }

    pub async fn open_at(self, address: SocketAddr) -> Opened {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::builder().method(self.method).uri(self.path).header("host", "gateway");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(self.body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Opened { status: head.status, headers: head.headers, body, connection }
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self, gateway: &Gateway) -> Answer {
        self.open(gateway).await.read().await
    }
}

impl Opened {
    /// The next piece of the body; none at its end.
    pub async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads until this text has come.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let piece = self.next().await.unwrap_or_else(|| panic!("{text:?} never came: {seen}")).unwrap();
            seen.push_str(std::str::from_utf8(&piece).unwrap());
        }
        seen
    }

    /// Reads to the end.
    pub async fn read(mut self) -> Answer {
        let (mut bytes, mut broken) = (Vec::new(), false);
        while let Some(piece) = self.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(_) => broken = true,
            }
            if broken {
                break;
            }
        }
        let (headers, body) = (std::mem::take(&mut self.headers), Bytes::from(bytes));
        Answer { status: self.status.as_u16(), headers, body, broken }
    }

    /// Goes away: the connection is closed.
    pub fn leave(self) {
        drop(self);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `data:` lines of server-sent events as JSON, without `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let data = self.text().lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// A Chat request.
pub fn chat(model: &str, stream: bool) -> String {
    format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"tell me something"}}]}}"#)
}

/// A Messages request.
pub fn messages(model: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":4096,"stream":{stream},"messages":[{{"role":"user","content":"tell me something"}}]}}"#
    )
}

/// A Gemini request.
pub fn contents() -> String {
    r#"{"contents":[{"role":"user","parts":[{"text":"tell me something"}]}]}"#.to_owned()
}

/// The three ways to ask for a generation: (path, body), whole or streamed.
pub fn dialects(model: &str, stream: bool) -> [(String, String); 3] {
    let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    [
        ("/v1/chat/completions".to_owned(), chat(model, stream)),
        ("/v1/messages".to_owned(), messages(model, stream)),
        (format!("/v1beta/models/{model}:{verb}"), contents()),
    ]
}
