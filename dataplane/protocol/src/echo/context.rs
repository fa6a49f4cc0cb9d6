//! What the Echo upstream knows of a request before it is read.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::say::Say;
use crate::{
    codec::Malformed,
    dialect::Operation,
    estimate,
    inbound::{self, Inbound},
    ir::Usage,
    scan::Scan,
    wire::Wire,
};

/// Longest body that is read as a tree (Responses, embeddings), in bytes: a tree takes up to a hundred times its text.
const MAX_TREE_BODY: usize = 1 << 20;

/// What is known of a request before it is read.
pub(super) struct Context<'a> {
    pub(super) operation: Operation,
    pub(super) wire: Wire,
    pub(super) model: String,
    /// Names this request and no other.
    pub(super) id: String,
    pub(super) body: &'a [u8],
    pub(super) input_tokens: u64,
}

impl<'a> Context<'a> {
    pub(super) fn new(operation: Operation, wire: Wire, path: &str, body: &'a [u8]) -> Result<Self, Malformed> {
        let model = if operation.model_in_path() {
            let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
            match inbound::route("POST", path, query) {
                Ok(Inbound::Call(matched)) => matched.model,
                _ => None,
            }
        } else {
            let scan = Scan::read(body).map_err(|error| wrong(None, &error.to_string()))?;
            scan.last(body, "model").and_then(|model| model.text(body)).map(Cow::into_owned)
        };
        let model = model.ok_or_else(|| wrong(Some("model"), "`model` is required"))?;
        let id = hex::encode(Sha256::digest(body)).chars().take(24).collect();
        let input_tokens = estimate::input(operation, body).reserved.max(1);
        Ok(Self { operation, wire, model, id, body, input_tokens })
    }

    pub(super) fn usage(&self, say: &Say, count: u32) -> Usage {
        let output = estimate::output_tokens(say.chars()).max(1).saturating_mul(u64::from(count));
        Usage { input: Some(self.input_tokens), output: Some(output), ..Usage::default() }
    }
}

/// A body as a tree.
pub(super) fn tree(body: &[u8]) -> Result<Value, Malformed> {
    if body.len() > MAX_TREE_BODY {
        return Err(wrong(None, &format!("the Echo upstream reads at most {MAX_TREE_BODY} bytes of such a request")));
    }
    serde_json::from_slice(body).map_err(|error| wrong(None, &error.to_string()))
}

pub(super) fn wrong(field: Option<&str>, message: &str) -> Malformed {
    Malformed { field: field.map(str::to_owned), message: message.to_owned() }
}
