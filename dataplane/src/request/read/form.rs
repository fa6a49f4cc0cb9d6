//! `multipart/form-data`: pictures and sound, which are not held where that can be helped.
//!
//! The form is read part by part and written anew, with a boundary that nobody can guess: what the gateway decides by
//! (the model) is then what the upstream reads, however oddly the client wrote it. It is read ahead until the model is
//! known, and then for [`READ_AHEAD_BYTES`] more; what is still to come flows through while the upstream takes it. So a
//! small form can be sent to another upstream as well, and a large one to the first that takes its rest.
//!
//! A form whose files stand in front of its model is held up to the model, within the bounds of every body.

mod flow;
mod incoming;
mod parts;

use std::sync::{Arc, atomic::AtomicBool};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::Body;
use multer::Multipart;
use routeapi_protocol::{codec::Malformed, request::Form};
use tokio::time::timeout;

use self::{
    flow::{Flow, illegal},
    incoming::Incoming,
    parts::{Parts, Piece},
};
use crate::{
    request::{
        deadline::RECHECK_INTERVAL,
        gateway::RequestSettings,
        memory::{BuffersFull, MemoryPermit},
        refusal::Refusal,
    },
    upstream::{BrokenOff, Tail},
};

/// Bytes that are read ahead once the model is known: what a form of fields and a small picture has.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// Longest boundary, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// Most bytes of fields that are looked at, names and values together. Prompts have up to 32,000 characters.
const MAX_FIELD_BYTES: usize = 256 << 10;

/// Longest value of the model's field that is looked at, in bytes; a longer one is no model's id.
const MAX_MODEL_BYTES: usize = 2 << 10;

/// The model's field.
const MODEL_FIELD: &str = "model";

/// A form that was read ahead.
pub(super) struct FormStart {
    /// What is known of it.
    pub form: Form,
    /// What is still to come.
    pub rest: Option<FormRest>,
}

/// The rest of a form, on its way from the client to one upstream.
#[derive(Clone, Debug)]
pub(in crate::request) struct FormRest {
    flow: Arc<Flow>,
    /// To be sent once.
    pub tail: Tail,
}

// === impl FormRest ===

impl FormRest {
    /// Sets this where the client's side ends early.
    pub(in crate::request) fn note_client_break_in(&self, blameless: &Arc<AtomicBool>) {
        self.flow.blameless.get_or_init(|| Arc::clone(blameless));
    }

    /// Why the client's side ended early, if it did. Told once.
    pub(in crate::request) fn broken(&self) -> Option<Refusal> {
        self.flow.take_broken()
    }
}

/// The boundary, if the headers say that the body is a form.
pub(super) fn boundary(headers: &HeaderMap) -> Option<Result<String, Refusal>> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/form-data").then(|| {
        let boundary = multer::parse_boundary(kind).map_err(|_| illegal("its content-type states no boundary"))?;
        match boundary.len() {
            1..=MAX_BOUNDARY_BYTES => Ok(boundary),
            _ => Err(illegal(&format!("its boundary is empty or longer than {MAX_BOUNDARY_BYTES} bytes"))),
        }
    })
}

/// Reads the start of a form. `needs_model` says whether the model is one of its fields; `recheck` whether the request
/// may still go on.
pub(super) async fn read<B>(
    body: B,
    (boundary, needs_model): (&str, bool),
    settings: &RequestSettings,
    memory: &mut MemoryPermit,
    mut recheck: impl FnMut() -> Result<(), Refusal>,
) -> Result<FormStart, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let flow = Arc::<Flow>::default();
    let incoming = Incoming::new(body, Arc::clone(&flow), settings);
    let mut parts = Parts::new(Multipart::new(incoming, boundary), Arc::clone(&flow));
    let mut reading = Reading::new(needs_model);
    loop {
        let piece = match timeout(RECHECK_INTERVAL, parts.next()).await {
            Err(_elapsed) => {
                recheck()?;
                continue;
            }
            Ok(piece) => piece?,
        };
        memory.grow(piece.len()).map_err(|BuffersFull| Refusal::BuffersFull)?;
        let ended = matches!(piece, Piece::End(_));
        reading.take(piece)?;
        if ended || reading.is_enough() {
            let form = reading.finish(&parts.boundary)?;
            let rest = (!ended).then(|| FormRest { flow, tail: Tail::new(flowing(parts)) });
            return Ok(FormStart { form, rest });
        }
    }
}

/// What was read so far.
struct Reading {
    fields: Vec<(String, String)>,
    /// Bytes in them.
    field_bytes: usize,
    files: u64,
    /// The field whose value comes, and how many bytes of it are kept.
    field: Option<(String, Vec<u8>, usize)>,
    /// What stands in front of the model's part, once that has come or none is needed.
    before: Option<Bytes>,
    out: BytesMut,
}

impl Reading {
    fn new(needs_model: bool) -> Self {
        let before = (!needs_model).then(Bytes::new);
        Self { fields: Vec::new(), field_bytes: 0, files: 0, field: None, before, out: BytesMut::new() }
    }

    fn take(&mut self, piece: Piece) -> Result<(), Refusal> {
        match piece {
            Piece::Head { name, is_file, head } => self.begin(name, is_file, &head)?,
            Piece::Data(data) => {
                if let Some((_, value, max)) = &mut self.field {
                    let room = max.saturating_sub(value.len());
                    value.extend_from_slice(data.get(..room).unwrap_or(&data));
                }
                if !self.in_model() {
                    self.out.extend_from_slice(&data);
                }
            }
            Piece::PartEnd(end) => {
                if !self.in_model() {
                    self.out.extend_from_slice(end);
                }
                if let Some((name, value, _)) = self.field.take() {
                    self.field_bytes = self.field_bytes.saturating_add(name.len()).saturating_add(value.len());
                    self.fields.push((name, String::from_utf8_lossy(&value).into_owned()));
                }
            }
            Piece::End(end) => self.out.extend_from_slice(&end),
        }
        Ok(())
    }

    fn begin(&mut self, name: String, is_file: bool, head: &[u8]) -> Result<(), Refusal> {
        if name == MODEL_FIELD {
            if is_file {
                return Err(wrong_model("`model` is a file"));
            }
            if self.fields.iter().any(|(name, _)| name == MODEL_FIELD) {
                return Err(wrong_model(MODEL_TWICE));
            }
            if self.before.is_none() {
                self.before = Some(self.out.split().freeze());
            }
            self.field = Some((name, Vec::new(), MAX_MODEL_BYTES));
            return Ok(());
        }
        self.out.extend_from_slice(head);
        let room = MAX_FIELD_BYTES.saturating_sub(self.field_bytes).saturating_sub(name.len());
        if is_file {
            self.files = self.files.saturating_add(1);
        } else if room > 0 {
            self.field = Some((name, Vec::new(), room));
        }
        Ok(())
    }

    fn in_model(&self) -> bool {
        self.field.as_ref().is_some_and(|(name, ..)| name == MODEL_FIELD)
    }

    /// The model is known, and no more is read ahead.
    fn is_enough(&self) -> bool {
        self.before.is_some() && !self.in_model() && self.out.len() >= READ_AHEAD_BYTES
    }

    fn finish(self, boundary: &str) -> Result<Form, Refusal> {
        let Self { fields, files, before, out, .. } = self;
        let before = before.ok_or_else(|| wrong_model("`model` is required"))?;
        Ok(Form { fields, files, before, after: out.freeze(), boundary: boundary.to_owned() })
    }
}

/// The rest as it is sent. Another model would not be the one that was allowed.
fn flowing(parts: Parts) -> impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static {
    stream::try_unfold(Some(parts), |parts| async move {
        let Some(mut parts) = parts else { return Ok(None) };
        let piece = match parts.next().await {
            Ok(Piece::Head { name, .. }) if name == MODEL_FIELD => Err(wrong_model(MODEL_TWICE)),
            piece => piece,
        };
        match piece {
            Ok(Piece::Head { head, .. }) => Ok(Some((Bytes::from(head), Some(parts)))),
            Ok(Piece::Data(data)) => Ok(Some((data, Some(parts)))),
            Ok(Piece::PartEnd(end)) => Ok(Some((Bytes::from_static(end), Some(parts)))),
            Ok(Piece::End(end)) => Ok(Some((Bytes::from(end), None))),
            Err(refusal) => Err(parts.break_off(refusal)),
        }
    })
}

const MODEL_TWICE: &str = "`model` is given twice";

fn wrong_model(message: &str) -> Refusal {
    Refusal::Malformed(Malformed { field: Some(MODEL_FIELD.to_owned()), message: message.to_owned() })
}

#[cfg(test)]
mod tests;
