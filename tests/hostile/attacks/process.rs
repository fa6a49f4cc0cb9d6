//! The process itself: its end, its manifests, its memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use routeapi_tests::upstream::Script;
use tokio::{io::AsyncWriteExt as _, task::JoinSet};

use super::{Findings, Scale};
use crate::{
    ground::{ATTACKER, Ground, SOON},
    wire::connect_from,
};

/// The log's reader has stopped, and SIGTERM comes.
pub async fn full_pipe(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let attacker = ground.attacker();
    let mut requests = JoinSet::new();
    for _ in 0..4 {
        let attacker = attacker.clone();
        let count = scale.of(150, 1_000);
        requests.spawn(async move {
            for _ in 0..count {
                let answer = attacker.chat("chat-x").await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done?;
    }
    let begun = Instant::now();
    // Its grace is 5 s, and an innocent request may be under way.
    match ground.process.terminate(Duration::from_secs(20)) {
        Ok(status) => findings.note(format!("ended {:.1?} after SIGTERM: {status}", begun.elapsed())),
        Err(error) => findings.fault(format!("{error:#}")),
    }
    Ok(findings)
}

/// The manifest file is empty for a moment, as with an editor that truncates before it writes.
pub async fn truncated(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let manifests = ground.manifests();
    let half = &manifests[..manifests.len() / 2];
    for _ in 0..scale.of(1, 3) {
        for content in ["", half, "# nothing yet\n"] {
            fs::write(&ground.manifest, content)?;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let answer = ground.attacker().chat("chat-x").await;
            findings.expect(answer.status == 200 || content == half, || {
                format!("with {} bytes of manifests a token is answered {}", content.len(), answer.status)
            });
            fs::write(&ground.manifest, &manifests)?;
            let begun = Instant::now();
            while ground.attacker().chat("chat-x").await.status != 200 {
                anyhow::ensure!(begun.elapsed() < SOON, "the whole manifests are not taken up");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    Ok(findings)
}

/// Streams that say one thing and then nothing; what memory remains when they are gone.
pub async fn idle_streams(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    ground.upstream.on_model("chat-idle", Script::new().stall_after(2).tolerate_unknown());
    // What a first request allocates stays, so it is part of the rest.
    for _ in 0..20 {
        ground.attacker().chat("chat-x").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = ground.resident_kib();
    let count = scale.of(200, 2_000);
    let body = r#"{"model":"chat-idle","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ATTACKER}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut sockets = Vec::new();
    for number in 0..count {
        let mut socket = connect_from(number, ground.gateway).await?;
        socket.write_all(request.as_bytes()).await?;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        // The head and the first event have come.
        socket.readable().await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let with = ground.resident_kib();
    drop(sockets);
    let mut after = Vec::new();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        after.push(ground.resident_kib());
    }
    let last = after.last().copied().unwrap_or(0);
    findings.note(format!(
        "{:.1} MiB idle, {:.1} MiB with {count} idle streams ({:.1} KiB each); every 10 s after they closed: {}",
        mib(idle),
        mib(with),
        (with.saturating_sub(idle)) as f64 / count as f64,
        after.iter().map(|kib| format!("{:.1}", mib(*kib))).collect::<Vec<_>>().join(", ")
    ));
    findings.expect(last as f64 <= 1.5 * idle as f64, || {
        format!("{:.1} MiB are held a minute after the last stream, {:.1} before", mib(last), mib(idle))
    });
    Ok(findings)
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
