//! A session of the Realtime API. The WebSocket is tungstenite's; what is said on it is scripted like any other answer: a
//! piece is a token and a delta, a word of what the client has said so far is an input token of every answer.

use super::play::Played;
use super::record::{Exchange, Outcome};
use super::script::{Script, SessionScript, UsageScript};
use super::serve::Shared;
use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Largest message that is read.
const MESSAGE_LIMIT: usize = 64 << 20;

/// Whether a request is a WebSocket's handshake.
pub(super) fn is_handshake(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Accepts a handshake; what follows runs in a task of its own.
pub(super) fn accept(
    shared: &Arc<Shared>,
    upgrade: OnUpgrade,
    headers: &HeaderMap,
    script: Script,
    exchange: Exchange,
) -> Response<Played> {
    let key = headers.get(SEC_WEBSOCKET_KEY).map_or(&b""[..], |key| key.as_bytes());
    let mut response = Response::new(Played::nothing());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let head = response.headers_mut();
    head.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    head.insert(UPGRADE, HeaderValue::from_static("websocket"));
    head.insert(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key).parse().expect("base64"));
    for (name, value) in &script.headers {
        let name: HeaderName = name.parse().expect("a header's name");
        head.insert(name, value.parse().expect("a header's value"));
    }
    exchange.note(|entry| {
        entry.status = 101;
        entry.streamed = true;
    });
    let talk = talk(Arc::clone(shared), upgrade, script, exchange);
    shared.sessions.lock().unwrap().push(tokio::spawn(talk).abort_handle());
    response
}

struct Session {
    shared: Arc<Shared>,
    socket: WebSocketStream<TokioIo<Upgraded>>,
    script: Script,
    exchange: Exchange,
    words: u64,
    answers: usize,
}

async fn talk(shared: Arc<Shared>, upgrade: OnUpgrade, script: Script, exchange: Exchange) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut io = TokioIo::new(upgraded);
    if let Some(raw) = &script.session.raw {
        // The peer may be gone already.
        let _ = io.write_all(raw).await;
        let _ = io.flush().await;
    }
    if script.session.deaf {
        return std::future::pending().await;
    }
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let mut session = Session { shared, socket, script, exchange, words: 0, answers: 0 };
    let outcome = match session.run().await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::ClientClosed,
    };
    session.exchange.end(outcome);
}

impl Session {
    async fn run(&mut self) -> Result<Outcome, Error> {
        let session = json!({"type": "realtime", "object": "realtime.session", "id": "sess_1"});
        self.say(json!({"type": "session.created", "session": session})).await?;
        while let Some(message) = self.socket.next().await {
            let text = match message? {
                Message::Text(text) => text,
                Message::Close(_) => {
                    self.socket.flush().await?;
                    return Ok(Outcome::Completed);
                }
                _ => continue,
            };
            self.shared.records.hear(text.as_str());
            let event: Value = serde_json::from_str(&text).unwrap_or_default();
            match event["type"].as_str() {
                Some("session.update") => {
                    self.say(json!({"type": "session.updated", "session": event["session"]})).await?;
                }
                Some("conversation.item.create") => {
                    let said = event["item"]["content"][0]["text"].as_str().unwrap_or_default();
                    self.words += said.split_whitespace().count() as u64;
                    self.say(json!({"type": "conversation.item.added", "item": event["item"]})).await?;
                }
                Some("response.create") => self.answer().await?,
                Some("input_audio_buffer.append") => {}
                _ => {
                    let error = json!({"type": "invalid_request_error", "message": "unknown event", "code": null});
                    self.say(json!({"type": "error", "error": error})).await?;
                }
            }
            let SessionScript { close, break_after, .. } = &self.script.session;
            if let Some(close) = close.as_ref().filter(|close| close.after <= self.answers) {
                let frame = CloseFrame { code: close.code.into(), reason: close.reason.as_str().into() };
                self.socket.close(Some(frame)).await?;
                while self.socket.next().await.is_some_and(|message| message.is_ok()) {}
                return Ok(Outcome::Failed);
            }
            if break_after.is_some_and(|after| after <= self.answers) {
                return Ok(Outcome::Failed);
            }
        }
        Ok(Outcome::ClientClosed)
    }

    async fn answer(&mut self) -> Result<(), Error> {
        let id = format!("resp_{}_{}", self.exchange.id, self.answers);
        let text = self.script.text.clone().unwrap_or_else(|| "two words".to_owned());
        let pieces =
            self.script.pieces.clone().unwrap_or_else(|| text.split_inclusive(' ').map(str::to_owned).collect());
        self.say(json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}})).await?;
        if let Some(bytes) = self.script.session.delta_bytes {
            let delta = "x".repeat(bytes);
            self.say(json!({"type": "response.output_audio.delta", "response_id": id, "delta": delta})).await?;
        }
        for piece in &pieces {
            tokio::time::sleep(std::time::Duration::from_millis(self.script.delay_chunk_ms)).await;
            self.say(json!({"type": "response.output_text.delta", "response_id": id, "delta": piece})).await?;
        }
        let (input, output) = (self.words.max(1), pieces.len() as u64);
        let cached = self.script.cached_tokens.min(input);
        self.words += output;
        self.answers += 1;
        self.exchange.note(|entry| {
            entry.input_tokens += input;
            entry.cached_tokens += cached;
            entry.output_tokens += output;
            entry.delivered_tokens += output;
        });
        let usage = match &self.script.usage {
            UsageScript::Exact => {
                json!({"total_tokens": input + output, "input_tokens": input, "output_tokens": output,
                "input_token_details": {"text_tokens": input, "audio_tokens": 0, "cached_tokens": cached},
                "output_token_details": {"text_tokens": output, "audio_tokens": 0}})
            }
            UsageScript::Absent => Value::Null,
            UsageScript::Odd(usage) => usage.clone(),
        };
        let response = json!({"id": id, "status": "completed", "output": [], "usage": usage});
        self.say(json!({"type": "response.done", "response": response})).await
    }

    async fn say(&mut self, mut event: Value) -> Result<(), Error> {
        event["event_id"] = format!("event_{}", self.exchange.id).into();
        self.socket.send(Message::text(event.to_string())).await
    }
}
