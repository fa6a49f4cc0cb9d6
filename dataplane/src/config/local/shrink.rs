//! Refuses a source that has become empty.
//!
//! An editor that truncates before it writes, a mount that is not there yet, a template that renders nothing: for a moment
//! manifests say that nothing exists. Taken at their word, they would revoke every token. So what has become empty is a
//! problem like any other, which leaves in force what was, unless `--allow-empty` says that it is meant.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::problem::ManifestProblem;

/// Kinds of which none may be left where there were some.
const KINDS: [&str; 4] = ["AIProvider", "AIRoute", "ApiToken", "Secret"];

/// How many objects each file and each kind has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    /// By file.
    pub files: BTreeMap<PathBuf, usize>,
    /// By kind, those that play a part here.
    pub kinds: BTreeMap<String, usize>,
}

impl ObjectCounts {
    fn of_kind(&self, kind: &str) -> usize {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    fn serves(&self) -> bool {
        ["AIProvider", "AIRoute", "ApiToken"].iter().any(|kind| self.of_kind(kind) > 0)
    }
}

/// What has become empty since `before`, which is what the last good load held.
pub fn check(before: &ObjectCounts, now: &ObjectCounts, paths: &[PathBuf]) -> Vec<ManifestProblem> {
    let first = paths.first().map_or(Path::new("."), PathBuf::as_path);
    if !now.serves() {
        let message = "no AIProvider, AIRoute or ApiToken found; if that is meant, say --allow-empty";
        return vec![ManifestProblem::in_file(first, 1, message)];
    }
    let mut problems = Vec::new();
    for (file, objects) in &now.files {
        let counts = before.files.get(file).copied().unwrap_or(0);
        if *objects == 0 && counts > 0 {
            let message = format!(
                "holds no object any more ({counts} before); delete the file if that is meant, or say --allow-empty"
            );
            problems.push(ManifestProblem::in_file(file, 1, message));
        } else if *objects == 0 && paths.contains(file) {
            problems.push(ManifestProblem::in_file(file, 1, "holds no object; if that is meant, say --allow-empty"));
        }
    }
    for kind in KINDS {
        let counts = before.of_kind(kind);
        if counts > 0 && now.of_kind(kind) == 0 {
            let message = format!("no {kind} is left ({counts} before); if that is meant, start with --allow-empty");
            problems.push(ManifestProblem::in_file(first, 1, message));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(files: &[(&str, usize)], kinds: &[(&str, usize)]) -> ObjectCounts {
        ObjectCounts {
            files: files.iter().map(|(file, count)| (PathBuf::from(file), *count)).collect(),
            kinds: kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
        }
    }

    fn found(before: &ObjectCounts, now: &ObjectCounts, paths: &[&str]) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        check(before, now, &paths).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn empty_source_is_a_problem_at_startup() {
        let foreign = counts(&[("d/a.yaml", 3)], &[("Secret", 1)]);
        let message = "d:1: no AIProvider, AIRoute or ApiToken found; if that is meant, say --allow-empty";
        assert_eq!(found(&ObjectCounts::default(), &ObjectCounts::default(), &["d"]), [message]);
        assert_eq!(found(&ObjectCounts::default(), &foreign, &["d"]), [message]);
        let empty_file = counts(&[("a", 3), ("b", 0)], &[("AIRoute", 1)]);
        assert_eq!(
            found(&ObjectCounts::default(), &empty_file, &["a", "b"]),
            ["b:1: holds no object; if that is meant, say --allow-empty"]
        );
        assert_eq!(found(&ObjectCounts::default(), &empty_file, &["."]), [""; 0], "a placeholder in a directory");
    }

    #[test]
    fn emptied_file_or_kind_is_a_problem() {
        let before = counts(&[("d/a", 2), ("d/b", 1)], &[("AIRoute", 2), ("ApiToken", 1), ("Secret", 1)]);
        let file = counts(&[("d/a", 2), ("d/b", 0)], &[("AIRoute", 2), ("ApiToken", 1), ("Secret", 1)]);
        assert_eq!(found(&before, &file, &["d"]).len(), 1);
        for kind in ["AIRoute", "ApiToken", "Secret"] {
            let mut now = before.clone();
            now.kinds.remove(kind);
            let message = found(&before, &now, &["d"]).join("\n");
            assert!(message.contains(&format!("no {kind} is left")), "{message}");
        }
    }

    #[test]
    fn deleted_or_smaller_file_is_a_valid_edit() {
        let before = counts(&[("d/a", 2), ("d/b", 1)], &[("AIRoute", 2), ("ApiToken", 1)]);
        assert_eq!(found(&before, &counts(&[("d/a", 1)], &[("AIRoute", 1), ("ApiToken", 1)]), &["d"]), [""; 0]);
    }
}
