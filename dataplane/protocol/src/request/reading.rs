//! The members of a body that decide routing and limits, and may not repeat.

use crate::{
    codec::Malformed,
    scan::{Kind, Scan},
};

/// The members that decide routing and limits.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) scan: &'a Scan,
    pub(super) body: &'a [u8],
}

impl Reading<'_> {
    pub(super) fn model(self) -> Result<String, Malformed> {
        let Some(value) = self.scan.once(self.body, "model")? else {
            return Err(Malformed::of("model", "`model` is required"));
        };
        match value.text(self.body) {
            Some(model) if !model.is_empty() => Ok(model.into_owned()),
            Some(_) => Err(Malformed::of("model", "`model` is empty")),
            None => Err(Malformed::of("model", "`model` has to be a string")),
        }
    }

    pub(super) fn stream(self) -> Result<bool, Malformed> {
        match self.scan.once(self.body, "stream")?.map(|value| value.kind) {
            None | Some(Kind::Null) => Ok(false),
            Some(Kind::Bool(stream)) => Ok(stream),
            Some(_) => Err(Malformed::of("stream", "`stream` has to be true or false")),
        }
    }

    pub(super) fn include_usage(self) -> Result<Option<bool>, Malformed> {
        let options = self.scan.once(self.body, "stream_options")?;
        let asked = options.and_then(|options| options.member(self.body, "include_usage"));
        Ok(asked.and_then(|value| if let Kind::Bool(asked) = value.kind { Some(asked) } else { None }))
    }
}

/// Scans a body.
pub(super) fn scan(body: &[u8]) -> Result<Scan, Malformed> {
    Scan::read(body)
        .map_err(|error| Malformed { field: None, message: format!("the request body is not valid JSON: {error}") })
}
