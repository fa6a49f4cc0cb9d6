//! Reads a document of a provider's for the gateway itself, such as its model list: no client's request.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::ACCEPT_ENCODING};

use super::{
    answer_body::UpstreamBody,
    body::OutboundBody,
    client::Client,
    send_error::SendError,
    sent::{MarkedBody, SentMark},
};
use crate::clock;

impl Client {
    /// Gets a path below the base URL. None for Echo, which has no documents.
    ///
    /// # Errors
    /// When no head came. The caller sets the time limit and cancels by dropping the future.
    pub async fn fetch(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Option<Response<UpstreamBody>>, SendError> {
        let Self::Http { base, credentials, additions, host, proxy: _ } = self else { return Ok(None) };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = base.join(&additions.path(path)).map_err(|error| SendError::Invalid(error.to_string()))?;
        for (name, value) in headers.iter().chain(additions.headers()) {
            parts.headers.insert(name, value.clone());
        }
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let body = OutboundBody::from(Bytes::new());
        credentials.ready().await?;
        credentials.current().apply(&mut parts, body.payload(), None, clock::now())?;
        let request = Request::from_parts(parts, MarkedBody::new(body, SentMark::default()));
        let response = host.acquire().await?.send(request).await?;
        Ok(Some(UpstreamBody::from_connection(response)))
    }
}
