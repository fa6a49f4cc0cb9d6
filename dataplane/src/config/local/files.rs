//! Files, directories and standard input in, manifests out. A directory means its own `*.yaml`, `*.yml` and `*.json`, in
//! the order of their names, and those of its subdirectories only if asked for, as `kubectl apply -f` and `-R` read one;
//! `-` means standard input. A `List` is taken apart into its items.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use routeapi_crds::yaml;
use serde_json::Value;

use super::{
    json,
    problem::{ManifestProblem, Origin},
};

/// Larger files are no manifests. The API server's own limit for one object is below 2 MiB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Two writes within it may have the same time.
const FILE_TIME_GRANULARITY: Duration = Duration::from_millis(20);

/// What stands for standard input among paths, and what it is called in messages.
const STDIN: &str = "-";
const STDIN_NAME: &str = "stdin";

/// Where manifests come from.
#[derive(Debug)]
pub struct Sources {
    paths: Vec<PathBuf>,
    recursive: bool,
    /// Standard input, which can be read once only.
    stdin: OnceLock<Result<String, String>>,
}

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
pub struct Fingerprint(Vec<(PathBuf, Option<Version>)>);

/// A file's device, inode, length, and times of the last write and the last change, in nanoseconds.
type Version = (u64, u64, u64, i128, i128);

impl Sources {
    /// These files and directories; `-` among them is standard input.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, recursive: false, stdin: OnceLock::new() }
    }

    /// With the subdirectories of directories, or without.
    pub fn recursive(&mut self, recursive: bool) {
        self.recursive = recursive;
    }

    /// What was named, as messages name it.
    pub fn named(&self) -> Vec<PathBuf> {
        let name = |path: &PathBuf| if path.as_os_str() == STDIN { PathBuf::from(STDIN_NAME) } else { path.clone() };
        self.paths.iter().map(name).collect()
    }

    /// Files and directories in which changes can be seen, as of now.
    pub fn watchable(&self) -> Vec<PathBuf> {
        let mut watchable = Vec::new();
        for path in self.paths.iter().filter(|path| path.as_os_str() != STDIN) {
            watchable.push(path.clone());
            if self.recursive {
                subdirectories(path, &mut watchable);
            }
        }
        watchable
    }

    /// Which files there are and which versions of them.
    pub fn fingerprint(&self) -> Fingerprint {
        let paths = self.paths.iter().filter(|path| path.as_os_str() != STDIN);
        let files = paths.flat_map(|path| self.list(path).unwrap_or_else(|_| vec![path.clone()]));
        let versions = files.map(|file| {
            let version = version(&file);
            (file, version)
        });
        Fingerprint(versions.collect())
    }

    /// Reads every file; a path that cannot be listed, or a directory without any, goes to `problems`.
    pub fn texts(&self, problems: &mut Vec<ManifestProblem>) -> Vec<Text> {
        let mut texts = Vec::new();
        for path in &self.paths {
            if path.as_os_str() == STDIN {
                let text = self.stdin.get_or_init(|| limited(io::stdin()).map_err(|error| error.to_string()));
                texts.push(Text { file: STDIN_NAME.into(), text: text.clone() });
                continue;
            }
            match self.list(path) {
                Ok(files) if files.is_empty() => {
                    problems.push(ManifestProblem::in_file(path, 1, self.nothing_in(path)));
                }
                Ok(files) => texts.extend(files.into_iter().map(|file| {
                    let text = fs::File::open(&file).and_then(limited).map_err(|error| error.to_string());
                    Text { file, text }
                })),
                Err(error) => problems.push(ManifestProblem::in_file(path, 1, error)),
            }
        }
        texts
    }

    fn nothing_in(&self, directory: &Path) -> &'static str {
        let mut below = Vec::new();
        subdirectories(directory, &mut below);
        if below.is_empty() || self.recursive {
            return "the directory holds no .yaml, .yml or .json file";
        }
        "the directory itself holds no .yaml, .yml or .json file; -R reads its subdirectories too"
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        if !fs::metadata(path)?.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let mut directories = vec![path.to_owned()];
        if self.recursive {
            subdirectories(path, &mut directories);
        }
        let mut files = Vec::new();
        for directory in directories {
            for entry in fs::read_dir(directory)? {
                let file = entry?.path();
                let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default();
                // Follows links, as mounted ConfigMaps need.
                if matches!(extension, "yaml" | "yml" | "json") && file.is_file() {
                    files.push(file);
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

/// All directories below one, as far as they can be read. Links are not followed, which could lead round in a circle, and
/// hidden directories are left out: those are bookkeeping of git, and of mounted ConfigMaps.
fn subdirectories(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
            subdirectories(&entry.path(), found);
        }
    }
}

impl Fingerprint {
    /// Whether a file was written so recently that a second write would not show: file systems keep time in ticks.
    pub fn is_fresh(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_nanos());
        let limit = i128::try_from(now.saturating_sub(FILE_TIME_GRANULARITY.as_nanos())).unwrap_or(i128::MAX);
        self.0.iter().any(|(_, version)| version.is_some_and(|(.., changed)| changed >= limit))
    }
}

fn version(file: &Path) -> Option<Version> {
    let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let it = fs::metadata(file).ok()?;
    let (written, changed) = (nanos(it.mtime(), it.mtime_nsec()), nanos(it.ctime(), it.ctime_nsec()));
    Some((it.dev(), it.ino(), it.len(), written, changed))
}

/// The manifests in a text; what cannot be read goes to `problems`.
pub fn manifests(text: &Text, problems: &mut Vec<ManifestProblem>) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    let file = &text.file;
    match &text.text {
        Ok(text) => read_text(file, text, &mut manifests, problems),
        Err(error) => problems.push(ManifestProblem::in_file(file, 1, error)),
    }
    manifests
}

fn read_text(file: &Path, text: &str, manifests: &mut Vec<Manifest>, problems: &mut Vec<ManifestProblem>) {
    let only_json = file.extension().is_some_and(|it| it == "json");
    for document in json::read_each(text, only_json).unwrap_or_else(|| yaml::read_each(text)) {
        match document {
            Ok(document) => {
                let origin = Origin { file: file.to_owned(), line: document.line };
                push_objects(document.value, &origin, manifests);
            }
            Err(error) => problems.push(ManifestProblem::in_file(file, error.line, error.message)),
        }
    }
}

/// The whole text, if it is not too long. A pipe does not tell its length in advance.
fn limited(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("more than {MAX_FILE_BYTES} bytes, which is too much for manifests")));
    }
    Ok(text)
}

fn push_objects(value: Value, origin: &Origin, manifests: &mut Vec<Manifest>) {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List")
        && value.get("apiVersion").and_then(Value::as_str) == Some("v1");
    match value {
        Value::Object(mut list) if is_list => match list.remove("items") {
            Some(Value::Array(items)) => items.into_iter().for_each(|item| push_objects(item, origin, manifests)),
            _ => manifests.push(Manifest { origin: origin.clone(), value: Value::Object(list) }),
        },
        value => manifests.push(Manifest { origin: origin.clone(), value }),
    }
}
