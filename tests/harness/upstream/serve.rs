//! One exchange, in order: read, record, route, check key and rules, pick the script, answer.
//!
//! A request that breaks its dialect's rules is refused whatever the script says: a gateway that sends an illegal body
//! must not hide behind a scripted 429.

use super::answer::Answer;
use super::ask::{Ask, Dialect};
use super::check::Check;
use super::conversations::Conversations;
use super::event::Event;
use super::kept::Store;
use super::play::Played;
use super::record::{Exchange, Received, Records};
use super::refusal::{Refusal, scripted};
use super::route::{self, Endpoint, route};
use super::script::Script;
use super::stage::{Reply, Stage, request_id};
use super::wire::Line;
use super::{anthropic, chat, control, direct, form, gemini, realtime, responses, side};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Where a sidecar asks by itself: no record has it.
const HEALTH: &str = "/healthz";

/// Largest request body that is read.
const BODY_LIMIT: usize = 64 << 20;

/// Scripts in the order they are looked for: queue, model, default.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    pub default: Script,
    /// For lists of models, which a gateway asks for by itself.
    pub list: Script,
    pub models: BTreeMap<String, Script>,
    pub queue: VecDeque<Script>,
}

impl Scripts {
    fn pick(&mut self, model: &str) -> Script {
        let queued = self.queue.pop_front();
        queued.or_else(|| self.models.get(model).cloned()).unwrap_or_else(|| self.default.clone())
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub records: Arc<Records>,
    /// Of requests for lists of models.
    pub lists: Arc<Records>,
    pub scripts: Mutex<Scripts>,
    /// What clients of Responses can go on from.
    pub kept: Store,
    /// What they can go on in.
    pub conversations: Conversations,
    pub key: Option<String>,
    pub control: bool,
    pub paused: watch::Sender<bool>,
    /// How many HTTP/2 streams a connection takes.
    pub streams: Option<u32>,
    /// Changed when every connection is to take no more requests.
    pub leaving: watch::Sender<()>,
    pub open: Arc<AtomicUsize>,
    pub accepted: AtomicUsize,
    /// WebSockets, which outlive the tasks of their connections.
    pub sessions: Mutex<Vec<AbortHandle>>,
}

impl Shared {
    pub fn new(default: Script, key: Option<String>, control: bool) -> Self {
        Self {
            records: Arc::default(),
            lists: Arc::default(),
            kept: Store::default(),
            conversations: Conversations::default(),
            scripts: Mutex::new(Scripts { default, ..Scripts::default() }),
            key,
            control,
            paused: watch::Sender::new(false),
            streams: None,
            leaving: watch::Sender::new(()),
            open: Arc::default(),
            accepted: AtomicUsize::new(0),
            sessions: Mutex::default(),
        }
    }

    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

pub(super) async fn exchange(
    shared: Arc<Shared>,
    line: Arc<Line>,
    mut request: Request<Incoming>,
) -> Result<Response<Played>, anyhow::Error> {
    let at = Instant::now();
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, incoming) = request.into_parts();
    let body = read(incoming).await?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if shared.control && path.starts_with("/_") {
        return Ok(control::answer(&shared, &line, &head.method, path, &body));
    }
    if path == HEALTH {
        shared.paused.subscribe().wait_for(|paused| !paused).await?;
        return Ok(Response::new(Played::nothing()));
    }
    let (dialect, endpoint) = route(&head.method, &head.uri, &head.headers);
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let lists = endpoint == Endpoint::Models(None);
    let records = if lists { &shared.lists } else { &shared.records };
    let exchange = records.open(
        dialect,
        Received {
            id: 0,
            method: head.method.to_string(),
            path: path.to_owned(),
            version: format!("{:?}", head.version),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: body.clone(),
            at,
        },
    );

    let body = form::as_json(&head.headers, &body).await.unwrap_or_default();
    let mut model = model_of(&endpoint, &body);
    if endpoint == Endpoint::Realtime {
        model = route::parameter(&head.uri, "model").unwrap_or_default();
    }
    let mut script = {
        let mut scripts = shared.scripts.lock().unwrap();
        if lists { scripts.list.clone() } else { scripts.pick(&model) }
    };
    script.status = script.status.take().or_else(|| script.refusal(&body));
    exchange.note(|entry| entry.model.clone_from(&model));
    let mut paused = shared.paused.subscribe();
    paused.wait_for(|paused| !paused).await?;
    if script.refuse_stream {
        // hyper looks for the reason among an error's causes.
        return Err(anyhow::Error::new(h2::Error::from(h2::Reason::REFUSED_STREAM)).context("as scripted"));
    }
    if script.stall_headers {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(script.delay_headers_ms)).await;

    let allowed = authorized(dialect, &head.headers, head.uri.query(), shared.key.as_deref());
    if allowed.is_ok()
        && endpoint == Endpoint::Realtime
        && script.status.is_none()
        && realtime::is_handshake(&head.headers)
    {
        return Ok(realtime::accept(&shared, upgrade, &head.headers, script, exchange));
    }
    let reply = allowed.and_then(|()| match &endpoint {
        Endpoint::Kept(about) => shared.kept.answer(about, &head.method, &head.uri),
        Endpoint::Conversations(about) => shared.conversations.answer(about, &head.method, &body),
        _ => answer(&endpoint, dialect, &body, &head.headers, &script, (&exchange, &*shared)),
    });
    let stage = Stage { dialect, script, line, paused };
    Ok(match reply {
        _ if endpoint == Endpoint::Realtime && stage.script.status.is_some() => stage.fail(exchange),
        Err(refusal) => stage.refuse(&refusal, exchange),
        Ok(_) if stage.script.status.is_some() => stage.fail(exchange),
        Ok(reply) => stage.reply(reply, exchange),
    })
}

async fn read(mut incoming: Incoming) -> Result<Bytes, anyhow::Error> {
    let mut body = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            anyhow::ensure!(body.len() + data.len() <= BODY_LIMIT, "the request body is too large");
            body.extend_from_slice(&data);
        }
    }
    Ok(body.freeze())
}

fn model_of(endpoint: &Endpoint, body: &[u8]) -> String {
    if let Endpoint::Gemini { model, .. } = endpoint {
        return model.clone();
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["model"].as_str().unwrap_or_default().to_owned()
}

fn authorized(dialect: Dialect, headers: &HeaderMap, query: Option<&str>, key: Option<&str>) -> Check {
    let Some(key) = key else { return Ok(()) };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let mut query = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("key="));
    let given = match dialect {
        Dialect::Chat | Dialect::Responses => bearer,
        Dialect::Anthropic => header("x-api-key").or(bearer),
        Dialect::Gemini => header("x-goog-api-key").or_else(|| query.next()).or(bearer),
    };
    match given {
        Some(given) if given == key => Ok(()),
        Some(_) => Err(scripted(401)),
        None => Err(Refusal::of(401, "You didn't provide an API key.")),
    }
}

fn answer(
    endpoint: &Endpoint,
    dialect: Dialect,
    bytes: &[u8],
    headers: &HeaderMap,
    script: &Script,
    (exchange, shared): (&Exchange, &Shared),
) -> Check<Reply> {
    if let Endpoint::Models(id) = endpoint {
        let list = match dialect {
            Dialect::Anthropic => side::anthropic_models,
            Dialect::Gemini => side::gemini_models,
            _ => side::openai_models,
        };
        return list(id.as_deref()).map(|document| Reply::Document(document, 0));
    }
    if *endpoint == Endpoint::Realtime {
        return Err(Refusal::of(426, "This endpoint takes a WebSocket handshake."));
    }
    if *endpoint == Endpoint::Unknown {
        return Err(Refusal::of(404, "Unknown request URL. Please check the URL for typos."));
    }
    let body: Value = serde_json::from_slice(bytes)
        .map_err(|e| Refusal::invalid("", format!("We could not parse the JSON body: {e}")))?;
    let tolerant = script.tolerate_unknown;
    let version = headers.get("anthropic-version").and_then(|value| value.to_str().ok());
    let counted = |ask: &Ask, document: Value| {
        exchange.produced(&ask.model, false, super::answer::Usage { input: ask.input_tokens, ..Default::default() });
        Ok(Reply::Document(document, 0))
    };
    match endpoint {
        Endpoint::Chat => chat::ask(&body, tolerant).map(|ask| generate(Dialect::Chat, &ask, script, exchange)),
        Endpoint::Responses => {
            shared.kept.check(&body)?;
            let mut ask = responses::ask(&body, tolerant)?;
            ask.conversation = shared.conversations.named(&body)?;
            let reply = generate(Dialect::Responses, &ask, script, exchange);
            Ok(keep(reply, (&ask, &body), script, (exchange, shared)))
        }
        Endpoint::InputTokens => {
            shared.kept.check(&body)?;
            shared.conversations.named(&body)?;
            let ask = responses::ask(&body, tolerant)?;
            counted(&ask, json!({"object": "response.input_tokens", "input_tokens": ask.input_tokens}))
        }
        Endpoint::Embeddings => {
            let (model, document, usage) = side::openai_embeddings(&body, script)?;
            exchange.produced(&model, false, usage);
            Ok(Reply::Document(document, 0))
        }
        Endpoint::Direct(path) => direct::Request { path, body: &body, script, exchange }.answer(),
        Endpoint::Messages => {
            let ask = anthropic::ask(&body, version, false, tolerant)?;
            Ok(generate(Dialect::Anthropic, &ask, script, exchange))
        }
        Endpoint::CountTokens => {
            let ask = anthropic::ask(&body, version, true, tolerant)?;
            counted(&ask, json!({"input_tokens": ask.input_tokens}))
        }
        Endpoint::Gemini { model, verb, sse } => match verb.as_str() {
            "generateContent" | "streamGenerateContent" => {
                let mut ask = gemini::ask(model, &body, tolerant)?;
                ask.stream = verb == "streamGenerateContent";
                ask.sse = *sse;
                Ok(generate(Dialect::Gemini, &ask, script, exchange))
            }
            "countTokens" => {
                let inner = body.get("generateContentRequest").unwrap_or(&body);
                let ask = gemini::ask(model, inner, tolerant)?;
                counted(&ask, json!({"totalTokens": ask.input_tokens}))
            }
            "embedContent" | "batchEmbedContents" => {
                let (document, usage) = side::gemini_embeddings(&body, verb == "batchEmbedContents", script)?;
                exchange.produced(model, false, usage);
                Ok(Reply::Document(document, 0))
            }
            other => Err(Refusal::of(404, format!("{other} is not a method of models"))),
        },
        Endpoint::Models(_)
        | Endpoint::Kept(_)
        | Endpoint::Conversations(_)
        | Endpoint::Realtime
        | Endpoint::Unknown => Err(Refusal::of(404, "answered above")),
    }
}

/// An answer of Responses is kept before it is given.
fn keep(reply: Reply, (ask, body): (&Ask, &Value), script: &Script, (exchange, shared): (&Exchange, &Shared)) -> Reply {
    let answer = Answer::decide(exchange.id, ask, script);
    let document = shared.kept.keep(body, responses::whole(ask, &answer), responses::events(ask, &answer));
    if let Some(id) = &ask.conversation {
        shared.conversations.add(id, &body["input"], &document["output"]);
    }
    match reply {
        Reply::Document(_, tokens) => Reply::Document(document, tokens),
        Reply::Stream { .. } => reply,
    }
}

fn generate(dialect: Dialect, ask: &Ask, script: &Script, exchange: &Exchange) -> Reply {
    let answer = Answer::decide(exchange.id, ask, script);
    let streamed = ask.stream && !script.ignore_stream;
    exchange.produced(&ask.model, streamed, answer.usage);
    if !streamed {
        let document = match dialect {
            Dialect::Chat => chat::whole(ask, &answer),
            Dialect::Responses => responses::whole(ask, &answer),
            Dialect::Anthropic => anthropic::whole(ask, &answer),
            Dialect::Gemini => gemini::whole(ask, &answer),
        };
        return Reply::Document(document, answer.usage.output);
    }
    let refusal = scripted(503);
    let error = refusal.body(dialect, &request_id(exchange.id));
    let sse = "text/event-stream; charset=utf-8";
    let (events, heartbeat, error) = match dialect {
        Dialect::Chat => (chat::events(ask, &answer), Event::raw(": keep-alive\n\n"), Event::data(&error)),
        Dialect::Responses => {
            // `error_after` counts deltas; four events open the answer.
            let sent = script.error_after.map_or(0, |contents| contents + 4);
            let failure = responses::failure(ask, &answer, sent, &refusal.message);
            (responses::events(ask, &answer), Event::raw(": keep-alive\n\n"), failure)
        }
        Dialect::Anthropic => {
            let overloaded = scripted(529).body(dialect, &request_id(exchange.id));
            (anthropic::events(ask, &answer), anthropic::ping(), Event::named(&overloaded))
        }
        Dialect::Gemini if ask.sse => (gemini::events(ask, &answer), Event::raw("\n"), Event::data(&error)),
        Dialect::Gemini => {
            let open = if script.error_after == Some(0) { "[" } else { ",\r\n" };
            let error = Event::raw(format!("{open}{error}]"));
            let events = gemini::events(ask, &answer);
            return Reply::Stream { events, heartbeat: Event::raw("\n"), error, content_type: "application/json" };
        }
    };
    Reply::Stream { events, heartbeat, error, content_type: sse }
}
