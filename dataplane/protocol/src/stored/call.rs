//! The calls about a stored response, by their paths (OpenAI's API reference, "Responses").

use crate::framing::Framing;

/// What is asked of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredCall {
    /// `GET /v1/responses/{id}`, whole or from an event on (`stream`, `starting_after`).
    Retrieve,
    /// `DELETE /v1/responses/{id}`
    Delete,
    /// `POST /v1/responses/{id}/cancel`, for one that runs in the background.
    Cancel,
    /// `GET /v1/responses/{id}/input_items`, a page of them.
    InputItems,
}

/// The address of a call about a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPath {
    /// What is asked.
    pub call: StoredCall,
    /// The response's id as the client wrote it, decoded.
    pub id: String,
    /// What of the query is passed on, as it came.
    pub query: String,
    /// How the answer is to arrive.
    pub framing: Framing,
    /// Whether the query held parameters that are not passed on.
    pub unknown_query: bool,
}

/// Longest id, in bytes: one of the gateway's own holds a model's id and an upstream's, of at most 1,024 bytes each.
pub(crate) const LONGEST_ID: usize = 3_072;

/// Longest query, in bytes. The vendor's own clients stay below a tenth of it.
const LONGEST_QUERY: usize = 1_024;

/// The parameters of the vendor's reference; others could steer its server under the gateway's key.
const PARAMETERS: [&str; 10] = [
    "stream",
    "starting_after",
    "include_obfuscation",
    "include",
    "include[]",
    "include%5B%5D",
    "limit",
    "order",
    "after",
    "before",
];

impl StoredCall {
    /// Its method, at the client's side and at the upstream's.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Retrieve | Self::InputItems => "GET",
            Self::Delete => "DELETE",
            Self::Cancel => "POST",
        }
    }

    /// A short stable name for logs and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retrieve => "retrieve_response",
            Self::Delete => "delete_response",
            Self::Cancel => "cancel_response",
            Self::InputItems => "response_input_items",
        }
    }

    /// Its path below an upstream's base URL, for the upstream's own id.
    pub fn path(self, id: &str, query: &str) -> String {
        let end = match self {
            Self::Retrieve | Self::Delete => "",
            Self::Cancel => "/cancel",
            Self::InputItems => "/input_items",
        };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("/responses/{id}{end}{mark}{query}")
    }
}

/// Reads a path below the base: none if it is not about a stored response, otherwise the call or the methods that exist.
pub(crate) fn stored_path(
    method: &str,
    rest: &str,
    query: Option<&str>,
    decoded: impl Fn(&str) -> String,
) -> Option<Result<StoredPath, &'static str>> {
    let below = rest.strip_prefix("responses/")?;
    let (id, end) = below.split_once('/').unwrap_or((below, ""));
    if id.is_empty() || id.len() > LONGEST_ID {
        return None;
    }
    let call = match (end, method) {
        ("", "GET") => StoredCall::Retrieve,
        ("", "DELETE") => StoredCall::Delete,
        ("", _) => return Some(Err("GET, DELETE")),
        ("cancel", "POST") => StoredCall::Cancel,
        ("cancel", _) => return Some(Err("POST")),
        ("input_items", "GET") => StoredCall::InputItems,
        ("input_items", _) => return Some(Err("GET")),
        _ => return None,
    };
    let (query, unknown_query) = passed(query.unwrap_or_default());
    let streams = call == StoredCall::Retrieve && query.split('&').any(|pair| pair == "stream=true");
    let framing = if streams { Framing::Sse } else { Framing::Whole };
    Some(Ok(StoredPath { call, id: decoded(id), query, framing, unknown_query }))
}

/// The known parameters of a query, and whether there was anything else.
fn passed(query: &str) -> (String, bool) {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
    let (mut known, mut others) = (Vec::new(), false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = name(pair);
        if PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            known.push(pair);
        } else {
            // The gateway reads these two itself.
            others |= !matches!(name.as_str(), "key" | "api-version");
        }
    }
    let query = known.join("&");
    if query.len() > LONGEST_QUERY { (String::new(), true) } else { (query, others) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, rest: &str, query: &str) -> Option<Result<StoredPath, &'static str>> {
        stored_path(method, rest, Some(query), str::to_owned)
    }

    #[test]
    fn method_and_path_tell_what_is_asked() {
        for (method, rest, call) in [
            ("GET", "responses/resp_1", StoredCall::Retrieve),
            ("DELETE", "responses/resp_1", StoredCall::Delete),
            ("POST", "responses/resp_1/cancel", StoredCall::Cancel),
            ("GET", "responses/resp_1/input_items", StoredCall::InputItems),
        ] {
            let path = read(method, rest, "").unwrap().unwrap();
            assert_eq!((path.call, path.id.as_str(), call.method()), (call, "resp_1", method));
            assert_eq!(call.path("resp_1", "")[1..], *rest);
        }
        for (method, rest, allow) in [
            ("POST", "responses/resp_1", "GET, DELETE"),
            ("GET", "responses/resp_1/cancel", "POST"),
            ("DELETE", "responses/resp_1/input_items", "GET"),
        ] {
            assert_eq!(read(method, rest, ""), Some(Err(allow)), "{method} {rest}");
        }
        let long = format!("responses/{}", "a".repeat(LONGEST_ID + 1));
        for rest in ["responses", "responses/", "responses//cancel", "responses/r/x", "responses/r/cancel/x", &long] {
            assert_eq!(read("GET", rest, ""), None, "{rest}");
        }
    }

    #[test]
    fn only_the_vendors_parameters_are_passed_on() {
        let of = |query: &str| {
            let path = read("GET", "responses/r", query).unwrap().unwrap();
            (path.query, path.framing, path.unknown_query)
        };
        assert_eq!(of(""), (String::new(), Framing::Whole, false));
        let resumed = "stream=true&starting_after=7&include%5B%5D=reasoning.encrypted_content";
        assert_eq!(of(resumed), (resumed.to_owned(), Framing::Sse, false));
        assert_eq!(
            of("key=sk&stream=false&x=1&include[]=a"),
            ("stream=false&include[]=a".to_owned(), Framing::Whole, true)
        );
        assert_eq!(of(&format!("after={}", "a".repeat(LONGEST_QUERY))), (String::new(), Framing::Whole, true));
        let items = read("GET", "responses/r/input_items", "limit=2&stream=true").unwrap().unwrap();
        assert_eq!(
            (items.framing, StoredCall::InputItems.path("r", "limit=2")),
            (Framing::Whole, "/responses/r/input_items?limit=2".into())
        );
    }
}
