//! What became of each request field on its way to an upstream. Nothing is dropped without an entry here.
//!
//! Outcomes are those of docs/protocols/README.md: native and adapted-without-loss need no entry; *adapted* with a
//! visible change and *dropped* become warnings; *refused* becomes a 400 in the client's dialect. The route's mode
//! moves the line between the last two.
//!
//! Field names are the client's own words, so a report is bounded whatever the request holds: a number of warnings that
//! are told one by one, the length of each name and value, and one refusal, the first. What is beyond is counted
//! ([`Warning::More`]); a name or value that was cut ends in `…`.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
};

/// Most warnings that are told one by one.
pub const MAX_WARNINGS: usize = 64;
/// Longest field name or value of a warning or refusal, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest reason of a refusal, in bytes.
const MAX_WHY_BYTES: usize = 512;
/// Most different warnings that are told apart for the count in [`Warning::More`]; beyond it each one counts.
const MAX_DISTINCT: usize = 1024;

/// A request field in the client's own spelling, such as `temperature` or `messages[2].content[0].image_url`.
pub type Field = Cow<'static, str>;

/// Where the line between dropping and refusing lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Hints are dropped, meaning is refused.
    #[default]
    Default,
    /// Every drop is refused.
    Strict,
    /// Refusals become drops wherever the request can still be formed.
    Lenient,
}

/// Something that changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Warning {
    /// Sent with another value.
    Adapted {
        /// Which field.
        field: Field,
        /// As the client wrote it.
        from: Cow<'static, str>,
        /// As it was sent.
        to: Cow<'static, str>,
    },
    /// Not sent.
    Dropped {
        /// Which field.
        field: Field,
    },
    /// Not set by the client, and sent as the provider's owner wants it.
    Defaulted {
        /// Which field.
        field: Field,
    },
    /// Not counted by anybody, but estimated by the gateway.
    Estimated {
        /// Which field of the answer.
        field: Field,
    },
    /// What was changed or dropped beyond [`MAX_WARNINGS`], which is not told one by one.
    More {
        /// How many.
        count: u64,
    },
}

/// A field that the upstream cannot express and that may not be dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Refusal {
    /// Which field.
    pub field: Field,
    /// Why, in words for the client's developer.
    pub why: Cow<'static, str>,
}

/// Collects what an encoder has to say.
#[derive(Debug)]
pub struct Report {
    mode: Mode,
    /// Most bytes that the request may have in the upstream's dialect.
    max_bytes: usize,
    warnings: Vec<Warning>,
    /// Hashes of what was warned of.
    seen: HashSet<u64>,
    hasher: RandomState,
    more: u64,
    refusal: Option<Refusal>,
    spelled: Vec<Spelled>,
}

/// A field that a client may write in several ways: as encoders name it, and as this client wrote it.
pub type Spelled = (&'static str, &'static str);

// === impl Report ===

impl Report {
    /// An empty report for a route of this mode.
    pub fn new(mode: Mode) -> Self {
        Self::within(mode, usize::MAX)
    }

    /// An empty report for a request that may become at most `max_bytes` long.
    pub fn within(mode: Mode, max_bytes: usize) -> Self {
        let (warnings, seen, hasher) = (Vec::new(), HashSet::new(), RandomState::new());
        Self { mode, max_bytes, warnings, seen, hasher, more: 0, refusal: None, spelled: Vec::new() }
    }

    /// Names fields from now on as this client wrote them.
    pub fn spell(&mut self, spelled: &[Spelled]) {
        self.spelled.extend_from_slice(spelled);
    }

    /// The field as the client wrote it: a member of another name, or something inside of one.
    fn spelled(&self, field: Field) -> Field {
        let written = self.spelled.iter().find_map(|(name, written)| {
            let rest = field.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| format!("{written}{rest}"))
        });
        clip(written.map_or(field, Field::Owned))
    }

    /// Most bytes that the request may have in the upstream's dialect.
    pub const fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The field is sent with another value. In strict mode that is refused.
    pub fn adapted(&mut self, field: impl Into<Field>, from: impl Into<Field>, to: impl Into<Field>) {
        let (field, from, to) = (self.spelled(field.into()), clip(from.into()), clip(to.into()));
        if self.mode == Mode::Strict {
            let why = format!("would be changed from {from} to {to}");
            self.refuse(field, why.into());
        } else {
            self.warn(Warning::Adapted { field, from, to });
        }
    }

    /// A hint is not sent. In strict mode that is refused.
    pub fn dropped(&mut self, field: impl Into<Field>) {
        let field = self.spelled(field.into());
        if self.mode == Mode::Strict {
            self.refuse(field, "is not supported by the upstream".into());
        } else {
            self.warn(Warning::Dropped { field });
        }
    }

    /// Something the caller relies on is not sent: refused, but dropped in lenient mode.
    pub fn refused(&mut self, field: impl Into<Field>, why: impl Into<Cow<'static, str>>) {
        if self.mode == Mode::Lenient {
            let field = self.spelled(field.into());
            self.warn(Warning::Dropped { field });
        } else {
            self.refuse(field.into(), why.into());
        }
    }

    /// The request cannot be formed without it: refused in every mode.
    pub fn impossible(&mut self, field: impl Into<Field>, why: impl Into<Cow<'static, str>>) {
        self.refuse(field.into(), why.into());
    }

    /// The field does not fit into what the request may become: refused in every mode.
    pub fn too_large(&mut self, field: impl Into<Field>) {
        let why = format!("expands to more than {} bytes in the upstream's format", self.max_bytes);
        self.refuse(field.into(), why.into());
    }

    /// Further hints are not sent that nobody counted one by one. In strict mode that is refused.
    pub fn more(&mut self, count: u64) {
        if count > 0 && self.mode == Mode::Strict {
            let why = format!("holds {count} more fields that are not supported by the upstream");
            self.refuse("request".into(), why.into());
        }
        self.more = self.more.saturating_add(count);
    }

    /// The first one is the answer to the client.
    fn refuse(&mut self, field: Field, why: Cow<'static, str>) {
        if self.refusal.is_none() {
            self.refusal = Some(Refusal { field: self.spelled(field), why: cut(why, MAX_WHY_BYTES) });
        }
    }

    /// Says a thing once, however many messages it holds for.
    fn warn(&mut self, warning: Warning) {
        let hash = self.hasher.hash_one(&warning);
        if self.seen.contains(&hash) {
            return;
        }
        if self.seen.len() < MAX_DISTINCT {
            self.seen.insert(hash);
        }
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(warning);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The warnings, or the first refusal.
    ///
    /// # Errors
    /// The first field that was refused.
    pub fn finish(mut self) -> Result<Vec<Warning>, Refusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        if self.more > 0 {
            self.warnings.push(Warning::More { count: self.more });
        }
        Ok(self.warnings)
    }
}

/// A name or value as a warning may hold it.
pub fn clip(text: Field) -> Field {
    cut(text, MAX_NAME_BYTES)
}

/// The beginning of a text that is longer than `most` bytes, with `…` behind.
pub(crate) fn cut(text: Cow<'static, str>, most: usize) -> Cow<'static, str> {
    if text.len() <= most {
        return text;
    }
    let kept = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    format!("{kept}…").into()
}

impl Default for Report {
    fn default() -> Self {
        Self::new(Mode::default())
    }
}

impl fmt::Display for Warning {
    /// One member of the `x-routeapi-warnings` header. Field names and short values only, never a client's content.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adapted { field, from, to } => write!(out, "adapted;field={field};from={from};to={to}"),
            Self::Dropped { field } => write!(out, "dropped;field={field}"),
            Self::Defaulted { field } => write!(out, "defaulted;field={field}"),
            Self::Estimated { field } => write!(out, "estimated;field={field}"),
            Self::More { count } => write!(out, "more;count={count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_are_counted_and_not_kept() {
        let mut report = Report::new(Mode::Default);
        for at in 0..100_000 {
            report.dropped(format!("field_{at}"));
        }
        let warnings = report.finish().unwrap();
        assert_eq!(warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(warnings.last(), Some(&Warning::More { count: 100_000 - MAX_WARNINGS as u64 }));
    }

    #[test]
    fn fields_are_named_as_the_client_wrote_them() {
        let mut report = Report::new(Mode::Default);
        report.spell(&[("tools[].function", "functions[]"), ("max_completion_tokens", "max_tokens")]);
        report.adapted("max_completion_tokens", "9", "8");
        report.dropped("tools[].function.strict");
        report.dropped("max_completion_tokens_of_another_name");
        let told: Vec<String> = report.finish().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "adapted;field=max_tokens;from=9;to=8",
                "dropped;field=functions[].strict",
                "dropped;field=max_completion_tokens_of_another_name"
            ]
        );
    }

    #[test]
    fn repeated_warnings_are_one() {
        let mut report = Report::new(Mode::Default);
        for at in 0..10_000 {
            report.dropped(format!("field_{}", at % 100));
        }
        let warnings = report.finish().unwrap();
        assert_eq!(warnings.last(), Some(&Warning::More { count: 100 - MAX_WARNINGS as u64 }));
    }

    #[test]
    fn long_names_are_cut_and_say_so() {
        let mut report = Report::new(Mode::Default);
        report.dropped("é".repeat(1 << 20));
        let warnings = report.finish().unwrap();
        let [Warning::Dropped { field }] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(field.len() <= MAX_NAME_BYTES + '…'.len_utf8() && field.ends_with('…'), "{field}");
    }

    #[test]
    fn the_first_refusal_is_kept_and_bounded() {
        let mut report = Report::new(Mode::Default);
        for at in 0..1_000 {
            report.refused(format!("field_{at}"), "x".repeat(10_000));
        }
        let refusal = report.finish().unwrap_err();
        assert_eq!(refusal.field, "field_0");
        assert!(refusal.why.len() <= MAX_WHY_BYTES + '…'.len_utf8());
    }
}
