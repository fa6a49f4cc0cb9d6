//! Refuses a source that has become empty.
//!
//! An editor that truncates before it writes, a mount that is not there yet, a template that renders nothing: for a moment
//! manifests say that nothing exists. Taken at their word, they would revoke every token. So what has become empty is a
//! problem like any other, which leaves in force what was, unless `--allow-empty` says that it is meant.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::problem::Problem;

/// Kinds of which none may be left where there were some.
const KINDS: [&str; 4] = ["AIProvider", "AIRoute", "ApiToken", "Secret"];

/// How many objects each file and each kind has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// By file.
    pub files: BTreeMap<PathBuf, usize>,
    /// By kind, those that play a part here.
    pub kinds: BTreeMap<String, usize>,
}

impl Held {
    fn of_kind(&self, kind: &str) -> usize {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    fn serves(&self) -> bool {
        ["AIProvider", "AIRoute", "ApiToken"].iter().any(|kind| self.of_kind(kind) > 0)
    }
}

/// What has become empty since `before`, which is what the last good load held.
pub fn check(before: &Held, now: &Held, paths: &[PathBuf]) -> Vec<Problem> {
    let first = paths.first().map_or(Path::new("."), PathBuf::as_path);
    if !now.serves() {
        let message = "no AIProvider, AIRoute or ApiToken found; if that is meant, say --allow-empty";
        return vec![Problem::in_file(first, 1, message)];
    }
    let mut problems = Vec::new();
    for (file, objects) in &now.files {
        let held = before.files.get(file).copied().unwrap_or(0);
        if *objects == 0 && held > 0 {
            let message = format!(
                "holds no object any more ({held} before); delete the file if that is meant, or say --allow-empty"
            );
            problems.push(Problem::in_file(file, 1, message));
        } else if *objects == 0 && paths.contains(file) {
            problems.push(Problem::in_file(file, 1, "holds no object; if that is meant, say --allow-empty"));
        }
    }
    for kind in KINDS {
        let held = before.of_kind(kind);
        if held > 0 && now.of_kind(kind) == 0 {
            let message = format!("no {kind} is left ({held} before); if that is meant, start with --allow-empty");
            problems.push(Problem::in_file(first, 1, message));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(files: &[(&str, usize)], kinds: &[(&str, usize)]) -> Held {
        Held {
            files: files.iter().map(|(file, count)| (PathBuf::from(file), *count)).collect(),
            kinds: kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
        }
    }

    fn found(before: &Held, now: &Held, paths: &[&str]) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        check(before, now, &paths).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_empty_source_is_a_problem_from_the_start() {
        let foreign = held(&[("d/a.yaml", 3)], &[("Secret", 1)]);
        let message = "d:1: no AIProvider, AIRoute or ApiToken found; if that is meant, say --allow-empty";
        assert_eq!(found(&Held::default(), &Held::default(), &["d"]), [message]);
        assert_eq!(found(&Held::default(), &foreign, &["d"]), [message]);
        let empty_file = held(&[("a", 3), ("b", 0)], &[("AIRoute", 1)]);
        assert_eq!(
            found(&Held::default(), &empty_file, &["a", "b"]),
            ["b:1: holds no object; if that is meant, say --allow-empty"]
        );
        assert_eq!(found(&Held::default(), &empty_file, &["."]), [""; 0], "a placeholder in a directory");
    }

    #[test]
    fn one_file_or_one_kind_that_became_empty_is_a_problem() {
        let before = held(&[("d/a", 2), ("d/b", 1)], &[("AIRoute", 2), ("ApiToken", 1), ("Secret", 1)]);
        let file = held(&[("d/a", 2), ("d/b", 0)], &[("AIRoute", 2), ("ApiToken", 1), ("Secret", 1)]);
        assert_eq!(found(&before, &file, &["d"]).len(), 1);
        for kind in ["AIRoute", "ApiToken", "Secret"] {
            let mut now = before.clone();
            now.kinds.remove(kind);
            let message = found(&before, &now, &["d"]).join("\n");
            assert!(message.contains(&format!("no {kind} is left")), "{message}");
        }
    }

    #[test]
    fn a_deleted_file_and_a_smaller_one_are_edits() {
        let before = held(&[("d/a", 2), ("d/b", 1)], &[("AIRoute", 2), ("ApiToken", 1)]);
        assert_eq!(found(&before, &held(&[("d/a", 1)], &[("AIRoute", 1), ("ApiToken", 1)]), &["d"]), [""; 0]);
    }
}
