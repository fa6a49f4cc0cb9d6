//! Each `golden/<case>.yaml` shows one idea: objects, then `# Output` and what they compile to (secrets redacted).
//!
//! `UPDATE=1 cargo test -p routeapi-compile --test golden` rewrites the outputs; review the diff. A case with the line
//! `# Options: workstation` is compiled as on a workstation, one with `# Options: partial` as a part of what a cluster has.
//! Every namespace may publish models, unless a line such as `# Publishers: ai vendors` names the operator's own namespace
//! and those of its setting.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{env, fs, path::Path};

use routeapi_compile::{
    AddressPolicy, Compiled, Detail, Manifests, ObjectRef, Options, Publishers, Verdict, WorkloadIdentity, compile,
};
use routeapi_crds::{condition::Decision, yaml};
use serde_json::{Map, Value, json};

const OUTPUT: &str = "# Output\n";

#[test]
fn every_case_compiles_to_its_recorded_output() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut differing = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let recorded = fs::read_to_string(&path).unwrap();
        let (input, _) = recorded.split_once(OUTPUT).unwrap_or((&recorded, ""));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let expected = format!("{}\n{OUTPUT}{}", input.trim_end(), output(&name, input));
        cases += 1;
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &expected).unwrap();
        } else if recorded != expected {
            differing.push(format!("{name} should be:\n{expected}"));
        }
    }
    assert!(cases >= 20, "only {cases} cases found");
    assert!(
        differing.is_empty(),
        "{}\nIf this is intended: UPDATE=1 cargo test -p routeapi-compile --test golden",
        differing.join("\n")
    );
}

fn output(name: &str, input: &str) -> String {
    let workstation = input.contains("# Options: workstation\n");
    let addresses = if workstation { AddressPolicy::Workstation } else { AddressPolicy::Cluster };
    let partial = input.contains("# Options: partial\n");
    let options = Options {
        addresses: addresses.into(),
        publishers: publishers(input),
        workload_identity: WorkloadIdentity::Namespaces(["ai".to_owned()].into()),
        partial,
    };
    let documents = yaml::read(input).unwrap_or_else(|error| panic!("{name}: {error}"));
    let compiled = compiled(name, documents.iter(), &options);
    let backwards = compiled_again(name, &documents, &options);
    assert_eq!(compiled, backwards, "{name}: the order of objects matters");

    let verdicts: Map<String, Value> =
        compiled.verdicts.iter().map(|(key, verdict)| (format!("{} {}", key.kind, key.id), show(verdict))).collect();
    let mut shown = Map::new();
    if partial {
        let assumed = |(key, assumed): (&ObjectRef, &Vec<String>)| (format!("{} {}", key.kind, key.id), json!(assumed));
        shown.insert("assumptions".to_owned(), Value::Object(compiled.assumptions.iter().map(assumed).collect()));
    }
    shown.insert("snapshot".to_owned(), json!(compiled.snapshot.redacted()));
    shown.insert("verdicts".to_owned(), Value::Object(verdicts));
    assert!(partial || compiled.assumptions.is_empty(), "{name}: nothing is assumed of a whole");
    yaml::write(&shown).unwrap()
}

fn publishers(input: &str) -> Publishers {
    let Some(line) = input.lines().find_map(|line| line.strip_prefix("# Publishers: ")) else { return Publishers::Any };
    let mut names = line.split(' ').map(str::to_owned);
    Publishers::Granted { first: names.next().unwrap_or_default(), listed: names.collect() }
}

fn compiled<'a>(name: &str, documents: impl Iterator<Item = &'a yaml::Document>, options: &Options) -> Compiled {
    let mut manifests = Manifests::default();
    for document in documents {
        manifests.add(&document.value).unwrap_or_else(|error| panic!("{name}:{}: {error}", document.line));
    }
    compile(&manifests.finish(), options)
}

fn compiled_again(name: &str, documents: &[yaml::Document], options: &Options) -> Compiled {
    compiled(name, documents.iter().rev(), options)
}

fn show(verdict: &Verdict) -> Value {
    let conditions: Vec<String> = verdict.decisions.iter().map(show_decision).collect();
    let mut shown = json!({ "conditions": conditions });
    let extra = match &verdict.detail {
        Detail::Provider { attached_routes } => json!({ "attachedRoutes": attached_routes }),
        Detail::Route { upstreams } => json!({ "upstreams": upstreams }),
        Detail::Token { expires, suspended } => json!({ "expires": expires, "suspended": suspended }),
    };
    shown.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    if let Some(generation) = verdict.generation {
        shown.as_object_mut().unwrap().insert("generation".to_owned(), generation.into());
    }
    shown
}

fn show_decision(decision: &Decision) -> String {
    let Decision { type_, status, reason, message } = decision;
    let separator = if message.is_empty() { "" } else { ": " };
    format!("{type_}={status} {reason}{separator}{message}")
}
