//! Translates events.
use bytes::Bytes;

use crate::{codec::{NameMap, Reply}, exchange::{Exchange, Observed}, problem::Problem};

pub(crate) struct Translated {
    observed: Observed,
}

impl Translated {
    pub(crate) fn new(_exchange: &Exchange, _reply: &Reply, _names: NameMap) -> Self {
        Self { observed: Observed::default() }
    }
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Bytes {
        Bytes::copy_from_slice(chunk)
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
