//! A request's way. [`handle`] is the whole of it: a line per phase, a file per phase, in calling order; nothing later
//! calls back to anything earlier.
//!
//! | phase | decides |
//! |---|---|
//! | [`route`] | which operation, and in whose dialect the answer is |
//! | [`identify`] | who calls |
//! | [`read`] | what the client asks for |
//! | [`admit`] | whether it may, and reserves what it may use |
//! | [`plan`] | which upstreams, in which order |
//! | [`attempt`] | which of them serves |
//! | [`relay`] | how the answer reaches the client |
//!
//! [`respond`] turns a refusal of any of them into status and body. What can still be reported changes on the way: until
//! `identify` a request can only be refused; from then on its caller is named in the record; from `admit` on a settlement
//! is owed; once `relay` has begun the status stands and errors become events of the client's dialect. The
//! [`settle::Guard`] goes along from the first line to the end of the body.
//!
//! `relay` begins with an upstream's answer, or earlier: a streaming client that has heard nothing for a heartbeat
//! interval gets its head, and the attempts go on inside the response body ([`wait`]). The other files are what several
//! phases use: nouns ([`answer`], [`failure`], [`refusal`], [`outcome`], [`caller`], …) and what is asked again before
//! each attempt ([`access`], [`capabilities`], [`config_view`]).

mod access;
mod admit;
mod affinity;
mod answer;
mod attempt;
mod caller;
mod capabilities;
mod client;
mod common_headers;
mod config_view;
mod context;
mod deadline;
mod deliveries;
mod failure;
mod gateway;
mod identify;
mod memory;
mod models;
mod offload;
mod outbound;
mod outcome;
mod overdue;
mod plan;
mod printable;
mod read;
mod realtime;
mod refusal;
mod relay;
mod respond;
mod response_headers;
mod route;
mod settle;
mod stored;
mod wait;
mod warnings;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, request::Parts};
use http_body::Body;
use routeapi_protocol::{
    dialect::Operation,
    inbound::{Inbound, MatchedPath},
};

pub(crate) use admit::most_output;
pub use affinity::named_session;
pub use capabilities::lacking;
pub use client::RecordClient;
pub(crate) use common_headers::{REQUEST_ID, name_request};
pub use deliveries::Deliveries;
pub use gateway::{Gateway, RequestSettings, SessionSettings};
pub use offload::Offload;
pub use overdue::end_overdue;
pub(crate) use printable::printable;
pub use relay::{BodyError, ResponseBody};
pub(crate) use respond::in_dialect;
pub(crate) use route::{family_of_path, wants_web_socket};

use self::{
    answer::Answer,
    attempt::PlannedRequest,
    client::Client,
    config_view::ConfigView,
    context::Context,
    deadline::deadline_in,
    realtime::Handshake,
    refusal::Refusal,
    settle::Guard,
    stored::StoredObject,
    wait::{Attempts, EarlyHead},
};
use crate::{clock, config::runtime::Runtime};

/// Who answers.
enum Handled {
    /// The gateway itself, with this.
    Local(Vec<u8>),
    /// An upstream.
    Upstream(Box<PlannedRequest>),
    /// An upstream, over a WebSocket.
    Session(Box<PlannedRequest>, Box<Handshake>),
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
        Ok(Ok(Handled::Session(planned, handshake))) => Box::pin(open_session(*planned, *handshake, guard)).await,
        Ok(Ok(Handled::Local(body))) => local(body, guard),
        Ok(Err(refusal)) => refuse(refusal, guard),
        Err(_) => {
            gateway.metrics.panics().inc();
            refuse(Refusal::Panicked, guard)
        }
    }
}

async fn serve<B>(gateway: &Arc<Gateway>, request: Request<B>, guard: &mut Guard) -> Result<Handled, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let runtime = gateway.config.current();
    let (mut head, body) = request.into_parts();
    let (family, inbound) = route::route(&head);
    guard.facts.set_family(family);
    let inbound = inbound?;
    match inbound {
        Inbound::Probe => {
            guard.facts.mark_as_probe();
            return Ok(Handled::Local(Vec::new()));
        }
        Inbound::Health => {
            guard.facts.mark_as_probe();
            return healthy(gateway, &runtime);
        }
        Inbound::Call(_)
        | Inbound::Session(_)
        | Inbound::Stored(_)
        | Inbound::ListModels(_)
        | Inbound::GetModel { .. } => {}
    }
    if inbound.is_unlisted() && !runtime.has_other_paths {
        return Err(Refusal::NoSuchPath { meant: None });
    }
    if let Inbound::Call(matched) | Inbound::Session(matched) = &inbound {
        guard.facts.set_operation(matched.operation);
    }
    if let Inbound::Stored(path) = &inbound {
        guard.facts.set_operation(Operation::Stored(path.call));
    }
    let caller = identify::identify(&runtime, &gateway.service_accounts, &head, guard.context().now)?;
    guard.facts.set_caller(&caller);
    match inbound {
        Inbound::Call(matched) => {
            let planned = plan(ConfigView::new(runtime, caller), (matched, None), (head, body), guard).await?;
            Ok(Handled::Upstream(Box::new(planned)))
        }
        Inbound::Stored(path) => {
            let takes_body = path.call.takes_body();
            let request = stored::matched(&path, (&runtime, &caller), &gateway.stored_ids)?;
            let view = ConfigView::new(runtime, caller);
            let planned = if takes_body {
                plan(view, request, (head, body), guard).await?
            } else {
                let body = stored::no_body(&mut head.headers);
                plan(view, request, (head, body), guard).await?
            };
            Ok(Handled::Upstream(Box::new(planned)))
        }
        Inbound::Session(matched) => {
            let handshake = Handshake::read(&mut head, &matched, gateway)?;
            let request = (head, Handshake::body());
            let planned = plan(ConfigView::new(runtime, caller), (matched, None), request, guard).await?;
            Ok(Handled::Session(Box::new(planned), Box::new(handshake)))
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

/// A call for a model, or about something stored, from its body to the upstreams that are to be tried.
async fn plan<B>(
    mut view: ConfigView,
    (matched, subject): (MatchedPath, Option<Box<StoredObject>>),
    (head, body): (Parts, B),
    guard: &mut Guard,
) -> Result<PlannedRequest, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let gateway = Arc::clone(guard.gateway());
    if gateway.records.is_refusing() {
        return Err(Refusal::LedgerFull);
    }
    let read = read::read(matched, &head, body, &gateway, &mut view).await?;
    guard.set_request(&read.request);
    // The body may have been long in coming.
    view.refresh(&gateway)?;
    guard.facts.set_caller(view.caller());
    let admitting = admit::admit(view.runtime(), view.caller(), &read.request, &gateway.settings, clock::now());
    let admission = admitting.await?;
    guard.set_admission(&admission.route, admission.reservation);
    let requested_model = (read.request.model(), read.needs);
    let token = &view.caller().token;
    let session = named_session(admission.route.affinity.as_ref(), &token.id, &head.headers, &read.request);
    let stored = subject.or_else(|| StoredObject::continued(&read.request, &token.id, &gateway.stored_ids));
    let whose = (guard.facts.tenant(), session);
    let plan = plan::plan(&admission.route, (requested_model, stored), token, whose, guard.context())?;
    guard.facts.set_home(plan.home.as_ref());
    Ok(PlannedRequest { plan, read, client_headers: head.headers, view })
}

/// Opens a session at one of the upstreams, or says why there is none.
async fn open_session(planned: PlannedRequest, handshake: Handshake, guard: Guard) -> Response<ResponseBody> {
    match realtime::open(planned, handshake, guard).await {
        Ok(response) => response,
        Err(refused) => {
            let (refusal, guard) = *refused;
            refuse(refusal, guard)
        }
    }
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
        (guard, Err(refusal)) => refuse(refusal, guard),
    }
}

/// Hands over what the gateway says itself.
fn local(body: Vec<u8>, guard: Guard) -> Response<ResponseBody> {
    let deadline = deadline_in(guard.context().now.mono, guard.gateway().settings.client_write);
    relay::relay(Answer::local(body, deadline), guard)
}

fn refuse(refusal: Refusal, guard: Guard) -> Response<ResponseBody> {
    respond::refuse(refusal, guard).map(ResponseBody::full)
}

#[cfg(test)]
mod tests;
