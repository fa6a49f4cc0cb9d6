//! The attacks, one function each.

mod bodies;
mod configuration;
mod connections;
mod process;
mod shapes;
mod upstreams;

use std::{future::Future, pin::Pin};

use anyhow::Result;

use crate::ground::{Ground, Setup};

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As much as shows the kind of fault in a few seconds.
    Short,
    /// As much as the attack was reported with.
    Long,
}

impl Scale {
    /// One number or the other.
    pub fn of<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// What an attack found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Figures to print.
    pub notes: Vec<String>,
    /// What must not be.
    pub faults: Vec<String>,
}

impl Findings {
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A fault unless it holds.
    pub fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(otherwise());
        }
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Findings>> + Send + 'a>>;

/// One attack.
pub struct Attack {
    /// The item and a few words.
    pub name: &'static str,
    /// Whether it is part of the short form.
    pub in_short: bool,
    /// What the gateway is started with.
    pub setup: fn(Scale) -> Setup,
    pub run: for<'a> fn(&'a Ground, Scale) -> Running<'a>,
    /// Whether it ends the process.
    pub ends: bool,
}

const fn attack(name: &'static str, run: for<'a> fn(&'a Ground, Scale) -> Running<'a>) -> Attack {
    Attack { name, in_short: true, setup: |_| usual(), run, ends: false }
}

fn usual() -> Setup {
    Setup::default()
}

macro_rules! run {
    ($function:path) => {
        |ground, scale| Box::pin($function(ground, scale))
    };
}

/// All of them, in the order of the items they belong to.
pub static ALL: &[Attack] = &[
    attack("A1 schemas that multiply", run!(bodies::schemas)),
    attack("A1 one value told often", run!(bodies::repeated)),
    attack("A2 unknown members", run!(bodies::members)),
    attack("A2 many messages, parts and tools", run!(bodies::many)),
    attack("A2 deep and double", run!(bodies::deep)),
    attack("A2 gzip that expands", run!(bodies::gzip)),
    attack("A3 unfinished heads, HTTP/1", run!(connections::heads)),
    attack("A3 unfinished heads, HTTP/2", run!(connections::header_blocks)),
    attack("A3 streams that cannot be answered", run!(connections::unread_streams)),
    attack("A4 clients that do not read", run!(connections::unread_answers)),
    attack("A5 bodies that dawdle", run!(connections::slow_bodies)),
    attack("A6 model names that fit nowhere", run!(upstreams::long_names)),
    attack("A7 paths and queries", run!(upstreams::paths)),
    attack("A8 headers to vendors", run!(upstreams::headers)),
    attack("A9 revoked while the body comes", run!(upstreams::revoked)),
    attack("A10 many answers in one request", run!(upstreams::many_answers)),
    attack("A11 usage beyond reason", run!(upstreams::usage)),
    attack("A11 clients that leave at once", run!(upstreams::leavers)),
    Attack {
        setup: |_| Setup { full_pipe: true, ..usual() },
        ends: true,
        ..attack("B12 SIGTERM with a full pipe", run!(process::full_pipe))
    },
    attack("B12 manifests gone for a moment", run!(process::truncated)),
    Attack { setup: configuration::many_routes, ..attack("B14 metrics of many routes", run!(configuration::scrape)) },
    Attack { in_short: false, ..attack("B15 memory after idle streams", run!(process::idle_streams)) },
    Attack { setup: configuration::many_routes, ..attack("B16 noise beside manifests", run!(configuration::noise)) },
    Attack {
        in_short: false,
        setup: configuration::many_prefixes,
        ..attack("B16 many prefix routes", run!(configuration::prefixes))
    },
];
