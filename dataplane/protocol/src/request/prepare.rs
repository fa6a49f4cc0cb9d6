//! From a client's request to an upstream's: which lane, and the request on it.

use std::{cell::LazyCell, collections::HashSet, sync::Arc};

use bytes::Bytes;

use super::{
    bound_reasoning,
    bounds::{check_objects, most_bytes},
    foreign_state,
    parsed::ParsedRequest,
    preferred,
    prepared::{Destination, LeftOut, Prepared, Unprepared},
    restrict::{self, Restriction},
};
use crate::{
    codec::{Malformed, Target, field::Name, messages, request_echo::RequestEcho, responses::request_echo},
    count,
    dialect::{Family, Operation},
    direct::{Direct, Gives},
    embed,
    framing::Framing,
    host::{Asked, Host, Place},
    ir::{Request, ToolKind},
    lane::parts::{Codecs, Lane},
    limits::{Feature, Media},
    report::{Mode, Refusal, Report, Warning},
    response_translation::ResponseTranslation,
    scan::{Kind, Scan, Value},
    splice::{self, Edit},
};

impl ParsedRequest {
    /// Makes the request for one upstream: passed through where it speaks the client's dialect, translated to the
    /// dialect that loses least otherwise.
    ///
    /// # Errors
    /// When no lane leads there, the body is not legal, or a field would be lost that the route does not let go.
    pub fn prepare(&self, to: Destination<'_>, mode: Mode) -> Result<Prepared, Unprepared> {
        self.prepare_without(to, mode, LeftOut::default())
    }

    /// The same for an upstream that has refused something that is sent otherwise.
    ///
    /// # Errors
    /// As those of [`Self::prepare`].
    pub fn prepare_without(&self, to: Destination<'_>, mode: Mode, left_out: LeftOut) -> Result<Prepared, Unprepared> {
        let to = to.without(left_out);
        let prepared = self.prepare_in_lane(to, mode, left_out)?;
        let surface = to.surface(prepared.translation.operation(), &self.model);
        Ok(Prepared { left_out, surface, ..prepared })
    }

    fn prepare_in_lane(&self, to: Destination<'_>, mode: Mode, left_out: LeftOut) -> Result<Prepared, Unprepared> {
        let asks = !left_out.usage;
        if to.speaks(self.operation(), &self.model) {
            return self.pass(to, mode, asks);
        }
        if let Some(counted) = count::counted(self.operation()) {
            return self.translate_count(counted, to, mode);
        }
        let speaks = |operation: &&Operation| to.speaks(**operation, &self.model);
        if let Some(upstream) = embed::upstreams(self.operation()).iter().find(speaks) {
            return self.translate_embedding(*upstream, to, mode);
        }
        let spoken = preferred::operations(self.operation()).iter().filter(speaks);
        let mut spoken = spoken.filter_map(|one| Some((*one, Codecs::between(*one, self.operation())?)));
        let first = spoken.next().ok_or(Unprepared::Unreachable)?;
        let prepared = match spoken.find(|(other, _)| preferred::are_alternatives(first.0, *other)) {
            Some(other) => self.translate_either(first, other, to, (mode, left_out))?,
            None => self.translate(first, to, (mode, left_out))?,
        };
        Ok(if asks { prepared } else { prepared.without_usage() })
    }

    /// To the first of two dialects of one server, or to the other if this request loses less there.
    fn translate_either(
        &self,
        first: (Operation, Codecs),
        other: (Operation, Codecs),
        to: Destination<'_>,
        how: (Mode, LeftOut),
    ) -> Result<Prepared, Unprepared> {
        let prepared = self.translate(first, to, how);
        let decoded = self.decoded.get_or_init(|| self.decode(first.1, &self.body)).as_ref();
        // Most requests hold nothing of the kind and are written once.
        if preferred::losses(&prepared) == 0 || !decoded.is_ok_and(preferred::is_kept_by_chat_alone) {
            return prepared;
        }
        let instead = self.translate(other, to, how);
        if preferred::losses(&instead) < preferred::losses(&prepared) { instead } else { prepared }
    }

    fn pass(&self, to: Destination<'_>, mode: Mode, asks: bool) -> Result<Prepared, Unprepared> {
        let model = to.model.unwrap_or(&self.model);
        let place = self.place(self.operation(), to, self.framing, true)?;
        let mut report = Report::new(mode);
        self.report_lost(&mut report);
        let mut edits = self.model_edits(model, to.host, &place, most_bytes(self.body.len(), to.max_body))?;
        edits.extend(self.restrict(to, true, &mut report));
        edits.extend(self.continued_edit(to.continued));
        let usage = self.usage_edit().filter(|_| asks && !to.limits.lacks(Feature::StreamOptions));
        let hide_usage = usage.is_some();
        edits.extend(usage);
        to.host.report_betas(self.operation(), &self.head, &mut report);
        let foreign = foreign_state::edits(self.operation(), &self.body, &self.scan);
        let foreign = foreign.map(|(cuts, field)| {
            edits.extend(cuts);
            Warning::Dropped { field: field.into() }
        });
        let head = Some(&self.head);
        let form = self.form.as_ref().map(|form| form.with_model(model));
        let body = match &form {
            Some(_) => Bytes::new(),
            // It names no model, and has no member that is the gateway's affair.
            None if let Operation::Stored(call) = self.operation() => {
                if call.takes_body() {
                    self.body.clone()
                } else {
                    Bytes::new()
                }
            }
            None if edits.is_empty() => to.host.adapt(self.operation(), self.body.clone(), head, &mut report),
            None => to.host.adapt(self.operation(), splice::apply(&self.body, edits).into(), head, &mut report),
        };
        let mut warnings = report.finish()?;
        warnings.extend(foreign);
        let translation = ResponseTranslation {
            client: self.operation(),
            upstream: self.operation(),
            framing: self.framing,
            wire: place.wire,
            host: to.host,
            include_usage: self.include_usage == Some(true),
            candidates: self.allowance.candidates,
            lane: self.own_lane(hide_usage),
        };
        Ok(Prepared {
            path: place.path,
            headers: place.headers,
            body,
            parts: Vec::new(),
            form,
            warnings,
            asks_usage: hide_usage,
            returns_reasoning: false,
            offers_search: false,
            left_out: LeftOut::default(),
            surface: None,
            translation,
        })
    }

    /// The upstream's own id in the place of the client's.
    fn continued_edit(&self, id: Option<&str>) -> Option<Edit> {
        // The whole member, so that no upstream reads another id in it.
        let (_, stated) = self.continued_member()?;
        id.map(|id| Edit::string(stated.span.clone(), id))
    }

    /// The lane of an answer in the client's own dialect.
    fn own_lane(&self, hide_usage: bool) -> Lane {
        match self.operation() {
            Operation::Direct(direct) if direct.gives() == Gives::Anything => Lane::Raw,
            Operation::Stored(call) => Lane::Stored(call),
            _ => Lane::Passthrough { hide_usage },
        }
    }

    fn translate(
        &self,
        (upstream, codecs): (Operation, Codecs),
        to: Destination<'_>,
        (mode, left_out): (Mode, LeftOut),
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
        let returns_reasoning = upstream == Operation::Responses && bound_reasoning::is_in(request);
        let reduced;
        let request = if left_out.reasoning && returns_reasoning {
            report.dropped(Name::Reasoning.field(self.operation()));
            reduced = bound_reasoning::without(request);
            &reduced
        } else {
            request
        };
        let target = self.target(to);
        let framing = if self.framing == Framing::Whole { Framing::Whole } else { Framing::Sse };
        let place = self.place(upstream, to, framing, false)?;
        self.check_media(codecs.upstream.media(target), &mut report);
        let offers_search =
            upstream == Operation::Messages && messages::offers_search(request, self.operation(), &target.limits);
        let encoded = codecs.upstream.encode_request(request, target, self.operation(), &mut report);
        let body = to.host.adapt(upstream, encoded.body.into(), None, &mut report);
        let warnings = report.finish()?;
        let translation = ResponseTranslation {
            client: self.operation(),
            upstream,
            framing: self.framing,
            wire: place.wire,
            host: to.host,
            include_usage: self.include_usage == Some(true),
            candidates: self.allowance.candidates,
            lane: Lane::Generate {
                codecs,
                names: Arc::new(encoded.names),
                custom_tools: Arc::new(custom_tools(request)),
                echo: self.echo(),
            },
        };
        let can_ask = upstream == Operation::ChatCompletions && !to.limits.lacks(Feature::StreamOptions);
        let asks_usage = can_ask && framing == Framing::Sse;
        Ok(Prepared {
            path: place.path,
            headers: place.headers,
            body,
            parts: Vec::new(),
            form: None,
            warnings,
            asks_usage,
            returns_reasoning: returns_reasoning && !left_out.reasoning,
            offers_search,
            left_out,
            surface: None,
            translation,
        })
    }

    /// What the answer repeats of the request: that is the client's, whatever was taken out for one upstream.
    fn echo(&self) -> Option<Arc<RequestEcho>> {
        (self.operation() == Operation::Responses).then(|| Arc::new(request_echo::of(&self.scan, &self.body)))
    }

    /// Through the codecs of the call that is counted.
    fn translate_count(&self, counted: Operation, to: Destination<'_>, mode: Mode) -> Result<Prepared, Unprepared> {
        let (upstream, codecs) = preferred::operations(counted)
            .iter()
            .filter_map(|call| Some((count::counter(*call)?, Codecs::between(*call, counted)?)))
            .find(|(counter, _)| to.speaks(*counter, &self.model))
            .ok_or(Unprepared::Unreachable)?;
        let most = most_bytes(self.body.len(), to.max_body);
        let mut report = Report::within(mode, most);
        self.report_lost(&mut report);
        let edits = self.restrict(to, false, &mut report);
        let restricted;
        let request = if edits.is_empty() {
            let read = || self.decode_counted(codecs, self.body.clone());
            self.decoded.get_or_init(read).as_ref().map_err(Clone::clone)?
        } else {
            restricted = self.decode_counted(codecs, splice::apply(&self.body, edits).into())?;
            &restricted
        };
        let target = self.target(to);
        let place = self.place(upstream, to, Framing::Whole, false)?;
        let encoded = codecs.upstream.encode_request(request, target, self.operation(), &mut report);
        let body = count::wrapped(upstream, encoded.body, &to.host.resource_name(target.model)).into();
        let body = to.host.adapt(upstream, body, None, &mut report);
        let warnings = report.finish()?;
        let translation = ResponseTranslation {
            client: self.operation(),
            upstream,
            framing: Framing::Whole,
            wire: place.wire,
            host: to.host,
            include_usage: false,
            candidates: 1,
            lane: Lane::Count,
        };
        let (path, headers) = (place.path, place.headers);
        Ok(Prepared {
            path,
            headers,
            body,
            parts: Vec::new(),
            form: None,
            warnings,
            asks_usage: false,
            returns_reasoning: false,
            offers_search: false,
            left_out: LeftOut::default(),
            surface: None,
            translation,
        })
    }

    fn decode_counted(&self, codecs: Codecs, body: Bytes) -> Result<Request, Malformed> {
        let body = count::unwrapped(self.operation(), body);
        self.decode(codecs, &body).map(count::prompt_of)
    }

    fn translate_embedding(
        &self,
        upstream: Operation,
        to: Destination<'_>,
        mode: Mode,
    ) -> Result<Prepared, Unprepared> {
        let mut report = Report::new(mode);
        self.report_lost(&mut report);
        check_objects(&self.scan)?;
        let request = embed::read(self.operation(), &self.body, &mut report)?;
        let place = self.place(upstream, to, Framing::Whole, false)?;
        let model = to.model.unwrap_or(&self.model);
        let name = if place.model_in_path { to.host.resource_name(model) } else { model.to_owned() };
        let base_model = to.base_model.unwrap_or(model);
        let calls = embed::write((upstream, to.host), &request, (&name, base_model), &mut report);
        let lane = Lane::Embed { texts: request.texts.len(), base64: request.base64 };
        let warnings = report.finish()?;
        if calls.body.len() > most_bytes(self.body.len(), to.max_body) {
            return Err(Unprepared::Refused(Refusal {
                field: "input".into(),
                why: "becomes too large in the upstream's format".into(),
            }));
        }
        let translation = ResponseTranslation {
            client: self.operation(),
            upstream,
            framing: Framing::Whole,
            wire: place.wire,
            host: to.host,
            include_usage: false,
            candidates: 1,
            lane,
        };
        let (path, headers) = (place.path, place.headers);
        Ok(Prepared {
            path,
            headers,
            body: calls.body,
            parts: calls.parts,
            form: None,
            warnings,
            asks_usage: false,
            returns_reasoning: false,
            offers_search: false,
            left_out: LeftOut::default(),
            surface: None,
            translation,
        })
    }

    fn decode(&self, codecs: Codecs, body: &[u8]) -> Result<Request, Malformed> {
        check_objects(&self.scan)?;
        codecs.client.decode_request(body, &self.head)
    }

    /// The upstream as an encoder needs to know it.
    fn target<'a>(&'a self, to: Destination<'a>) -> Target<'a> {
        let Destination { model, default_max_output, limits, .. } = to;
        let base_model = to.vendors_model(&self.model);
        Target { model: model.unwrap_or(&self.model), base_model, default_max_output, limits }
    }

    /// What a model cannot see or hear would vanish from the prompt, or be refused in words about parts of its dialect.
    fn check_media(&self, reads: Option<Media>, report: &mut Report) {
        let Some(reads) = reads.filter(|reads| *reads != Media::ALL) else { return };
        let needs = self.needs();
        let rows = [(needs.vision && !reads.images, Name::Image), (needs.hearing && !reads.audio, Name::Audio)];
        for (_, name) in rows.into_iter().filter(|(is_lost, _)| *is_lost) {
            report.impossible(name.field(self.operation()), "is not supported by the upstream's model");
        }
    }

    /// Takes out what the upstream's model is said not to take. `passes` says whether the upstream reads the body itself.
    fn restrict(&self, to: Destination<'_>, passes: bool, report: &mut Report) -> Vec<Edit> {
        let restriction = Restriction { limits: to.limits, passes, model: self.target(to).table_id() };
        restrict::edits(self.operation(), &self.body, &self.scan, restriction, report)
    }

    /// Where the client named the model in the body, or where the upstream reads it there: there. Gemini's embedding and
    /// counting requests repeat the path's model, once for each text of a batch, and what they say is made to agree with
    /// it: the path's is what was allowed.
    fn model_edits(&self, model: &str, host: Host, place: &Place, most: usize) -> Result<Vec<Edit>, Refusal> {
        let body = &self.body;
        let in_path = place.model_in_path;
        // The model is in the path alone, or goes with the envelope.
        if self.operation().family() == Family::Bedrock || host.wraps(self.operation()) {
            return Ok(Vec::new());
        }
        let name = if in_path { host.resource_name(model) } else { model.to_owned() };
        // Most requests name the model as the upstream does.
        let written = LazyCell::new(|| Bytes::from(serde_json::Value::from(name.as_str()).to_string()));
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
                    edits.push(Edit { span: value.span.clone(), with: Bytes::clone(&written) });
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

    /// Where the upstream has it. An id that cannot stand in a path is the client's fault, unless the route wrote it.
    fn place(
        &self,
        operation: Operation,
        to: Destination<'_>,
        framing: Framing,
        same: bool,
    ) -> Result<Place, Unprepared> {
        let (query, head) = if same { (self.matched.query, Some(&self.head)) } else { (None, None) };
        let surface = to.surface(operation, &self.model);
        let asked = Asked { operation, model: to.model.unwrap_or(&self.model), framing, query, head, surface };
        let place = to.host.place(&asked).map_err(|error| match to.model {
            Some(_) => Unprepared::UnsafeModel(error),
            None => Unprepared::Malformed(Malformed::of("model", error.to_string())),
        })?;
        Ok(match &self.matched.path {
            Some(path) => Place { path: to.host.passed(path), ..place },
            None => place,
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

/// The tools that the client knows as free-form, whatever the upstream knows them as.
fn custom_tools(request: &Request) -> HashSet<String> {
    let custom = request.tools.iter().filter(|tool| matches!(tool.kind, ToolKind::Custom(_)));
    custom.map(|tool| tool.name.clone()).collect()
}
