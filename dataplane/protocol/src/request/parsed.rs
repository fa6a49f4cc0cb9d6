//! Reads a request.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{
    allowance::{self, Allowance},
    bounds::OBJECT_BYTES,
    end_user,
    form::Form,
    hybrid::{self, Lost},
    reading::{self, Reading},
    session::{self, BodySession},
};
use crate::{
    codec::{Head, Malformed, ResponseContext},
    count,
    dialect::Operation,
    direct::Direct,
    estimate::{self, Estimate, MEDIA_TOKENS},
    framing::Framing,
    inbound::MatchedPath,
    ir,
    pending::PendingStream,
    scan::{Kind, Scan, Value},
    stored::{Continued, LONGEST_ID, StoredKind},
};

/// Longest model id, in bytes: every event of an answer repeats it. Resource names of clouds have some hundreds.
const MAX_MODEL: usize = 1024;

/// A client's request.
#[derive(Debug)]
pub struct ParsedRequest {
    pub(super) matched: MatchedPath,
    pub(super) head: Head,
    pub(super) body: Bytes,
    pub(super) scan: Scan,
    pub(super) model: String,
    pub(super) framing: Framing,
    pub(super) allowance: Allowance,
    pub(super) include_usage: Option<bool>,
    pub(super) end_user: Option<Box<str>>,
    pub(super) session: Option<BodySession>,
    pub(super) estimate: OnceLock<Estimate>,
    /// What is sent in the place of the body, which holds its fields then.
    pub(super) form: Option<Form>,
    pub(super) decoded: OnceLock<Result<ir::Request, Malformed>>,
    /// What the body lost when it was read as another dialect's than its path says.
    pub(super) lost: Lost,
}

impl ParsedRequest {
    /// Reads a request. The body is plain JSON: content encoding has been undone.
    ///
    /// # Errors
    /// When the body is not a JSON object, names no model, or repeats a member that decides routing or limits.
    pub fn read(matched: MatchedPath, mut head: Head, mut body: Bytes) -> Result<Self, Malformed> {
        let mut scan = reading::scan(&body)?;
        let mut lost = Lost::default();
        if matched.operation == Operation::ChatCompletions
            && let Some(chat) = hybrid::rewritten(&scan, &body)?
        {
            (body, lost) = (chat.body, chat.lost);
            scan = reading::scan(&body)?;
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
            return Err(Malformed::of("model", format!("`model` is longer than {MAX_MODEL} bytes")));
        }
        if is_stateful(matched.operation) {
            // They decide which upstream is asked, so that every reader has to see the same.
            let previous = scan.once(&body, "previous_response_id")?.is_some_and(|value| value.kind != Kind::Null);
            let conversation = scan.once(&body, "conversation")?.is_some_and(|value| value.kind != Kind::Null);
            if previous && conversation {
                let message = "`previous_response_id` and `conversation` exclude each other";
                return Err(Malformed::of("conversation", message));
            }
        }
        let framing = match matched.framing {
            Some(framing) => framing,
            None if reading.stream()? && matched.operation.streams() => Framing::Sse,
            None => Framing::Whole,
        };
        let allowance = allowance::of(reading, matched.operation)?;
        let include_usage = reading.include_usage()?;
        let end_user = end_user::of(&scan, &body);
        let session = session::of(&scan, &body);
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
            session,
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

    /// The session that the body says it belongs to; unverified.
    pub fn session(&self) -> Option<BodySession> {
        self.session
    }

    /// What it goes on from. An empty id, as which one is read that is too long to be anybody's or no text at all, is
    /// refused by whoever is to know it, not here.
    pub fn continued(&self) -> Option<Continued<'_>> {
        let (kind, stated) = self.continued_member()?;
        let inner = (kind == StoredKind::Conversation).then(|| stated.member(&self.body, "id")).flatten();
        let id = inner.as_ref().unwrap_or(stated);
        let id = if id.span.len() > LONGEST_ID { None } else { id.text(&self.body) };
        Some(Continued { kind, id: id.unwrap_or_default() })
    }

    /// The member by which a Responses request refers to what a vendor keeps.
    pub(super) fn continued_member(&self) -> Option<(StoredKind, &Value)> {
        let kinds =
            [StoredKind::Response, StoredKind::Conversation].into_iter().filter(|_| is_stateful(self.operation()));
        let mut stated = kinds.filter_map(|kind| Some((kind, self.scan.last(&self.body, kind.member())?)));
        stated.find(|(_, value)| value.kind != Kind::Null)
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

    /// The answer to a request that asks how long its prompt is, where no upstream can say; none for other requests. Takes
    /// time in proportion to the body.
    pub fn estimated_count(&self) -> Option<Vec<u8>> {
        count::counted(self.operation()).map(|_| count::estimated(self.operation(), &self.body))
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

    /// The client's stream while no upstream has answered; none if it wants the answer in one piece.
    pub fn pending(&self, id: impl Into<String>, created: i64) -> Option<PendingStream> {
        PendingStream::new(self.operation(), self.framing, || self.response_context(id, created))
    }

    /// What the encoder of the answer must know: `id` is one for the answer without a dialect's prefix, `created` is
    /// in seconds since 1970. What depends on the lane, the translation adds itself.
    pub fn response_context(&self, id: impl Into<String>, created: i64) -> ResponseContext {
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

/// Whether requests of this kind can refer to what a vendor keeps.
fn is_stateful(operation: Operation) -> bool {
    matches!(operation, Operation::Responses | Operation::ResponsesInputTokens | Operation::Direct(Direct::Compaction))
}
