//! Reasoning state of OpenAI's Responses as one string (docs/protocols/reasoning.md): an item's `encrypted_content` is
//! bound to its `id`, so that the two travel together wherever a client keeps them.
//!
//! `<id>.<encrypted_content>`; an id has no dot, and the blob of an item without an id is written alone.

/// An item's state as [`crate::ir::Opaque`] holds it.
pub fn join(id: Option<&str>, encrypted_content: &str) -> String {
    match id.filter(|id| is_id(id)) {
        Some(id) => format!("{id}.{encrypted_content}"),
        None => encrypted_content.to_owned(),
    }
}

/// The item's id, if it has one, and its `encrypted_content`.
pub fn split(state: &str) -> (Option<&str>, &str) {
    match state.split_once('.') {
        Some((id, encrypted_content)) if is_id(id) => (Some(id), encrypted_content),
        _ => (None, state),
    }
}

/// Ids of reasoning items begin with `rs_`; that also tells them from the beginning of a blob.
fn is_id(text: &str) -> bool {
    text.strip_prefix("rs_").is_some_and(|rest| !rest.is_empty() && !rest.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_with_its_blob() {
        for (id, blob) in
            [(Some("rs_1"), "gAAA=="), (Some("rs_1"), "a.b"), (None, "gAAA=="), (None, "a.b"), (Some("rs_1"), "")]
        {
            assert_eq!(split(&join(id, blob)), (id, blob));
        }
        assert_eq!(join(Some("weird id"), "x"), "x");
        assert_eq!(join(Some("rs_a.b"), "x"), "x");
    }
}
