//! One try at one upstream: send, wait for the head, and read until real content has come or the answer is whole.
//!
//! Nothing has gone to the client while this runs, so whatever goes wrong here can still be made good elsewhere. What is
//! read before content (role-only deltas, pings, comments) is held back within a bound. An error event, or an end, before
//! content is a failure like an error status. Dropping the future drops the connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
};
use http_body::Body;
use http_body_util::BodyExt;
use routeapi_channel::ObjectId;
use routeapi_protocol::{
    codec::ResponseContext,
    dialect::Operation,
    direct::Direct,
    framing::Framing,
    problem::{Problem, ProblemKind, RetryHints, understand},
    request::{ParsedRequest, Prepared, PreparedForm},
    response_stats::ResponseStats,
    response_translation::{ResponseStream, ResponseTranslation},
    unsupported,
};
use tokio::{task::coop::consume_budget, time::timeout_at};

use crate::{
    clock,
    config::runtime::Upstream,
    limits::Account,
    request::{
        answer::{Answer, AnswerBody, Source, UpstreamPermits},
        failure::{Cause, Failure, RawError},
        gateway::RequestSettings,
        memory::{BufferedBody, BuffersFull, MemoryPermit, UnfinishedEvent},
        outbound,
        read::FormRest,
        refusal::BUFFERS_FULL,
        settle::Guard,
        stored::{self, StoredObject},
    },
    upstream::{ClientCredential, ConnectedClient, OutboundBody, OutboundRequest, SendError, UpstreamBody},
};

mod parts;
mod web_socket;
mod whole;

/// Longest error body that is read; what is longer says nothing more.
const MAX_ERROR_BODY_BYTES: usize = 256 << 10;

/// Where Amazon's services say what an error is.
const AMAZONS_TYPE: &str = "x-amzn-errortype";

/// How long an error body is waited for once its head is there.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What one try needs.
pub(super) struct SingleAttempt<'a> {
    pub request: &'a ParsedRequest,
    /// What is still to come of a form.
    pub rest: Option<&'a FormRest>,
    pub client_headers: &'a HeaderMap,
    /// The caller's own, for an upstream that takes it.
    pub client_credential: Option<ClientCredential>,
    pub upstream: &'a Arc<Upstream>,
    /// Who asks: whose the ids of stored responses are, and the session at a cloud.
    pub token: &'a ObjectId,
    /// What the request refers to that an upstream keeps.
    pub referred: Option<&'a StoredObject>,
    /// Whose turn large answers wait for.
    pub account: &'a Account,
    /// End of the whole request.
    pub deadline: Instant,
    /// Whether an answer that was filtered away is a failure, since another upstream may do better.
    pub retries_filtered: bool,
    pub settings: &'a RequestSettings,
}

/// What is left of a prepared request once its body is on the way.
struct AwaitedResponse {
    translation: ResponseTranslation,
    response_context: ResponseContext,
    permits: UpstreamPermits,
}

impl SingleAttempt<'_> {
    /// Makes the attempt. The guard knows of it from beginning to end.
    pub(super) async fn run(&self, prepared: Prepared, guard: &mut Guard) -> Result<Answer, Box<Failure>> {
        if !prepared.parts.is_empty() {
            // Rare, and not to be kept room for by every request.
            return Box::pin(self.run_parts(prepared, guard)).await;
        }
        let (outbound, awaited) = self.begin(prepared, guard)?;
        if outbound.operation == Operation::Direct(Direct::Realtime) {
            return self.open_web_socket(&outbound, awaited, guard).await;
        }
        let (response, content_by) = self.accepted(&outbound, &awaited.translation, guard).await?;
        match awaited.translation.framing() {
            _ if awaited.translation.is_raw() => self.stream(response, awaited, content_by, guard).await,
            Framing::Whole => self.whole(response, awaited, content_by, guard).await,
            Framing::Sse | Framing::JsonArray | Framing::EventStream => {
                self.stream(response, awaited, content_by, guard).await
            }
        }
    }

    /// Takes what an attempt holds at its upstream, and forms what is sent.
    fn begin(&self, prepared: Prepared, guard: &mut Guard) -> Result<(OutboundRequest, AwaitedResponse), Box<Failure>> {
        let Some(permit) = self.upstream.provider.concurrency.try_acquire() else {
            return Err(self.upstream_busy());
        };
        let now = clock::now();
        let model = self.upstream.model.as_deref().unwrap_or(self.request.model());
        let sent = guard.attempts.begin(self.upstream, model, prepared.warnings, now.mono);
        let trace = guard.context().trace.as_ref();
        let translation = &prepared.translation;
        let passes_headers = translation.is_passthrough()
            && !translation.is_enveloped()
            && self.upstream.provider.host.takes_vendors_headers();
        let same_dialect = passes_headers.then(|| translation.operation().family());
        let outbound = OutboundRequest {
            path: prepared.path,
            headers: outbound::headers(
                self.client_headers,
                same_dialect,
                prepared.headers,
                trace,
                self.upstream.client.additions().map(|additions| &**additions),
            ),
            client_credential: self.client_credential.clone(),
            body: self.body(prepared.body, prepared.form)?,
            sent,
            operation: prepared.translation.operation(),
            wire: prepared.translation.wire(),
        };
        let awaited = AwaitedResponse {
            translation: prepared.translation,
            response_context: self.response_context(outbound.operation, guard),
            permits: (permit, self.upstream.load.begin(now.mono)),
        };
        Ok((outbound, awaited))
    }

    /// Sends the request, and waits for the head of an answer that is no error. Returns with it until when content has to
    /// come.
    async fn accepted(
        &self,
        outbound: &OutboundRequest,
        translation: &ResponseTranslation,
        guard: &mut Guard,
    ) -> Result<(Response<UpstreamBody>, Instant), Box<Failure>> {
        let (response, content_by) = self.send(outbound).await?;
        guard.attempts.set_status(response.status().as_u16());
        if !response.status().is_success() {
            let memory = MemoryPermit::new(guard.gateway(), self.account);
            return Err(self.error_answer(response, translation, memory).await);
        }
        self.upstream.provider.answered(response.status().as_u16(), false, guard.context().now.unix_seconds());
        if has_unexpected_encoding(response.headers()) {
            return Err(self.unreadable_answer(
                Cause::UnreadableAnswer,
                "answered with a content-encoding that was not asked for",
            ));
        }
        Ok((response, content_by))
    }

    /// What the answer's encoder must know. An upstream of Responses keeps its answers, under ids that the client gets as
    /// its own.
    fn response_context(&self, operation: Operation, guard: &Guard) -> ResponseContext {
        let context = guard.context();
        let made = self.request.response_context(context.id.clone(), context.now.unix_seconds());
        let keeps =
            matches!(operation, Operation::Responses | Operation::Stored(_) | Operation::Direct(Direct::Compaction));
        let stored_ids = keeps.then(|| {
            let (ids, whose) = (&guard.gateway().stored_ids, (self.token, &self.upstream.provider.id));
            stored::ids_for(ids, whose, self.request.model(), self.referred)
        });
        ResponseContext { stored_ids, ..made }
    }

    /// Sends the request, and once more if the upstream never saw it and all of it is still here. Returns the head of the
    /// answer, and until when content has to come.
    async fn send(&self, outbound: &OutboundRequest) -> Result<(Response<UpstreamBody>, Instant), Box<Failure>> {
        let client = &self.upstream.client;
        let mut connected = self.connected(client.connect(self.token)).await?;
        let mut is_repeated = false;
        loop {
            let content_by = self.content_by(clock::mono());
            match timeout_at(content_by.into(), connected.send(outbound)).await {
                Err(_) => return Err(self.timed_out()),
                Ok(Ok(response)) => return Ok((response, content_by)),
                Ok(Err(error)) if error.is_unseen() && !is_repeated && !self.has_begun() => {
                    tracing::debug!(upstream = self.name(), %error, "the request goes out once more");
                    outbound.sent.clear();
                    is_repeated = true;
                    connected = self.connected(client.reconnect(self.token)).await?;
                }
                Ok(Err(error)) => return Err(Failure::send_failed(self.upstream, &error)),
            }
        }
    }

    /// Waits for a connection within the time of the whole request.
    async fn connected<'b>(
        &self,
        connecting: impl Future<Output = Result<ConnectedClient<'b>, SendError>>,
    ) -> Result<ConnectedClient<'b>, Box<Failure>> {
        match timeout_at(self.deadline.into(), connecting).await {
            Err(_) => Err(self.timed_out()),
            Ok(connected) => connected.map_err(|error| Failure::send_failed(self.upstream, &error)),
        }
    }

    /// By when content has to come, counted from when there is a connection or stream: the upstream is not to blame for the
    /// time that a request waited for one. A client has its own time to send the rest of a form, and the upstream all of
    /// its own behind that.
    fn content_by(&self, now: Instant) -> Instant {
        let sending = self.rest.map_or(Duration::ZERO, |_| self.settings.body_total);
        let timeout = self.upstream.timeouts.first_content.saturating_add(sending);
        now.checked_add(timeout).unwrap_or(self.deadline).min(self.deadline)
    }

    /// Whether some of the rest of a form is gone.
    fn has_begun(&self) -> bool {
        self.rest.is_some_and(|rest| rest.tail.has_begun())
    }

    /// What is sent: JSON, or a form with its rest.
    fn body(&self, json: Bytes, form: Option<PreparedForm>) -> Result<OutboundBody, Box<Failure>> {
        let Some(PreparedForm { pieces, content_type }) = form else { return Ok(json.into()) };
        let content_type = HeaderValue::try_from(content_type)
            .map_err(|_| self.unreadable_answer(Cause::RequestUnformed, "cannot be sent this form"))?;
        Ok(OutboundBody::form(pieces, content_type, self.rest.map(|rest| rest.tail.clone())))
    }

    /// Reads a stream until real content has come.
    async fn stream(
        &self,
        response: Response<UpstreamBody>,
        awaited: AwaitedResponse,
        content_by: Instant,
        guard: &mut Guard,
    ) -> Result<Answer, Box<Failure>> {
        let (head, mut rest) = response.into_parts();
        let stated_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut stream = awaited.translation.stream_of(&awaited.response_context, stated_type);
        let mut held = BufferedBody::new(MemoryPermit::new(guard.gateway(), self.account));
        let mut unfinished = UnfinishedEvent::new(MemoryPermit::new(guard.gateway(), self.account));
        loop {
            // An upstream that is never silent must not keep this worker.
            consume_budget().await;
            let (ended, room) = match timeout_at(content_by.into(), rest.frame()).await {
                Err(_) => return Err(self.timed_out()),
                Ok(Some(Err(error))) => {
                    return Err(Failure::truncated(self.upstream, &format!("broke off its answer ({error})")));
                }
                Ok(None) => (true, held.push(stream.finish())),
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    if held.len() == 0 {
                        self.check_page(&head.headers, &data)?;
                    }
                    (false, held.push(stream.push(data)))
                }
            };
            unfinished.count(&mut stream).map_err(|full| self.buffers_full(full))?;
            let is_large = room.is_err() || held.len() > self.settings.max_held_bytes;
            let may_go_out = self.may_hand_over(&stream, ended, guard).map_err(|mut failure| {
                failure.keep_raw(stream.stated_error(), &head.headers);
                failure
            });
            if may_go_out? || is_large {
                let content_type = (!awaited.translation.is_raw()).then(|| awaited.translation.stream_content_type());
                let (held, _memory) = held.join();
                let rest = (!ended).then_some(rest);
                let body = AnswerBody::Stream { held, stream, rest, unfinished, content_type };
                return Ok(self.answer(
                    head.status,
                    head.headers,
                    awaited.translation.is_passthrough(),
                    body,
                    awaited.permits,
                ));
            }
            // An upstream that is never silent does not let the timer be looked at.
            if clock::mono() >= content_by {
                return Err(self.timed_out());
            }
        }
    }

    /// Whether the stream can be handed over now.
    fn may_hand_over(&self, stream: &ResponseStream, ended: bool, guard: &mut Guard) -> Result<bool, Box<Failure>> {
        let stats = stream.stats();
        guard.attempts.observe(stats);
        if let Some(problem) = &stats.error {
            // A stream that stopped early says so as an error as well, but the upstream did not.
            let cause = match (ended, stats.content) {
                (true, _) if !stream.states_error() => Cause::Truncated,
                (_, true) => Cause::LateErrorEvent,
                (_, false) => Cause::ErrorAnswer,
            };
            return Err(Failure::new(self.upstream, cause, problem.clone()));
        }
        if ended && !stats.complete && !stats.content {
            return Err(Failure::truncated(self.upstream, "ended its answer"));
        }
        let ready = ended || stats.content || stats.complete;
        if ready {
            self.check_filtered(stats)?;
        }
        Ok(ready)
    }

    /// An answer of which safety systems have left nothing, while another upstream may be asked.
    fn check_filtered(&self, stats: &ResponseStats) -> Result<(), Box<Failure>> {
        if !self.retries_filtered || !stats.content_filtered || stats.content {
            return Ok(());
        }
        let message = format!("upstream {}: the content filter left nothing of the answer", self.name());
        Err(Failure::new(self.upstream, Cause::ErrorAnswer, Problem::new(ProblemKind::ContentFiltered, message)))
    }

    /// A web page, as a captive portal or a front end answers it with status 200. Some servers call everything HTML, so
    /// what it is called is not enough.
    fn check_page(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Box<Failure>> {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html")) && understand::is_page(body) {
            let why = "answered with a web page; the baseURL of its AIProvider may be wrong";
            return Err(self.unreadable_answer(Cause::UnreadableAnswer, why));
        }
        Ok(())
    }

    /// Reads an error answer.
    async fn error_answer(
        &self,
        response: Response<UpstreamBody>,
        translation: &ResponseTranslation,
        memory: MemoryPermit,
    ) -> Box<Failure> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if matches!(status, 301 | 302 | 303 | 307 | 308) {
            let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            return Failure::redirected(self.upstream, status, location);
        }
        let now = clock::now();
        let by = now.mono.checked_add(ERROR_BODY_TIMEOUT).unwrap_or(self.deadline).min(self.deadline);
        let (body, complete) = error_body(body, by, memory).await;
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let hints = RetryHints { header: &header, now_ms: now.unix_ms.unsigned_abs() };
        let problem = translation.failure(status, hints, &body);
        self.upstream.provider.answered(status, problem.kind == ProblemKind::Authentication, now.unix_seconds());
        let mut failure = Failure::new(self.upstream, Cause::ErrorAnswer, problem);
        failure.unsupported = unsupported::read(status, header(AMAZONS_TYPE), &body);
        let is_error = (400..600).contains(&status);
        // What is none of the vendor's own, such as a proxy's page, is of no use to an SDK, and not for its user.
        let is_same = translation.is_passthrough() && !translation.is_enveloped();
        if is_same && complete && is_error && understand::is_structured(&body) {
            failure.raw = Some(RawError { status, headers: head.headers, body });
        }
        failure
    }

    fn answer(
        &self,
        status: http::StatusCode,
        headers: HeaderMap,
        same_dialect: bool,
        body: AnswerBody,
        mut permits: UpstreamPermits,
    ) -> Answer {
        permits.1.answered(clock::mono());
        let source = Source::Upstream { upstream: Arc::clone(self.upstream), same_dialect, permits };
        Answer { source, status, headers, deadline: self.deadline, body }
    }

    /// A timer ran out: the request's own, or the upstream's.
    fn timed_out(&self) -> Box<Failure> {
        if clock::now().mono >= self.deadline {
            return Failure::request_timeout(self.upstream);
        }
        Failure::first_content_timeout(self.upstream, self.upstream.timeouts.first_content)
    }

    fn upstream_busy(&self) -> Box<Failure> {
        let message = format!("upstream {} has no free slot (maxConcurrentRequests)", self.name());
        let mut problem = Problem::new(ProblemKind::Overloaded, message);
        problem.retry_after_ms = Some(1_000);
        Failure::new(self.upstream, Cause::UpstreamBusy, problem)
    }

    /// The process holds all it may: nothing that another upstream could help with.
    fn buffers_full(&self, BuffersFull: BuffersFull) -> Box<Failure> {
        let mut problem = Problem::new(ProblemKind::Overloaded, BUFFERS_FULL);
        problem.retry_after_ms = Some(1_000);
        Failure::new(self.upstream, Cause::BuffersFull, problem)
    }

    fn answer_too_large(&self) -> Box<Failure> {
        let most = self.settings.max_answer_bytes;
        let advice = if self.request.operation().streams() {
            "ask for a stream, which has no such limit"
        } else {
            "ask for less at once"
        };
        let why = format!(
            "the answer is larger than {most} bytes, the most that the gateway holds (--max-answer-bytes); {advice}"
        );
        self.unreadable_answer(Cause::AnswerTooLarge, &why)
    }

    fn unreadable_answer(&self, cause: Cause, why: &str) -> Box<Failure> {
        let message = format!("upstream {}: {why}", self.name());
        Failure::new(self.upstream, cause, Problem::new(ProblemKind::Upstream, message))
    }

    fn name(&self) -> &str {
        &self.upstream.name
    }
}

/// An encoding that nobody asked for. A stream in it could not be read for content, usage or its end.
fn has_unexpected_encoding(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    encoding.is_some_and(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity"))
}

/// An error's body up to a bound, and whether that is all of it.
async fn error_body(mut body: UpstreamBody, by: Instant, memory: MemoryPermit) -> (Bytes, bool) {
    let mut bytes = BufferedBody::new(memory);
    loop {
        match timeout_at(by.into(), body.frame()).await {
            Ok(None) => return (bytes.join().0, true),
            Ok(Some(Ok(frame))) => {
                let room = frame.into_data().map_or(Ok(()), |data| bytes.push(data));
                if room.is_err() || bytes.len() > MAX_ERROR_BODY_BYTES {
                    return (bytes.join().0, body.is_end_stream());
                }
            }
            Ok(Some(Err(_))) | Err(_) => return (bytes.join().0, false),
        }
    }
}
