//! The hard cases of docs/protocols/hard-cases.md between the dialects: tables of requests and answers,
//! and an index of all of them that says where each is proven and is itself checked, so that the claim cannot rot.
//! Beside them, without numbers, what users of gateways reported and recordings of vendors' traffic showed: one row for
//! each kind of fault.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "hard_cases/answers.rs"]
mod answers;
#[path = "hard_cases/failures.rs"]
mod failures;
#[path = "hard_cases/index.rs"]
mod index;
#[path = "hard_cases/matrix.rs"]
mod matrix;
#[path = "hard_cases/neutral.rs"]
mod neutral;
#[path = "hard_cases/passed.rs"]
mod passed;
#[path = "hard_cases/reported_answers.rs"]
mod reported_answers;
#[path = "hard_cases/reported_neighbours.rs"]
mod reported_neighbours;
#[path = "hard_cases/reported_requests.rs"]
mod reported_requests;
#[path = "hard_cases/requests.rs"]
mod requests;
#[path = "hard_cases/responses_clients.rs"]
mod responses_clients;
#[path = "hard_cases/responses_upstream.rs"]
mod responses_upstream;
#[path = "hard_cases/run.rs"]
mod run;
#[path = "hard_cases/unknown.rs"]
mod unknown;

use std::{fs, path::Path};

use index::{CASES, Where};

fn none(failures: &[String]) {
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn requests_reach_the_upstream_as_they_must() {
    none(&requests::ROWS.iter().flat_map(run::Request::failures).collect::<Vec<_>>());
}

#[test]
fn answers_reach_the_client_as_they_must() {
    none(&answers::ROWS.iter().flat_map(run::Answer::failures).collect::<Vec<_>>());
}

#[test]
fn upstreams_of_responses_get_what_they_take() {
    none(&responses_upstream::REQUESTS.iter().flat_map(run::Request::failures).collect::<Vec<_>>());
}

#[test]
fn answers_of_responses_reach_the_client_whole() {
    none(&responses_upstream::ANSWERS.iter().flat_map(run::Answer::failures).collect::<Vec<_>>());
}

#[test]
fn reported_requests_reach_the_upstream_as_it_takes_them() {
    none(&reported_requests::ROWS.iter().flat_map(run::Request::failures).collect::<Vec<_>>());
}

#[test]
fn neighbours_of_reported_requests_reach_the_upstream_as_it_takes_them() {
    none(&reported_neighbours::ROWS.iter().flat_map(run::Request::failures).collect::<Vec<_>>());
}

#[test]
fn reported_answers_reach_the_client_whole() {
    none(&reported_answers::ROWS.iter().flat_map(run::Answer::failures).collect::<Vec<_>>());
}

#[test]
fn every_client_reads_the_same_out_of_every_form_of_an_answer() {
    none(&matrix::ROWS.iter().flat_map(matrix::Row::failures).collect::<Vec<_>>());
}

#[test]
fn failures_say_what_the_upstream_said() {
    none(&failures::rows().iter().flat_map(run::Answer::failures).collect::<Vec<_>>());
}

#[test]
fn responses_clients_reach_every_other_upstream() {
    none(&responses_clients::REQUESTS.iter().flat_map(run::Request::failures).collect::<Vec<_>>());
}

#[test]
fn responses_clients_are_answered_by_every_other_upstream() {
    none(&responses_clients::ANSWERS.iter().flat_map(run::Answer::failures).collect::<Vec<_>>());
}

#[test]
fn every_case_is_listed_once_and_proven_where_it_says() {
    let requests = || requests::ROWS.iter().chain(responses_upstream::REQUESTS).chain(responses_clients::REQUESTS);
    let answers = || answers::ROWS.iter().chain(responses_upstream::ANSWERS).chain(responses_clients::ANSWERS);
    let in_requests = |case: u16| requests().any(|row| row.cases.contains(&case));
    let in_answers = |case: u16| answers().any(|row| row.cases.contains(&case));
    for (expected, (case, proof)) in (1..).zip(CASES) {
        assert_eq!(case, expected, "the index goes by number");
        match proof {
            Where::Test(file, name) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("case {case}: {file}: {error}"));
                let place =
                    source.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("case {case}: no {name} in {file}"));
                let before = source.get(..place).unwrap().trim_end();
                assert!(before.ends_with("#[test]"), "case {case}: {name} in {file} is no test");
            }
            Where::Request => assert!(in_requests(case), "case {case} has no row"),
            Where::Answer => assert!(in_answers(case), "case {case} has no row"),
            Where::DataPlane => {
                assert!(!in_requests(case) && !in_answers(case), "case {case} has a row and is said to be elsewhere");
            }
        }
    }
}

/// How much is proven here, so that less of it is noticed.
#[test]
fn cases_of_the_data_plane_are_counted() {
    assert_eq!(CASES.iter().filter(|(_, proof)| matches!(proof, Where::DataPlane)).count(), 14);
}
