//! Files and directories in, manifests out. A directory means its own `*.yaml`, `*.yml` and `*.json`, in the order of
//! their names, without subdirectories, as `kubectl apply -f` reads one. A `List` is taken apart into its items.

use std::{
    fs,
    path::{Path, PathBuf},
};

use routeapi_crds::yaml;
use serde_json::Value;

use super::problem::{Origin, Problem};

/// Larger files are no manifests. The API server's own limit for one object is below 2 MiB.
const LARGEST_FILE: u64 = 16 << 20;

/// One object as it is written.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where.
    pub origin: Origin,
    /// What.
    pub value: Value,
}

/// Reads everything that can be read; what cannot goes to `problems`.
pub fn read(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    for path in paths {
        match list(path) {
            Ok(files) if files.is_empty() => {
                problems.push(Problem::in_file(path, 1, "the directory holds no .yaml, .yml or .json file"));
            }
            Ok(files) => files.iter().for_each(|file| read_file(file, &mut manifests, problems)),
            Err(error) => problems.push(Problem::in_file(path, 1, error)),
        }
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

fn read_file(file: &Path, manifests: &mut Vec<Manifest>, problems: &mut Vec<Problem>) {
    let text = match text(file) {
        Ok(text) => text,
        Err(error) => return problems.push(Problem::in_file(file, 1, error)),
    };
    for document in yaml::read_each(&text) {
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
