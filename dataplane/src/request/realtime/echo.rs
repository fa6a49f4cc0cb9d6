//! The built-in upstream's end of a session: the protocol crate says what it answers, this speaks the WebSocket.

use std::io;

use bytes::BytesMut;
use routeapi_protocol::{
    echo::EchoSession,
    websocket::{self, Incoming, Opcode, Reader, Role},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Serves a session until the other end closes it. What the gateway sends itself needs no patience and no memory: messages
/// are those that it has counted.
pub(super) async fn serve(mut io: DuplexStream, model: &str, most: usize) {
    let mut session = EchoSession::new(model);
    let (mut reader, mut input) = (Reader::new(Role::Server, most), BytesMut::new());
    if say_all(&mut io, session.begin()).await.is_err() {
        return;
    }
    loop {
        let sent = match reader.read(&mut input) {
            Ok(None) => match io.read_buf(&mut input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
            Ok(Some(Incoming::Text(event))) => say_all(&mut io, session.hear(&event)).await,
            Ok(Some(Incoming::Ping(payload))) => say(&mut io, Opcode::Pong, &payload).await,
            Ok(Some(Incoming::Pong | Incoming::Binary(_))) => Ok(()),
            Ok(Some(Incoming::Close(close))) => {
                let payload = close.map(|close| close.payload()).unwrap_or_default();
                // The other end may have gone without waiting.
                let _ = say(&mut io, Opcode::Close, &payload).await;
                return;
            }
            Err(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn say_all(io: &mut DuplexStream, events: Vec<String>) -> io::Result<()> {
    for event in events {
        say(io, Opcode::Text, event.as_bytes()).await?;
    }
    Ok(())
}

async fn say(io: &mut DuplexStream, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    io.write_all(websocket::head(opcode, payload.len(), None).as_bytes()).await?;
    io.write_all(payload).await
}
