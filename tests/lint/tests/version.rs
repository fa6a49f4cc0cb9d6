//! One version of the project and one of Rust: written in one place each, repeated without a difference elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{fs, path::Path};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands behind `key` on the first line that begins with it, without quotes.
fn value(file: &str, key: &str) -> String {
    let text = read(file);
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{file}: no `{key}`"));
    line.trim().trim_matches('"').to_owned()
}

/// The version of the workspace; `release/bump` changes it and everything below.
fn version() -> String {
    value("Cargo.toml", "version = ")
}

#[test]
fn the_chart_has_the_workspaces_version() {
    assert_eq!(value("charts/routeapi/Chart.yaml", "version: "), version());
    assert_eq!(value("charts/routeapi/Chart.yaml", "appVersion: "), version());
}

#[test]
fn every_crate_takes_its_version_from_the_workspace() {
    let manifest = read("Cargo.toml");
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in members.split('"').skip(1).step_by(2) {
        value(&format!("{member}/Cargo.toml"), "version.workspace = true");
    }
}

#[test]
fn image_tags_in_documents_are_the_version() {
    let version = version();
    for file in ["Dockerfile", "README.md", "docs/install.md", "docs/upgrade.md", "docs/gitops.md"] {
        for name in ["routeapi:", "routeapi-operator:"] {
            for (at, _) in read(file).match_indices(name) {
                let text = read(file);
                let tag: String =
                    text[at + name.len()..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                let tag = tag.trim_end_matches('.');
                assert!(tag.is_empty() || tag == version, "{file}: {name}{tag}, but the version is {version}");
            }
        }
    }
}

#[test]
fn the_changelog_has_a_section_for_the_version() {
    let heading = |line: &str| line.starts_with("## ") && line.contains(&version());
    assert!(read("CHANGELOG.md").lines().any(heading), "CHANGELOG.md: no section for {}", version());
}

#[test]
fn the_release_of_rust_is_the_same_everywhere() {
    let rust = value("rust-toolchain.toml", "channel = ");
    let least = value("Cargo.toml", "rust-version = ");
    assert!(rust == least || rust.starts_with(&format!("{least}.")), "{rust} is pinned, {least} is the least");
    assert!(read("Dockerfile").contains(&format!("FROM rust:{rust}-")), "Dockerfile: another image than rust:{rust}");
    for file in ["README.md", "docs/install.md"] {
        assert!(read(file).contains(&format!("Rust {least} or newer")), "{file}: not `Rust {least} or newer`");
    }
}
