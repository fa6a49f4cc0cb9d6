//! A client's request, read once: what routing, limits and the lanes need to know of it.
//!
//! Reading is a scan; the body becomes the neutral representation only when an attempt has to be translated, and then
//! once for all attempts. A member that decides routing or limits may not repeat, whatever the case of its escapes:
//! gateway and upstream could read different ones.

mod allowance;
mod end_user;
mod foreign_state;
mod form;
mod hybrid;
mod needs;
mod prepare;
mod restrict;

use std::sync::OnceLock;

use bytes::Bytes;

use crate::response_translation::ResponseTranslation;
use crate::{
    codec::{Head, Malformed, ResponseContext},
    defaults::Defaults,
    dialect::{Framing, Operation},
    estimate::{self, Estimate, MEDIA_TOKENS},
    inbound::MatchedPath,
    ir,
    limits::ModelLimits,
    pending::PendingStream,
    report::{Refusal, Warning},
    scan::{Kind, Repeated, Scan},
    upstream_path::UnsafeModel,
};

use hybrid::Lost;

pub use allowance::Allowance;
pub use form::{Form, PreparedForm};
pub use needs::Needs;

/// Longest model id, in bytes: every event of an answer repeats it. Resource names of clouds have some hundreds.
const MAX_MODEL: usize = 1024;

/// A client's request.
#[derive(Debug)]
pub struct ParsedRequest {
    matched: MatchedPath,
    head: Head,
    body: Bytes,
    scan: Scan,
    model: String,
    framing: Framing,
    allowance: Allowance,
    include_usage: Option<bool>,
    end_user: Option<Box<str>>,
    estimate: OnceLock<Estimate>,
    /// What is sent in the place of the body, which holds its fields then.
    form: Option<Form>,
    decoded: OnceLock<Result<ir::Request, Malformed>>,
    /// What the body lost when it was read as another dialect's than its path says.
    lost: Lost,
}

/// An upstream, as far as preparing a request for it needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// What the upstream speaks, in no order.
    pub operations: &'a [Operation],
    /// The model id at the upstream; none for the id that the client sent.
    pub model: Option<&'a str>,
    /// Most output tokens to ask for where the dialect demands a number and the client gave none.
    pub default_max_output: u64,
    /// What is said about the model beside the built-in tables.
    pub limits: ModelLimits,
    /// Most bytes of a body that a client may send: what a body may become is bounded by this and by the body itself.
    pub max_body: usize,
}

/// Most JSON objects in a body that is translated: messages, parts and tools are one each. Vendors take 100,000 messages
/// at most.
const MAX_OBJECTS: usize = 262_144;
/// What one of them is held as while it is translated, about: a block, and its place in a turn.
const OBJECT_BYTES: usize = 512;

/// How many times its length a body may become; no dialect needs twice the bytes of another for what people send.
const GROWTH: usize = 4;
/// How much longer any body may become.
const ALLOWANCE: usize = 1 << 20;

/// Most bytes that a body of this length may become for an upstream.
pub(crate) fn most_bytes(length: usize, max_body: usize) -> usize {
    let grown = length.saturating_mul(GROWTH).saturating_add(ALLOWANCE);
    grown.min(max_body.saturating_add(length))
}

/// Why a request cannot be prepared for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprepared {
    /// The upstream speaks nothing that this call can be translated to.
    #[error("the upstream does not serve this kind of call")]
    Unreachable,
    /// The body is not legal in the client's dialect.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The upstream cannot express a field that the route does not let go.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The route's own model id for the upstream cannot stand in its path.
    #[error("the route's upstream model: {0}")]
    UnsafeModel(UnsafeModel),
}

/// A request ready to be sent, but for credentials and content type.
#[derive(Debug)]
pub struct Prepared {
    /// Path and query, below the provider's base URL.
    pub path: String,
    /// Headers that the dialect asks for; they replace the client's of the same name.
    pub headers: Vec<(&'static str, String)>,
    /// JSON. The client's own bytes, uncopied, if nothing had to change. Empty if there is a form.
    pub body: Bytes,
    /// The form to send in the place of JSON.
    pub form: Option<PreparedForm>,
    /// What was changed or left out, for `x-routeapi-warnings`.
    pub warnings: Vec<Warning>,
    /// Whether it asks for usage in the stream although the client did not (`stream_options` of Chat).
    pub asks_usage: bool,
    /// The answer's way back.
    pub translation: ResponseTranslation,
}

impl Prepared {
    /// Adds those members to the body that the client did not set, and says so.
    pub fn complete(&mut self, defaults: &Defaults) {
        let (body, warnings) = defaults.apply(self.translation.operation(), std::mem::take(&mut self.body));
        self.body = body;
        self.warnings.extend(warnings);
    }
}

impl ParsedRequest {
    /// Reads a request. The body is plain JSON: content encoding has been undone.
    ///
    /// # Errors
    /// When the body is not a JSON object, names no model, or repeats a member that decides routing or limits.
    pub fn read(matched: MatchedPath, mut head: Head, mut body: Bytes) -> Result<Self, Malformed> {
        let mut scan = scanned(&body)?;
        let mut lost = Lost::default();
        if matched.operation == Operation::ChatCompletions
            && let Some(chat) = hybrid::rewritten(&scan, &body)?
        {
            (body, lost) = (chat.body, chat.lost);
            scan = scanned(&body)?;
        }
        let reading = Reading { scan: &scan, body: &body };
        let model = match &matched.model {
            // What the body says beside the path is replaced for the upstream, so it may not stand there twice either.
            Some(model) if !matched.operation.model_in_path() => {
                scan.once(&body, "model")?;
                model.clone()
            }
            Some(model) => model.clone(),
            None => reading.model()?,
        };
        if model.len() > MAX_MODEL {
            return Err(wrong("model", &format!("`model` is longer than {MAX_MODEL} bytes")));
        }
        let framing = match matched.framing {
            Some(framing) => framing,
            None if reading.stream()? && matched.operation.streams() => Framing::Sse,
            None => Framing::Whole,
        };
        let allowance = allowance::of(reading, matched.operation)?;
        let include_usage = reading.include_usage()?;
        let end_user = end_user::of(&scan, &body);
        head.model.clone_from(&matched.model);
        head.stream = matched.framing.is_some_and(|framing| framing != Framing::Whole);
        let (estimate, decoded) = (OnceLock::new(), OnceLock::new());
        Ok(Self {
            matched,
            head,
            body,
            scan,
            model,
            framing,
            allowance,
            include_usage,
            end_user,
            estimate,
            decoded,
            lost,
            form: None,
        })
    }

    /// Reads a request that is a form.
    ///
    /// # Errors
    /// As those of [`Self::read`].
    pub fn read_form(matched: MatchedPath, head: Head, form: Form) -> Result<Self, Malformed> {
        let call = Self::read(matched, head, form.to_json())?;
        Ok(Self { form: Some(form), ..call })
    }

    /// Which call.
    pub fn operation(&self) -> Operation {
        self.matched.operation
    }

    /// Whom the client says it is for, in its own words; bounded, and unverified.
    pub fn end_user(&self) -> Option<&str> {
        self.end_user.as_deref()
    }

    /// The model id as the client sent it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How the client wants the answer.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// How long the answers may be.
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Input tokens, estimated for a reservation ([`crate::estimate`]).
    pub fn estimated_input_tokens(&self) -> u64 {
        self.estimate().reserved
    }

    /// Input tokens of the texts that were sent, for answers that report none ([`crate::estimate`]).
    pub fn sent_input_tokens(&self) -> u64 {
        self.estimate().sent
    }

    fn estimate(&self) -> Estimate {
        *self.estimate.get_or_init(|| {
            let read = estimate::input(self.operation(), &self.body);
            let files = self.form.as_ref().map_or(0, |form| form.files);
            let reserved = read.reserved.saturating_add(files.saturating_mul(MEDIA_TOKENS));
            Estimate { reserved, ..read }
        })
    }

    /// More input tokens than this are no plausible count of the request ([`crate::estimate`]).
    pub fn plausible_input_tokens(&self) -> u64 {
        match &self.form {
            Some(_) => estimate::LARGEST_INPUT,
            None => estimate::plausible_input_tokens(&self.body),
        }
    }

    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes that are held for translating it, beside the body; none if no upstream needed a translation so far.
    pub fn decoded_bytes(&self) -> usize {
        match self.decoded.get() {
            Some(Ok(_)) => self.body.len().saturating_add(self.scan.objects().saturating_mul(OBJECT_BYTES)),
            Some(Err(_)) | None => 0,
        }
    }

    /// What an upstream must be able to do to serve this.
    pub fn needs(&self) -> Needs {
        needs::of(self)
    }

    /// The client's stream while no upstream has answered; none if it wants the answer in one piece.
    pub fn pending(&self, id: impl Into<String>, created: i64) -> Option<PendingStream> {
        PendingStream::new(self.operation(), self.framing, self.reply(id, created))
    }

    /// What the encoder of the answer must know: `id` is one for the answer without a dialect's prefix, `created` is
    /// in seconds since 1970. What depends on the lane, the translation adds itself.
    pub fn reply(&self, id: impl Into<String>, created: i64) -> ResponseContext {
        let include_usage = self.include_usage == Some(true);
        ResponseContext {
            model: self.model.clone(),
            id: id.into(),
            created,
            include_usage,
            ..ResponseContext::default()
        }
    }
}

/// The members that decide routing and limits.
#[derive(Clone, Copy)]
struct Reading<'a> {
    scan: &'a Scan,
    body: &'a [u8],
}

impl Reading<'_> {
    fn model(self) -> Result<String, Malformed> {
        let Some(value) = self.scan.once(self.body, "model")? else {
            return Err(wrong("model", "`model` is required"));
        };
        match value.text(self.body) {
            Some(model) if !model.is_empty() => Ok(model.into_owned()),
            Some(_) => Err(wrong("model", "`model` is empty")),
            None => Err(wrong("model", "`model` has to be a string")),
        }
    }

    fn stream(self) -> Result<bool, Malformed> {
        match self.scan.once(self.body, "stream")?.map(|value| value.kind) {
            None | Some(Kind::Null) => Ok(false),
            Some(Kind::Bool(stream)) => Ok(stream),
            Some(_) => Err(wrong("stream", "`stream` has to be true or false")),
        }
    }

    fn include_usage(self) -> Result<Option<bool>, Malformed> {
        let options = self.scan.once(self.body, "stream_options")?;
        let asked = options.and_then(|options| options.member(self.body, "include_usage"));
        Ok(asked.and_then(|value| if let Kind::Bool(asked) = value.kind { Some(asked) } else { None }))
    }
}

fn scanned(body: &[u8]) -> Result<Scan, Malformed> {
    Scan::read(body)
        .map_err(|error| Malformed { field: None, message: format!("the request body is not valid JSON: {error}") })
}

/// What is translated or rewritten is held as a tree meanwhile, so its objects are bounded beside its bytes.
fn check_objects(scan: &Scan) -> Result<(), Malformed> {
    if scan.objects() <= MAX_OBJECTS {
        return Ok(());
    }
    let message = format!("the request body holds more than {MAX_OBJECTS} JSON objects");
    Err(Malformed { field: None, message })
}

fn wrong(field: &str, message: &str) -> Malformed {
    Malformed { field: Some(field.to_owned()), message: message.to_owned() }
}

impl From<Repeated> for Malformed {
    fn from(repeated: Repeated) -> Self {
        Self { field: Some(repeated.0.to_owned()), message: repeated.to_string() }
    }
}

#[cfg(test)]
mod tests;
