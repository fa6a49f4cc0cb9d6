//! The vendors' own hosts, and servers that follow them: where an operation is below the base URL, and which headers it
//! asks for.
//!
//! A model id is the only part of a path that a client or a route's author can write, so it is treated as hostile: it
//! becomes percent-encoded segments in the model's place, and an id that some server, proxy or cache on the way could read
//! as more than that (`..`, an empty segment, a backslash, an escape, a delimiter) is refused instead of encoded. Percent
//! signs are refused as well: an id that arrives in a path has been decoded once, and a second decoding upstream must
//! not turn it into something else.
//!
//! Google's ids may be resource names. `models/M`, `tunedModels/T` and `publishers/P/models/M` keep their shape; every
//! other slash is part of an id and is sent as `%2F`.

use percent_encoding::utf8_percent_encode;

use super::place::{Asked, ENCODED, Place, UnsafeModel, check};
use crate::{
    dialect::{CallPath, Family, Operation},
    direct::Direct,
    wire::Wire,
};

/// The version that Anthropic's API is called with where the client states none (docs/protocols/messages.md).
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Where to send it.
///
/// # Errors
/// When the operation has its model in the path and the id cannot stand there.
pub(super) fn place(asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
    let wire = Wire::from(asked.framing);
    let path = path(asked.operation, asked.model, wire, asked.query)?;
    Ok(Place { path, headers: headers(asked), wire, model_in_path: asked.operation.model_in_path() })
}

fn headers(asked: &Asked<'_>) -> Vec<(&'static str, String)> {
    if asked.operation.family() != Family::Anthropic {
        return Vec::new();
    }
    let version = asked.head.and_then(|head| head.anthropic_version.as_deref()).unwrap_or(ANTHROPIC_VERSION);
    let mut headers = vec![("anthropic-version", version.to_owned())];
    if let Some(head) = asked.head.filter(|head| !head.anthropic_beta.is_empty()) {
        headers.push(("anthropic-beta", head.anthropic_beta.join(",")));
    }
    headers
}

/// The path and query below a provider's base URL. `query` is what of the client's query is passed on.
fn path(operation: Operation, model: &str, wire: Wire, query: Option<&'static str>) -> Result<String, UnsafeModel> {
    let verb = match (operation.path(), wire) {
        (CallPath::Fixed(_), _) if operation == Operation::Direct(Direct::Realtime) => {
            return Ok(format!("/realtime?model={}", utf8_percent_encode(model, ENCODED)));
        }
        (CallPath::Fixed(path), _) => return Ok(fixed(version(operation.family()), path, query)),
        (CallPath::Verb(_), Wire::Sse | Wire::EventStream) => "streamGenerateContent?alt=sse",
        (CallPath::Verb(_), Wire::JsonArray) => "streamGenerateContent",
        (CallPath::Verb(verb) | CallPath::Action(verb), _) => verb,
    };
    check(model)?;
    let resource = resource(model);
    let segments: Vec<String> =
        resource.into_iter().map(|part| utf8_percent_encode(part, ENCODED).to_string()).collect();
    Ok(format!("{}/{}:{verb}", version(operation.family()), segments.join("/")))
}

/// Google's resource name of a model id, as bodies repeat it: `models/m` for `m`.
pub(super) fn resource_name(model: &str) -> String {
    resource(model).join("/")
}

fn fixed(version: &str, path: &str, query: Option<&'static str>) -> String {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{version}{path}{query}")
}

/// What of a vendor's paths stands between its base URL and its calls: OpenAI's base URLs hold the version already.
const fn version(family: Family) -> &'static str {
    match family {
        Family::OpenAi => "",
        Family::Anthropic => "/v1",
        Family::Gemini => "/v1beta",
        // Its paths have no version.
        Family::Bedrock => "",
    }
}

/// The segments of a resource name.
fn resource(model: &str) -> Vec<&str> {
    match model.split_once('/') {
        Some((collection @ ("models" | "tunedModels"), id)) => return vec![collection, id],
        Some(("publishers", rest)) => {
            let parts: Vec<&str> = rest.split('/').collect();
            if let [publisher, "models", id] = parts.as_slice() {
                return vec!["publishers", publisher, "models", id];
            }
        }
        _ => {}
    }
    vec!["models", model]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(model: &str) -> Result<String, UnsafeModel> {
        path(Operation::GenerateContent, model, Wire::Whole, None)
    }

    #[test]
    fn a_model_stays_in_its_place() {
        for (model, place) in [
            ("gemini-2.5-pro", "models/gemini-2.5-pro"),
            ("models/gemini-2.5-pro", "models/gemini-2.5-pro"),
            ("tunedModels/mine", "tunedModels/mine"),
            ("publishers/google/models/x", "publishers/google/models/x"),
            ("publishers/google/other/x", "models/publishers%2Fgoogle%2Fother%2Fx"),
            (
                "projects/p/locations/l/publishers/google/models/x",
                "models/projects%2Fp%2Flocations%2Fl%2Fpublishers%2Fgoogle%2Fmodels%2Fx",
            ),
            ("meta-llama/Llama", "models/meta-llama%2FLlama"),
            ("corpora/c", "models/corpora%2Fc"),
            ("models/a/b", "models/a%2Fb"),
            ("m:countTokens", "models/m%3AcountTokens"),
            ("näme@1 x", "models/n%C3%A4me%401%20x"),
            ("a..b/...c", "models/a..b%2F...c"),
        ] {
            assert_eq!(generate(model), Ok(format!("/v1beta/{place}:generateContent")), "{model}");
        }
    }

    #[test]
    fn whatever_could_leave_the_models_place_is_refused() {
        for model in [
            "",
            "/",
            ".",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "a//b",
            "/a",
            "a/",
            "a/.. /b",
            "gem-x/../../v1beta/corpora/c",
            "models/",
            "models/..",
            "tunedModels/../x",
            "publishers/../models/x",
            "...",
        ] {
            assert_eq!(generate(model), Err(UnsafeModel::Segment), "{model:?}");
        }
        for model in
            [r"a\..\b", "a%2e%2e", "a%2fb", "%2e%2e", "a?alt=x", "a#b", "a;b", "a\0", "a\r\nb", "a\u{85}b", "a\tb"]
        {
            assert_eq!(generate(model), Err(UnsafeModel::Character), "{model:?}");
        }
        assert_eq!(generate(&"é".repeat(11_500)), Err(UnsafeModel::TooLong));
    }

    #[test]
    fn a_path_without_a_model_takes_any_model_and_keeps_the_query() {
        let chat = path(Operation::ChatCompletions, "../models/7B/model.gguf", Wire::Sse, None);
        assert_eq!(chat.as_deref(), Ok("/chat/completions"));
        let messages = path(Operation::Messages, "m", Wire::Whole, Some("beta=true"));
        assert_eq!(messages.as_deref(), Ok("/v1/messages?beta=true"));
        let realtime = path(Operation::Direct(Direct::Realtime), "org/gpt&key=x", Wire::Whole, None);
        assert_eq!(realtime.as_deref(), Ok("/realtime?model=org%2Fgpt%26key%3Dx"), "a model stays one parameter");
    }

    #[test]
    fn streams_ask_for_their_framing() {
        let path = |wire| path(Operation::GenerateContent, "m", wire, None);
        assert_eq!(path(Wire::Sse).as_deref(), Ok("/v1beta/models/m:streamGenerateContent?alt=sse"));
        assert_eq!(path(Wire::JsonArray).as_deref(), Ok("/v1beta/models/m:streamGenerateContent"));
    }

    proptest::proptest! {
        /// Whatever is written, what goes out is the model's place and nothing else.
        #[test]
        fn no_model_escapes(model in r"[a-z./\\%?#;:& @\x00-\x20é]{0,24}") {
            if let Ok(path) = generate(&model) {
                let inner = path.strip_prefix("/v1beta/").and_then(|path| path.strip_suffix(":generateContent")).unwrap();
                let segments: Vec<_> = inner.split('/').collect();
                let shaped = matches!(segments.as_slice(), ["models" | "tunedModels", _] | ["publishers", _, "models", _]);
                proptest::prop_assert!(shaped, "{path}");
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
                proptest::prop_assert!(inner.bytes().all(plain), "{path}");
                proptest::prop_assert!(!segments.iter().any(|one| matches!(*one, "" | "." | "..")), "{path}");
            }
        }
    }
}
