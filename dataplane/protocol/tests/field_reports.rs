//! What users of gateways reported, and what recordings of vendors' traffic showed: one row for each kind of fault.
//!
//! The counterpart of `hard_cases`, whose numbers are those of the protocol reference; here rows go by kind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "field_reports/answers.rs"]
mod answers;
#[path = "field_reports/requests.rs"]
mod requests;
#[path = "hard_cases/run.rs"]
mod run;

fn none(failures: &[String]) {
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn requests_reach_the_upstream_as_it_takes_them() {
    none(&requests::ROWS.iter().flat_map(run::Request::failures).collect::<Vec<_>>());
}

#[test]
fn answers_reach_the_client_whole() {
    none(&answers::ROWS.iter().flat_map(run::Answer::failures).collect::<Vec<_>>());
}
