//! Configurations of a large installation.

use std::{fs, time::Instant};

use anyhow::Result;
use tokio::{task::JoinSet, time::Duration};

use super::{Findings, Scale};
use crate::ground::{Ground, Setup, route, token};

const ROUTES: usize = 5_000;

/// 5,000 routes and 10,000 tokens (fewer in the short form).
pub fn many_routes(scale: Scale) -> Setup {
    let mut more = String::new();
    for number in 0..scale.of(ROUTES / 10, ROUTES) {
        route(&mut more, &format!("r{number}"), &format!("echo-{number}"), "echo");
    }
    for number in 0..scale.of(ROUTES / 5, 2 * ROUTES) {
        token(&mut more, &format!("t{number}"), &format!("token-number-{number:08}"), "");
    }
    Setup { more, ..Setup::default() }
}

/// 5,000 routes by prefix.
pub fn many_prefixes(scale: Scale) -> Setup {
    let mut more = String::new();
    for number in 0..scale.of(ROUTES / 10, ROUTES) {
        route(&mut more, &format!("p{number}"), &format!("echo-{number}-*"), "echo");
    }
    Setup { more, ..Setup::default() }
}

/// Uses each route once, then asks for metrics.
pub async fn scrape(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let routes = scale.of(ROUTES / 10, ROUTES);
    let attacker = ground.attacker();
    let mut requests = JoinSet::new();
    for client in 0..8 {
        let attacker = attacker.clone();
        requests.spawn(async move {
            for number in (client..routes).step_by(8) {
                let answer = attacker.chat(&format!("echo-{number}")).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done?;
    }
    let (begun, before) = (Instant::now(), ground.cpu());
    let mut bytes = 0;
    for _ in 0..10 {
        bytes = ground.metrics().await?.len();
    }
    findings.note(format!(
        "{routes} used routes: {:.1} KiB, {:.1} ms and {:.0} ms of CPU per scrape",
        bytes as f64 / 1024.0,
        begun.elapsed().as_secs_f64() * 100.0,
        (ground.cpu() - before).as_secs_f64() * 100.0
    ));
    // 3 MB at 5,000 routes.
    let most = routes * 600 + 60_000;
    findings.expect(bytes <= most, || format!("a page of metrics has {bytes} bytes, {most} are allowed"));
    Ok(findings)
}

/// Files come and go beside the manifests.
pub async fn noise(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let directory = ground.manifest.parent().expect("a directory").to_owned();
    let quiet = measure(ground, Duration::from_secs(3), || Ok(())).await?;
    let mut number = 0;
    let noisy = measure(ground, Duration::from_secs(scale.of(3, 10)), || {
        number += 1;
        fs::write(directory.join(format!("noise-{}", number % 50)), number.to_string())
    })
    .await?;
    findings.note(format!("{quiet:.0} % of a core without noise, {noisy:.0} % with {number} writes beside"));
    Ok(findings)
}

/// Percent of a core that is used while something is done every 20 ms.
async fn measure(ground: &Ground, time: Duration, mut each: impl FnMut() -> std::io::Result<()>) -> Result<f64> {
    let (begun, before) = (Instant::now(), ground.cpu());
    while begun.elapsed() < time {
        each()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((ground.cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0)
}

/// What a request costs that matches by prefix.
pub async fn prefixes(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let (routes, requests) = (scale.of(ROUTES / 10, ROUTES), scale.of(500, 5_000));
    let attacker = ground.attacker();
    let mut costs = Vec::new();
    for prefix in ["chat-x".to_owned(), format!("echo-{}-x", routes / 2), "nobody-x".to_owned()] {
        let before = ground.cpu();
        for _ in 0..requests {
            attacker.chat(&prefix).await;
        }
        let each = (ground.cpu() - before).as_secs_f64() * 1e6 / f64::from(requests);
        costs.push(format!("{prefix} {each:.0}"));
    }
    findings.note(format!("{routes} prefix routes; microseconds of CPU per request: {}", costs.join(", ")));
    Ok(findings)
}
