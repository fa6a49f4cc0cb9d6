//! A plain HTTP client that keeps its connections, as SDKs do, and tells how an answer ended.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Calls one gateway with one token. Belongs to the runtime that it was made on.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    gateway: SocketAddr,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status; 0 when no answer came.
    pub status: u16,
    /// The head.
    pub headers: HeaderMap,
    /// All of the body that came.
    pub body: Vec<u8>,
    /// The transport's error, when the answer did not end as HTTP says.
    pub broken: Option<String>,
}

/// One of the dialects that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI Chat.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// Google Gemini.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Messages, Self::Gemini];

    /// Path and body of a request for text.
    pub fn request(self, model: &str, stream: bool, text: &str) -> (String, Value) {
        let messages = json!([{"role": "user", "content": text}]);
        match self {
            Self::Chat => {
                let mut body = json!({"model": model, "messages": messages, "stream": stream});
                if stream {
                    body["stream_options"] = json!({"include_usage": true});
                }
                ("/v1/chat/completions".into(), body)
            }
            Self::Messages => {
                let body = json!({"model": model, "messages": messages, "stream": stream, "max_tokens": 500});
                ("/v1/messages".into(), body)
            }
            Self::Gemini => {
                let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                let body = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]});
                (format!("/v1beta/models/{model}:{verb}"), body)
            }
        }
    }
}

impl Client {
    /// A client of that gateway.
    pub fn new(gateway: SocketAddr, token: &str) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        Self { pool, gateway, token: token.to_owned() }
    }

    /// The same connections with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Asks for text in a dialect.
    pub async fn ask(&self, dialect: Dialect, model: &str, stream: bool, text: &str) -> Answer {
        let (path, body) = dialect.request(model, stream, text);
        self.post(&path, &body).await
    }

    /// A whole Chat answer.
    pub async fn chat(&self, model: &str) -> Answer {
        self.ask(Dialect::Chat, model, false, "say something").await
    }

    /// Sends one request and reads the whole answer.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(format!("http://{}{path}", self.gateway))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .body(Full::from(body.to_string()))
            .unwrap();
        let response = match self.pool.request(request).await {
            Ok(response) => response,
            Err(error) => {
                return Answer { status: 0, headers: HeaderMap::new(), body: Vec::new(), broken: Some(chain(&error)) };
            }
        };
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut broken) = (Vec::new(), None);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => {
                    broken = Some(chain(&error));
                    break;
                }
            }
        }
        Answer { status: head.status.as_u16(), headers: head.headers, body, broken }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The JSON of each `data:` line; a line that is no JSON (`[DONE]`) is left out.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }
}

/// Status and body of a GET, on a connection of its own.
///
/// # Panics
/// When the server does not answer.
pub async fn get(server: SocketAddr, path: &str) -> (u16, String) {
    let pool: Pool<_, Full<Bytes>> = Pool::builder(TokioExecutor::new()).build_http();
    let response = pool.get(format!("http://{server}{path}").parse().unwrap()).await.unwrap();
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        body.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default());
    }
    (head.status.as_u16(), String::from_utf8(body).unwrap())
}

/// An error with all that caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}
