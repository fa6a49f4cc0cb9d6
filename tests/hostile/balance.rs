//! Whether the books agree after an attack: the access log, the metrics, the upstream's own record and the innocent's
//! count. Every place that is given back (requests in flight, buffers) is back.

use serde_json::Value;

use crate::{
    ground::{Ground, SOON},
    innocent::Tally,
};

/// What does not add up.
pub async fn check(ground: &Ground, innocent: &Tally) -> Vec<String> {
    let mut faults = Vec::new();
    let begun = std::time::Instant::now();
    // Requests of clients that have gone end a moment after.
    loop {
        let open = ground.metric("routeapi_requests_in_flight").await.unwrap_or(1.0);
        let held = ground.metric("routeapi_buffered_bytes").await.unwrap_or(1.0);
        let logged = ground.records().len() as f64;
        let lost = ground.metric("routeapi_access_log_lost_lines_total").await.unwrap_or(0.0);
        let counted = ground.metric("routeapi_requests_total").await.unwrap_or(-1.0);
        if open == 0.0 && held == 0.0 && (logged + lost - counted).abs() < 0.5 {
            break;
        }
        if begun.elapsed() > SOON {
            faults.push(format!(
                "after the attack: {open} requests in flight, {held} bytes buffered, {counted} requests counted, \
                 {logged} logged and {lost} lost"
            ));
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let panics = ground.metric("routeapi_panics_total").await.unwrap_or(0.0);
    if panics > 0.0 {
        faults.push(format!("{panics} panics"));
    }
    faults.extend(against_upstream(ground));
    faults.extend(against_innocent(ground, innocent));
    faults
}

/// Attempts that got an answer reached the upstream, and nothing reached it that is no attempt.
fn against_upstream(ground: &Ground) -> Option<String> {
    let records = ground.records();
    let attempts: Vec<&Value> = records.iter().filter_map(|record| record["attempts"].as_array()).flatten().collect();
    let of_upstream = |attempt: &&&Value| !attempt["provider"].as_str().is_some_and(|name| name.contains("echo"));
    let all = attempts.iter().filter(of_upstream).count();
    let answered = attempts.iter().filter(of_upstream).filter(|attempt| attempt["status"].is_u64()).count();
    let received = ground.upstream.ledger().len();
    (received < answered || received > all).then(|| {
        format!("the upstream received {received} requests; the log has {answered} answered of {all} attempts")
    })
}

/// Each of the innocent's requests has one record, completed, with the tokens that the upstream reported.
fn against_innocent(ground: &Ground, innocent: &Tally) -> Option<String> {
    let records = ground.records();
    let own = records.iter().filter(|record| record["token"].as_str().is_some_and(|name| name.ends_with("innocent")));
    let completed: Vec<&Value> = own.filter(|record| record["outcome"] == "completed").collect();
    let expected = innocent.sent - innocent.failures.len();
    let with_usage = completed.iter().filter(|record| record["usage_source"] == "reported").count();
    (completed.len() != expected || with_usage != expected).then(|| {
        let recorded = completed.len();
        format!("{expected} innocent requests completed; {recorded} are recorded as such, {with_usage} with usage")
    })
}
