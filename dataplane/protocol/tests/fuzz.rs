//! The functions under fuzz, on the committed seeds and on every golden file. What the fuzzer finds is put beside the seeds
//! and then fails here first.
//!
//! `UPDATE=1 cargo test -p routeapi-protocol --test fuzz` writes the seeds that are made from the benchmark's hostile inputs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "../benches/codec/inputs.rs"]
mod inputs;
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use targets::{OPERATIONS, TARGETS};

/// Size of a seed, in bytes: small ones are changed more cleverly.
const SEED: usize = 400;

fn directory(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: &str, input: &[u8], name: &Path) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| run(input)));
    assert!(result.is_ok(), "{target} fails on {}", name.display());
}

#[test]
fn every_seed_holds() {
    for (target, _) in TARGETS {
        let seeds = files(&directory(&format!("../../fuzz/seeds/{target}")));
        assert!(!seeds.is_empty(), "no seeds of {target}");
        for seed in seeds {
            replay(target, &fs::read(&seed).unwrap(), &seed);
        }
    }
}

#[test]
fn every_golden_file_holds() {
    for (kind, targets) in [
        ("requests", &["requests", "scan"][..]),
        ("responses", &["responses", "failures", "scan"]),
        ("streams", &["streams", "sse", "json_array"]),
    ] {
        let mut count = 0;
        for dialect in files(&directory("golden").join(kind)) {
            for file in files(&dialect) {
                if file.extension().is_some_and(|extension| extension == "txt") {
                    continue;
                }
                let input = fs::read(&file).unwrap();
                for target in targets {
                    // Targets that cut their input take two bytes for it.
                    let cut = [&[7, 0][..], &input].concat();
                    let input = if ["streams", "sse", "json_array"].contains(target) { &cut } else { &input };
                    replay(target, input, &file);
                }
                count += 1;
            }
        }
        assert!(count > 10, "{count} golden {kind}");
    }
}

/// Seeds that are made: each kind of hostile input that the benchmark knows, in small.
#[test]
fn the_made_seeds_are_up_to_date() {
    for operation in OPERATIONS {
        let name = |kind: &str| format!("{}-{}", operation.name(), kind.replace(' ', "-"));
        for kind in inputs::REQUESTS {
            seed("requests", &name(kind), inputs::request(operation, kind, SEED).as_bytes());
        }
        for kind in inputs::ANSWERS {
            seed("responses", &name(kind), inputs::answer(operation, kind, SEED).as_bytes());
        }
        for kind in inputs::STREAMS {
            let pieces = inputs::stream(operation, kind, SEED).concat();
            seed("streams", &name(kind), &[&[50, 0][..], pieces.as_bytes()].concat());
        }
    }
}

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let path = directory("../../fuzz/seeds").join(target).join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let written = fs::read(&path).unwrap_or_default();
    assert!(written == bytes, "{}: UPDATE=1 writes it anew", path.display());
}
