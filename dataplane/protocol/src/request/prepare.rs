//! From a client's request to an upstream's: which lane, and the request on it.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

use super::{
    Destination, ParsedRequest, Prepared, Unprepared, check_objects, foreign_state, most_bytes,
    restrict::{self, Restriction},
    wrong,
};
use crate::{
    codec::{Malformed, Target, chat},
    dialect::{Family, Framing, Operation},
    direct::{Direct, Gives},
    ir::{Request, ToolKind},
    lane::Codecs,
    limits::Feature,
    report::{Mode, Refusal, Report, Warning},
    response_translation::{Lane, ResponseTranslation},
    scan::{Kind, Scan, Value},
    splice::{self, Edit},
    upstream_path,
};

/// The version that Anthropic's API is called with where the client states none (docs/protocols/messages.md).
const ANTHROPIC_VERSION: &str = "2023-06-01";

impl ParsedRequest {
    /// Makes the request for one upstream: passed through where it speaks the client's dialect, translated to the
    /// dialect that loses least otherwise.
    ///
    /// # Errors
    /// When no lane leads there, the body is not legal, or a field would be lost that the route does not let go.
    pub fn prepare(&self, to: Destination<'_>, mode: Mode) -> Result<Prepared, Unprepared> {
        self.prepare_asking(to, mode, true)
    }

    /// The same for an upstream that refuses `stream_options`: a Chat stream is not asked for its usage, unless the client
    /// does so itself.
    ///
    /// # Errors
    /// As those of [`Self::prepare`].
    pub fn prepare_without_usage(&self, to: Destination<'_>, mode: Mode) -> Result<Prepared, Unprepared> {
        self.prepare_asking(to, mode, false)
    }

    fn prepare_asking(&self, to: Destination<'_>, mode: Mode, asks: bool) -> Result<Prepared, Unprepared> {
        if to.operations.contains(&self.operation()) {
            return self.pass(to, mode, asks);
        }
        let spoken = preferred(self.operation()).iter().filter(|operation| to.operations.contains(operation));
        for operation in spoken {
            if let Some(codecs) = Codecs::between(*operation, self.operation()) {
                let prepared = self.translate(*operation, codecs, to, mode)?;
                return Ok(if asks { prepared } else { prepared.without_usage() });
            }
        }
        Err(Unprepared::Unreachable)
    }

    fn pass(&self, to: Destination<'_>, mode: Mode, asks: bool) -> Result<Prepared, Unprepared> {
        let model = to.model.unwrap_or(&self.model);
        let path = self.path(self.operation(), to, self.framing, self.matched.query)?;
        let mut report = Report::new(mode);
        self.report_lost(&mut report);
        let mut edits = self.model_edits(model, most_bytes(self.body.len(), to.max_body))?;
        edits.extend(self.restrict(to, true, &mut report));
        let usage = self.usage_edit().filter(|_| asks && !to.limits.lacks(Feature::StreamOptions));
        let hide_usage = usage.is_some();
        edits.extend(usage);
        let mut warnings = report.finish()?;
        if let Some((cuts, field)) = foreign_state::edits(self.operation(), &self.body, &self.scan) {
            edits.extend(cuts);
            warnings.push(Warning::Dropped { field: field.into() });
        }
        let form = self.form.as_ref().map(|form| form.with_model(model));
        let body = match &form {
            Some(_) => Bytes::new(),
            None if edits.is_empty() => self.body.clone(),
            None => Bytes::from(splice::apply(&self.body, edits)),
        };
        let translation = ResponseTranslation {
            client: self.operation(),
            upstream: self.operation(),
            framing: self.framing,
            include_usage: self.include_usage == Some(true),
            candidates: self.allowance.candidates,
            lane: self.own_lane(hide_usage),
        };
        Ok(Prepared {
            path,
            headers: self.dialect_headers(),
            body,
            form,
            warnings,
            asks_usage: hide_usage,
            translation,
        })
    }

    /// The lane of an answer in the client's own dialect.
    fn own_lane(&self, hide_usage: bool) -> Lane {
        match self.operation() {
            Operation::Direct(direct) if direct.gives() == Gives::Anything => Lane::Raw,
            _ => Lane::Passthrough { hide_usage },
        }
    }

    fn translate(
        &self,
        upstream: Operation,
        codecs: Codecs,
        to: Destination<'_>,
        mode: Mode,
    ) -> Result<Prepared, Unprepared> {
        let mut report = Report::within(mode, most_bytes(self.body.len(), to.max_body));
        self.report_lost(&mut report);
        let edits = self.restrict(to, false, &mut report);
        let restricted;
        let request = if edits.is_empty() {
            self.decoded.get_or_init(|| self.decode(codecs, &self.body)).as_ref().map_err(Clone::clone)?
        } else {
            // For this upstream alone.
            restricted = self.decode(codecs, &splice::apply(&self.body, edits))?;
            &restricted
        };
        let model = to.model.unwrap_or(&self.model);
        let target = Target { model, default_max_output: to.default_max_output, limits: to.limits };
        let framing = if self.framing == Framing::Whole { Framing::Whole } else { Framing::Sse };
        let path = self.path(upstream, to, framing, None)?;
        let encoded = codecs.upstream.encode_request(request, target, self.operation(), &mut report);
        let warnings = report.finish()?;
        let translation = ResponseTranslation {
            client: self.operation(),
            upstream,
            framing: self.framing,
            include_usage: self.include_usage == Some(true),
            candidates: self.allowance.candidates,
            lane: Lane::Translated {
                codecs,
                names: Arc::new(encoded.names),
                custom_tools: Arc::new(custom_tools(request)),
            },
        };
        let can_ask = upstream == Operation::ChatCompletions && !to.limits.lacks(Feature::StreamOptions);
        let asks_usage = can_ask && framing == Framing::Sse;
        Ok(Prepared {
            path,
            headers: encoded.headers,
            body: encoded.body.into(),
            form: None,
            warnings,
            asks_usage,
            translation,
        })
    }

    fn decode(&self, codecs: Codecs, body: &[u8]) -> Result<Request, Malformed> {
        check_objects(&self.scan)?;
        codecs.client.decode_request(body, &self.head)
    }

    /// Takes out what the upstream's model is said not to take. `passes` says whether the upstream reads the body itself.
    fn restrict(&self, to: Destination<'_>, passes: bool, report: &mut Report) -> Vec<Edit> {
        let chat_limit = chat::limit_name(to.model.unwrap_or(&self.model));
        let restriction = Restriction { limits: to.limits, passes, chat_limit };
        restrict::edits(self.operation(), &self.body, &self.scan, restriction, report)
    }

    /// Where the client named the model in the body, or where the upstream reads it there: there. Gemini's embedding and
    /// counting requests repeat the path's model, once for each text of a batch, and what they say is made to agree with
    /// it: the path's is what was allowed.
    fn model_edits(&self, model: &str, most: usize) -> Result<Vec<Edit>, Refusal> {
        let body = &self.body;
        let in_path = self.operation().model_in_path();
        let name = if in_path { upstream_path::resource_name(model) } else { model.to_owned() };
        let written = Bytes::from(serde_json::Value::from(name.as_str()).to_string());
        let mut left = most.saturating_sub(body.len());
        let (mut edits, mut fits) = (Vec::new(), true);
        let mut rename = |value: Option<&Value>| {
            let text = value.and_then(|value| value.text(body));
            if let Some(value) = value.filter(|_| text.is_some_and(|text| text != name.as_str() && text != model)) {
                // The edit itself is held as well until the body is written.
                match left.checked_sub(written.len().saturating_add(size_of::<Edit>())) {
                    Some(less) => left = less,
                    None => fits = false,
                }
                if fits {
                    edits.push(Edit { span: value.span.clone(), with: written.clone() });
                }
            }
        };
        let stated = self.scan.last(body, "model");
        if self.matched.model.is_some()
            && !in_path
            && stated.is_none_or(|value| !matches!(value.kind, Kind::String { .. }))
        {
            edits.extend(self.stated_model(stated, &name));
            return Ok(edits);
        }
        rename(stated);
        if !in_path {
            return Ok(edits);
        }
        for name in ["generateContentRequest", "generate_content_request"] {
            let inner = self.scan.last(body, name).and_then(|value| value.member(body, "model"));
            rename(inner.as_ref());
        }
        if let Some(requests) = self.scan.last(body, "requests") {
            requests.each_element(body, |request| rename(request.member(body, "model").as_ref()));
        }
        if fits {
            return Ok(edits);
        }
        let why = format!("expands to more than {most} bytes with the upstream's model in each request");
        Err(Refusal { field: "requests".into(), why: why.into() })
    }

    /// For a client that names the model in the path alone (Azure's deployments): the member that everybody else reads.
    fn stated_model(&self, stated: Option<&Value>, name: &str) -> Option<Edit> {
        let written = serde_json::Value::from(name).to_string();
        if let Some(value) = stated {
            return Some(Edit { span: value.span.clone(), with: written.into() });
        }
        let start = memchr::memchr(b'{', &self.body)?;
        Some(Edit::first_member(start, self.scan.members().is_empty(), &format!("\"model\":{written}")))
    }

    /// Asks an upstream of Chat or of legacy completions for usage in the stream, unless the client has said whether it
    /// wants it and said yes.
    fn usage_edit(&self) -> Option<Edit> {
        let chat_stream = self.framing == Framing::Sse
            && matches!(self.operation(), Operation::ChatCompletions | Operation::Direct(Direct::Completions));
        if !chat_stream || self.include_usage == Some(true) {
            return None;
        }
        const ASK: &str = "\"include_usage\":true";
        let Some(options) = self.scan.last(&self.body, "stream_options") else {
            let start = memchr::memchr(b'{', &self.body)?;
            let member = format!("\"stream_options\":{{{ASK}}}");
            return Some(Edit::first_member(start, self.scan.members().is_empty(), &member));
        };
        match options.kind {
            Kind::Null => Some(Edit { span: options.span.clone(), with: format!("{{{ASK}}}").into() }),
            Kind::Object { empty } => Some(match options.member(&self.body, "include_usage") {
                Some(asked) => Edit { span: asked.span, with: Bytes::from_static(b"true") },
                None => Edit::first_member(options.span.start, empty, ASK),
            }),
            // Not ours to mend: the upstream refuses it in its own words.
            _ => None,
        }
    }

    fn dialect_headers(&self) -> Vec<(&'static str, String)> {
        if self.operation().family() != Family::Anthropic {
            return Vec::new();
        }
        let version = self.head.anthropic_version.as_deref().unwrap_or(ANTHROPIC_VERSION);
        let mut headers = vec![("anthropic-version", version.to_owned())];
        if !self.head.anthropic_beta.is_empty() {
            headers.push(("anthropic-beta", self.head.anthropic_beta.join(",")));
        }
        headers
    }

    /// The upstream's path. An id that cannot stand in it is the client's fault, unless the route wrote it.
    fn path(
        &self,
        operation: Operation,
        to: Destination<'_>,
        framing: Framing,
        query: Option<&'static str>,
    ) -> Result<String, Unprepared> {
        if let Some(path) = &self.matched.path {
            return Ok(path.clone());
        }
        let built = upstream_path::build(operation, to.model.unwrap_or(&self.model), framing, query);
        built.map_err(|error| match to.model {
            Some(_) => Unprepared::UnsafeModel(error),
            None => Unprepared::Malformed(wrong("model", &error.to_string())),
        })
    }

    fn report_lost(&self, report: &mut Report) {
        self.lost.report(report);
        if self.matched.unknown_query {
            report.dropped("query");
        }
    }
}

impl Prepared {
    /// A translated request without the question for usage.
    fn without_usage(self) -> Self {
        const NAME: &str = ",\"stream_options\":";
        let options =
            Scan::read(&self.body).ok().and_then(|scan| scan.last(&self.body, "stream_options")?.span.clone().into());
        let Some(options) = options.filter(|_| self.asks_usage) else { return self };
        // The encoder has written the member itself: behind another, and without white space.
        let span = options.start.saturating_sub(NAME.len())..options.end;
        debug_assert!(self.body.get(span.clone()).is_some_and(|bytes| bytes.starts_with(NAME.as_bytes())));
        let body = splice::apply(&self.body, vec![Edit { span, with: Bytes::new() }]);
        Self { body: body.into(), asks_usage: false, ..self }
    }
}

/// The dialects to translate to, least loss first. Responses expresses reasoning that Chat cannot replay.
const fn preferred(from: Operation) -> &'static [Operation] {
    match from {
        Operation::ChatCompletions => &[Operation::Responses, Operation::Messages, Operation::GenerateContent],
        Operation::Responses => &[Operation::ChatCompletions, Operation::Messages, Operation::GenerateContent],
        Operation::Messages => &[Operation::Responses, Operation::ChatCompletions, Operation::GenerateContent],
        Operation::GenerateContent => &[Operation::Responses, Operation::ChatCompletions, Operation::Messages],
        _ => &[],
    }
}

/// The tools that the client knows as free-form, whatever the upstream knows them as.
fn custom_tools(request: &Request) -> HashSet<String> {
    let custom = request.tools.iter().filter(|tool| matches!(tool.kind, ToolKind::Custom(_)));
    custom.map(|tool| tool.name.clone()).collect()
}
