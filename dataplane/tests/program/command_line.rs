//! The program as people type it: what it says of manifests and of its own flags, and the exit code it ends with.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::{
    bytes::{chat, eventually, exchange, get},
    files::{self, Files},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_routeapi");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Variables that would change what is said.
const UNSET: [&str; 7] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "ROUTEAPI_LOG",
    "ROUTEAPI_LOG_FORMAT",
    "KUBERNETES_SERVICE_HOST",
    "ROUTEAPI_WORKERS",
];

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in UNSET {
        command.env_remove(name);
    }
    // Nobody's home gets a ledger from tests.
    command.env("ROUTEAPI_LEDGER", "off");
    command.current_dir(REPOSITORY).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command says on both outputs together, and its exit code.
fn told(args: &[&str], stdin: &str) -> (String, i32) {
    let mut child = command(PROGRAM).args(args).stdin(Stdio::piped()).spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    both(&child.wait_with_output().unwrap())
}

fn both(output: &Output) -> (String, i32) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (String::from_utf8(text).unwrap(), output.status.code().unwrap())
}

fn check(manifests: &str, more: &[&str]) -> (String, i32) {
    told(&[&["check", "-f", "-"], more].concat(), manifests)
}

const PROVIDER: &str = "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {name: up, namespace: ai}\n";
const ROUTE: &str = "---\napiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: r, namespace: ai}\n\
                     spec: {model: m, upstreams: [{name: u, providerRef: {name: up}}]}\n";

/// `routeapi run` on free ports.
struct Gateway {
    child: Child,
    address: String,
}

impl Gateway {
    fn of(mut command: Command) -> Self {
        // A group of its own: a shell's pipeline has to end as a whole.
        let mut child = command.process_group(0).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut gateway = Self { child, address: String::new() };
        let mut said = String::new();
        while out.read_line(&mut said).unwrap() > 0 {
            if let Some(rest) = said.lines().find_map(|line| line.strip_prefix("listening on http://")) {
                rest.clone_into(&mut gateway.address);
                // Read on, so that it never waits for us.
                std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
                return gateway;
            }
        }
        let mut error = String::new();
        gateway.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        panic!("it ended: {said}{error}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn a_part_of_a_whole_is_ok_provided_that_the_rest_is_there() {
    let provider = format!("{PROVIDER}spec: {{type: OpenAI, credentials: {{apiKey: {{secretRef: {{name: k}}}}}}}}\n");
    let (text, code) = check(&(provider.clone() + ROUTE), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("assumed: stdin:1: AIProvider ai/up: Secret ai/k exists"), "{text}");
    assert!(text.ends_with("\nok, if the assumptions hold: 1 AIProvider, 1 AIRoute\n"), "{text}");

    let (text, code) = check(ROUTE, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("assumed: stdin:2: AIRoute ai/r: AIProvider ai/up exists"), "{text}");

    // A name that is none of those that are there is shown beside them.
    let (text, code) = check(&(PROVIDER.replace("up", "upp") + "spec: {type: Echo}\n" + ROUTE), &[]);
    assert!(code == 0 && text.contains("did you mean upp?"), "{text}");

    let (text, code) = check(&(provider + ROUTE), &["--complete"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("Secret ai/k does not exist"), "{text}");
    assert!(text.ends_with("\n2 problems in AIProvider ai/up, AIRoute ai/r\n"), "{text}");
}

#[test]
fn what_is_refused_is_not_said_to_be_absent() {
    for more in [&[][..], &["--complete"]] {
        let (text, code) = check(&format!("{PROVIDER}spec: {{type: Ecco}}\n{ROUTE}"), more);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("AIProvider ai/up exists but is invalid"), "{text}");
        assert!(!text.contains("does not exist"), "{text}");
        let every = r#"spec.type: "Ecco" is not one of "OpenAI", "Anthropic", "Gemini", "VertexAI", "AzureOpenAI", "Bedrock", "Echo""#;
        assert!(text.contains(every), "every word is listed: {text}");
    }
}

#[test]
fn localhost_and_slips_in_base_urls() {
    let of = |spec: &str| check(&format!("{PROVIDER}spec: {spec}\n{ROUTE}"), &[]);
    for url in
        ["http://localhost:11434/v1", "http://LOCALHOST:1234/v1/", "http://127.0.0.1:8080/v1", "http://[::1]:80/v1"]
    {
        let (text, code) = of(&format!("{{type: OpenAI, baseURL: '{url}'}}"));
        assert!(code == 0 && !text.contains("spec.baseURL"), "{url}: {text}");
    }
    for (spec, meant) in [
        ("{type: OpenAI, baseURL: 'http://localhost:11434'}", "http://localhost:11434/v1"),
        ("{type: OpenAI, baseURL: 'https://api.openai.com/v1/chat/completions'}", "https://api.openai.com/v1"),
        ("{type: Anthropic, baseURL: 'https://api.anthropic.com/v1'}", "https://api.anthropic.com"),
    ] {
        let (text, code) = of(spec);
        let warning = text.lines().find(|line| line.starts_with("warning: stdin:1: AIProvider ai/up: spec.baseURL: "));
        assert!(code == 0 && warning.is_some_and(|line| line.contains(&format!("{meant:?}"))), "{spec}: {text}");
    }
}

#[test]
fn nothing_and_nothing_of_ours_are_not_ok() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    for (manifests, more, code) in
        [("", &[][..], 1), ("# nothing\n---\n", &[], 1), (deployment, &[], 1), ("", &["--allow-empty"], 0)]
    {
        let (text, ended) = check(manifests, more);
        assert_eq!(ended, code, "{manifests:?}: {text}");
        assert!(!text.lines().any(|line| line.starts_with("ok")), "{manifests:?}: {text}");
    }
}

#[test]
fn json_streams_lists_and_subdirectories_are_read() {
    let provider = r#"{"apiVersion":"routeapi.dev/v1alpha1","kind":"AIProvider","metadata":{"name":"up","namespace":"ai"},"spec":{"type":"Echo"}}"#;
    let route = r#"{"apiVersion":"routeapi.dev/v1alpha1","kind":"AIRoute","metadata":{"name":"r","namespace":"ai"},"spec":{"model":"m","upstreams":[{"name":"u","providerRef":{"name":"up"}}]}}"#;
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{provider},{route}]}}"#);
    let both = "ok: 1 AIProvider, 1 AIRoute\n";
    for text in [format!("{provider}\n{route}\n"), format!("{provider}\n---\n{route}\n"), list] {
        assert_eq!(check(&text, &[]), (both.to_owned(), 0), "{text}");
    }
    let (text, code) = check(&format!("{provider}\n{}", route.replace("model", "modell")), &[]);
    assert!(code == 1 && text.contains("error: stdin:2: AIRoute ai/r: spec.modell: unknown field"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("a/b")).unwrap();
    fs::create_dir(path(".git")).unwrap();
    fs::write(path("a/provider.json"), provider).unwrap();
    fs::write(path("a/b/route.yaml"), route).unwrap();
    fs::write(path(".git/broken.yaml"), "{").unwrap();
    let root = directory.path().to_str().unwrap();
    assert_eq!(told(&["check", "-R", "-f", root], ""), (both.to_owned(), 0));
    let (text, code) = told(&["check", "-f", root], "");
    assert!(code == 1 && text.contains("-R reads its subdirectories too"), "{text}");
}

#[test]
fn variables_that_are_needed_are_named_at_once_and_only_to_serve() {
    let path = "examples/multi-vendor";
    for args in [
        &["check", "-f", path][..],
        &["render", "-f", path],
        &["explain", "-f", path, "--as", "chat", "examples/requests/chat.json"],
    ] {
        let (text, code) = told(args, "");
        assert_eq!(code, 0, "{args:?}: {text}");
        assert!(!text.contains("value-of-the-variable"), "no stand-in is shown: {text}");
    }
    let (text, code) = told(&["run", "-f", path, "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"], "");
    assert_eq!(code, 1, "{text}");
    let line = "error: environment variables are not set: ANTHROPIC_API_KEY (apiKey of Secret ai-platform/anthropic), \
                GEMINI_API_KEY (apiKey of Secret ai-platform/gemini), OPENAI_API_KEY (apiKey of Secret ai-platform/openai)";
    assert_eq!(text.lines().filter(|line| line.starts_with("error")).collect::<Vec<_>>(), [line]);
}

#[test]
fn a_variable_that_nobody_needs_may_be_unset_and_standard_input_can_be_served() {
    let more = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: app}\nstringData: {other: '${NOT_SET_ANYWHERE}'}\n";
    let manifests =
        files::manifests("m", "{type: Echo}").replace("stringData: {", "stringData: {unused: '${NOT_SET}', ");
    let mut command = command("sh");
    let script = r#"printf '%s' "$1" | exec "$0" run -f - --listen=127.0.0.1:0 --admin=127.0.0.1:0"#;
    command.args(["-c", script, PROGRAM, &(manifests + &more.replace("name: app", "name: nobodys"))]);
    let running = Gateway::of(command);
    let answer = exchange(running.address.parse().unwrap(), chat("m", "").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn wrong_flags_are_refused_with_what_would_be_right() {
    let quickstart = ["-f", "examples/quickstart.yaml"];
    for (args, says) in [
        (&["run", "--listen", "localhost"][..], "localhost:8080"),
        (&["run", "--listen", "example.com:80"], "127.0.0.1:8080"),
        (&["--log", "inof", "check"], "error, warn, info, debug or trace"),
        (&["check", "--log", "routeapi=loud"], "error, warn, info, debug or trace"),
    ] {
        let (text, code) = told(&[args, &quickstart].concat(), "");
        assert!(code == 2 && text.contains(says), "{args:?}: {text}");
    }
    let (text, code) = told(&["explain", "-f", "examples/quickstart.yaml", "--as", "chat", "absent.json"], "");
    assert_eq!((text.as_str(), code), ("error: absent.json: No such file or directory (os error 2)\n", 1));
    let (text, code) = told(&["explain", "-f", "-", "--as", "chat", "-"], "");
    assert!(code == 1 && text.contains("cannot both come from standard input"), "{text}");
}

#[test]
fn an_explanation_says_what_is_counted_and_which_field_is_missing() {
    let explain = |api: &str, body: &str| {
        let args = ["explain", "-f", "examples/quickstart.yaml", "--as", api, "--model", "hello", "-"];
        told(&args, body)
    };
    let (text, code) = explain("embeddings", r#"{"model":"hello","input":"hi"}"#);
    assert!(code == 0 && text.contains("output      no tokens"), "{text}");
    let translated = format!("{PROVIDER}spec: {{type: OpenAI, baseURL: 'http://localhost:1/v1'}}\n{ROUTE}");
    let files = Files::new(&translated);
    let path = files.path.to_str().unwrap();
    let (text, code) = told(&["explain", "-f", path, "--as", "gemini", "--model", "m", "-"], r#"{"foo": 1}"#);
    assert!(code == 1 && text.contains("rejected  contents: is required"), "{text}");
}

#[test]
fn an_explanation_says_what_the_model_takes() {
    let takes = "models: [{model: m, maxOutputTokens: 500, unsupported: [Temperature]}]";
    let manifests = format!("{PROVIDER}spec: {{type: OpenAI, baseURL: 'http://localhost:1/v1', {takes}}}\n{ROUTE}");
    let files = Files::new(&manifests);
    let path = files.path.to_str().unwrap();
    let body = r#"{"model":"m","max_tokens":900,"temperature":0.5,"messages":[{"role":"user","content":"q"}]}"#;
    let (text, code) = told(&["explain", "-f", path, "--as", "messages", "-"], body);
    assert_eq!(code, 0, "{text}");
    for line in [
        "takes     at most 500 output tokens",
        "takes     no Temperature",
        "adapted   max_tokens: 900 becomes 500",
        "dropped   temperature",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("takes     unknown"), "its owner has said what it takes: {text}");
    let unstated = format!("{PROVIDER}spec: {{type: OpenAI, baseURL: 'http://localhost:1/v1'}}\n{ROUTE}");
    let files = Files::new(&unstated);
    let (text, code) = told(&["explain", "-f", files.path.to_str().unwrap(), "--as", "messages", "-"], body);
    let unknown =
        "takes     unknown: m is not in the model table; a hint that it rejects is left out of a second attempt";
    assert!(code == 0 && text.contains(unknown), "{text}");
    let deployment = "models: [{model: m, baseModel: gpt-5.1, efforts: [Low, High]}]";
    let manifests =
        format!("{PROVIDER}spec: {{type: OpenAI, baseURL: 'http://localhost:1/v1', {deployment}}}\n{ROUTE}");
    let files = Files::new(&manifests);
    let path = files.path.to_str().unwrap();
    let body = r#"{"model":"m","max_tokens":900,"stop_sequences":["x"],"output_config":{"effort":"max"},"messages":[{"role":"user","content":"q"}]}"#;
    let (text, code) = told(&["explain", "-f", path, "--as", "messages", "-"], body);
    assert_eq!(code, 0, "{text}");
    for line in [
        "takes     what gpt-5.1 takes",
        "takes     the efforts Low, High",
        r#""max_completion_tokens":900"#,
        "adapted   output_config.effort: max becomes high",
        "dropped   stop_sequences",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// Every example of every `--help` works in a checkout of the repository, as it is printed; only ports are chosen anew.
#[test]
fn every_example_works_as_printed() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("usage.sqlite");
    let gateway = Gateway::of({
        let mut command = command(PROGRAM);
        command.args(["run", "-f", "examples/quickstart.yaml", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        command.arg("--ledger").arg(&ledger);
        command
    });
    let answer = get(gateway.address.parse().unwrap(), "/v1/models");
    let id = answer.lines().find_map(|line| line.strip_prefix("x-routeapi-request-id: ")).unwrap();
    eventually("the request is in the ledger", || {
        let mut story = command(PROGRAM);
        story.args(["request", id]).env("ROUTEAPI_LEDGER", &ledger);
        story.output().unwrap().status.success()
    });
    let mut tried = 0;
    for page in
        [&[][..], &["run"], &["serve"], &["check"], &["render"], &["explain"], &["usage"], &["request"], &["selftest"]]
    {
        let (help, code) = told(&[page, &["--help"]].concat(), "");
        assert_eq!(code, 0);
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{page:?} has examples");
        for example in examples {
            // The ID in the examples is nobody's.
            let example = example.replace("5f0c9a4be2d14f6c8f7d3b1a90e2c4d6", id);
            try_example(&example, &gateway.address, &ledger);
            tried += 1;
        }
    }
    assert!(tried >= 15, "only {tried} examples found");
}

/// The commands below "Examples": indented lines that are no comments, continued where they end with a backslash.
fn examples(help: &str) -> Vec<String> {
    let below = help.split("\nExamples").nth(1).unwrap_or_default();
    let lines = below.lines().skip(1).take_while(|line| line.starts_with("  "));
    let mut examples: Vec<String> = Vec::new();
    let mut continued = false;
    for line in lines.map(str::trim).filter(|line| !line.starts_with('#')) {
        let text = line.trim_end_matches('\\').trim();
        match examples.last_mut().filter(|_| continued) {
            Some(example) => example.push_str(&format!(" {text}")),
            None => examples.push(text.to_owned()),
        }
        continued = line.ends_with('\\');
    }
    examples
}

fn try_example(example: &str, gateway: &str, ledger: &Path) {
    let mut words: Vec<&str> = example.split(' ').collect();
    let mut after = |flag: &'static str, value: &'static str| match words.iter().position(|word| *word == flag) {
        Some(at) => words[at + 1] = value,
        None => words.extend([flag, value]),
    };
    let url = format!("http://{gateway}");
    if example.contains("routeapi run") {
        after("--listen", "127.0.0.1:0");
        after("--admin", "127.0.0.1:0");
    } else if example.contains("routeapi serve") {
        // Would wait for its operator: that the flags are right is told by its being there still, or by --help.
        words.push("--help");
    }
    let mut line = words.join(" ");
    if let Some(at) = line.find("--gateway ") {
        let value = line[at..].split(' ').nth(1).unwrap().to_owned();
        line = line.replace(&value, &url);
    }
    let mut shell = command("sh");
    let directory = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap_or_default());
    if example.contains("routeapi run") {
        shell.args(["-c", &line]).env("PATH", path);
        drop(Gateway::of(shell));
        return;
    }
    if example.contains("routeapi usage") || example.contains("routeapi request") {
        shell.env("ROUTEAPI_LEDGER", ledger);
    }
    let output = shell.args(["-c", &line]).env("PATH", path).output().unwrap();
    let (text, code) = both(&output);
    assert_eq!(code, 0, "{line}\n{text}");
}
