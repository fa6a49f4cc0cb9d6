//! Requests that are forms (`multipart/form-data`): pictures and sound, with the model among the fields.
//!
//! Whoever reads a form hands over its fields and, around the model's, the bytes that are to be sent. The fields are read
//! as a JSON object of strings, so that routing, limits and estimates know one kind of request.

use bytes::Bytes;
use serde_json::Value;

/// A form, read as far as routing needs and written anew for the upstream.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// The fields that are no files, in their order, values up to a bound of the reader's.
    pub fields: Vec<(String, String)>,
    /// How many files were seen.
    pub files: u64,
    /// The parts in front of the model's, with their delimiters.
    pub before: Bytes,
    /// The parts behind the model's, as far as they were read ahead. The closing delimiter is the last of them, or comes
    /// with what follows.
    pub after: Bytes,
    /// What delimits the parts. The client cannot know it.
    pub boundary: String,
}

/// A form for one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedForm {
    /// To be sent one after the other, and then what was not read ahead.
    pub pieces: [Bytes; 3],
    /// With the boundary.
    pub content_type: String,
}

impl Form {
    /// Its fields as JSON. What decides between true and false in a form is text.
    pub(super) fn to_json(&self) -> Bytes {
        let mut out = String::from("{");
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let value = match name.as_str() {
                "stream" => Value::from(matches!(value.trim(), "true" | "True" | "1")),
                _ => Value::from(value.as_str()),
            };
            let comma = if at > 0 { "," } else { "" };
            out.push_str(&format!("{comma}{}:{value}", Value::from(name.as_str())));
        }
        out.push('}');
        out.into()
    }

    /// With another model.
    pub(super) fn with_model(&self, model: &str) -> PreparedForm {
        let Self { boundary, before, after, .. } = self;
        let part = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
        PreparedForm {
            pieces: [before.clone(), part.into(), after.clone()],
            content_type: format!("multipart/form-data; boundary={boundary}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{Head, Malformed},
        dialect::Operation,
        direct::Direct,
        estimate::MEDIA_TOKENS,
        framing::Framing,
        host::Host,
        inbound::MatchedPath,
        limits::ModelLimits,
        report::Mode,
        request::{Destination, ParsedRequest},
    };

    fn form(fields: &[(&str, &str)]) -> Form {
        Form {
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            files: 2,
            before: Bytes::from_static(b"BEFORE"),
            after: Bytes::from_static(b"AFTER"),
            boundary: "b".to_owned(),
        }
    }

    fn read(model: Option<&str>, fields: &[(&str, &str)]) -> Result<ParsedRequest, Malformed> {
        let operation = Operation::Direct(Direct::ImageEdits);
        let model = model.map(str::to_owned);
        let matched = MatchedPath { operation, model, framing: None, query: None, unknown_query: false, path: None };
        ParsedRequest::read_form(matched, Head::default(), form(fields))
    }

    #[test]
    fn fields_are_read_like_members() {
        let call = read(None, &[("prompt", "a \"cat\""), ("model", "m"), ("n", "3"), ("stream", "true")]).unwrap();
        assert_eq!((call.model(), call.framing(), call.allowance().candidates), ("m", Framing::Sse, 3));
        assert!(call.estimated_input_tokens() > 2 * MEDIA_TOKENS, "two pictures are sent along");
        assert!(call.sent_input_tokens() < 20, "what they cost is not known");
        assert!(call.plausible_input_tokens() > 1 << 20);
        assert_eq!(read(None, &[("model", "m"), ("stream", "false")]).unwrap().framing(), Framing::Whole);
        for (fields, field) in [
            (&[("prompt", "x")][..], "model"),
            (&[("model", "")], "model"),
            (&[("model", "a"), ("model", "b")], "model"),
            (&[("model", "a"), ("stream", "true"), ("stream", "false")], "stream"),
        ] {
            assert_eq!(read(None, fields).unwrap_err().field.as_deref(), Some(field), "{fields:?}");
        }
        assert_eq!(read(Some("deployment"), &[]).unwrap().model(), "deployment");
    }

    #[test]
    fn only_the_models_part_is_another_for_each_upstream() {
        let call = read(None, &[("model", "m")]).unwrap();
        let operations = [call.operation()];
        let to = |model| Destination {
            base_model: None,
            host: Host::Vendor,
            operations: &operations,
            model,
            default_max_output: 1,
            limits: ModelLimits { route_max_output: Some(5), ..ModelLimits::default() },
            continued: None,
            max_body: 1 << 20,
        };
        for (model, name) in [(None, "m"), (Some("up"), "up")] {
            let prepared = call.prepare(to(model), Mode::Strict).unwrap();
            let sent = prepared.form.unwrap();
            let part = format!("BEFORE--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{name}\r\nAFTER");
            assert_eq!(String::from_utf8(sent.pieces.concat()).unwrap(), part);
            assert_eq!(sent.content_type, "multipart/form-data; boundary=b");
            assert_eq!((prepared.body.len(), prepared.path.as_str()), (0, "/images/edits"));
        }
    }
}
