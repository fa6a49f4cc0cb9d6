//! A form's parts, read and written anew.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_DISPOSITION};
use multer::{Field, Multipart};

use super::flow::{Flow, illegal};
use crate::{random, request::refusal::Refusal, upstream::BrokenOff};

/// Most parts of a form: OpenAI takes 16 pictures and some twenty fields.
const MAX_PARTS: usize = 128;

/// Longest file name that is passed on, in bytes: what file systems take.
const MAX_FILE_NAME_BYTES: usize = 255;

/// What is sent of a form, piece by piece.
pub(super) enum Piece {
    /// A part begins.
    Head {
        /// Its field.
        name: String,
        /// Whether its content is a file's.
        is_file: bool,
        /// Delimiter and headers.
        head: Vec<u8>,
    },
    /// More of its content.
    Data(Bytes),
    /// It has ended.
    PartEnd(&'static [u8]),
    /// The form has ended.
    End(Vec<u8>),
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Head { head, .. } => head.len(),
            Self::Data(data) => data.len(),
            Self::PartEnd(end) => end.len(),
            Self::End(end) => end.len(),
        }
    }
}

/// All parts, one after the other.
pub(super) struct Parts {
    form: Multipart<'static>,
    field: Option<Field<'static>>,
    flow: Arc<Flow>,
    pub(super) boundary: String,
    count: usize,
}

impl Parts {
    pub(super) fn new(form: Multipart<'static>, flow: Arc<Flow>) -> Self {
        let [high, low] = random::bits();
        Self { form, field: None, flow, boundary: format!("routeapi-{high:016x}{low:016x}"), count: 0 }
    }

    /// The next piece. May be dropped while it waits, and asked again.
    pub(super) async fn next(&mut self) -> Result<Piece, Refusal> {
        if let Some(field) = &mut self.field {
            return match field.chunk().await {
                Ok(Some(data)) => {
                    self.flow.took(data.len());
                    Ok(Piece::Data(data))
                }
                Ok(None) => {
                    self.field = None;
                    self.flow.took(self.boundary.len());
                    Ok(Piece::PartEnd(b"\r\n"))
                }
                Err(error) => Err(self.why(&error)),
            };
        }
        let field = match self.form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => return Ok(Piece::End(format!("--{}--\r\n", self.boundary).into_bytes())),
            Err(error) => return Err(self.why(&error)),
        };
        self.count += 1;
        if self.count > MAX_PARTS {
            return Err(illegal(&format!("it has more than {MAX_PARTS} parts")));
        }
        let headers = field.headers().iter().fold(0, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4);
        self.flow.took(headers);
        let (name, is_file, head) = head(&self.boundary, &field)?;
        self.field = Some(field);
        Ok(Piece::Head { name, is_file, head: head.into_bytes() })
    }

    pub(super) fn break_off(&self, refusal: Refusal) -> BrokenOff {
        self.flow.break_off(refusal)
    }

    /// Why there is no next piece: what the client's connection did, or what its form is.
    fn why(&self, error: &multer::Error) -> Refusal {
        self.flow.take_broken().unwrap_or_else(|| illegal(&error.to_string()))
    }
}

/// The field of a part, whether it is a file, and its beginning as it is sent: the name, the file's name and its content
/// type. No other header of a part means anything (RFC 7578, 4.8).
fn head(boundary: &str, field: &Field<'_>) -> Result<(String, bool, String), Refusal> {
    let Some(name) = field.name().filter(|name| !name.is_empty()) else {
        return Err(illegal("a part has no name"));
    };
    let mut head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(name));
    let (plain, extended) = (field.file_name(), extended_file_name(field.headers()));
    if plain.into_iter().chain(extended).any(|name| name.len() > MAX_FILE_NAME_BYTES) {
        return Err(illegal("a part's file name is too long"));
    }
    // Writing to a string does not fail.
    if let Some(file) = plain {
        let _ = write!(head, "; filename=\"{}\"", quoted(file));
    }
    if let Some(file) = extended {
        let _ = write!(head, "; filename*={file}");
    }
    if let Some(kind) = field.content_type() {
        let _ = write!(head, "\r\ncontent-type: {kind}");
    }
    head.push_str("\r\n\r\n");
    Ok((name.to_owned(), plain.is_some() || extended.is_some(), head))
}

/// `filename*`, in which some clients write names that are not ASCII (RFC 5987), as it is written.
fn extended_file_name(headers: &HeaderMap) -> Option<&str> {
    const NAME: &str = "filename*=";
    let disposition = headers.get(CONTENT_DISPOSITION)?.to_str().ok()?;
    let parameter = disposition
        .split(';')
        .map(str::trim)
        .find(|part| part.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    let value = parameter.get(NAME.len()..)?;
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~'%".contains(&byte);
    (!value.is_empty() && value.bytes().all(is_legal)).then_some(value)
}

/// As browsers write names in forms (WHATWG HTML, "multipart/form-data encoding algorithm").
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
