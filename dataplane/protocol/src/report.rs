//! What became of each request field on its way to an upstream. Nothing is dropped without an entry here.
//!
//! Dispositions are those of protocols 0.4: native and adapted-without-loss need no entry; *adapted* with a visible
//! change and *dropped* become warnings; *refused* becomes a 400 in the client's dialect. The route's mode moves the
//! line between the last two.

use std::{borrow::Cow, fmt};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Debug, Default)]
pub struct Report {
    mode: Mode,
    warnings: Vec<Warning>,
    refusals: Vec<Refusal>,
}

// === impl Report ===

impl Report {
    /// An empty report for a route of this mode.
    pub fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// The field is sent with another value. In strict mode that is refused.
    pub fn adapted(&mut self, field: impl Into<Field>, from: impl Into<Field>, to: impl Into<Field>) {
        let (field, from, to) = (field.into(), from.into(), to.into());
        if self.mode == Mode::Strict {
            self.refusals.push(Refusal { why: format!("would be changed from {from} to {to}").into(), field });
        } else {
            self.warn(Warning::Adapted { field, from, to });
        }
    }

    /// A hint is not sent. In strict mode that is refused.
    pub fn dropped(&mut self, field: impl Into<Field>) {
        let field = field.into();
        if self.mode == Mode::Strict {
            self.refusals.push(Refusal { field, why: "is not supported by the upstream".into() });
        } else {
            self.warn(Warning::Dropped { field });
        }
    }

    /// Something the caller relies on is not sent: refused, but dropped in lenient mode.
    pub fn refused(&mut self, field: impl Into<Field>, why: impl Into<Cow<'static, str>>) {
        if self.mode == Mode::Lenient {
            self.warn(Warning::Dropped { field: field.into() });
        } else {
            self.refusals.push(Refusal { field: field.into(), why: why.into() });
        }
    }

    /// The request cannot be formed without it: refused in every mode.
    pub fn impossible(&mut self, field: impl Into<Field>, why: impl Into<Cow<'static, str>>) {
        self.refusals.push(Refusal { field: field.into(), why: why.into() });
    }

    /// Says a thing once, however many messages it holds for.
    fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The warnings, or the first refusal.
    ///
    /// # Errors
    /// The first field that was refused.
    pub fn finish(self) -> Result<Vec<Warning>, Refusal> {
        match self.refusals.into_iter().next() {
            Some(refusal) => Err(refusal),
            None => Ok(self.warnings),
        }
    }
}

impl fmt::Display for Warning {
    /// One member of the `x-routeapi-warnings` header. Field names and short values only, never a client's content.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adapted { field, from, to } => write!(out, "adapted;field={field};from={from};to={to}"),
            Self::Dropped { field } => write!(out, "dropped;field={field}"),
        }
    }
}
