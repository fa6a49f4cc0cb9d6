//! Configuration from manifests on this machine: the same objects a cluster takes, judged as its API server would.
//!
//! The way of a manifest: [`files`] reads it, [`expand`] fills `${ENV}` into Secrets, [`admission`] checks it against
//! the kind's own schema and CEL rules, [`values`] gives each ApiToken a value, and `routeapi_compile` does the rest.
//! [`reload`] does all of it again when a file changes, and [`shrink`] refuses what has become empty.
//!
//! Nothing stops at the first mistake: a load ends with everything that was found, and whoever asked decides whether the
//! remains are good enough. Objects of kinds that play no part here are left alone with a notice.

pub mod admission;
pub mod expand;
pub mod files;
mod json;
pub mod problem;
pub mod reload;
pub mod requirements;
pub mod shrink;
pub mod values;

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt, path::PathBuf};

use routeapi_channel::{Kind, ObjectId};
use routeapi_compile::{
    Added, AddressPolicy, Compiled, ManifestError, Manifests, Options, Publishers, Verdict, WorkloadIdentity,
};
use routeapi_crds::condition::Status;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use self::expand::Environment;
use self::{
    admission::Admission,
    files::{Fingerprint, Manifest, Sources, Text},
    problem::{ManifestProblem, Origin},
    shrink::ObjectCounts,
    values::{LocalToken, Values},
};

/// SHA-256 of everything that was read, and of what could not be.
type Digest = [u8; 32];

/// What the manifests amount to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What they compile to; what has problems is left out as in a cluster.
    pub compiled: Compiled,
    /// Every ApiToken with its value.
    pub tokens: Vec<LocalToken>,
    /// Everything that is wrong.
    pub problems: Vec<ManifestProblem>,
    /// What is accepted and may not be what was meant.
    pub warnings: Vec<ManifestProblem>,
    /// What is worth knowing and not wrong.
    pub notices: Vec<ManifestProblem>,
    /// What is assumed of things that are not in the manifests: of the environment, where nothing is served, and of other
    /// objects, if [`Loader::partial`].
    pub assumptions: Vec<ManifestProblem>,
    /// How many objects of each kind were taken in.
    pub counts: BTreeMap<String, usize>,
}

/// Where objects came from.
type Origins = BTreeMap<(String, ObjectId), Origin>;

/// What was taken in so far.
#[derive(Default)]
struct ReadObjects {
    manifests: Manifests,
    origins: Origins,
    /// Secrets, their keys, and the variables in those that are not set.
    unset: Vec<requirements::Unset>,
}

/// Reads manifests and compiles them.
pub struct Loader {
    sources: Sources,
    admission: &'static Admission,
    values: Values,
    allow_empty: bool,
    partial: bool,
    /// Of the last load, whatever came of it.
    fingerprint: Fingerprint,
    digest: Digest,
    /// Of the last load without problems.
    counts: ObjectCounts,
    publishers: Publishers,
}

impl Loader {
    /// Will read these files and directories; `-` is standard input. `values` decides what tokens without a Secret get.
    /// Every namespace may publish models, unless [`Loader::with_publishers`] says otherwise.
    ///
    /// # Errors
    /// When the kinds' own schemas do not compile, which none of this program's does.
    pub fn new(paths: Vec<PathBuf>, values: Values) -> Result<Self, admission::BadSchema> {
        Ok(Self {
            sources: Sources::new(paths),
            admission: Admission::shared()?,
            values,
            publishers: Publishers::Any,
            allow_empty: false,
            partial: false,
            fingerprint: Fingerprint::default(),
            digest: Digest::default(),
            counts: ObjectCounts::default(),
        })
    }

    /// Takes it as meant when manifests are empty, or have become so.
    #[must_use]
    pub fn allow_empty(mut self, allow: bool) -> Self {
        self.allow_empty = allow;
        self
    }

    /// Reads the subdirectories of directories too.
    #[must_use]
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.sources.recursive(recursive);
        self
    }

    /// Takes the manifests for a part of what a cluster has: what they refer to and do not hold is assumed. For a look, not
    /// for serving.
    #[must_use]
    pub fn partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// Namespaces that may publish models, in place of all.
    #[must_use]
    pub fn with_publishers(self, publishers: Publishers) -> Self {
        Self { publishers, ..self }
    }

    /// Files and directories in which changes can be seen.
    pub fn watchable(&self) -> Vec<PathBuf> {
        self.sources.watchable()
    }

    /// Reads everything as it is now. Tokens keep the values they were given before.
    pub fn load(&mut self, environment: Environment<'_>) -> Loaded {
        let mut problems = Vec::new();
        self.fingerprint = self.sources.fingerprint();
        let texts = self.sources.texts(&mut problems);
        self.digest = digest(&texts, &problems);
        self.judge(&texts, problems, environment)
    }

    /// Reads everything again if it is not what it was at the last load: files that nobody touched are not read, and what
    /// is byte for byte the same is not parsed.
    pub fn reload(&mut self, environment: Environment<'_>) -> Option<Loaded> {
        let fingerprint = self.sources.fingerprint();
        if fingerprint == self.fingerprint && !fingerprint.is_fresh() {
            return None;
        }
        let mut problems = Vec::new();
        let texts = self.sources.texts(&mut problems);
        let digest = digest(&texts, &problems);
        self.fingerprint = fingerprint;
        if digest == self.digest {
            return None;
        }
        self.digest = digest;
        Some(self.judge(&texts, problems, environment))
    }

    fn judge(&mut self, texts: &[Text], problems: Vec<ManifestProblem>, environment: Environment<'_>) -> Loaded {
        let mut loaded = Loaded { problems, ..Loaded::default() };
        let mut objects_read = ReadObjects::default();
        let mut counts = ObjectCounts::default();
        for text in texts {
            let found = files::manifests(text, &mut loaded.problems);
            counts.files.insert(text.file.clone(), found.len());
            for manifest in found {
                self.add(manifest, environment, &mut objects_read, &mut loaded);
            }
        }
        let ReadObjects { manifests, origins, unset } = objects_read;
        counts.kinds.clone_from(&loaded.counts);
        if loaded.problems.is_empty() && !self.allow_empty {
            loaded.problems = shrink::check(&self.counts, &counts, &self.sources.named());
        }
        let mut objects = manifests.finish();
        let required = requirements::of(&objects, &unset);
        match self.values {
            Values::Random(_) => loaded.problems.extend(required.problem()),
            Values::Placeholder => loaded.assumptions.extend(required.assumption()),
        }
        loaded.tokens = self.values.assign(&mut objects, |id, message| {
            let object = Some(format!("ApiToken {id}"));
            let origin = origins.get(&("ApiToken".to_owned(), id.clone())).cloned();
            loaded.problems.push(ManifestProblem { origin, object, message });
        });
        let options = Options {
            addresses: AddressPolicy::Workstation.into(),
            publishers: self.publishers.clone(),
            workload_identity: WorkloadIdentity::Any,
            partial: self.partial,
        };
        loaded.compiled = routeapi_compile::compile(&objects, &options);
        judge(&mut loaded, &origins);
        if loaded.problems.is_empty() {
            self.counts = counts;
        }
        loaded
    }

    fn add(
        &self,
        mut manifest: Manifest,
        environment: Environment<'_>,
        objects_read: &mut ReadObjects,
        loaded: &mut Loaded,
    ) {
        let object = describe(&manifest.value);
        let problem = |message: String| ManifestProblem {
            origin: Some(manifest.origin.clone()),
            object: object.clone(),
            message,
        };
        let found = self.admission.check(&manifest.value);
        if !found.is_empty() {
            loaded.problems.extend(found.into_iter().map(problem));
            objects_read.manifests.refuse(&manifest.value);
            return;
        }
        // The Secret is taken in all the same, so that a mistake in it is not told as a missing Secret too.
        let expanded = expand::secret(&mut manifest.value, environment);
        loaded.problems.extend(expanded.problems.into_iter().map(problem));
        match objects_read.manifests.add(&manifest.value) {
            Ok(Added::Object { kind, id }) => {
                *loaded.counts.entry(kind.clone()).or_default() += 1;
                objects_read.unset.extend(expanded.unset.into_iter().map(|(key, name)| (id.clone(), key, name)));
                objects_read.origins.insert((kind, id), manifest.origin);
            }
            Ok(Added::Ignored { kind }) => {
                loaded.notices.push(problem(format!("ignored: kind {kind} plays no part here")));
            }
            Err(ManifestError::Invalid { message, .. }) => {
                loaded.problems.push(problem(message));
                objects_read.manifests.refuse(&manifest.value);
            }
            Err(
                error @ (ManifestError::Missing(_) | ManifestError::UnknownKind { .. } | ManifestError::Twice { .. }),
            ) => {
                loaded.problems.push(problem(error.to_string()));
            }
        }
    }
}

fn digest(texts: &[Text], problems: &[ManifestProblem]) -> Digest {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    for Text { file, text } in texts {
        part(file.as_os_str().as_bytes());
        part(if text.is_ok() { b"text" } else { b"error" });
        part(text.as_ref().map_or_else(String::as_bytes, String::as_bytes));
    }
    problems.iter().for_each(|problem| part(problem.to_string().as_bytes()));
    hash.finalize().into()
}

/// Turns verdicts into problems and warnings, and what was assumed into sentences.
fn judge(loaded: &mut Loaded, origins: &Origins) {
    for (key, verdict) in &loaded.compiled.verdicts {
        let kind = kind_name(key.kind);
        let origin = origins.get(&(kind.to_owned(), key.id.clone())).cloned();
        let about = |message: &str| ManifestProblem {
            origin: origin.clone(),
            object: Some(format!("{kind} {}", key.id)),
            message: message.to_owned(),
        };
        let (wrong, noted) = problems_and_remarks(verdict);
        loaded.problems.extend(wrong.iter().map(|message| about(message)));
        loaded.warnings.extend(noted.iter().map(|message| about(message)));
        let assumed = loaded.compiled.assumptions.get(key).into_iter().flatten();
        loaded.assumptions.extend(assumed.map(|message| about(message)));
    }
}

/// What a verdict holds against the object, and what it only remarks.
fn problems_and_remarks(verdict: &Verdict) -> (Vec<String>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut noted = Vec::new();
    for decision in &verdict.decisions {
        match decision.status {
            Status::True if decision.message.is_empty() => {}
            Status::True => noted.push(decision.message.clone()),
            Status::False | Status::Unknown => wrong.push(format!("{} ({})", decision.message, decision.reason)),
        }
    }
    (wrong, noted)
}

/// What a resource's kind is called in manifests.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Provider => "AIProvider",
        Kind::Route => "AIRoute",
        Kind::Token => "ApiToken",
        Kind::Namespace => "Namespace",
        Kind::Unknown(_) => "object of an unknown kind",
    }
}

/// `Kind namespace/name`, as far as the manifest says.
fn describe(value: &Value) -> Option<String> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind")?;
    let namespace = text("/metadata/namespace").unwrap_or("default");
    Some(match text("/metadata/name") {
        Some(name) if kind == "Namespace" => format!("{kind} {name}"),
        Some(name) => format!("{kind} {namespace}/{name}"),
        None => kind.to_owned(),
    })
}
