//! A request's way. [`handle`] is the whole of it: a line per phase, a file per phase, in calling order; nothing later
//! calls back to anything earlier.
//!
//! What can still be told changes on the way. Until `identify` a request can only be refused; from then on its caller is
//! named in the record; from `admit` on a settlement is owed; once `relay` has begun the status stands and errors become
//! events of the client's dialect. The [`settle::Guard`] goes along from the first line to the end of the body.
//!
//! `relay` begins with an upstream's answer, or earlier: a streaming client that has heard nothing for a heartbeat
//! interval gets its head, and the attempts go on inside the response body ([`wait`]).

mod admit;
mod attempt;
mod client;
mod config_view;
mod context;
mod identify;
mod memory;
mod models;
mod offload;
mod plan;
mod printable;
mod read;
mod refusal;
mod relay;
mod respond;
mod route;
mod settle;
mod wait;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, request::Parts};
use http_body::Body;
use routeapi_protocol::inbound::{Inbound, MatchedPath};

pub(crate) use admit::most_output;
pub use client::RecordClient;
pub use offload::Offload;
pub use plan::lacking;
pub use relay::{BodyError, Deliveries, ResponseBody, end_overdue};

use self::{
    attempt::PlannedRequest,
    client::Client,
    config_view::ConfigView,
    context::Context,
    refusal::Refusal,
    settle::Guard,
    wait::{Attempts, EarlyHead},
};
use crate::{
    clock,
    config::{runtime::Runtime, store::Store},
    server::{Drain, TrustedProxies},
    telemetry::{Metrics, RecordSink},
};

/// What requests share.
pub struct Gateway {
    /// The configuration in force.
    pub config: Arc<Store>,
    /// Series about requests.
    pub metrics: Arc<Metrics>,
    /// Where finished requests are told.
    pub records: Arc<dyn RecordSink>,
    /// Whether the process is ending.
    pub drain: Drain,
    /// Threads for large requests and answers.
    pub offload: Offload,
    /// Answers that are being handed over; [`end_overdue`] looks after them.
    pub deliveries: Deliveries,
    /// Limits and timeouts.
    pub settings: RequestSettings,
}

/// Limits and timeouts of the process, not of a route.
#[derive(Clone, Debug)]
pub struct RequestSettings {
    /// Largest request body, before and after decompression.
    pub max_body_bytes: usize,
    /// Longest wait for the next piece of a request body.
    pub body_frame_idle: Duration,
    /// Longest time from a request's head to the end of its body.
    pub body_total: Duration,
    /// How long a client may take nothing of its answer. Then the request ends, and its connection (HTTP/2: its stream)
    /// is closed.
    pub client_write: Duration,
    /// Largest answer in one piece, which is held whole before any of it is handed over.
    pub max_answer_bytes: usize,
    /// Most bytes of a stream that are held back while no content has come.
    pub max_held_bytes: usize,
    /// Most bytes of request bodies, whole answers and beginnings of streams that the process holds at once; what
    /// exceeds it is answered with 503.
    pub max_buffered_bytes: usize,
    /// How long a streaming client hears nothing before a heartbeat keeps its connection open, where its route does not
    /// say; none for no heartbeats.
    pub heartbeat: Option<Duration>,
    /// Output tokens that are assumed, and asked for where a dialect demands a number, if the client sets no bound.
    pub assumed_output_tokens: u64,
    /// Proxies whose word about a client's address is taken for the record.
    pub trusted_proxies: TrustedProxies,
    /// What is recorded of clients.
    pub record_client: RecordClient,
    /// Whether the times of each route are exported as histograms.
    pub route_histograms: bool,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            body_frame_idle: Duration::from_secs(30),
            body_total: Duration::from_secs(60),
            client_write: Duration::from_secs(60),
            max_answer_bytes: 64 << 20,
            max_held_bytes: 1 << 20,
            max_buffered_bytes: 256 << 20,
            heartbeat: Some(Duration::from_secs(15)),
            assumed_output_tokens: 4_096,
            trusted_proxies: TrustedProxies::default(),
            record_client: RecordClient::default(),
            route_histograms: false,
        }
    }
}

/// Who answers.
enum Handled {
    /// The gateway itself, with this.
    Local(Vec<u8>),
    /// An upstream.
    Upstream(Box<PlannedRequest>),
}

/// Answers a request. Never fails: every way out is a response and a record.
pub async fn handle<B>(gateway: &Arc<Gateway>, peer: SocketAddr, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let RequestSettings { trusted_proxies, record_client, .. } = &gateway.settings;
    let client = Client::read(peer.ip(), request.headers(), trusted_proxies, *record_client);
    let mut guard = Guard::new(gateway, Context::read(clock::now(), peer, &request), client);
    // Boxed, so that a connection does not keep room for it while an answer streams or nothing happens.
    let serving = Box::pin(serve(gateway, request, &mut guard));
    match AssertUnwindSafe(serving).catch_unwind().await {
        Ok(Ok(Handled::Upstream(planned))) => Box::pin(answer(*planned, guard)).await,
        Ok(Ok(Handled::Local(body))) => respond::local(body, guard),
        Ok(Err(refusal)) => respond::refuse(refusal, guard),
        Err(_) => {
            gateway.metrics.panics().inc();
            respond::refuse(Refusal::Panicked, guard)
        }
    }
}

async fn serve<B>(gateway: &Arc<Gateway>, request: Request<B>, guard: &mut Guard) -> Result<Handled, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let runtime = gateway.config.current();
    let (head, body) = request.into_parts();
    let (family, inbound) = route::route(&head);
    guard.set_family(family);
    let inbound = inbound?;
    match inbound {
        Inbound::Probe => {
            guard.mark_as_probe();
            return Ok(Handled::Local(Vec::new()));
        }
        Inbound::Health => {
            guard.mark_as_probe();
            return healthy(gateway, &runtime);
        }
        Inbound::Call(_) | Inbound::ListModels(_) | Inbound::GetModel { .. } => {}
    }
    if inbound.is_unlisted() && !runtime.has_other_paths {
        return Err(Refusal::NoSuchPath { meant: None });
    }
    if let Inbound::Call(matched) = &inbound {
        guard.set_operation(matched.operation);
    }
    let caller = identify::identify(&runtime, &head, guard.context().now)?;
    guard.set_caller(&caller);
    match inbound {
        Inbound::Call(matched) => {
            let planned = plan(ConfigView::new(runtime, caller), matched, (head, body), guard).await?;
            Ok(Handled::Upstream(Box::new(planned)))
        }
        Inbound::ListModels(kind) => Ok(Handled::Local(models::list(&runtime, &caller, kind, &head))),
        Inbound::GetModel { list, id } => Ok(Handled::Local(models::get(&runtime, &caller, list, &id)?)),
        Inbound::Probe | Inbound::Health => Ok(Handled::Local(Vec::new())),
    }
}

/// What a load balancer asks of this process, as `/readyz` answers it on the admin listener.
fn healthy(gateway: &Gateway, runtime: &Runtime) -> Result<Handled, Refusal> {
    if gateway.drain.is_draining() {
        return Err(Refusal::ShuttingDown);
    }
    if runtime.revision.is_none() {
        return Err(Refusal::NotConfigured);
    }
    Ok(Handled::Local(br#"{"status":"ok"}"#.to_vec()))
}

/// A call for a model, from its body to the upstreams that are to be tried.
async fn plan<B>(
    mut view: ConfigView,
    matched: MatchedPath,
    (head, body): (Parts, B),
    guard: &mut Guard,
) -> Result<PlannedRequest, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let gateway = Arc::clone(guard.gateway());
    let read = read::read(matched, &head, body, &gateway, &mut view).await?;
    guard.set_request(&read.request);
    // The body may have been long in coming.
    view.refresh(&gateway)?;
    guard.set_caller(view.caller());
    let admission = admit::admit(view.runtime(), view.caller(), &read.request, &gateway.settings, clock::now())?;
    guard.set_admission(&admission.route, admission.reservation);
    let requested_model = (read.request.model(), read.needs);
    let plan = plan::plan(&admission.route, requested_model, &view.caller().token, guard.tenant(), guard.context())?;
    Ok(PlannedRequest { plan, read, client_headers: head.headers, view })
}

/// Tries the upstreams and hands over what one of them says, or why none did.
async fn answer(planned: PlannedRequest, guard: Guard) -> Response<ResponseBody> {
    let early = EarlyHead::of(&planned, &guard);
    let mut attempts = Attempts::begin(planned, guard);
    let result = match early {
        None => attempts.result().await,
        Some(early) => match tokio::time::timeout(early.after, attempts.result()).await {
            Ok(result) => result,
            Err(_elapsed) => return relay::wait(attempts, early),
        },
    };
    match result {
        (guard, Ok(answer)) => relay::relay(answer, guard),
        (guard, Err(refusal)) => respond::refuse(refusal, guard),
    }
}

#[cfg(test)]
mod tests;
