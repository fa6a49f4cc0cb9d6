//! Files and directories in, manifests out. A directory means its own `*.yaml`, `*.yml` and `*.json`, in the order of
//! their names, without subdirectories, as `kubectl apply -f` reads one. A `List` is taken apart into its items.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use routeapi_crds::yaml;
use serde_json::Value;

use super::problem::{Origin, Problem};

/// Larger files are no manifests. The API server's own limit for one object is below 2 MiB.
const LARGEST_FILE: u64 = 16 << 20;

/// Two writes within it may have the same time.
const TICK: Duration = Duration::from_millis(20);

/// One object as it is written.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where.
    pub origin: Origin,
    /// What.
    pub value: Value,
}

/// The text of one file.
#[derive(Debug)]
pub struct Text {
    /// Where.
    pub file: PathBuf,
    /// What, if it can be read.
    pub text: Result<String, String>,
}

/// Which files there are and which versions of them, as far as the file system tells without reading any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Version>)>);

/// A file's device, inode, length, and times of the last write and the last change, in nanoseconds.
type Version = (u64, u64, u64, i128, i128);

impl Stamp {
    /// Of these files and directories, now.
    pub fn of(paths: &[PathBuf]) -> Self {
        let files = paths.iter().flat_map(|path| list(path).unwrap_or_else(|_| vec![path.clone()]));
        Self(
            files
                .map(|file| {
                    let version = version(&file);
                    (file, version)
                })
                .collect(),
        )
    }

    /// Whether a file was written so recently that a second write would not show: file systems keep time in ticks.
    pub fn is_fresh(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_nanos());
        let limit = i128::try_from(now.saturating_sub(TICK.as_nanos())).unwrap_or(i128::MAX);
        self.0.iter().any(|(_, version)| version.is_some_and(|(.., changed)| changed >= limit))
    }
}

fn version(file: &Path) -> Option<Version> {
    let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let it = fs::metadata(file).ok()?;
    let (written, changed) = (nanos(it.mtime(), it.mtime_nsec()), nanos(it.ctime(), it.ctime_nsec()));
    Some((it.dev(), it.ino(), it.len(), written, changed))
}

/// Reads every file; a path that cannot be listed, or a directory without any, goes to `problems`.
pub fn texts(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<Text> {
    let mut texts = Vec::new();
    for path in paths {
        match list(path) {
            Ok(files) if files.is_empty() => {
                problems.push(Problem::in_file(path, 1, "the directory holds no .yaml, .yml or .json file"));
            }
            Ok(files) => texts.extend(files.into_iter().map(|file| {
                let text = text(&file).map_err(|error| error.to_string());
                Text { file, text }
            })),
            Err(error) => problems.push(Problem::in_file(path, 1, error)),
        }
    }
    texts
}

/// The manifests in a text; what cannot be read goes to `problems`.
pub fn manifests(text: &Text, problems: &mut Vec<Problem>) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    let file = &text.file;
    match &text.text {
        Ok(text) => read_text(file, text, &mut manifests, problems),
        Err(error) => problems.push(Problem::in_file(file, 1, error)),
    }
    manifests
}

fn list(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default();
        // Follows links, as mounted ConfigMaps need; their hidden bookkeeping directories have no such extension.
        if matches!(extension, "yaml" | "yml" | "json") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_text(file: &Path, text: &str, manifests: &mut Vec<Manifest>, problems: &mut Vec<Problem>) {
    for document in yaml::read_each(text) {
        match document {
            Ok(document) => {
                let origin = Origin { file: file.to_owned(), line: document.line };
                unfold(document.value, &origin, manifests);
            }
            Err(error) => problems.push(Problem::in_file(file, error.line, error.message)),
        }
    }
}

fn text(file: &Path) -> std::io::Result<String> {
    let length = fs::metadata(file)?.len();
    if length > LARGEST_FILE {
        return Err(std::io::Error::other(format!("{length} bytes are too many for manifests")));
    }
    fs::read_to_string(file)
}

fn unfold(value: Value, origin: &Origin, manifests: &mut Vec<Manifest>) {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List")
        && value.get("apiVersion").and_then(Value::as_str) == Some("v1");
    match value {
        Value::Object(mut list) if is_list => match list.remove("items") {
            Some(Value::Array(items)) => items.into_iter().for_each(|item| unfold(item, origin, manifests)),
            _ => manifests.push(Manifest { origin: origin.clone(), value: Value::Object(list) }),
        },
        value => manifests.push(Manifest { origin: origin.clone(), value }),
    }
}
