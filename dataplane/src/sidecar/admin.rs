//! What the kubelet and Prometheus ask a sidecar: `/readyz`, `/livez` and `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;

use super::{reach::Reach, token::TokenFile};
use crate::{
    admin::page,
    server::{Drain, Handle},
};

/// Answers the admin listener.
#[derive(Clone)]
pub(super) struct Admin(pub Arc<Parts>);

/// What is shown.
pub(super) struct Parts {
    pub registry: Registry,
    pub reach: Arc<Reach>,
    pub token: Arc<TokenFile>,
    pub drain: Drain,
}

impl Handle for Admin {
    type Body = Full<Bytes>;

    async fn handle(&self, _: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.answer(request.method(), request.uri().path())
    }
}

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if let Some(refused) = page::refuse_writing(method) {
            return refused;
        }
        let Parts { registry, reach, token, drain } = &*self.0;
        match path {
            "/metrics" => match page::encode(registry) {
                Ok(text) => page::respond(StatusCode::OK, page::OPEN_METRICS, text.into()),
                Err(error) => page::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            },
            // One thread does everything: who is answered knows that it runs.
            "/livez" => page::check(&[("running", true, None)]),
            "/readyz" => {
                let (gateway, token) = (reach.state(), token.token().map_err(|error| error.to_string()));
                page::check(&[
                    ("gateway", gateway.is_ok(), gateway.err()),
                    ("service-account-token", token.is_ok(), token.err()),
                    ("not-draining", !drain.is_draining(), None),
                ])
            }
            _ => page::text(StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n"),
        }
    }
}
