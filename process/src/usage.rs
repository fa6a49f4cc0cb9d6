//! Errors in command lines.

/// The text of a clap error as one line, without the usage that `--help` shows: in a pod's log, the last line is then the
/// complete error.
pub fn usage_error_line(text: &str) -> String {
    let error = text.split("\n\nUsage:").next().unwrap_or_default();
    let error = error.split("\n\nFor more information").next().unwrap_or_default();
    error.split_whitespace().collect::<Vec<_>>().join(" ").replace(" tip: ", "; ")
}
