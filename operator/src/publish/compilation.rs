//! From what changed in the index to the next state.
//!
//! The compiler does the most of it. What only the operator knows is added here: which objects it cannot read, which Secrets it
//! may not read, and what does not fit into a line.

use std::sync::Arc;

use routeapi_channel::{Entry, Key, Kind, frame::MAX_LINE};
use routeapi_compile::{Changes, Compiler, Detail, Options, Outcome, Verdict};
use routeapi_crds::condition::{ConditionType, Decision, Reason};
use tracing::warn;

use super::publication::{Publication, put_frame};
use crate::index::{ExcludedObject, View};

/// What a `put` line takes besides the body, at most: an ID has 317 bytes.
const MAX_ENVELOPE: usize = 1 << 10;

/// A state that follows the index.
pub struct Compilation {
    compiler: Compiler,
    readable_secrets: Vec<String>,
}

// === impl Compilation ===

impl Compilation {
    /// A state without objects. `readable_secrets`: the namespaces whose Secrets the operator may read.
    pub fn new(options: Options, readable_secrets: Vec<String>) -> Self {
        Self { compiler: Compiler::new(options), readable_secrets }
    }

    /// Follows changes.
    ///
    /// # Errors
    /// When a resource does not serialize, which does not happen.
    pub fn publication(&mut self, view: View<Changes>) -> Result<Publication, serde_json::Error> {
        let readable = &self.readable_secrets;
        self.compiler.update(view.objects, &mut |Outcome { key, entry, verdict }| {
            explain_hidden_secrets(key, verdict, readable);
            exclude_oversized(key, entry, verdict);
        })?;
        let mut verdicts = self.compiler.verdicts().clone();
        for (key, excluded) in &view.excluded {
            verdicts.insert(key.clone(), Arc::new(unreadable(key.kind, excluded)));
        }
        let catalog = self.compiler.catalog().clone();
        Ok(Publication::new(catalog, verdicts, view.excluded, view.min_resource_versions))
    }

    /// The number of objects that were compiled so far.
    pub fn work(&self) -> usize {
        self.compiler.work()
    }
}

/// Excludes a resource that does not fit into a line: it would end every data plane's stream, again after each reconnect.
fn exclude_oversized(key: &Key, entry: &mut Option<Entry>, verdict: &mut Verdict) {
    let Some(large) = entry.as_ref().filter(|entry| entry.body.get().len() + MAX_ENVELOPE > MAX_LINE) else { return };
    let bytes = serde_json::to_vec(&put_frame(key, large)).map_or(usize::MAX, |line| line.len() + 1);
    if bytes <= MAX_LINE {
        return;
    }
    let message = format!("takes {bytes} bytes when sent to data planes; at most {MAX_LINE} are possible");
    warn!(resource = %format!("{} {}", key.kind, key.id), bytes, "resource too large to be sent");
    verdict.decisions.retain(|decision| decision.type_ != ConditionType::Accepted);
    verdict.decisions.insert(0, Decision::no(ConditionType::Accepted, Reason::InvalidConfig, message));
    *entry = None;
}

fn unreadable(kind: Kind, excluded: &ExcludedObject) -> Verdict {
    let (reason, message) = if excluded.over_limit {
        (Reason::NamespaceFull, excluded.message.clone())
    } else {
        (Reason::InvalidConfig, format!("this version cannot read the object: {}", excluded.message))
    };
    let detail = match kind {
        Kind::Provider => Detail::Provider { attached_routes: 0 },
        Kind::Route => Detail::Route { upstreams: Vec::new() },
        Kind::Token | Kind::Namespace | Kind::Unknown(_) => Detail::Token { expires: None, suspended: false },
    };
    let decisions = vec![Decision::no(ConditionType::Accepted, reason, message)];
    Verdict { generation: excluded.generation, decisions, detail }
}

/// A Secret that the operator may not read looks like one that does not exist: the message must not ask to create it.
fn explain_hidden_secrets(key: &Key, verdict: &mut Verdict, readable: &[String]) {
    let namespace = key.id.namespace();
    if key.kind != Kind::Provider || readable.iter().any(|name| name == namespace) {
        return;
    }
    let allowed = readable.join(", ");
    let unresolved =
        |decision: &&mut Decision| matches!(decision.reason, Reason::SecretNotFound | Reason::CertificateNotFound);
    for decision in verdict.decisions.iter_mut().filter(unresolved) {
        let what = decision.message.split(" does not exist").next().unwrap_or_default();
        decision.message = format!(
            "{what} cannot be read: the operator reads Secrets and ConfigMaps in {allowed} only; add {namespace} to the \
             Helm value providerNamespaces"
        );
    }
}
