//! How hosts that serve models in several ways say that a model is not served in this one (docs/protocols/clouds.md). A model
//! that is not there at all, or may not be used, is another matter: then no other way serves it either.

use serde_json::Value;

/// Bedrock's runtime, of Converse, InvokeModel and CountTokens.
const ACTION: &str = "This action doesn't support the model that you provided";
/// What stands in front of a model's id in the words of Bedrock's endpoint of vendors' own APIs.
const MODEL: [&str; 6] = ["The model '", "The model `", "Model '", "Model `", "model '", "model `"];
/// What stands behind it.
const ROUTE: &str = "isn't supported on this route";
const API: (&str, &str) = ("does not support the '/", "' API");
/// Amazon's services, of a path that they do not have, as in regions and at endpoints that are behind others.
const NO_SUCH_PATH: &str = "UnknownOperationException";

/// Whether an error says so.
pub(super) fn is_refused(status: u16, kind: Option<&str>, body: &[u8]) -> bool {
    if !matches!(status, 400 | 404) {
        return false;
    }
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let kinds =
        [kind, body.pointer("/Output/__type").and_then(Value::as_str), body.get("__type").and_then(Value::as_str)];
    let names_path = |kind: &str| kind.split(':').next().and_then(|kind| kind.rsplit('#').next()) == Some(NO_SUCH_PATH);
    if kinds.into_iter().flatten().any(names_path) {
        return true;
    }
    let error = body.get("error").filter(|error| error.is_object()).unwrap_or(&body);
    let message = ["message", "Message"].into_iter().find_map(|name| error.get(name)?.as_str());
    message.is_some_and(says)
}

/// Fixed words stand at the beginning and at the end; the model's id, which a client may have written, is between them.
fn says(message: &str) -> bool {
    let message = message.trim().replace('\u{2019}', "'");
    let message = message.trim_end_matches('.');
    if message.starts_with(ACTION) {
        return true;
    }
    let names_api = || message.rsplit_once(API.0).is_some_and(|(_, path)| path.ends_with(API.1));
    MODEL.iter().any(|begin| message.starts_with(begin)) && (message.ends_with(ROUTE) || names_api())
}

#[cfg(test)]
mod tests {
    use super::is_refused;

    #[test]
    fn words_of_another_way_are_known() {
        for (status, kind, body) in [
            (
                400,
                Some("ValidationException:http://x/"),
                r#"{"message":"This action doesn't support the model that you provided. Try again with a supported text or chat model."}"#,
            ),
            (400, None, r#"{"Message":"This action doesn\u2019t support the model that you provided."}"#),
            (
                400,
                None,
                r#"{"error":{"code":"validation_error","message":"The model 'openai.gpt-5.6-terra' isn't supported on this route","type":"invalid_request_error"}}"#,
            ),
            (
                404,
                None,
                r#"{"type":"error","error":{"type":"not_found_error","message":"The model 'anthropic.x' isn't supported on this route"}}"#,
            ),
            (
                400,
                None,
                r#"{"error":{"message":"The model 'google.gemma-3-4b-it' does not support the '/v1/responses' API","type":"invalid_request_error"}}"#,
            ),
            (400, None, r#"{"error":{"message":"model `x` isn't supported on this route."}}"#),
            (404, Some("UnknownOperationException"), "{}"),
            (
                404,
                None,
                r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#,
            ),
        ] {
            assert!(is_refused(status, kind, body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn models_that_are_missing_or_denied_and_quoted_words_are_not() {
        for (status, kind, body) in [
            (400, Some("ValidationException"), r#"{"message":"The provided model identifier is invalid."}"#),
            (400, None, r#"{"message":"Invocation of model ID x with on-demand throughput isn't supported."}"#),
            (404, Some("ResourceNotFoundException"), r#"{"message":"Model not found"}"#),
            (
                403,
                Some("AccessDeniedException"),
                r#"{"message":"This action doesn't support the model that you provided"}"#,
            ),
            (400, None, r#"{"error":{"message":"Invalid 'input': \"isn't supported on this route\""}}"#),
            (400, None, r#"{"error":{"message":"messages.0: The model 'x' isn't supported on this route"}}"#),
            (400, None, r#"{"message":"This model doesn't support tool use in streaming mode."}"#),
            (500, None, r#"{"error":{"message":"The model 'x' isn't supported on this route"}}"#),
            (404, None, "not found"),
        ] {
            assert!(!is_refused(status, kind, body.as_bytes()), "{body}");
        }
    }
}
