//! What is wrong with a manifest, in the words of whoever wrote it: file, line, object, field.

use std::{fmt, path::PathBuf};

/// Where an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The line its document starts at, from 1.
    pub line: usize,
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestProblem {
    /// Where, if it can be told.
    pub origin: Option<Origin>,
    /// `Kind namespace/name`, if it is about an object.
    pub object: Option<String>,
    /// What, beginning with the field if one is to blame.
    pub message: String,
}

impl ManifestProblem {
    /// About a file as a whole, or about a line of it.
    pub fn in_file(file: impl Into<PathBuf>, line: usize, message: impl fmt::Display) -> Self {
        Self { origin: Some(Origin { file: file.into(), line }), object: None, message: message.to_string() }
    }
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(out, "{}:{}: ", origin.file.display(), origin.line)?;
        }
        if let Some(object) = &self.object {
            write!(out, "{object}: ")?;
        }
        out.write_str(&self.message)
    }
}
