//! Connections that begin and do not go on.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{Findings, Scale};
use crate::{
    ground::{Ground, SOON},
    wire::{self, connect_from, frame},
};
use routeapi_tests::upstream::Script;

/// Connections that are not the attack's, at most: on a busy machine the innocent opens one more for each request that
/// waits, and its pool keeps them for a minute and a half.
const OF_OTHERS: f64 = 1000.0;

/// Opens connections and writes the same to each; those that are refused count as gone.
async fn open(ground: &Ground, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut sockets = Vec::with_capacity(count);
    for number in 0..count {
        let Ok(mut socket) = connect_from(number, ground.gateway).await else { continue };
        if socket.write_all(bytes).await.is_ok() {
            sockets.push(socket);
        }
    }
    sockets
}

/// Closes connections and waits until the gateway has noticed.
async fn close(ground: &Ground, sockets: Vec<TcpStream>, findings: &mut Findings) -> Result<()> {
    let (held, begun) = (ground.resident_kib(), Instant::now());
    drop(sockets);
    // The innocent's stay.
    while ground.metric("routeapi_connections_open").await? > OF_OTHERS {
        anyhow::ensure!(begun.elapsed() < SOON, "connections that were closed are still counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    findings.note(format!("{} MiB while they lasted, {} MiB after", held >> 10, ground.resident_kib() >> 10));
    Ok(())
}

/// Memory that unfinished requests may take, all of them together.
const BOUND_MIB: u64 = 128;

fn judge(ground: &Ground, before: u64, findings: &mut Findings) {
    let grown = ground.peak_kib().saturating_sub(before) >> 10;
    findings.expect(grown <= BOUND_MIB, || format!("{grown} MiB were held, {BOUND_MIB} are allowed"));
}

/// Header sections of HTTP/1 that never end, short and long ones.
pub async fn heads(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let before = ground.resident_kib();
    for (count, bytes) in [(scale.of(3_000, 9_000), 1_000), (scale.of(1_500, 9_000), 60_000)] {
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-long: {}", "a".repeat(bytes));
        let mut sockets = open(ground, count, head.as_bytes()).await;
        for socket in &mut sockets {
            // A little more, so that buffers are asked to grow.
            let _ = socket.write_all(b"bbbbbbbb").await;
        }
        findings.note(format!("{} connections with {bytes} bytes each", sockets.len()));
        close(ground, sockets, &mut findings).await?;
    }
    judge(ground, before, &mut findings);
    Ok(findings)
}

/// Header blocks of HTTP/2 that never end, and frames that do not.
pub async fn header_blocks(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let before = ground.resident_kib();
    let begin = wire::pseudo("POST", "/v1/chat/completions");
    let fields: Vec<u8> = (0..10).flat_map(|n| wire::field(&format!("x-{n}"), &"a".repeat(1_200))).collect();
    let block =
        [wire::no_window(), frame(wire::HEADERS, 0, 1, &begin), frame(wire::CONTINUATION, 0, 1, &fields)].concat();
    let mut half = frame(wire::HEADERS, 0, 1, &fields);
    half.truncate(half.len() - 1);
    let frame_begun = [wire::no_window(), half].concat();
    for (what, bytes) in [("open blocks", block), ("open frames", frame_begun), ("nothing", wire::no_window())] {
        let sockets = open(ground, scale.of(1_000, 4_000), &bytes).await;
        findings.note(format!("{} connections with {what}", sockets.len()));
        close(ground, sockets, &mut findings).await?;
    }
    judge(ground, before, &mut findings);
    Ok(findings)
}

/// Streams without a token whose answers cannot be sent: a hundred on each connection.
pub async fn unread_streams(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let before = ground.resident_kib();
    let fields = [wire::pseudo("GET", "/v1/models"), wire::field("x-long", &"a".repeat(4_000))].concat();
    let mut bytes = wire::no_window();
    for stream in 0..100 {
        bytes.extend(frame(wire::HEADERS, 5, stream * 2 + 1, &fields));
    }
    let sockets = open(ground, scale.of(40, 400), &bytes).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    findings.note(format!("{} connections with 100 streams each", sockets.len()));
    close(ground, sockets, &mut findings).await?;
    judge(ground, before, &mut findings);
    Ok(findings)
}

/// Clients that ask for long answers and read nothing, on a provider with four places.
pub async fn unread_answers(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let long = "lorem ipsum dolor sit amet ".repeat(40);
    for model in ["narrow-endless", "chat-endless", "claude-endless"] {
        ground.upstream.on_model(model, Script::new().chunks(20_000, &long).no_tools().tolerate_unknown());
    }
    let ask = |model: &str| {
        let body = format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#);
        wire::post("/v1/chat/completions", "", body.as_bytes())
    };
    let mut sockets = open(ground, 4, &ask("narrow-endless")).await;
    for model in ["chat-endless", "claude-endless"] {
        sockets.extend(open(ground, scale.of(20, 200), &ask(model)).await);
    }
    // What a client that does not read may hold is given back while it is still there.
    let (begun, attacker) = (Instant::now(), ground.attacker());
    let patience = scale.of(Duration::from_secs(3), Duration::from_secs(120));
    let mut freed = None;
    while freed.is_none() && begun.elapsed() < patience {
        freed = Some(attacker.chat("narrow-free").await).filter(|answer| answer.status == 200).map(|_| begun.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    match freed {
        Some(after) => findings.note(format!("a provider's places were free again after {after:.1?}")),
        None if scale == Scale::Short => {
            findings.note("a provider's places are held longer than is waited here".to_owned());
        }
        None => {
            findings.fault(format!("a provider's four places were held for {patience:?} by clients that do not read"));
        }
    }
    close(ground, sockets, &mut findings).await?;
    ground.upstream.wait_idle(SOON).await;
    Ok(findings)
}

/// Bodies that come a byte at a time.
pub async fn slow_bodies(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut request = wire::post("/v1/chat/completions", "", &vec![b' '; 1_000_000]);
    request.truncate(request.len() - 999_000);
    let mut sockets = open(ground, scale.of(100, 1_000), &request).await;
    let (begun, count) = (Instant::now(), sockets.len());
    let patience = scale.of(Duration::from_secs(2), Duration::from_secs(180));
    let mut ended = 0;
    while ended < count && begun.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(scale.of(250, 2_000))).await;
        for socket in &mut sockets {
            // Each piece comes in time; it is the whole that takes too long.
            let _ = socket.try_write(b" ");
        }
        ended = sockets.iter().filter(|socket| is_over(socket)).count();
    }
    findings.note(format!("{ended} of {count} slow bodies were ended within {:.0?}", begun.elapsed()));
    if scale == Scale::Long {
        findings.expect(ended == count, || format!("slow bodies go on after {patience:?}"));
    }
    close(ground, sockets, &mut findings).await?;
    Ok(findings)
}

/// Whether the gateway has answered or closed.
fn is_over(socket: &TcpStream) -> bool {
    let mut byte = [0];
    !matches!(socket.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
