//! Rooms: what only certain files may do.

use std::path::PathBuf;

use crate::{
    paths::Mentions,
    resolve::Target,
    source::Source,
    tree::{Id, Tree},
};

/// A rule about what code mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Reading a clock: in a crate's `clock.rs`, so that tests can pause time and one decision sees one time.
    Clock,
    /// Starting a task or a thread: where panics are seen and counted.
    Spawn,
    /// Judging addresses: in the one table that compile and the resolver share.
    Addresses,
}

/// Something that a rule forbids at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Where.
    pub file: PathBuf,
    /// Line in the file.
    pub line: usize,
    /// What stands there.
    pub what: String,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 3] = [Self::Clock, Self::Spawn, Self::Addresses];

    /// Its name in the list of what is allowed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Spawn => "spawn",
            Self::Addresses => "addresses",
        }
    }

    /// Where it does not apply: ends of paths.
    fn rooms(self) -> &'static [&'static str] {
        match self {
            Self::Clock => &["src/clock.rs"],
            Self::Spawn => &[
                "dataplane/ledger/src/spawn.rs",
                "dataplane/src/spawn.rs",
                "operator/src/spawn.rs",
                "process/src/background.rs",
                "process/src/exit.rs",
            ],
            Self::Addresses => &["crds/src/value/address.rs", "crds/src/value/address/class.rs"],
        }
    }

    /// What it asks for instead.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Clock => "take the time from the crate's clock.rs, or as an argument",
            Self::Spawn => "start it through the crate's spawn.rs, which counts panics",
            Self::Addresses => "ask routeapi_crds::value::AddressClass: a second table will disagree with it",
        }
    }

    fn forbids_path(self, path: &[String]) -> bool {
        let ends = |ends: &[[&str; 2]]| {
            ends.iter().any(|end| path.len() >= 2 && path.iter().rev().zip(end.iter().rev()).all(|(a, b)| a == b))
        };
        match self {
            Self::Clock => ends(&[
                ["Instant", "now"],
                ["SystemTime", "now"],
                ["Timestamp", "now"],
                ["Zoned", "now"],
                ["Utc", "now"],
                ["Local", "now"],
            ]),
            Self::Spawn => {
                ends(&[
                    ["tokio", "spawn"],
                    ["task", "spawn"],
                    ["task", "spawn_local"],
                    ["thread", "spawn"],
                    ["thread", "scope"],
                    ["Builder", "spawn"],
                ]) || path.ends_with(&["thread".to_owned(), "Builder".to_owned(), "new".to_owned()])
            }
            // Nobody else writes single addresses.
            Self::Addresses => ends(&[["Ipv4Addr", "new"]]),
        }
    }

    fn forbids_call(self, method: &str) -> bool {
        match self {
            // A reading that hides: the time since an instant.
            Self::Clock => method == "elapsed",
            Self::Spawn => false,
            Self::Addresses => {
                ["is_link_local", "is_private", "is_unicast_link_local", "is_unique_local"].contains(&method)
            }
        }
    }

    fn forbids_text(self, text: &str) -> bool {
        self == Self::Addresses && FORBIDDEN_ADDRESSES.iter().any(|address| text.contains(address))
    }
}

/// Addresses that only a table of refused places would name.
const FORBIDDEN_ADDRESSES: [&str; 8] = [
    "169.254.",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2:",
    "fd20:ce::",
    "metadata.google.internal",
    "metadata.goog",
];

/// What a crate does outside the rooms.
pub fn findings(source: &Source) -> Vec<Finding> {
    let modules = source.mentions.iter().enumerate();
    modules
        .flat_map(|(id, mentions)| Rule::ALL.map(|rule| broken(&source.tree, id, mentions, rule)))
        .flatten()
        .collect()
}

fn broken(tree: &Tree, id: Id, mentions: &Mentions, rule: Rule) -> Vec<Finding> {
    let Some(file) = tree.file(id) else { return Vec::new() };
    if rule.rooms().iter().any(|room| file.ends_with(room)) {
        return Vec::new();
    }
    let paths = mentions.paths.iter().filter_map(|path| match tree.resolve(id, &path.what) {
        Some(Target::External(full)) if rule.forbids_path(&full) => Some((path.line, full.join("::"))),
        _ => None,
    });
    let calls = mentions.calls.iter().filter(|call| rule.forbids_call(&call.what));
    let texts = mentions.strings.iter().filter(|text| rule.forbids_text(&text.what));
    paths
        .chain(calls.map(|call| (call.line, format!(".{}()", call.what))))
        .chain(texts.map(|text| (text.line, format!("{:?}", text.what))))
        .map(|(line, what)| Finding { rule, file: file.to_owned(), line, what })
        .collect()
}
