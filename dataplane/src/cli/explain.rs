//! `routeapi explain`: what would become of one request. Nothing is sent, and no credential is shown.

mod affinity;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue};
use routeapi_channel::{Catalog, ObjectId, Snapshot, snapshot::Token};
use routeapi_crds::value::ProviderType;
use routeapi_metering::{Nanos, Share};
use routeapi_protocol::{
    codec::Head,
    dialect::OperationKind,
    inbound::{self, Inbound},
    model_table,
    report::{Mode, Warning},
    request::{Destination, ParsedRequest, Prepared, Unprepared},
};

use super::manifests::{self, Look};
use crate::{
    config::{
        compile,
        local::kind_name,
        runtime::{Route, Runtime, Upstream},
        terms::Terms,
    },
    request::{RequestSettings, lacking, most_output},
    state::SharedState,
    upstream::{Additions, AddressPolicy, Egress, wanted_headers},
};

const REDACTED: &str = "<redacted>";

const EXAMPLES: &str = "\
Examples:
  routeapi explain -f examples/multi-vendor --as chat examples/requests/chat.json
  routeapi explain -f examples/multi-vendor --as gemini --model assistant --stream examples/requests/gemini.json
  echo '{\"model\":\"hello\",\"messages\":[]}' | routeapi explain -f examples/quickstart.yaml --as chat -

Environment variables and Secrets are not needed; keys are never shown.";

/// What `explain` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: Look,
    /// The API that the client would call.
    #[arg(long = "as", value_enum, value_name = "API")]
    api: Api,
    /// The model; needed for gemini, whose requests name it in the path.
    #[arg(long, value_name = "ID", required_if_eq("api", "gemini"))]
    model: Option<String>,
    /// Namespace of the calling token. Needed only if the model id leads to different routes in different namespaces.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// A header of the request, such as 'session-id: 7'; needed only to see where a session stays. May be repeated.
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = affinity::header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Request a stream; only for gemini, where the path says so. For other APIs the request body does.
    #[arg(long)]
    stream: bool,
    /// The request's body, or - for standard input.
    #[arg(value_name = "REQUEST.json")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Api {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini generateContent.
    Gemini,
    /// OpenAI Embeddings.
    Embeddings,
    /// OpenAI legacy completions.
    Completions,
    /// OpenAI moderations.
    Moderations,
    /// OpenAI image generation.
    Images,
    /// OpenAI speech.
    Speech,
    /// Reranking.
    Rerank,
}

/// What is known of the call before any upstream is looked at.
struct Explained<'a> {
    request: &'a ParsedRequest,
    /// Whose tokens it is explained for; none if the same holds for all.
    namespace: Option<&'a str>,
    route: &'a Route,
    output: u64,
    default_max_output: u64,
}

/// Explains.
pub(super) fn explain(args: &Args) -> anyhow::Result<ExitCode> {
    if args.manifests.is_stdin() && args.file.as_os_str() == "-" {
        bail!("manifests and request cannot both come from standard input; use a file for one of them");
    }
    let loaded = args.manifests.load()?;
    manifests::remarks(&mut io::stderr().lock(), &loaded)?;
    manifests::print(&mut io::stderr().lock(), "error", &loaded.problems)?;
    let snapshot = &loaded.compiled.snapshot;
    let state = SharedState::new(AddressPolicy::Workstation).with_egress(Egress::read(manifests::environment)?);
    let revision = Catalog::of(snapshot)?.revision();
    // Never put in force, so that what it would change does not matter.
    let (runtime, _changes, refused) = compile::compile(snapshot, &revision, state.view(), Share::default());
    for problem in &refused {
        let name = format!("{} {}", kind_name(problem.key.kind), problem.key.id);
        writeln!(io::stderr().lock(), "error: {name}: {}", problem.message)?;
    }
    let request = read(args)?;
    let (namespace, route) = as_whom(args.namespace.as_deref(), snapshot, &runtime, request.model())?;
    let settings = RequestSettings::default();
    let explained = Explained {
        request: &request,
        namespace,
        route,
        output: most_output(&request, &settings),
        default_max_output: settings.assumed_output_tokens,
    };
    let out = &mut io::stdout().lock();
    let callers = callers(snapshot, &runtime, &explained);
    explained.head(out, &callers)?;
    let headers: HeaderMap = args.headers.iter().cloned().collect();
    affinity::show(out, route, &callers, (&request, &headers))?;
    let reachable = explained.upstreams(out)?;
    Ok(if reachable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(args: &Args) -> anyhow::Result<ParsedRequest> {
    let name = args.file.display();
    let body = if args.file.as_os_str() == "-" {
        io::read_to_string(io::stdin()).context("standard input")?.into_bytes()
    } else {
        fs::read(&args.file).with_context(|| name.to_string())?
    };
    let model = args.model.as_deref().unwrap_or_default();
    let (path, query) = match (args.api, args.stream) {
        (Api::Chat, _) => ("/v1/chat/completions".to_owned(), None),
        (Api::Responses, _) => ("/v1/responses".to_owned(), None),
        (Api::Messages, _) => ("/v1/messages".to_owned(), None),
        (Api::Embeddings, _) => ("/v1/embeddings".to_owned(), None),
        (Api::Completions, _) => ("/v1/completions".to_owned(), None),
        (Api::Moderations, _) => ("/v1/moderations".to_owned(), None),
        (Api::Images, _) => ("/v1/images/generations".to_owned(), None),
        (Api::Speech, _) => ("/v1/audio/speech".to_owned(), None),
        (Api::Rerank, _) => ("/v1/rerank".to_owned(), None),
        (Api::Gemini, false) => (format!("/v1beta/models/{model}:generateContent"), None),
        (Api::Gemini, true) => (format!("/v1beta/models/{model}:streamGenerateContent"), Some("alt=sse")),
    };
    match inbound::route("POST", &path, query)? {
        Inbound::Call(matched) => ParsedRequest::read(matched, Head::default(), Bytes::from(body))
            .map_err(|error| anyhow::anyhow!("{name}: {error}")),
        Inbound::Session(_)
        | Inbound::Stored(_)
        | Inbound::ListModels(_)
        | Inbound::GetModel { .. }
        | Inbound::Probe
        | Inbound::Health => {
            bail!("{path} is not a request to a model")
        }
    }
}

/// The route that answers, and for which namespace's tokens if that makes a difference.
fn as_whom<'a>(
    wanted: Option<&'a str>,
    snapshot: &'a Snapshot,
    runtime: &'a Runtime,
    model: &str,
) -> anyhow::Result<(Option<&'a str>, &'a Route)> {
    if let Some(namespace) = wanted {
        return match runtime.route(namespace, model) {
            Some(route) => Ok((Some(namespace), route)),
            None => bail!("no AIRoute serves model {model:?} to tokens of namespace {namespace:?}"),
        };
    }
    let tokens: BTreeSet<&str> = snapshot.tokens.keys().map(ObjectId::namespace).collect();
    let routes: BTreeSet<&str> = snapshot.routes.keys().map(ObjectId::namespace).collect();
    let answers = |namespaces: BTreeSet<&'a str>| -> BTreeMap<&'a ObjectId, (&'a str, &'a Route)> {
        let found = namespaces.into_iter().filter_map(|it| Some((it, &**runtime.route(it, model)?)));
        found.map(|(namespace, route)| (&route.id, (namespace, route))).collect()
    };
    let mut found = answers(tokens);
    if found.is_empty() {
        found = answers(routes);
    }
    let choices: Vec<String> = found.iter().map(|(id, (namespace, _))| format!("{namespace} (AIRoute {id})")).collect();
    match found.pop_first() {
        None => bail!("no AIRoute serves model {model:?}"),
        Some((_, (_, route))) if found.is_empty() => Ok((None, route)),
        Some(_) => bail!(
            "model {model:?} leads to different routes in different namespaces; set --namespace to one of: {}",
            choices.join(", ")
        ),
    }
}

/// The tokens that may make this call and reach this route with it.
fn callers<'a>(snapshot: &'a Snapshot, runtime: &Runtime, explained: &Explained<'_>) -> Vec<(&'a ObjectId, &'a Token)> {
    let may = |(id, token): (&'a ObjectId, &'a Token)| {
        let model = explained.request.model();
        let meant = explained.namespace.is_none_or(|it| it == id.namespace());
        let named = token.models.iter().any(|pattern| pattern.matches(model));
        let reaches = || runtime.route(id.namespace(), model).is_some_and(|route| route.id == explained.route.id);
        (meant && named && !token.suspended && reaches()).then_some((id, token))
    };
    snapshot.tokens.iter().filter_map(may).collect()
}

impl Explained<'_> {
    fn head(&self, out: &mut impl Write, callers: &[(&ObjectId, &Token)]) -> io::Result<()> {
        let Self { request, route, .. } = self;
        writeln!(out, "model       {}", request.model())?;
        writeln!(
            out,
            "route       {} (translation {:?}, at most {} attempts)",
            route.id, route.mode, route.fallback.max_attempts
        )?;
        let callers: Vec<String> = callers.iter().map(|(id, _)| id.to_string()).collect();
        writeln!(
            out,
            "tokens      {}",
            if callers.is_empty() { "none may use this model".to_owned() } else { callers.join(", ") }
        )?;
        let bound = if request.allowance().max_output.is_some() {
            "the client's limit"
        } else {
            "assumed; the client sets no limit"
        };
        writeln!(out, "input       about {} tokens (estimated)", request.estimated_input_tokens())?;
        match request.operation().bills_output() {
            true => writeln!(out, "output      at most {} tokens ({bound})", self.output)?,
            false => writeln!(out, "output      no tokens")?,
        }
        match &route.problem {
            Some(problem) => writeln!(out, "problem     {problem}"),
            None => Ok(()),
        }
    }

    /// Whether any upstream would take it.
    fn upstreams(&self, out: &mut impl Write) -> io::Result<bool> {
        let mut reachable = false;
        let mut dearest: Option<Nanos> = None;
        for (index, upstream) in self.route.upstreams.iter().enumerate() {
            writeln!(out, "\n{}. {}", index + 1, self.title(upstream))?;
            if upstream.weight == 0 {
                writeln!(out, "   skipped: weight 0")?;
                continue;
            }
            let Some(terms) = upstream.terms(self.request.model()) else {
                writeln!(out, "   skipped: the models list of its AIProvider does not contain this model")?;
                continue;
            };
            let lacks = lacking(&terms, self.request);
            if !lacks.is_empty() {
                writeln!(out, "   skipped: lacks the capabilities {lacks}")?;
                continue;
            }
            limits(out, &terms)?;
            self.say_if_unknown(out, upstream, &terms)?;
            let to = Destination {
                host: upstream.provider.host,
                operations: &upstream.operations,
                model: upstream.model.as_deref(),
                base_model: terms.base_model,
                default_max_output: self.default_max_output,
                limits: terms.limits,
                continued: None,
                max_body: RequestSettings::default().max_body_bytes,
            };
            match self.request.prepare(to, self.route.mode) {
                Ok(mut prepared) => {
                    if let Some(additions) = upstream.client.additions() {
                        prepared.complete(additions.defaults());
                    }
                    reachable = true;
                    request(out, upstream, &prepared)?;
                    dearest = dearest.max(self.price(out, &terms)?);
                }
                Err(Unprepared::Refused(refusal)) => writeln!(out, "   rejected  {refusal}")?,
                Err(error @ (Unprepared::Unreachable | Unprepared::Malformed(_) | Unprepared::UnsafeModel(_))) => {
                    writeln!(out, "   rejected  {error}")?;
                }
            }
        }
        writeln!(out)?;
        match (reachable, dearest) {
            (false, _) => writeln!(out, "no upstream can serve this request")?,
            (true, Some(most)) => writeln!(out, "worst case  {} for the upstream that serves", dollars(most))?,
            (true, None) => writeln!(out, "worst case  unknown: no price is set")?,
        }
        Ok(reachable)
    }

    /// Of a model that nothing is known of, a request shows only by its answer what is left out.
    fn say_if_unknown(&self, out: &mut impl Write, upstream: &Upstream, terms: &Terms<'_>) -> io::Result<()> {
        let model = terms.base_model.or(upstream.model.as_deref()).unwrap_or(self.request.model());
        let generates = self.request.operation().kind() == OperationKind::Generate;
        let is_trusted = generates && upstream.provider.type_ != ProviderType::Echo && !terms.limits.is_stated;
        if !is_trusted || model_table::knows(upstream.provider.host.vendors_id(model)) {
            return Ok(());
        }
        match self.route.mode {
            Mode::Strict => writeln!(out, "   takes     unknown: {model} is not in the model table"),
            Mode::Default | Mode::Lenient => writeln!(
                out,
                "   takes     unknown: {model} is not in the model table; a hint that it rejects is left out of a second attempt"
            ),
        }
    }

    fn title(&self, upstream: &Upstream) -> String {
        let peers = self.route.upstreams.iter().filter(|it| it.priority == upstream.priority);
        let total: u32 = peers.map(|it| it.weight).sum();
        let share = (u64::from(upstream.weight) * 100).checked_div(u64::from(total)).unwrap_or(0);
        let Upstream { name, provider, priority, .. } = upstream;
        format!(
            "{name}: AIProvider {} ({:?}), priority {priority}, {share} % of its traffic",
            provider.id, provider.type_
        )
    }

    fn price(&self, out: &mut impl Write, terms: &Terms<'_>) -> io::Result<Option<Nanos>> {
        let most = terms.price.map(|price| price.worst_case(self.request.estimated_input_tokens(), self.output));
        match most {
            Some(most) => writeln!(out, "   price     at most {}", dollars(most))?,
            None if terms.priced => writeln!(out, "   price     free")?,
            None => writeln!(out, "   price     unknown: no price is set")?,
        }
        if !terms.priced {
            writeln!(out, "   skipped for tokens with a spend limit, unless they set unpricedModels: Allow")?;
        }
        Ok(most)
    }
}

/// What the AIProvider and the AIRoute say that the model takes.
fn limits(out: &mut impl Write, terms: &Terms<'_>) -> io::Result<()> {
    let limits = terms.limits;
    if let Some(model) = terms.base_model {
        writeln!(out, "   takes     what {model} takes")?;
    }
    if let Some(most) = limits.max_output(None) {
        writeln!(out, "   takes     at most {most} output tokens")?;
    }
    let lacks: Vec<String> = limits.unsupported.iter().map(|feature| format!("{feature:?}")).collect();
    if !lacks.is_empty() {
        writeln!(out, "   takes     no {}", lacks.join(", "))?;
    } else if limits.is_stated {
        writeln!(out, "   takes     every parameter")?;
    }
    if let Some(efforts) = limits.efforts {
        let efforts: Vec<String> = efforts.iter().map(|effort| format!("{effort:?}")).collect();
        writeln!(out, "   takes     the efforts {}", efforts.join(", "))?;
    }
    Ok(())
}

fn request(out: &mut impl Write, upstream: &Arc<Upstream>, prepared: &Prepared) -> io::Result<()> {
    let additions = upstream.client.additions();
    let lane = if prepared.translation.is_passthrough() { "passed through" } else { "translated" };
    let url = match upstream.client.base() {
        Some(base) => {
            let url = base.join(&prepared.path).map_err(io::Error::other)?.to_string();
            additions.map_or(url.clone(), |additions| additions.shown_path(&url).into_owned())
        }
        None => format!("(built in) {}", prepared.path),
    };
    writeln!(out, "   {lane} as {:?}", prepared.translation.operation())?;
    if let Some(proxy) = upstream.client.proxy() {
        writeln!(out, "   through the egress proxy {proxy}")?;
    }
    writeln!(out, "   POST {url}")?;
    let added = additions.map_or(&[][..], |additions| additions.headers());
    for (name, value) in &prepared.headers {
        if !added.iter().any(|(added, _)| added == name && !Additions::is_list(added)) {
            writeln!(out, "   {name}: {value}")?;
        }
    }
    for (name, value) in added {
        let shown = if value.is_sensitive() { REDACTED } else { value.to_str().unwrap_or_default() };
        writeln!(out, "   {name}: {shown}")?;
    }
    for name in additions.map_or(&[][..], |additions| additions.forwarded()) {
        writeln!(out, "   {name}: (the client's)")?;
    }
    let authorization = upstream.client.credentials().map(|credentials| credentials.current());
    if upstream.provider.takes_client_credential {
        writeln!(out, "   {}: (the caller's own)", wanted_headers(upstream.provider.type_))?;
    }
    if let Some(name) = authorization.as_ref().and_then(|authorization| authorization.header_name()) {
        writeln!(out, "   {name}: {REDACTED}")?;
    }
    writeln!(out, "   content-type: application/json\n")?;
    match &prepared.parts[..] {
        [] => writeln!(out, "   {}\n", String::from_utf8_lossy(&prepared.body))?,
        parts => {
            writeln!(out, "   in {} calls, one after the other, which are answered as one:\n", parts.len())?;
            for part in parts {
                writeln!(out, "   {}\n", String::from_utf8_lossy(&part.body))?;
            }
        }
    }
    for warning in &prepared.warnings {
        match warning {
            Warning::Adapted { field, from, to } => writeln!(out, "   adapted   {field}: {from} becomes {to}")?,
            Warning::Dropped { field } => writeln!(out, "   dropped   {field}")?,
            Warning::Defaulted { field } => writeln!(out, "   defaulted {field}")?,
            Warning::Estimated { field } => writeln!(out, "   estimated {field}")?,
            Warning::More { count } => writeln!(out, "   and {count} more fields that were changed or dropped")?,
        }
    }
    Ok(())
}

/// Nano-dollars as dollars, without zeros at the end.
fn dollars(nanos: Nanos) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let short = text.trim_end_matches('0');
    let cents = text.find('.').map_or(text.len(), |dot| dot + 3);
    format!("${}", text.get(..short.len().max(cents)).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of a chat request to a provider with these settings.
    fn shown(provider: &serde_json::Value) -> String {
        shown_of(provider, "/v1/chat/completions", r#"{"model":"m","messages":[],"store":true}"#.to_owned())
    }

    /// What is shown of this request to a provider with these settings.
    fn shown_of(provider: &serde_json::Value, path: &str, body: String) -> String {
        let mut told = serde_json::json!({"type": "OpenAI", "baseUrl": "https://llm.example.com/v1",
            "endpoints": ["ChatCompletions"], "eviction": {"consecutiveFailures": 5, "duration": "30s"}});
        told.as_object_mut().unwrap().extend(provider.as_object().unwrap().clone());
        let timeouts = serde_json::json!({"connect": "1s", "firstContent": "1s", "streamIdle": "1s", "request": "1s"});
        let route = serde_json::json!({"models": ["m"], "listed": true, "created": 0, "translation": "Default",
            "allowedNamespaces": {"only": ["n"]},
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "2s"},
            "upstreams": [{"name": "u", "provider": "n/p", "priority": 0, "weight": 1, "timeouts": timeouts}]});
        let snapshot = serde_json::json!({"providers": {"n/p": told}, "routes": {"n/r": route}});
        let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
        let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "http://u:canary@everyones:3128".to_owned());
        let state = SharedState::new(AddressPolicy::Cluster).with_egress(Egress::read(environment).unwrap());
        let revision = Catalog::of(&snapshot).unwrap().revision();
        let (runtime, _changes, refused) = compile::compile(&snapshot, &revision, state.view(), Share::default());
        assert!(refused.is_empty(), "{refused:?}");
        let Inbound::Call(matched) = inbound::route("POST", path, None).unwrap() else { panic!() };
        let request = ParsedRequest::read(matched, Head::default(), body.into()).unwrap();
        let route = runtime.route("n", "m").unwrap();
        let explained = Explained { request: &request, namespace: None, route, output: 1, default_max_output: 1 };
        let mut out = Vec::new();
        assert!(explained.upstreams(&mut out).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn explain_shows_additions_without_secrets() {
        let text = shown(&serde_json::json!({
            "credential": {"header": {"name": "api-key", "value": "canary"}},
            "proxy": {"connect": {"url": "http://own:8080", "basicAuth": {"username": "canary", "password": "canary"}}},
            "request": {
                "headers": {"x-team": {"plain": "a"}, "x-tenant": {"secret": "canary"}},
                "queryParameters": [{"name": "v", "value": {"plain": "1"}}, {"name": "key", "value": {"secret": "canary"}}],
                "bodyDefaults": {"store": false, "temperature": 0.5},
                "forwardHeaders": ["user-agent"],
            },
        }));
        assert!(!text.contains("canary"), "{text}");
        for line in [
            "through the egress proxy http://own:8080\n",
            "POST https://llm.example.com/v1/chat/completions?v=1&key=<redacted>\n",
            "x-team: a\n",
            "x-tenant: <redacted>\n",
            "user-agent: (the client's)\n",
            "api-key: <redacted>\n",
            r#"{"temperature":0.5,"model":"m""#,
            "defaulted temperature\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(!text.contains("defaulted store"), "{text}");
        assert!(shown(&serde_json::json!({})).contains("through the egress proxy http://everyones:3128\n"));
        assert!(!shown(&serde_json::json!({"proxy": "direct"})).contains("proxy"));
    }

    #[test]
    fn explain_shows_every_call_of_a_batch() {
        let texts: Vec<String> = (0..101).map(|number| format!("text {number}")).collect();
        let body = serde_json::json!({"model": "m", "input": texts}).to_string();
        let gemini = serde_json::json!({"type": "Gemini", "baseUrl": "https://gemini.example.com"});
        let text = shown_of(&gemini, "/v1/embeddings", body);
        assert!(text.contains("in 2 calls, one after the other, which are answered as one:\n"), "{text}");
        let calls: Vec<&str> = text.lines().filter(|line| line.starts_with(r#"   {"requests":["#)).collect();
        assert_eq!(calls.len(), 2, "{text}");
        assert!(calls[0].contains("text 99\"") && calls[1].contains("text 100\""), "{text}");
    }

    #[test]
    fn amounts_show_fractions_of_cents() {
        assert_eq!(dollars(0), "$0.00");
        assert_eq!(dollars(1_500_000_000), "$1.50");
        assert_eq!(dollars(12_345), "$0.000012345");
    }
}
