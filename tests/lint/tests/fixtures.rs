//! The lints, on small crates that are made up for the purpose.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{fs, path::PathBuf};

use routeapi_lint::{
    circles,
    rules::{self, Rule},
    source::Source,
};
use tempfile::TempDir;

/// A crate of these files below `src`.
struct Crate(TempDir);

impl Crate {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        for (name, text) in files {
            let path = directory.path().join("src").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(directory)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("src/lib.rs")
    }

    fn read(&self) -> Source {
        Source::read(&self.root()).unwrap()
    }

    fn name(&self, file: &std::path::Path) -> String {
        file.strip_prefix(self.0.path().join("src")).unwrap().display().to_string()
    }

    fn edges(&self) -> Vec<String> {
        let edges = circles::edges(&self.read());
        edges.iter().map(|((from, to), line)| format!("{}:{line} {}", self.name(from), self.name(to))).collect()
    }

    fn circles(&self) -> Vec<Vec<String>> {
        let circles = circles::circles(&circles::edges(&self.read()));
        circles.iter().map(|circle| circle.iter().map(|file| self.name(file)).collect()).collect()
    }

    fn findings(&self) -> Vec<(Rule, String, usize)> {
        let found = rules::findings(&self.read());
        found.into_iter().map(|finding| (finding.rule, self.name(&finding.file), finding.line)).collect()
    }
}

#[test]
fn siblings_that_name_each_other_are_a_circle() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f() { super::c::g(); }"),
        ("c.rs", "use super::a;\npub fn g() { let _: a::A; }"),
    ]);
    assert_eq!(made.circles(), [["a.rs", "b.rs", "c.rs"]]);
    assert_eq!(made.edges(), ["a.rs:1 b.rs", "b.rs:2 c.rs", "c.rs:1 a.rs"]);
}

#[test]
fn a_module_file_that_calls_its_child_which_uses_its_types_is_a_circle() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b;\npub struct A;\npub fn f(a: A) { b::g(a) }"),
        ("a/b.rs", "use super::A;\npub(super) fn g(_: A) {}"),
    ]);
    assert_eq!(made.circles(), [["a/b.rs", "a.rs"]]);
}

#[test]
fn a_module_file_that_only_exports_its_children_is_none() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b;\nmod c;\npub use b::B;\npub use c::C;"),
        ("a/b.rs", "pub struct B;"),
        ("a/c.rs", "use super::B;\npub struct C(B);"),
    ]);
    assert_eq!(made.edges(), ["a/c.rs:1 a/b.rs"], "the name is followed to where it is defined");
    assert_eq!(made.circles(), Vec::<Vec<String>>::new());
}

#[test]
fn an_exported_name_that_the_module_file_uses_itself_counts() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b;\npub use b::B;\npub trait T {}\nfn f(_: B) {}"),
        ("a/b.rs", "pub struct B;\nimpl super::T for B {}"),
    ]);
    assert_eq!(made.circles(), [["a/b.rs", "a.rs"]]);
}

#[test]
fn paths_in_macros_attributes_and_functions_count() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nmod e;"),
        ("a.rs", "fn f() { println!(\"{}\", 1 + crate::b::g()); }"),
        ("b.rs", "pub fn g() { use crate::c::h as i; i() }"),
        ("c.rs", "#[serde(with = \"crate::d\")]\npub struct C;\npub fn h() {}"),
        ("d.rs", "fn f() -> Vec<crate::e::E> {}"),
        ("e.rs", "pub struct E;"),
    ]);
    assert_eq!(made.edges(), ["a.rs:1 b.rs", "b.rs:1 c.rs", "c.rs:1 d.rs", "d.rs:1 e.rs"]);
}

#[test]
fn tests_and_documentation_do_not_count() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        (
            "b.rs",
            "//! See [`crate::a::A`].\npub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; fn f() { std::time::Instant::now(); } }\n#[cfg(test)]\nimpl B { fn f() -> crate::a::A {} }",
        ),
    ]);
    assert_eq!(made.edges(), ["a.rs:1 b.rs"]);
    assert_eq!(made.findings(), []);
}

#[test]
fn clocks_are_read_in_their_room() {
    let made = Crate::new(&[
        ("lib.rs", "mod a;\nmod clock;"),
        (
            "a.rs",
            "use std::time::{self, Instant as Moment};\nfn f() { Moment::now(); }\nfn g() { let read = time::SystemTime::now; }\n\
             fn h(at: Moment) { log!(took = at.elapsed()); }\nfn i(at: Moment) -> u8 { at.elapsed().as_secs() }\n\
             fn j() { crate::clock::now(); }",
        ),
        ("clock.rs", "pub fn now() { std::time::SystemTime::now(); jiff::Timestamp::now(); }"),
    ]);
    let mut found = made.findings();
    found.sort();
    assert_eq!(found, [2, 3, 4, 5].map(|line| (Rule::Clock, "a.rs".to_owned(), line)));
}

#[test]
fn tasks_and_threads_are_started_in_their_room() {
    let made = Crate::new(&[(
        "lib.rs",
        "use tokio::task;\nfn f() { tokio::spawn(x); }\nfn g() { task::spawn(x); }\nfn h() { std::thread::spawn(x); }\n\
         fn i() { std::thread::Builder::new(); }\nfn j(ours: Spawner) { ours.spawn(x); task::spawn_blocking(x); }",
    )]);
    assert_eq!(made.findings(), [2, 3, 4, 5].map(|line| (Rule::Spawn, "lib.rs".to_owned(), line)));
}

#[test]
fn addresses_are_judged_in_their_room() {
    let made = Crate::new(&[(
        "lib.rs",
        "fn f(a: Ipv4Addr) { a.is_private(); }\nconst A: &str = \"169.254.169.254\";\n\
         const B: std::net::Ipv4Addr = std::net::Ipv4Addr::new(168, 63, 129, 16);\nfn g() { matches!(a, \"fd00:ec2::254\"); }\n\
         const C: &str = \"10.0.0.1\";",
    )]);
    let mut found = made.findings();
    found.sort();
    assert_eq!(found, [1, 2, 3, 4].map(|line| (Rule::Addresses, "lib.rs".to_owned(), line)));
}

#[test]
fn a_file_that_is_no_rust_is_named() {
    let made = Crate::new(&[("lib.rs", "mod a;"), ("a.rs", "fn {")]);
    let error = Source::read(&made.root()).err().unwrap().to_string();
    assert!(error.contains("src/a.rs"), "{error}");
}
