//! Whole answers.
use crate::{codec::Reply, exchange::{Answer, Exchange, Observed, Whole}, problem::Problem};

pub(crate) fn answer(_exchange: &Exchange, _reply: &Reply, answer: Answer<'_>) -> Result<Whole, Problem> {
    Ok(Whole { body: answer.body, content_type: "application/json", observed: Observed::default(), changed: false })
}
