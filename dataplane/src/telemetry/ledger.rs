//! The usage ledger as a place where records go: turns each into the ledger's own schema.
//!
//! That happens on the ledger's thread. Left out are the client's address, user agent, end user, pod, method and path:
//! whoever asks what was used needs none of them, and they are personal data. The access log has them.

use std::{mem, sync::Arc};

use routeapi_ledger::{Attempt, Entry, Ledger, OpenError, PriceUsed, Recordable, Request, Served, Settings, Tokens};
use routeapi_metering::{AttemptRecord, Price};
use sha2::{Digest, Sha256};

use super::{LEDGER_FULL, RecordSink, RequestRecord};

/// Keeps finished requests on disk.
#[derive(Debug)]
pub struct UsageLedger(Ledger<Arc<RequestRecord>>);

impl UsageLedger {
    /// Opens it and starts its threads.
    ///
    /// # Errors
    /// If its spool cannot be used, or the system has no more threads.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        Ledger::open(settings).map(Self)
    }

    /// Its series.
    pub fn metrics(&self) -> &routeapi_ledger::Metrics {
        self.0.metrics()
    }
}

impl RecordSink for UsageLedger {
    fn record(&self, record: &Arc<RequestRecord>) {
        // They used nothing, and would take the room that is kept for those that did.
        if record.usage.error.as_deref() != Some(LEDGER_FULL) {
            self.0.push(Arc::clone(record));
        }
    }

    fn is_refusing(&self) -> bool {
        self.0.is_refusing()
    }
}

impl Recordable for RequestRecord {
    fn size(&self) -> usize {
        let RequestRecord { usage, path, warnings, message, .. } = self;
        let texts = [usage.model.as_ref(), message.as_ref(), Some(path)].into_iter().flatten().map(String::len);
        let warnings = warnings.iter().map(|warning| warning.len() + mem::size_of::<String>());
        let attempts = usage.attempts.len() * mem::size_of::<AttemptRecord>();
        mem::size_of::<Self>() + texts.chain(warnings).sum::<usize>() + attempts
    }

    fn entry(&self) -> Entry {
        let usage = &self.usage;
        let text = |word: &std::borrow::Cow<'static, str>| word.clone().into_owned();
        let namespace = usage.token.as_ref().and_then(|token| token.split_once('/'));
        let served = usage.attempts.last().filter(|attempt| attempt.error.is_none());
        let request = Request {
            id: usage.id.clone(),
            time_unix_ms: usage.time_unix_ms,
            duration_ms: usage.duration_ms,
            first_content_ms: usage.first_content_ms,
            trace_id: self.trace_id.clone(),
            namespace: namespace.map(|(namespace, _)| namespace.to_owned()),
            token: usage.token.clone(),
            key_id: usage.key_id.clone(),
            session: usage.affinity.as_ref().map(|affinity| format!("{:016x}", affinity.session)),
            route: usage.route.clone(),
            operation: usage.operation.as_ref().map(text),
            stream: usage.stream,
            model: usage.model.clone(),
            served: served.map(|attempt| Served {
                provider: attempt.provider.clone(),
                upstream: attempt.upstream.clone(),
                model: attempt.model.clone(),
            }),
            status: usage.status,
            outcome: usage.outcome,
            error: usage.error.as_ref().map(text),
            message: self.message.clone(),
            tokens: Tokens::from(usage.usage),
            usage_source: usage.usage_source,
            cost_nano: usage.cost_nano_usd,
            currency: "USD".to_owned(),
            warnings: self.warnings.clone(),
            attempts: usage.attempts.iter().map(attempt).collect(),
        };
        Entry::Request(request.bounded())
    }
}

fn attempt(record: &AttemptRecord) -> Attempt {
    Attempt {
        upstream: record.upstream.clone(),
        provider: record.provider.clone(),
        model: record.model.clone(),
        status: record.status,
        error: record.error.as_ref().map(|code| code.clone().into_owned()),
        duration_ms: record.duration_ms,
        tokens: Tokens::from(record.usage),
        usage_source: record.usage_source,
        cost_nano: record.cost_nano_usd,
        price: record.price.map(|price| PriceUsed::new(price_id(record, &price), price)),
    }
}

/// Which price it is: where it comes from (the manifests), whose it is, and a hash of its figures, so that a price that
/// changes has another name.
fn price_id(record: &AttemptRecord, price: &Price) -> String {
    let Price { input, output, cached_input, cache_write } = price;
    let figures = format!("USD input={input} output={output} cached_input={cached_input} cache_write={cache_write}");
    let hash: [u8; 32] = Sha256::digest(figures).into();
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("manifest:{}/{}#{hash}", record.provider, record.upstream)
}

#[cfg(test)]
mod tests {
    use routeapi_metering::{Affinity, Outcome, Usage, UsageRecord, UsageSource};

    use super::*;

    const PRICE: Price = Price { input: 3, output: 15, cached_input: 1, cache_write: 4 };

    fn record() -> RequestRecord {
        let usage =
            Usage { input: Some(10), cache_read: Some(80), cache_write: Some(5), output: Some(7), reasoning: Some(3) };
        let attempt = |error: Option<&'static str>, price| AttemptRecord {
            upstream: "up".to_owned(),
            provider: "ai/p".to_owned(),
            model: "gpt-x".to_owned(),
            status: Some(200),
            error: error.map(Into::into),
            duration_ms: 4,
            usage: if error.is_some() { Usage::default() } else { usage },
            usage_source: if error.is_some() { UsageSource::None } else { UsageSource::Reported },
            cost_nano_usd: if error.is_some() { 0 } else { 99 },
            price,
        };
        RequestRecord {
            usage: UsageRecord {
                id: "a".repeat(32),
                time_unix_ms: 1,
                duration_ms: 20,
                first_content_ms: Some(5),
                token: Some("apps/chat".to_owned()),
                key_id: Some("k".to_owned()),
                route: Some("apps/r".to_owned()),
                model: Some("m".to_owned()),
                operation: Some("chat_completions".into()),
                stream: true,
                status: 200,
                outcome: Outcome::Completed,
                error: None,
                usage,
                usage_source: UsageSource::Reported,
                affinity: Some(Affinity {
                    key: "session-id".into(),
                    upstream: "up".to_owned(),
                    kept: true,
                    session: 0xabc,
                }),
                cost_nano_usd: 99,
                attempts: vec![attempt(Some("timeout"), None), attempt(None, Some(PRICE))],
            },
            peer: Some("127.0.0.1:1".to_owned()),
            client_address: Some("127.0.0.1".to_owned()),
            user_agent_original: Some("agent".into()),
            enduser_id: Some("person".into()),
            k8s_pod_name: None,
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            trace_id: None,
            span_id: None,
            response_bytes: 1,
            warnings: vec!["dropped;field=x".to_owned()],
            message: None,
            truncated: false,
        }
    }

    #[test]
    fn counts_become_inclusive_and_keep_their_parts() {
        let Entry::Request(request) = record().entry() else { panic!() };
        let expected = Tokens {
            input: Some(95),
            cache_read: Some(80),
            cache_write: Some(5),
            output: Some(10),
            reasoning: Some(3),
        };
        assert_eq!(request.tokens, expected);
        assert_eq!(request.attempts[0].tokens, Tokens::default());
        assert_eq!(request.attempts[1].tokens, expected);
        assert_eq!(
            (request.namespace.as_deref(), request.session.as_deref()),
            (Some("apps"), Some("0000000000000abc"))
        );
        assert_eq!(request.served.unwrap().model, "gpt-x");
    }

    #[test]
    fn price_has_an_id_that_changes_with_its_figures() {
        let id = |price| {
            let mut record = record();
            record.usage.attempts[1].price = Some(price);
            let Entry::Request(request) = record.entry() else { panic!() };
            request.attempts[1].price.clone().unwrap().id
        };
        assert!(id(PRICE).starts_with("manifest:ai/p/up#"), "{}", id(PRICE));
        assert_eq!(id(PRICE), id(PRICE));
        assert_ne!(id(PRICE), id(Price { output: 16, ..PRICE }));
    }

    #[test]
    fn personal_data_stays_out() {
        let json = String::from_utf8(record().entry().to_json().unwrap()).unwrap();
        for told in ["127.0.0.1", "agent", "person", "/v1/"] {
            assert!(!json.contains(told), "{told}: {json}");
        }
    }
}
