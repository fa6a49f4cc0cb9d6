//! The built-in tables of what vendors' models take, as the documentation shows them.
//!
//! The tables themselves stand beside the codecs, one a vendor. They are of use for translated requests: what a client
//! asks for in another dialect is made to fit. A provider's `models` override them ([`crate::limits`]).

use std::fmt::Write;

use crate::{
    codec::{chat, gemini, messages},
    limits::Media,
};

/// What is known about some models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Their ids, in words.
    pub models: String,
    /// Most output tokens, reasoning included; none if unknown.
    pub max_output: Option<u64>,
    /// Features that they do not take.
    pub lacks: Vec<&'static str>,
    /// How reasoning is asked for.
    pub reasoning: String,
    /// What they read; none if unknown.
    pub media: Option<Media>,
    /// Where that is written.
    pub source: &'static str,
    /// When it was looked up, year and month.
    pub checked: &'static str,
}

/// Every row, by vendor.
pub fn rows() -> Vec<Row> {
    let openai = chat::model::ROWS.iter().map(|row| Row {
        models: row.models.to_owned(),
        max_output: row.takes.max_output,
        lacks: row.takes.lacks(),
        reasoning: row.takes.reasoning(),
        media: row.takes.media,
        source: row.source,
        checked: row.checked,
    });
    let anthropic = messages::models::ROWS.iter().map(|row| Row {
        models: row.id.to_owned(),
        max_output: row.takes.max_output,
        lacks: row.takes.lacks(),
        reasoning: row.takes.reasoning(),
        media: row.takes.media,
        source: row.source,
        checked: row.checked,
    });
    let google = gemini::model::ROWS.iter().map(|row| Row {
        models: row.models.to_owned(),
        max_output: row.takes.max_output,
        lacks: row.takes.lacks(),
        reasoning: row.takes.reasoning(),
        media: gemini::model::MEDIA,
        source: row.source,
        checked: row.checked,
    });
    openai.chain(anthropic).chain(google).collect()
}

/// Whether a row is about this model id. Others are trusted with everything.
pub fn knows(model: &str) -> bool {
    chat::model::row_of(model).is_some()
        || messages::models::row_of(model).is_some()
        || gemini::model::row_of(model).is_some()
}

/// The rows as a table in Markdown.
pub fn markdown() -> String {
    let mut table = String::from(
        "| model | most output tokens | reasoning | reads | not taken | source | checked |\n|---|---|---|---|---|---|---|\n",
    );
    for Row { models, max_output, lacks, reasoning, media, source, checked } in rows() {
        let most = max_output.map_or_else(|| "not known".to_owned(), |most| most.to_string());
        let lacks = if lacks.is_empty() { "nothing".to_owned() } else { lacks.join(", ") };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {models} | {most} | {reasoning} | {} | {lacks} | {source} | {checked} |",
            media.map_or("not known", Media::words)
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::{knows, markdown};

    #[test]
    fn models_of_every_vendor_are_known_by_their_ids_alone() {
        for model in ["gpt-5-mini", "ft:gpt-4o-mini:x", "o3", "claude-opus-4-7@20260401", "models/gemini-2.5-flash"] {
            assert!(knows(model), "{model}");
        }
        for model in ["gpt-oss-120b", "claude-next", "gemma-3-27b-it", "prod-7", "openai/gpt-5", ""] {
            assert!(!knows(model), "{model}");
        }
    }

    #[test]
    fn the_documentation_shows_the_tables() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md");
        let held = fs::read_to_string(&path).unwrap();
        let (before, rest) = held.split_once("| model | most output").expect("docs/models.md has the table");
        let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
        let expected = format!("{before}{}\n{after}", markdown());
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        assert!(
            env::var_os("UPDATE").is_some() || held == expected,
            "docs/models.md is not what the tables say; UPDATE=1 cargo test -p routeapi-protocol --lib model_table"
        );
    }
}
