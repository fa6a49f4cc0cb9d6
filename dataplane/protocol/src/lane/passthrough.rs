//! Passes events through.
use bytes::Bytes;

use crate::{codec::Reply, exchange::{Exchange, Observed}, problem::Problem};

#[derive(Debug)]
pub(crate) struct Passthrough {
    observed: Observed,
}

impl Passthrough {
    pub(crate) fn new(_exchange: &Exchange, _reply: Reply, _hide_usage: bool) -> Self {
        Self { observed: Observed::default() }
    }
    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        chunk
    }
    pub(crate) fn finish(&mut self) -> Bytes {
        Bytes::new()
    }
    pub(crate) fn fail(&mut self, _problem: &Problem) -> Bytes {
        Bytes::new()
    }
    pub(crate) fn heartbeat(&mut self) -> Bytes {
        Bytes::new()
    }
    pub(crate) fn observed(&self) -> &Observed {
        &self.observed
    }
}
