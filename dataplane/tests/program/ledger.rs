//! The usage ledger of `routeapi run`: it balances with the access log and with what clients saw, also when the process is
//! killed, and commands read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use routeapi_ledger::query::{By, Reader};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    bytes::{chat, connect, eventually, exchange, metric, rest, status},
    files::{Files, TOKEN, manifests},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_routeapi");

/// `routeapi run` with a ledger; killed when dropped.
struct Gateway {
    child: Child,
    gateway: SocketAddr,
    admin: SocketAddr,
}

/// Where its files are.
struct Place {
    directory: TempDir,
    manifests: Files,
}

impl Place {
    fn new(text: &str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), manifests: Files::new(text) }
    }

    fn ledger(&self) -> PathBuf {
        self.directory.path().join("usage.sqlite")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn start(&self) -> Gateway {
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["run", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=2", "--access-log", "-f"])
            .arg(&self.manifests.path)
            .arg("--ledger")
            .arg(self.ledger())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || {
            let line = lines.find_map(|line| line.unwrap().split_once(" on http://").map(|(_, at)| at.to_owned()));
            line.expect("it says where it listens").trim().parse().unwrap()
        };
        let (gateway, admin) = (address(), address());
        // Read on, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Gateway { child, gateway, admin }
    }

    /// Records in the access log, by id.
    fn access_log(&self) -> BTreeMap<String, Value> {
        let text = fs::read_to_string(self.log()).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let records = lines.filter(|line| line["usage_source"].is_string());
        records.map(|record| (record["id"].as_str().unwrap().to_owned(), record)).collect()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.ledger()).unwrap()
    }

    fn told(&self, args: &[&str]) -> String {
        told(&self.ledger(), args)
    }
}

/// What a command says about this ledger.
fn told(ledger: &Path, args: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(args).env("ROUTEAPI_LEDGER", ledger).output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

impl Gateway {
    fn stop(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success() && self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP/1 server that answers each connection once.
fn upstream(answer: fn(&str, TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                while !seen.ends_with(b"}") {
                    let mut buffer = [0; 4096];
                    let length = socket.read(&mut buffer).unwrap_or(0);
                    if length == 0 {
                        return;
                    }
                    seen.extend_from_slice(&buffer[..length]);
                }
                answer(&String::from_utf8_lossy(&seen), socket);
            });
        }
    });
    address
}

fn fails(_: &str, mut socket: TcpStream) {
    let _ = socket.write_all(b"HTTP/1.1 500 Oh\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
}

/// Whole answers report 9 input tokens, 4 of them from a cache, and 3 output tokens. Streams never end by themselves.
fn serves(request: &str, mut socket: TcpStream) {
    let choice =
        |member: &str| format!(r#""choices":[{{"index":0,"{member}":{{"role":"assistant","content":"word "}}"#);
    if request.contains(r#""stream":true"#) {
        let event = format!(
            r#"data: {{"id":"a","object":"chat.completion.chunk","created":1,"model":"x",{}}}]}}"#,
            choice("delta")
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = write!(socket, "{head}{event}\n\n");
        let _ = socket.read(&mut [0; 16]);
        return;
    }
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":4}}"#;
    let body = format!(
        r#"{{"id":"a","object":"chat.completion","created":1,"model":"x",{},"finish_reason":"stop"}}],{usage}}}"#,
        choice("message")
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let _ = write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len());
}

/// A route whose first upstream fails, and whose second has a price.
fn with_fallback() -> String {
    let (first, second) = (upstream(fails), upstream(serves));
    let provider = |name: &str, address| {
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: {name}, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: 'http://{address}/v1'}}\n---\n"
        )
    };
    format!(
        "{}{}apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: r, namespace: apps}}\n\
         spec: {{model: m, upstreams: [{{name: first, providerRef: {{name: first}}}}, \
         {{name: second, providerRef: {{name: second}}, priority: 1, \
         price: {{inputPerMillion: '3', outputPerMillion: '15'}}}}]}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: app, namespace: apps}}\n\
         spec: {{models: ['*'], secretName: app}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: app, namespace: apps}}\nstringData: {{token: {TOKEN}}}\n",
        provider("first", first),
        provider("second", second)
    )
}

fn id_of(answer: &str) -> Option<String> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix("x-routeapi-request-id: ").map(str::to_owned))
}

/// Asks for a stream, reads its beginning and leaves.
fn leave(gateway: SocketAddr) {
    let mut socket = connect(gateway);
    socket.write_all(chat("m", r#","stream":true"#).as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("word") {
        let mut buffer = [0; 1024];
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..length]);
    }
}

#[test]
fn ledger_access_log_and_clients_agree() {
    const CLIENTS: usize = 4;
    const EACH: usize = 30;
    let place = Place::new(&with_fallback());
    let gateway = place.start();
    // A fallback that is served, before the first upstream is evicted.
    let first = exchange(gateway.gateway, chat("m", "").as_bytes());
    let answered = Mutex::new(BTreeSet::from([id_of(&first).unwrap()]));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for at in 0..EACH {
                    match at % 3 {
                        0 => leave(gateway.gateway),
                        1 => drop(exchange(gateway.gateway, chat("unknown", "").as_bytes())),
                        _ => {
                            let answer = exchange(gateway.gateway, chat("m", "").as_bytes());
                            assert_eq!(status(&answer), "200", "{answer}");
                            answered.lock().unwrap().insert(id_of(&answer).unwrap());
                        }
                    }
                }
            });
        }
    });
    let all = (CLIENTS * EACH + 1).to_string();
    eventually("all are committed", || metric(gateway.admin, "routeapi_ledger_committed_records_total") == all);
    gateway.stop();
    let (log, reader) = (place.access_log(), place.reader());
    assert_eq!(log.len().to_string(), all);
    let mut sums = [0; 4];
    for (id, line) in &log {
        let record = reader.request(id).unwrap().unwrap_or_else(|| panic!("{id} is missing: {line:#}"));
        let count = |name: &str| line["usage"][name].as_u64().unwrap_or(0);
        let (input, output) =
            (count("input") + count("cache_read") + count("cache_write"), count("output") + count("reasoning"));
        let tokens = (record.tokens.input.unwrap_or(0), record.tokens.output.unwrap_or(0));
        assert_eq!(tokens, (input, output), "{line:#}");
        assert_eq!(serde_json::to_value(record.outcome).unwrap(), line["outcome"]);
        assert_eq!(serde_json::to_value(record.usage_source).unwrap(), line["usage_source"]);
        assert_eq!(line["cost_nano_usd"], record.cost_nano);
        let attempts = line["attempts"].as_array().unwrap();
        assert_eq!(record.attempts.len(), attempts.len());
        for (attempt, logged) in record.attempts.iter().zip(attempts) {
            assert_eq!(logged["upstream"], attempt.upstream.as_str());
            assert_eq!(logged["error"].as_str(), attempt.error.as_deref());
            let priced = attempt.price.as_ref().map(|price| price.id.starts_with("manifest:apps/second/second#"));
            assert_eq!(priced, (attempt.upstream == "second").then_some(true));
        }
        for (sum, value) in sums.iter_mut().zip([1, input, output, record.cost_nano]) {
            *sum += value;
        }
    }
    for by in [By::Token, By::Team, By::Model, By::Upstream, By::Day] {
        let rows = reader.usage(0, by).unwrap();
        let sum = |of: fn(&routeapi_ledger::query::Sums) -> u64| rows.iter().map(of).sum::<u64>();
        let found = [
            sum(|row| row.requests),
            sum(|row| row.input_tokens),
            sum(|row| row.output_tokens),
            sum(|row| row.cost_nano),
        ];
        assert_eq!(found, sums, "{by:?}");
    }
    let answered = answered.into_inner().unwrap();
    assert!(answered.iter().all(|id| log[id]["outcome"] == "completed" && log[id]["usage"]["output"] == 3));
    assert!(log.values().any(|line| line["outcome"] == "client_cancelled" && line["usage_source"] == "counted"));
    assert!(log.values().any(|line| line["attempts"].as_array().unwrap().len() == 2), "there were fallbacks");
    commands_tell(&place, &log);
}

/// What people read of it.
fn commands_tell(place: &Place, log: &BTreeMap<String, Value>) {
    let is_fallback = |line: &Value| line["attempts"].as_array().unwrap().len() == 2;
    let fallback = log.iter().find(|(_, line)| is_fallback(line) && line["outcome"] == "completed");
    let (id, _) = fallback.unwrap();
    let story = place.told(&["request", id]);
    for part in
        ["1. first (apps/first), model m", "status 500", "2. second (apps/second), model m", "served by  apps/second"]
    {
        assert!(story.contains(part), "{part}:\n{story}");
    }
    let read: Value = serde_json::from_str(&place.told(&["request", id, "--json"])).unwrap();
    assert_eq!((&read["schema"], &read["id"]), (&"routeapi.usage/1.0".into(), &id.as_str().into()));
    let table = place.told(&["usage", "--by", "token"]);
    assert!(table.contains("apps/app") && table.contains('█') && table.contains("total"), "{table}");
    let json: Value = serde_json::from_str(&place.told(&["usage", "--by=upstream", "--json"])).unwrap();
    assert_eq!((&json["rows"][0]["key"], json["gaps"].as_array().unwrap().len()), (&"apps/second second".into(), 0));
    let csv = place.told(&["usage", "--by=team", "--csv"]);
    assert!(csv.starts_with("team,requests,") && csv.contains("\r\napps,"), "{csv}");
    let missing = place.told(&["request", "\u{1b}[31mnone"]);
    assert!(missing.contains("the ledger has no request \u{fffd}[31mnone"), "{missing:?}");
    let nowhere = told(&place.directory.path().join("none"), &["usage"]);
    assert!(nowhere.contains("there is no usage ledger at"), "{nowhere}");
}

/// Rounds of the test below, each of which ends with SIGKILL.
const KILLS: u32 = 4;

/// What is promised to be on the disk after so long.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn killed_gateway_loses_at_most_a_flush_interval_says_so_and_doubles_nothing() {
    let place = Place::new(&manifests("hello", "{type: Echo}"));
    // Ids of whole answers, and when they were there.
    let answered: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let mut kills = Vec::new();
    for round in 0..KILLS {
        let mut gateway = place.start();
        let (stop, address) = (Arc::new(AtomicBool::new(false)), gateway.gateway);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut socket) = TcpStream::connect(address) else { return };
                        if socket.write_all(chat("hello", "").as_bytes()).is_err() {
                            return;
                        }
                        let answer = rest(&mut socket);
                        if answer.ends_with('}')
                            && let Some(id) = id_of(&answer)
                        {
                            answered.lock().unwrap().push((id, Instant::now()));
                        }
                    }
                })
            })
            .collect();
        let before = answered.lock().unwrap().len();
        // Not at a time that fits the flushes.
        let enough = before + 40 + 17 * usize::try_from(round).unwrap();
        eventually("there is traffic", || answered.lock().unwrap().len() >= enough);
        kills.push(Instant::now());
        gateway.child.kill().unwrap();
        gateway.child.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    }
    let gateway = place.start();
    eventually("nothing waits", || {
        let committed = metric(gateway.admin, "routeapi_ledger_committed_records_total").parse().unwrap_or(0);
        committed > 0 && metric(gateway.admin, "routeapi_ledger_waiting_records") == "0"
    });
    gateway.stop();
    let reader = place.reader();
    let answered = answered.lock().unwrap();
    let lost: Vec<_> = answered.iter().filter(|(id, _)| reader.request(id).unwrap().is_none()).collect();
    for (id, at) in &lost {
        let just_before = kills.iter().any(|kill| *at + FLUSH_INTERVAL >= *kill);
        assert!(just_before, "{id} was answered long before a kill");
    }
    let gaps = reader.gaps(0).unwrap();
    assert_eq!((&*gaps[0].reason, gaps[0].count), ("unclean_stop", u64::from(KILLS)));
    // Sums are written with the rows, so a doubled record would show here.
    let sums = &reader.usage(0, By::Day).unwrap();
    let requests: u64 = sums.iter().map(|row| row.requests).sum();
    assert!(requests >= (answered.len() - lost.len()) as u64);
    let known = place.access_log().len() as u64;
    assert!(requests <= known.max(answered.len() as u64) + u64::from(KILLS) * 16, "{requests} rows, {known} log lines");
    println!(
        "figure: ledger: {KILLS} SIGKILLs under load, {} answers, {} of them not in the ledger, {} gaps reported, \
         {requests} rows",
        answered.len(),
        lost.len(),
        gaps[0].count
    );
}

#[test]
fn default_ledger_is_a_convenience_and_one_that_is_asked_for_is_not() {
    let files = Files::new(&manifests("hello", "{type: Echo}"));
    let run = |state: &Path, more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(["run", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "-f"])
            .arg(&files.path)
            .args(more)
            .env_remove("ROUTEAPI_LEDGER")
            .env("XDG_STATE_HOME", state)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let listens = |mut command: Command| {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.starts_with("listening on"), "{line}");
    };
    let directory = tempfile::tempdir().unwrap();
    listens(run(directory.path(), &["--ledger=off"]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    listens(run(directory.path(), &[]));
    assert!(directory.path().join("routeapi/usage.sqlite").exists());
    // A file where a directory should be, as a home that cannot be written.
    let file = files.path.clone();
    listens(run(&file, &[]));
    let asked = file.join("usage.sqlite");
    let output = run(directory.path(), &["--ledger", asked.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--ledger"), "{text}");
}
