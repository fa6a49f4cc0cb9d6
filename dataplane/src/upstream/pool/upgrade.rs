//! A connection that leaves HTTP: for one WebSocket, outside of the pool. HTTP/1.1 alone, since the way of HTTP/2
//! (RFC 8441) is one that few servers have.

use http::{Request, Response, StatusCode};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;

use super::{
    connection::H1_BUFFER,
    host::Host,
    send::{PooledBody, for_http1},
};
use crate::{
    counted::Counted,
    upstream::{
        send_error::{SendError, answer_error, connect_error},
        sent::MarkedBody,
    },
};

/// How a server answers the wish to leave HTTP.
pub enum Switched {
    /// With status 101; what follows on the connection.
    To(Response<()>, UpgradedIo),
    /// With an answer like any other.
    Not(Response<PooledBody>),
}

/// A connection behind HTTP, counted for as long as it is open.
pub struct UpgradedIo {
    /// What comes and goes.
    pub io: TokioIo<Upgraded>,
    _open: Counted,
}

impl Host {
    /// Sends a request that asks to leave HTTP, on a connection of its own, and waits for the answer's head.
    ///
    /// # Errors
    /// When no connection can be had, or no head came.
    pub async fn upgrade(&self, mut request: Request<MarkedBody>) -> Result<Switched, SendError> {
        for_http1(&mut request)?;
        let metrics = &self.shared.metrics;
        let io = (self.dial_http1)(self.uri.clone()).await.map_err(|error| connect_error(&*error, metrics))?;
        metrics.opened.inc();
        let open = Counted::in_gauge(metrics.open.clone());
        let failed = |error: hyper::Error| SendError::Connect(error.to_string());
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(H1_BUFFER).handshake(io).await.map_err(failed)?;
        // Ends with an answer that has been read, or hands the connection over.
        self.shared.spawner.spawn("upstream connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an upstream's connection ended");
            }
        });
        let response = sender.send_request(request).await.map_err(|error| answer_error(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Switched::Not(response.map(|incoming| PooledBody::new(incoming, None))));
        }
        let (head, incoming) = response.into_parts();
        let upgrade = hyper::upgrade::on(Response::from_parts(head.clone(), incoming));
        let io = TokioIo::new(upgrade.await.map_err(|error| answer_error(&error))?);
        Ok(Switched::To(Response::from_parts(head, ()), UpgradedIo { io, _open: open }))
    }
}
