//! The chart's README.md is what helm-docs makes of its values and their comments, and says something of each.

use routeapi_tests::{helm, tools};
use std::process::Command;

/// How it is made, from the repository's root.
const COMMAND: &str = r#""$(tests/tools/build helm-docs)/helm-docs" -c charts/routeapi --sort-values-order file"#;

fn made() -> String {
    let mut command = Command::new(tools::tool("helm-docs").unwrap());
    command.arg("-c").arg(helm::chart()).args(["--sort-values-order", "file", "--dry-run", "--log-level", "error"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_readme_is_generated_from_the_values() {
    let committed = std::fs::read_to_string(helm::chart().join("README.md")).unwrap_or_default();
    assert!(committed.trim_end() == made().trim_end(), "README.md is not up to date; make it anew:\n  {COMMAND}");
}

#[test]
fn every_value_has_a_description() {
    let text = made();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("|--"))
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .collect();
    assert!(rows.len() > 90, "{text}");
    for row in rows {
        assert!(
            row.len() == 4 && row[3].trim().ends_with('.'),
            "{row:?}: a comment `# -- ` that ends with a full stop"
        );
    }
}
