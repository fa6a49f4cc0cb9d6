//! The lints, on this repository.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test stops at the first surprise")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use routeapi_lint::{allowed::List, circles, rules, source::Source};

/// Rewrites the list of what is allowed, if it becomes no longer.
const UPDATE: &str = "UPDATE";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The crate roots of production code: the workspace's members, without those below `tests`.
fn roots(repository: &Path) -> Vec<PathBuf> {
    let manifest = fs::read_to_string(repository.join("Cargo.toml")).unwrap();
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let members = members.split('"').skip(1).step_by(2).filter(|member| !member.starts_with("tests"));
    let roots: Vec<PathBuf> = members
        .flat_map(|member| ["lib", "main"].map(|root| repository.join(member).join(format!("src/{root}.rs"))))
        .filter(|root| root.exists())
        .collect();
    assert!(roots.len() > 8, "{roots:?}");
    roots
}

fn relative<'a>(repository: &Path, file: &'a Path) -> std::path::Display<'a> {
    file.strip_prefix(repository).unwrap_or(file).display()
}

/// What is there, and each place with its line.
fn found(repository: &Path) -> (List, Vec<(String, String)>) {
    let (mut list, mut places) = (List::default(), Vec::new());
    let mut add = |entry: String, place: String| {
        list.add(entry.clone());
        places.push((entry, place));
    };
    for root in roots(repository) {
        let source = Source::read(&root).unwrap();
        for ((from, to), line) in circles::in_circles(&circles::edges(&source)) {
            let (from, to) = (relative(repository, &from), relative(repository, &to));
            add(format!("circle {from} -> {to}"), format!("{from}:{line}: names {to}, which leads back here"));
        }
        for finding in rules::findings(&source) {
            let (file, rule) = (relative(repository, &finding.file), finding.rule);
            let place = format!("{file}:{}: {}: {}", finding.line, finding.what, rule.advice());
            add(format!("{} {file}", rule.name()), place);
        }
    }
    (list, places)
}

#[test]
fn nothing_breaks_a_rule_but_what_is_listed() {
    let repository = repository();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("allowed.txt");
    let text = fs::read_to_string(&file).unwrap();
    let allowed = List::parse(&text).unwrap();
    let (found, places) = found(&repository);
    for rule in ["circle", "clock", "spawn", "addresses"] {
        println!("figure: structure: {:3} allowed by tests/lint/allowed.txt, rule {rule}", allowed.count(rule));
    }

    let new: Vec<&str> = found.beyond(&allowed).collect();
    let new_places: String = places
        .iter()
        .filter(|(entry, _)| new.contains(&entry.as_str()))
        .map(|(_, place)| format!("  {place}\n"))
        .collect();
    if env::var_os(UPDATE).is_some() {
        found
            .is_no_longer_than(&allowed)
            .unwrap_or_else(|why| panic!("the list would become longer, {why}:\n{new_places}"));
        fs::write(&file, found.write(&text)).unwrap();
        return;
    }
    assert!(new.is_empty(), "not allowed (how often each file may, is in tests/lint/allowed.txt):\n{new_places}");
    let gone: Vec<&str> = allowed.beyond(&found).collect();
    assert!(
        gone.is_empty(),
        "better than tests/lint/allowed.txt says; shorten it with `tests/run update structure`:\n  {}",
        gone.join("\n  ")
    );
}
