//! Documents for contributors name files and pages that exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

const DOCUMENTS: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "PROFILING.md", "SECURITY.md", "docs/glossary.md"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What stands between backticks and looks like a path from the repository's root, such as `crds/src/value.rs` or
/// `tests/parts/`; of `dataplane/src/{a,b}.rs`, both.
fn paths(text: &str, repository: &Path) -> Vec<String> {
    let is_path = |quoted: &&str| {
        let (first, rest) = quoted.split_once('/').unwrap_or_default();
        !first.is_empty()
            && !rest.is_empty()
            && repository.join(first).is_dir()
            && quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-{},".contains(c))
    };
    text.split('`').skip(1).step_by(2).filter(is_path).flat_map(alternatives).collect()
}

fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (inside, after) = rest.split_once('}').unwrap_or((rest, ""));
    inside.split(',').map(|part| format!("{before}{part}{after}")).collect()
}

/// Targets of links to files, without anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

#[test]
fn every_file_that_a_document_names_exists() {
    let repository = repository();
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(repository.join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
        let named = paths(&text, &repository).into_iter().filter(|path| !repository.join(path).exists());
        missing.extend(named.map(|path| format!("{document}: `{path}`")));
        let directory = repository.join(document);
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or(link);
            if !directory.parent().unwrap().join(file).exists() {
                missing.push(format!("{document}: link to {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "these do not exist:\n  {}", missing.join("\n  "));
}

#[test]
fn paths_and_links_are_found() {
    let text =
        "See `crds/src/{lib,nothing}.rs`, `cargo test`, `a/b`, [here](a/install.md#x) and [there](https://x.example).";
    assert_eq!(paths(text, &repository()), ["crds/src/lib.rs", "crds/src/nothing.rs"]);
    assert_eq!(links(text), ["a/install.md#x"]);
}
