//! What vendors have beside calls for a model, and why it is not served: it is better to say so than to call a path that
//! people know from the vendor's documentation unknown.
//!
//! Most of it keeps something at the vendor, under the one account that all tenants of a gateway share, and gives it an id.
//! An id says nothing about whose it is, nor at which of a route's providers it is known. So nothing would keep one
//! tenant from reading, listing or deleting what is another's.

/// Something that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// What it is, with its verb.
    pub what: &'static str,
    /// Why not.
    pub why: &'static str,
}

const SHARED: &str =
    "the vendor keeps them in one account for all users of this gateway, and an id does not tell whose it is";
const PAST: &str =
    "they lead past this gateway's keys and limits; open a WebSocket at /v1/realtime with this gateway's own key";
const ADMINISTERS: &str = "they administer the account whose key this gateway holds";

/// Bedrock's calls whose bodies are of whatever API a model's vendor has.
pub(super) const INVOKE_ACTIONS: [&str; 3] =
    ["invoke", "invoke-with-response-stream", "invoke-with-bidirectional-stream"];

/// Why they are not served.
pub(super) const INVOKE: Unserved = Unserved {
    what: "InvokeModel is",
    why: "its body is another one for each vendor's models; call /model/{id}/converse or /model/{id}/converse-stream, or the \
          vendor's own API at this gateway",
};

/// By the first segments of the path below the base; the longest that fits counts.
const TABLE: [(&str, Unserved); 34] = [
    ("files", Unserved { what: "files are", why: SHARED }),
    ("uploads", Unserved { what: "uploads are", why: SHARED }),
    ("upload", Unserved { what: "uploads are", why: SHARED }),
    ("batches", Unserved { what: "batches are", why: SHARED }),
    ("messages/batches", Unserved { what: "message batches are", why: SHARED }),
    ("vector_stores", Unserved { what: "vector stores are", why: SHARED }),
    ("containers", Unserved { what: "containers are", why: SHARED }),
    ("assistants", Unserved { what: "assistants are", why: SHARED }),
    ("threads", Unserved { what: "threads are", why: SHARED }),
    ("conversations", Unserved { what: "other calls about conversations are", why: SHARED }),
    ("responses", Unserved { what: "other calls about stored responses are", why: SHARED }),
    ("chat/completions", Unserved { what: "stored chat completions are", why: SHARED }),
    ("videos", Unserved { what: "videos are", why: SHARED }),
    ("evals", Unserved { what: "evals are", why: SHARED }),
    ("skills", Unserved { what: "skills are", why: SHARED }),
    ("chatkit", Unserved { what: "ChatKit sessions are", why: SHARED }),
    ("agents", Unserved { what: "stored agents are", why: SHARED }),
    ("sessions", Unserved { what: "stored sessions are", why: SHARED }),
    ("environments", Unserved { what: "stored environments are", why: SHARED }),
    ("audio/voices", Unserved { what: "stored voices are", why: SHARED }),
    ("audio/voice_consents", Unserved { what: "voice consents are", why: SHARED }),
    ("cachedContents", Unserved { what: "cached contents are", why: SHARED }),
    ("corpora", Unserved { what: "corpora are", why: SHARED }),
    ("fileSearchStores", Unserved { what: "file search stores are", why: SHARED }),
    ("interactions", Unserved { what: "stored interactions are", why: SHARED }),
    ("operations", Unserved { what: "long-running operations are", why: SHARED }),
    ("fine_tuning", Unserved { what: "fine-tuning jobs are", why: ADMINISTERS }),
    ("fine-tunes", Unserved { what: "fine-tuning jobs are", why: ADMINISTERS }),
    ("organization", Unserved { what: "organization endpoints are", why: ADMINISTERS }),
    ("organizations", Unserved { what: "organization endpoints are", why: ADMINISTERS }),
    ("projects", Unserved { what: "project endpoints are", why: ADMINISTERS }),
    ("load_lora_adapter", Unserved { what: "LoRA adapters are", why: ADMINISTERS }),
    ("unload_lora_adapter", Unserved { what: "LoRA adapters are", why: ADMINISTERS }),
    ("realtime", Unserved { what: "short-lived keys, calls and translations of the Realtime API are", why: PAST }),
];

/// What a path below the base means that is known and not served.
pub(super) fn unserved(rest: &str) -> Option<Unserved> {
    // Some servers do not tell letters by their case.
    let fits = |path: &str| {
        let begins = rest.get(..path.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(path));
        begins && rest.get(path.len()..).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
    };
    TABLE.iter().filter(|(path, _)| fits(path)).max_by_key(|(path, _)| path.len()).map(|(_, unserved)| *unserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_at_a_vendor_is_known_with_everything_below_it() {
        for (path, what) in [
            ("files", "files are"),
            ("files/file-1/content", "files are"),
            ("batches/b/cancel", "batches are"),
            ("Batches", "batches are"),
            ("messages/batches/b/results", "message batches are"),
            ("responses/resp_1/unknown", "other calls about stored responses are"),
            ("fine_tuning/jobs", "fine-tuning jobs are"),
            ("realtime/client_secrets", "short-lived keys, calls and translations of the Realtime API are"),
        ] {
            assert_eq!(unserved(path).map(|it| it.what), Some(what), "{path}");
        }
        for path in ["", "file", "filesystem", "v2/files", "chat", "embeddings"] {
            assert_eq!(unserved(path), None, "{path}");
        }
    }
}
