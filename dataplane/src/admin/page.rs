//! What pages of an admin listener are made of.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::registry::Registry;

const TEXT: &str = "text/plain; charset=utf-8";
/// Of a page of metrics.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every series, in the text form of OpenMetrics.
pub(crate) fn encode(registry: &Registry) -> Result<String, String> {
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, registry).map_err(|error| error.to_string())?;
    Ok(page)
}

/// The answer to a method that changes something; none for those that read.
pub(crate) fn refuse_writing(method: &Method) -> Option<Response<Full<Bytes>>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

/// Each check on a line, as Kubernetes components write theirs with `?verbose`, and why it does not hold.
pub(crate) fn check(checks: &[(&str, bool, Option<String>)]) -> Response<Full<Bytes>> {
    let lines = checks.iter().map(|(name, holds, why)| match why {
        Some(why) if !holds => format!("[-]{name}: {why}\n"),
        _ => format!("[{}]{name}\n", if *holds { '+' } else { '-' }),
    });
    let status =
        if checks.iter().all(|(_, holds, _)| *holds) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, &lines.collect::<String>())
}

/// A page of plain text.
pub(crate) fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    respond(status, TEXT, body.to_owned().into())
}

/// Any page.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
