//! Free-form tools (`custom` on Chat and Responses) where there are functions only.
//!
//! In the neutral representation, and at upstreams that have no such tools, a call of one carries its text as
//! `{"input": "…"}`: a function with one string argument.

use serde_json::value::RawValue;

use crate::codec::json::{
    read::{Object, Spelling},
    write,
};

/// The schema of the function that stands for a free-form tool.
pub const SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;

/// The arguments that stand for a free-form call's text.
pub fn wrap(input: &str) -> String {
    write::text(|out| out.put("input", input))
}

/// The text of a free-form call; the arguments themselves if the model did not keep to the wrapper.
pub fn unwrap(arguments: &str) -> String {
    Object::parse(arguments.as_bytes(), Spelling::Exact)
        .and_then(|mut object| object.need("input"))
        .unwrap_or_else(|_| arguments.to_owned())
}

/// Whether a free-form tool's `format` says more than "any text".
pub fn constrains(format: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Format {
        r#type: Option<String>,
    }
    serde_json::from_str::<Format>(format.get()).is_ok_and(|format| format.r#type.is_some_and(|kind| kind != "text"))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{constrains, unwrap, wrap};

    #[test]
    fn a_text_comes_back_as_it_went() {
        for text in ["", "*** Begin Patch\n\"x\"", "{\"input\":1}"] {
            assert_eq!(unwrap(&wrap(text)), text);
        }
        assert_eq!(unwrap("{\"patch\":\"x\"}"), "{\"patch\":\"x\"}", "a model that made up its own wrapper");
        assert_eq!(unwrap("plain"), "plain");
    }

    #[test]
    fn only_a_grammar_constrains() {
        let says = |format: &str| constrains(&RawValue::from_string(format.to_owned()).unwrap());
        assert!(says(r#"{"type":"grammar","syntax":"lark","definition":"start: X"}"#));
        assert!(!says(r#"{"type":"text"}"#) && !says("{}") && !says("7"));
    }
}
