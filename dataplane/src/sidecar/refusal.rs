//! Why a sidecar answers in the gateway's place, and how it says so.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::UPGRADE};
use routeapi_protocol::{
    dialect::Family,
    problem::{Problem, ProblemKind},
};

use super::{head::NoPath, record::Outcome, settings::GatewayUrl, token::NoToken};
use crate::{
    request::{in_dialect, name_request},
    upstream::SendError,
};

/// The gateway is not asked, or does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There is nothing to call with.
    #[error("the sidecar has no token to call the gateway with: {0}")]
    NoToken(#[from] NoToken),
    /// Nothing was sent.
    #[error("the sidecar cannot reach the gateway {gateway}: {error}{}", hint(.error))]
    Unreachable {
        /// Where it should be.
        gateway: GatewayUrl,
        /// Why.
        error: SendError,
    },
    /// The gateway may have begun to work.
    #[error("the sidecar got no answer from the gateway: {0}")]
    NoAnswer(SendError),
    /// The client did not send all of its body.
    #[error("the request body broke off")]
    BodyBroken,
    /// The request cannot be passed on.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// The Realtime API.
    #[error(
        "the sidecar does not pass on WebSockets: call the Realtime API at the gateway itself, with the pod's token"
    )]
    Realtime,
    /// Another WebSocket.
    #[error("only the Realtime API is served over WebSockets; use HTTP")]
    NoWebSocket,
    /// The deadline of the end has passed.
    #[error("the sidecar is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// Its code in answers, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoToken(_) => "no_service_account_token",
            Self::Unreachable { .. } => "gateway_unreachable",
            Self::NoAnswer(_) => "gateway_connection_lost",
            Self::BodyBroken => "body_broken",
            Self::Malformed(_) => "malformed",
            Self::Realtime => "realtime_not_served",
            Self::NoWebSocket => "no_web_socket",
            Self::ShuttingDown => "shutdown",
        }
    }

    /// How the request ended.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer(_) => Outcome::GatewayFailed,
            Self::BodyBroken => Outcome::ClientCancelled,
            Self::NoToken(_) | Self::Malformed(_) | Self::Realtime | Self::NoWebSocket => Outcome::Refused,
            Self::ShuttingDown => Outcome::SidecarStopped,
        }
    }

    /// The answer, in the client's dialect.
    pub fn answer(&self, family: Family, id: &str) -> Response<Bytes> {
        let mut response = in_dialect(family, &self.problem(), id);
        name_request(family, id, response.headers_mut());
        if matches!(self, Self::NoWebSocket) {
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        }
        response
    }

    fn problem(&self) -> Problem {
        let (kind, status) = match self {
            // Not overload, which some dialects answer with a status of their own.
            Self::NoToken(_) | Self::Unreachable { .. } | Self::ShuttingDown => {
                (ProblemKind::Upstream, StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::NoAnswer(_) => (ProblemKind::Upstream, StatusCode::BAD_GATEWAY),
            Self::BodyBroken | Self::Malformed(_) => (ProblemKind::InvalidRequest, StatusCode::BAD_REQUEST),
            Self::Realtime => (ProblemKind::InvalidRequest, StatusCode::NOT_IMPLEMENTED),
            // Codex takes it as the word to go on over HTTP.
            Self::NoWebSocket => (ProblemKind::InvalidRequest, StatusCode::UPGRADE_REQUIRED),
        };
        let mut problem = Problem::new(kind, self.to_string());
        problem.status = status.as_u16();
        problem.code = Some(self.code().to_owned());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem.retry_after_ms = Some(1_000);
        }
        problem
    }
}

impl From<NoPath> for Refusal {
    fn from(error: NoPath) -> Self {
        Self::Malformed(error.to_string().into())
    }
}

/// What to look at, where the error alone does not tell.
pub(super) fn hint(error: &SendError) -> &'static str {
    match error {
        SendError::Connect(why) if why.contains("invalid peer certificate") => {
            " (the gateway's certificate and the CA that the sidecar was given have to belong together)"
        }
        SendError::Connect(_) | SendError::ConnectTimeout(_) => {
            " (is a gateway pod ready, and does it serve TLS? a network policy may be in the way)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded_in_the_clients_dialect() {
        let gateway = GatewayUrl::read("https://gateway", false).unwrap();
        let unreachable = Refusal::Unreachable { gateway, error: SendError::Connect("refused".to_owned()) };
        for (family, member, word) in [
            (Family::OpenAi, "/error/code", "gateway_unreachable"),
            (Family::Anthropic, "/error/type", "api_error"),
            (Family::Gemini, "/error/status", "UNAVAILABLE"),
        ] {
            let answer = unreachable.answer(family, "7");
            assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &HeaderValue::from(1)));
            assert_eq!(answer.headers()["x-routeapi-request-id"], "7");
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body.pointer(member).unwrap(), word, "{body}");
            assert!(body.to_string().contains("cannot reach the gateway https://gateway"), "{body}");
        }
        for (refusal, status) in [
            (Refusal::Realtime, 501),
            (Refusal::NoWebSocket, 426),
            (Refusal::NoAnswer(SendError::Closed(String::new())), 502),
            (NoPath.into(), 400),
        ] {
            assert_eq!(refusal.answer(Family::OpenAi, "7").status().as_u16(), status, "{refusal}");
        }
    }
}
