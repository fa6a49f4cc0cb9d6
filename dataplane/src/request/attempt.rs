//! The fallback loop: prepare the request for an upstream, try it, judge a failure, and try the next.
//!
//! - An upstream that cannot be reached from the client's API, or cannot express what it asks for, is passed over
//!   without an attempt; another that can is tried first.
//! - One that is cooling down is left for the end and then waited for, if the pause is at most `maxRetryAfter`.
//! - Of the evicted ones at most one is tried, when nothing else is left: a dead route is not hit once per upstream.
//! - Going on after an answer that was made in vain, or back to an upstream already asked, takes from the retry budget.
//! - When all fail, the most telling failure is the answer.
//! - Before each attempt the caller, the route and the upstream are looked up again: what was taken away meanwhile is
//!   not used, and a key that was rotated is the new one.

mod estimate;
mod missing_api;
mod repeat;
mod resume;
mod single;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use routeapi_channel::ObjectId;
use routeapi_crds::value::FallbackCondition;
use routeapi_protocol::{
    codec::Malformed,
    report::{self, Mode},
    request::{Destination, LeftOut, Prepared, Unprepared},
};
use tokio::time::sleep_until;

use self::{missing_api::missing_api, repeat::Repeats, resume::resume_at, single::SingleAttempt};
use super::{
    access,
    answer::Answer,
    capabilities,
    config_view::ConfigView,
    failure::{Cause, Failure, TryAnother},
    gateway::Gateway,
    identify,
    memory::{BuffersFull, MemoryPermit},
    offload::DeadlinePassed,
    outbound,
    plan::Plan,
    read::{FormRest, ReadRequest},
    refusal::Refusal,
    settle::Guard,
    stored::StoredObject,
};
use crate::{
    clock,
    config::runtime::{Route, Upstream},
    state::Availability,
    upstream::{Authorization, ClientCredential, Credentials, wanted_headers},
};

/// How often a request is prepared anew for an upstream whose configuration changes meanwhile.
const MAX_PREPARATIONS: usize = 3;

/// A call that upstreams are to be tried for.
pub(super) struct PlannedRequest {
    /// Which, and until when.
    pub plan: Plan,
    /// What the client asks for.
    pub read: Arc<ReadRequest>,
    /// The client's headers.
    pub client_headers: HeaderMap,
    /// Whether it may still go on.
    pub view: ConfigView,
}

/// Tries the planned upstreams until one serves. Where none of them can count tokens, the gateway estimates.
pub(super) async fn attempt(planned: PlannedRequest, guard: &mut Guard) -> Result<Answer, Refusal> {
    let gateway = Arc::clone(guard.gateway());
    let PlannedRequest { plan, read, client_headers, view } = planned;
    let mut fallback = FallbackLoop::new(&plan, &read, &client_headers, view, &gateway);
    let refusal = match fallback.try_all(guard).await {
        Ok(Some(answer)) => return Ok(answer),
        Ok(None) => fallback.final_error(),
        Err(refusal) => refusal,
    };
    // Rare, and not to be kept room for by every request.
    Box::pin(estimate::in_place_of(refusal, (&plan, &read), guard)).await
}

struct FallbackLoop<'a> {
    plan: &'a Plan,
    read: &'a Arc<ReadRequest>,
    client_headers: &'a HeaderMap,
    gateway: &'a Gateway,
    view: ConfigView,
    /// The plan's, as it is configured now.
    route: Arc<Route>,
    attempts: u32,
    /// Upstreams whose turn is still to come.
    untried: usize,
    tried_evicted: bool,
    failures: Vec<Failure>,
    cooling_down: Vec<CoolingDown>,
    /// The request as it was read for a translation, for as long as there may be another.
    decoded: MemoryPermit,
    unreachable: Vec<String>,
    refused: Option<(report::Refusal, String)>,
    /// The provider that was sent the caller's own credential. No other one is.
    credential_sent_to: Option<ObjectId>,
    lacks_credential: Option<Arc<Upstream>>,
}

/// An upstream that asked for a pause.
struct CoolingDown {
    upstream: Arc<Upstream>,
    until: Instant,
    was_tried: bool,
}

impl<'a> FallbackLoop<'a> {
    fn new(
        plan: &'a Plan,
        read: &'a Arc<ReadRequest>,
        client_headers: &'a HeaderMap,
        view: ConfigView,
        gateway: &'a Gateway,
    ) -> Self {
        let decoded = MemoryPermit::new(gateway, &view.caller().token.account);
        Self {
            plan,
            read,
            client_headers,
            gateway,
            view,
            route: Arc::clone(&plan.route),
            attempts: 0,
            untried: 0,
            tried_evicted: false,
            failures: Vec::new(),
            cooling_down: Vec::new(),
            decoded,
            unreachable: Vec::new(),
            refused: None,
            credential_sent_to: None,
            lacks_credential: None,
        }
    }

    /// All of them, one after the other. None if none serves.
    async fn try_all(&mut self, guard: &mut Guard) -> Result<Option<Answer>, Refusal> {
        let upstreams = &self.plan.upstreams;
        for (at, upstream) in upstreams.iter().enumerate() {
            self.untried = upstreams.len() - at - 1;
            if let Some(answer) = self.try_upstream(upstream, guard).await? {
                return Ok(Some(answer));
            }
        }
        while let Some(upstream) = self.wait_for_cool_down().await {
            if let Some(answer) = self.try_after_cool_down(&upstream, guard).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// An upstream's turn. None means that the next one is to be tried.
    async fn try_upstream(&mut self, planned: &Arc<Upstream>, guard: &mut Guard) -> Result<Option<Answer>, Refusal> {
        if self.attempts >= self.plan.route.fallback.max_attempts {
            return Ok(None);
        }
        let Some((upstream, prepared)) = self.prepare_current(planned, guard).await? else {
            return Ok(None);
        };
        match upstream.health.availability(clock::now().mono, guard.facts.tenant()) {
            Availability::CoolingDown(until) => {
                self.cooling_down.push(CoolingDown { upstream, until, was_tried: false });
                return Ok(None);
            }
            Availability::Evicted(_) if std::mem::replace(&mut self.tried_evicted, true) => return Ok(None),
            Availability::Evicted(_) | Availability::Ready => {}
        }
        self.attempt_and_note(&upstream, prepared, guard).await
    }

    /// The turn of an upstream that was waited for.
    async fn try_after_cool_down(
        &mut self,
        planned: &Arc<Upstream>,
        guard: &mut Guard,
    ) -> Result<Option<Answer>, Refusal> {
        let Some((upstream, prepared)) = self.prepare_current(planned, guard).await? else {
            return Ok(None);
        };
        self.attempt_and_note(&upstream, prepared, guard).await
    }

    /// A planned upstream as it is configured in this moment, with the request prepared for it. None if it cannot serve.
    async fn prepare_current(
        &mut self,
        planned: &Arc<Upstream>,
        guard: &mut Guard,
    ) -> Result<Option<(Arc<Upstream>, Prepared)>, Refusal> {
        let Some(mut upstream) = self.current(planned, guard)? else {
            return Ok(None);
        };
        for _ in 0..MAX_PREPARATIONS {
            if upstream.provider.takes_client_credential && self.client_credential(&upstream).is_none() {
                self.lacks_credential.get_or_insert(upstream);
                return Ok(None);
            }
            let mode = self.route.mode;
            let Some(prepared) = self.prepare(&upstream, self.known_refusals(&upstream)).await? else {
                return Ok(None);
            };
            // A large request may have waited for its turn.
            let Some(current) = self.current(planned, guard)? else {
                return Ok(None);
            };
            let requested_model = self.read.request.model();
            let fits = current.model == upstream.model
                && current.operations == upstream.operations
                && current.client.additions() == upstream.client.additions()
                && current.takes(requested_model) == upstream.takes(requested_model);
            upstream = current;
            if fits && self.route.mode == mode {
                return Ok(Some((upstream, prepared)));
            }
        }
        Ok(None)
    }

    /// The caller's own credential, for an upstream that takes it. None if there is none, or another provider has it.
    fn client_credential(&self, upstream: &Upstream) -> Option<ClientCredential> {
        let (provider, caller) = (&upstream.provider, self.view.caller());
        let is_others = self.credential_sent_to.as_ref().is_some_and(|first| *first != provider.id);
        if !provider.takes_client_credential || !caller.sends_key_apart || is_others {
            return None;
        }
        let (runtime, accounts) = (self.view.runtime(), &self.gateway.service_accounts);
        let is_gateway_key = |value: &str| identify::is_gateway_key(runtime, accounts, value);
        ClientCredential::read(provider.type_, self.client_headers, is_gateway_key)
    }

    /// What the upstream was found not to take. A route of mode Strict sends what its clients wrote in any case.
    fn known_refusals(&self, upstream: &Upstream) -> LeftOut {
        let read = self.read;
        let model = upstream.model.as_deref().unwrap_or(read.request.model());
        let setting = || read.request.reasoning_setting(read.needs);
        let known = upstream.learned.left_out(model, setting, clock::mono());
        if self.route.mode == Mode::Strict {
            LeftOut { usage: known.usage, closed: known.closed, ..LeftOut::default() }
        } else {
            known
        }
    }

    /// What the configuration in force has in the place of a planned upstream.
    ///
    /// # Errors
    /// The token or the route may not be used any more.
    fn current(&mut self, planned: &Arc<Upstream>, guard: &mut Guard) -> Result<Option<Arc<Upstream>>, Refusal> {
        if self.view.refresh(self.gateway)? {
            let caller = self.view.caller();
            guard.facts.set_caller(caller);
            self.route = Arc::clone(access::permitted(self.view.runtime(), caller, self.read.request.model())?);
        }
        if Arc::ptr_eq(&self.route, &self.plan.route) {
            return Ok(Some(Arc::clone(planned)));
        }
        // Under another route the model means something else, which was not planned for.
        let is_same = self.route.id == self.plan.route.id;
        let (requested_model, token) = (self.read.request.model(), &self.view.caller().token);
        // What one account keeps, no other knows, whichever has its name in the route now.
        let knows = |upstream: &Upstream| self.plan.stored.is_none() || upstream.provider.id == planned.provider.id;
        let serves = |upstream: &&Arc<Upstream>| {
            upstream.name == planned.name
                && knows(upstream)
                && capabilities::serves(upstream, requested_model, self.read.needs, token)
        };
        Ok(self.route.upstreams.iter().find(serves).filter(|_| is_same).cloned())
    }

    async fn attempt_and_note(
        &mut self,
        upstream: &Arc<Upstream>,
        prepared: Prepared,
        guard: &mut Guard,
    ) -> Result<Option<Answer>, Refusal> {
        let (mut repeats, mut prepared, mut has_replaced) = (Repeats::new(&prepared), prepared, false);
        let outcome = loop {
            let shown = self.credentials(upstream).map(|credentials| credentials.current());
            let sent = prepared.left_out;
            let outcome = self.attempt_once(upstream, prepared, guard).await?;
            let Err(failure) = &outcome else { break outcome };
            let left_out = match repeats.after(failure, self.read, self.route.mode) {
                Some(left_out) => self.plan.route.budget.try_retry().then_some(left_out),
                None if std::mem::replace(&mut has_replaced, true) => None,
                // Rare, and not to be kept room for by every request.
                None => Box::pin(self.replaces_token(upstream, failure, shown)).await.then_some(sent),
            };
            let Some(left_out) = left_out else { break outcome };
            let next = match self.prepare(upstream, left_out).await? {
                Some(next) => next,
                // Rare, and not to be kept room for by every request.
                None => match Box::pin(self.reopened(upstream, &mut repeats)).await? {
                    Some(next) => next,
                    None => break outcome,
                },
            };
            guard.attempts.fail(failure.code(), clock::mono());
            repeats.repeated(&next);
            prepared = next;
        };
        if outcome.is_ok() {
            repeats.learn(upstream, self.read);
        }
        match outcome {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) => {
                self.note_failure(upstream, failure, guard)?;
                Ok(None)
            }
        }
    }

    /// The request for what was closed once and may be open again, where the upstream does not serve the model anywhere else.
    async fn reopened(&mut self, upstream: &Arc<Upstream>, repeats: &mut Repeats) -> Result<Option<Prepared>, Refusal> {
        match repeats.reopen() {
            Some(left_out) => self.prepare(upstream, left_out).await,
            None => Ok(None),
        }
    }

    /// What proves to an upstream that it may be called for this token.
    fn credentials(&self, upstream: &Upstream) -> Option<Arc<Credentials>> {
        upstream.client.credentials_of(&self.view.caller().token.id)
    }

    /// Whether the upstream rejected a token in whose place there is a newer one now, for a request that is still here.
    async fn replaces_token(&self, upstream: &Upstream, failure: &Failure, shown: Option<Arc<Authorization>>) -> bool {
        let is_sent = self.read.rest.as_ref().is_some_and(|rest| rest.tail.has_begun());
        match (self.credentials(upstream), shown) {
            (Some(credentials), Some(shown)) if failure.is_gateway_key_rejected() && !is_sent => {
                credentials.replace(&shown).await
            }
            _ => false,
        }
    }

    /// One try.
    async fn attempt_once(
        &mut self,
        upstream: &Arc<Upstream>,
        prepared: Prepared,
        guard: &mut Guard,
    ) -> Result<Result<Answer, Box<Failure>>, Refusal> {
        // A body that was made for this upstream is held beside the client's until the upstream has answered.
        let mut body = MemoryPermit::new(self.gateway, &self.view.caller().token.account);
        let made = if prepared.body.as_ptr() == self.read.request.body().as_ptr() { 0 } else { prepared.body.len() };
        body.resize(made)
            .and_then(|()| self.decoded.resize(self.read.request.decoded_bytes()))
            .map_err(|BuffersFull| Refusal::BuffersFull)?;
        let client_credential = self.client_credential(upstream);
        if client_credential.is_some() {
            self.credential_sent_to.get_or_insert_with(|| upstream.provider.id.clone());
        }
        let one = SingleAttempt {
            request: &self.read.request,
            rest: self.read.rest.as_ref(),
            client_headers: self.client_headers,
            client_credential,
            upstream,
            token: &self.view.caller().token.id,
            referred: self.plan.stored.as_deref(),
            account: &self.view.caller().token.account,
            deadline: self.plan.deadline,
            retries_filtered: self.plan.triggers_fallback(FallbackCondition::ContentFiltered) && self.may_try_another(),
            settings: &self.gateway.settings,
        };
        if let Some(rest) = one.rest {
            rest.note_client_break_in(guard.held_back());
        }
        let outcome = one.run(prepared, guard).await;
        // A form that its client did not send to the end says nothing about the upstream.
        if outcome.is_err()
            && let Some(refusal) = one.rest.and_then(FormRest::broken)
        {
            guard.attempts.fail("body_broken", clock::mono());
            return Err(refusal);
        }
        Ok(outcome)
    }

    /// Whether an upstream and an attempt are left beyond the one that runs.
    fn may_try_another(&self) -> bool {
        let left = self.untried > 0 || !self.cooling_down.is_empty();
        left && self.attempts.saturating_add(1) < self.plan.route.fallback.max_attempts
    }

    /// Judges a failure: passes it on as the answer, or notes it, so that the next upstream is tried.
    fn note_failure(
        &mut self,
        upstream: &Arc<Upstream>,
        failure: Box<Failure>,
        guard: &mut Guard,
    ) -> Result<(), Refusal> {
        let now = clock::now().mono;
        if failure.cause != Cause::UpstreamBusy {
            self.attempts += 1;
            guard.attempts.fail(failure.code(), now);
            let is_lost = self.read.rest.as_ref().is_some_and(|rest| rest.tail.is_lost());
            if !((guard.is_held_back() || is_lost) && failure.is_upstream_fault()) {
                failure.report_to_health(upstream, now, guard.facts.tenant(), self.plan.upstreams.len() == 1);
            }
        }
        tracing::debug!(upstream = failure.upstream, cause = failure.code(), "an attempt failed");
        let tries_another = match failure.try_another() {
            TryAnother::Always => true,
            TryAnother::Never => false,
            TryAnother::If(condition) => self.plan.triggers_fallback(condition),
        };
        let affordable = |failure: &Failure| !failure.spends_retry_budget() || self.plan.route.budget.try_retry();
        // What one upstream has got of a form, no other can get.
        let is_sent = self.read.rest.as_ref().is_some_and(|rest| rest.tail.has_begun());
        if !tries_another || is_sent || (self.attempts < self.plan.route.fallback.max_attempts && !affordable(&failure))
        {
            return Err(Refusal::Upstream(failure));
        }
        if let Some(until) = failure.retry_after().and_then(|pause| now.checked_add(pause)) {
            self.cooling_down.push(CoolingDown { upstream: Arc::clone(upstream), until, was_tried: true });
        }
        self.failures.push(*failure);
        Ok(())
    }

    /// The request for an upstream, without what it refuses. None if it cannot serve.
    async fn prepare(&mut self, upstream: &Arc<Upstream>, left_out: LeftOut) -> Result<Option<Prepared>, Refusal> {
        let account = Arc::clone(&self.view.caller().token.account);
        let (mode, default_max_output) = (self.route.mode, self.gateway.settings.assumed_output_tokens);
        let max_body = self.gateway.settings.max_body_bytes;
        let additions = upstream.client.additions().cloned();
        if let Some(name) =
            additions.as_ref().and_then(|it| outbound::first_forwarded_too_long(it, self.client_headers))
        {
            return Err(Refusal::Malformed(Malformed {
                field: Some(name.to_owned()),
                message: format!(
                    "the header {name} makes the headers that are passed on to the upstream longer than {} bytes",
                    outbound::MAX_PASSED_BYTES
                ),
            }));
        }
        let (read, to) = (Arc::clone(self.read), Arc::clone(upstream));
        let continued = self.plan.stored.as_deref().and_then(StoredObject::upstream_id).map(str::to_owned);
        let prepared = self.gateway.offload.run(&account, read.request.body_len(), self.plan.deadline, move || {
            let operations = &to.operations;
            let (limits, base_model) = to.takes(read.request.model());
            let (host, model) = (to.provider.host, to.model.as_deref());
            let to = Destination {
                host,
                operations,
                model,
                base_model,
                default_max_output,
                limits,
                continued: continued.as_deref(),
                max_body,
            };
            let mut prepared = read.request.prepare_without(to, mode, left_out)?;
            if let Some(additions) = additions {
                prepared.complete(additions.defaults());
            }
            Ok(prepared)
        });
        match prepared.await.map_err(|DeadlinePassed| Refusal::Upstream(Failure::request_timeout(upstream)))? {
            Ok(prepared) => Ok(Some(prepared)),
            Err(Unprepared::Malformed(malformed)) => Err(Refusal::Malformed(malformed)),
            Err(Unprepared::Unreachable) => {
                self.unreachable.push(format!("upstream {}: {}", upstream.name, missing_api(upstream)));
                Ok(None)
            }
            Err(Unprepared::UnsafeModel(error)) => {
                self.unreachable.push(format!("upstream {}: its model id in the route {error}", upstream.name));
                Ok(None)
            }
            Err(Unprepared::Refused(field)) => {
                self.refused.get_or_insert_with(|| (field, upstream.name.clone()));
                Ok(None)
            }
        }
    }

    /// Waits for the upstream whose pause ends first, if that is soon enough and another attempt is left.
    async fn wait_for_cool_down(&mut self) -> Option<Arc<Upstream>> {
        if self.attempts >= self.plan.route.fallback.max_attempts {
            return None;
        }
        let now = clock::now().mono;
        let longest = now.checked_add(self.plan.route.fallback.max_retry_after)?.min(self.plan.deadline);
        let soonest = self
            .cooling_down
            .iter()
            .enumerate()
            .min_by_key(|(_, cooling_down)| cooling_down.until)
            .map(|(at, _)| at)?;
        if self.cooling_down.get(soonest).is_none_or(|cooling_down| cooling_down.until > longest) {
            return None;
        }
        let cooling_down = self.cooling_down.swap_remove(soonest);
        if cooling_down.was_tried && !self.plan.route.budget.try_retry() {
            return None;
        }
        sleep_until(resume_at(cooling_down.until, now, longest, fastrand::u64).into()).await;
        Some(cooling_down.upstream)
    }

    /// Why nothing served.
    fn final_error(mut self) -> Refusal {
        let most_telling = self.failures.iter().enumerate().max_by_key(|(at, failure)| (failure.weight(), *at));
        if let Some(at) = most_telling.map(|(at, _)| at) {
            return Refusal::Upstream(Box::new(self.failures.swap_remove(at)));
        }
        if let Some(until) = self.cooling_down.iter().map(|cooling_down| cooling_down.until).min() {
            let wait = until.saturating_duration_since(clock::now().mono).max(Duration::from_millis(1));
            return Refusal::CoolingDown { route: self.plan.route.id.to_string(), wait };
        }
        if let Some(upstream) = self.lacks_credential {
            let provider = &upstream.provider;
            return Refusal::NoClientCredential {
                provider: provider.id.to_string(),
                headers: wanted_headers(provider.type_),
            };
        }
        if let Some((field, upstream)) = self.refused {
            return Refusal::FieldRefused { field, upstream };
        }
        if self.unreachable.is_empty() {
            return Refusal::RouteBroken { route: self.route.id.to_string(), why: "no upstream could be tried" };
        }
        Refusal::NoLane { operation: self.read.request.operation(), upstreams: self.unreachable }
    }
}
