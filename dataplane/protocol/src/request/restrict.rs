//! What an upstream's model does not take, in the client's own body.
//!
//! One table by client dialect serves both lanes: on the passthrough lane the edits are all that changes, on the other
//! the edited body is what is translated. So a field is named as its client wrote it, whoever serves. A value that means
//! the same as leaving the field out goes without a word.

mod held;
mod tables;

use std::ops::Range;

use bytes::Bytes;

pub use self::held::Held;
pub(super) use self::held::held;
use self::tables::{Act, Group, Neutral, Row, Step};
use crate::{
    codec::chat::limit_name,
    dialect::Operation,
    limits::{ChatLimit, Feature, ModelLimits},
    report::Report,
    scan::{Kind, Member, Scan, Value},
    splice::Edit,
};

/// Most edits of one body: one for each tool that a vendor takes, and then some.
const MAX_EDITS: usize = 100_000;
/// The least that Anthropic takes as a thinking budget.
const MIN_BUDGET: u64 = 1024;
/// Why something is refused.
const UNSUPPORTED: &str = "is not supported by the upstream's model";
/// The answer keeps one part in so many of the output limit.
const ANSWER_SHARE: u64 = 4;

/// How a body is restricted for one upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restriction<'a> {
    /// What the model takes.
    pub limits: ModelLimits,
    /// Whether the upstream reads the edited body itself.
    pub passes: bool,
    /// The model that Chat's name for the output limit follows, where nobody says which it is.
    pub model: &'a str,
}

/// The edits, and what they are said to be.
pub(super) fn edits(
    operation: Operation,
    body: &[u8],
    scan: &Scan,
    restriction: Restriction<'_>,
    report: &mut Report,
) -> Vec<Edit> {
    let limits = restriction.limits;
    let most = limits.max_output(None);
    let taken = limits.chat_limit.filter(|_| restriction.passes && operation == Operation::ChatCompletions);
    if limits.unsupported.is_empty() && most.is_none() && taken.is_none() {
        return Vec::new();
    }
    let mut cutter = Cutter {
        body,
        operation,
        limits,
        most,
        taken: taken.map(|taken| (taken, scan.last(body, taken.name()).is_some())),
        limited: false,
        clamped: None,
        config: None,
        edits: Vec::new(),
        report,
    };
    let Some(start) = memchr::memchr(b'{', body) else { return Vec::new() };
    let whole = Value { kind: Kind::Object { empty: scan.members().is_empty() }, span: start..body.len() };
    for group in tables::of(operation) {
        cutter.walk(&whole, group.path, group);
    }
    if restriction.passes {
        cutter.fit_budget(scan);
    }
    cutter.limit_what_is_unlimited(&whole, scan, restriction.model);
    cutter.edits
}

struct Cutter<'a> {
    body: &'a [u8],
    operation: Operation,
    limits: ModelLimits,
    most: Option<u64>,
    /// The name of the output limit that the upstream takes, where it refuses the other; and whether the client used it.
    taken: Option<(ChatLimit, bool)>,
    /// Whether the client named an output limit.
    limited: bool,
    /// The limit that was put in the place of a larger one.
    clamped: Option<u64>,
    /// Where the last object that may hold a limit begins, and whether it is empty once it is edited.
    config: Option<(usize, bool)>,
    edits: Vec<Edit>,
    report: &'a mut Report,
}

impl Cutter<'_> {
    fn walk(&mut self, value: &Value, path: &[Step], group: &Group) {
        let body = self.body;
        match path.split_first() {
            None => self.object(value, group),
            Some((Step::Each, rest)) => value.each_element(body, |element| self.walk(&element, rest, group)),
            Some((Step::Member(names), rest)) => value.each_named(body, names, |inner| self.walk(&inner, rest, group)),
        }
    }

    /// Takes members out of one object, each run of them with the comma behind it, or before it at the end.
    fn object(&mut self, object: &Value, group: &Group) {
        if !matches!(object.kind, Kind::Object { .. }) {
            return;
        }
        let (mut kept_end, mut run): (Option<usize>, Option<Range<usize>>) = (None, None);
        let body = self.body;
        object.each_member(body, |member| {
            let span = member.name.start..member.value.span.end;
            if self.is_cut(&member, group) {
                run = Some(run.take().map_or_else(|| span.clone(), |run| run.start..span.end));
                return;
            }
            if let Some(run) = run.take() {
                self.edit(run.start..span.start, Bytes::new());
            }
            kept_end = Some(span.end);
        });
        if let Some(run) = run {
            self.edit(kept_end.unwrap_or(run.start)..run.end, Bytes::new());
        }
        if !group.limits.is_empty() {
            self.config = Some((object.span.start, kept_end.is_none()));
        }
    }

    /// Whether a member is to be taken out. One that is to be changed is.
    fn is_cut(&mut self, member: &Member, group: &Group) -> bool {
        let is_one_of = |names: &[&str]| names.iter().any(|name| member.is(self.body, name));
        if let Some(row) = group.rows.iter().find(|row| self.limits.lacks(row.feature) && is_one_of(row.names)) {
            return self.take(&member.value, row, group);
        }
        if is_one_of(group.limits) {
            if self.is_refused_limit(member) {
                return true;
            }
            self.clamp(&member.value);
        }
        false
    }

    /// Renames an output limit whose name is refused. Beside the other name it is taken out.
    fn is_refused_limit(&mut self, member: &Member) -> bool {
        let Some((taken, beside)) = self.taken else { return false };
        let refused = taken.other().name();
        if !member.is(self.body, refused) {
            return false;
        }
        if beside {
            self.report.dropped(refused);
        } else {
            self.report.adapted(refused, refused, taken.name());
            self.edit(member.name.clone(), format!("\"{}\"", taken.name()).into());
        }
        beside
    }

    fn take(&mut self, value: &Value, row: &Row, group: &Group) -> bool {
        match row.act {
            Act::CutElement(word) => {
                if self.cut_elements(value, |body, element| element.text(body).is_some_and(|text| text == word)) {
                    let field = format!("{}{}={word}", group.at, row.names.first().copied().unwrap_or_default());
                    self.report.refused(field, UNSUPPORTED);
                }
                return false;
            }
            Act::CutTools(prefix) | Act::CutToolsIfLenient(prefix) => {
                self.cut_tools(value, prefix, row.act);
                return false;
            }
            Act::Cut | Act::CutIfLenient | Act::Relax | Act::RelaxToFalse => {}
        }
        if !is_neutral(value, self.body, row.neutral) {
            let field = format!("{}{}", group.at, row.names.first().copied().unwrap_or_default());
            match row.act {
                Act::Cut => self.report.dropped(field),
                Act::CutIfLenient => self.report.refused(field, UNSUPPORTED),
                Act::Relax => self.report.adapted(field, "strict", "not strict"),
                Act::RelaxToFalse => {
                    self.report.adapted(field, "strict", "not strict");
                    self.edit(value.span.clone(), Bytes::from_static(b"false"));
                }
                Act::CutElement(_) | Act::CutTools(_) | Act::CutToolsIfLenient(_) => {}
            }
        }
        row.act != Act::RelaxToFalse
    }

    /// Takes tools of types that begin so out of the list.
    fn cut_tools(&mut self, tools: &Value, prefix: &str, act: Act) {
        let is_it = |body: &[u8], tool: &Value| {
            let kind = tool.member(body, "type");
            kind.and_then(|kind| kind.text(body).map(|kind| kind.starts_with(prefix))).unwrap_or(false)
        };
        if !self.cut_elements(tools, is_it) {
            return;
        }
        let field = format!("tools[].{}", prefix.trim_end_matches('_'));
        match act {
            Act::CutTools(_) => self.report.dropped(field),
            _ => self.report.refused(field, UNSUPPORTED),
        }
    }

    /// Takes elements out of a list. Returns whether there were any.
    fn cut_elements(&mut self, list: &Value, is_cut: impl Fn(&[u8], &Value) -> bool) -> bool {
        let body = self.body;
        let (mut kept_end, mut run): (Option<usize>, Option<Range<usize>>) = (None, None);
        let mut found = false;
        list.each_element(body, |element| {
            if is_cut(body, &element) {
                found = true;
                run = Some(run.take().map_or_else(|| element.span.clone(), |run| run.start..element.span.end));
                return;
            }
            if let Some(run) = run.take() {
                self.edit(run.start..element.span.start, Bytes::new());
            }
            kept_end = Some(element.span.end);
        });
        if let Some(run) = run {
            self.edit(kept_end.unwrap_or(run.start)..run.end, Bytes::new());
        }
        found
    }

    /// Puts the most that the model takes in the place of a larger limit.
    fn clamp(&mut self, value: &Value) {
        if value.kind == Kind::Null {
            if let (Some(_), Some(most)) = (self.limits.route_max_output, self.most) {
                self.limited = true;
                self.edit(value.span.clone(), most.to_string().into());
            }
            return;
        }
        self.limited = true;
        let Some(most) = self.most else { return };
        let asked = value.largest_count(self.body).filter(|asked| *asked > most);
        if let Some(asked) = asked {
            let name = crate::codec::field::Name::MaxOutput;
            self.report.adapted(name.field(self.operation), asked.to_string(), most.to_string());
            self.clamped = Some(most);
            self.edit(value.span.clone(), most.to_string().into());
        }
    }

    /// Anthropic refuses a thinking budget that the output limit does not hold, which it did before the limit was clamped.
    fn fit_budget(&mut self, scan: &Scan) {
        let Some(most) = self.clamped.filter(|_| self.operation == Operation::Messages) else { return };
        if self.limits.lacks(Feature::ReasoningEffort) {
            return;
        }
        let Some(thinking) = scan.last(self.body, "thinking") else { return };
        let Some(budget) = thinking.member(self.body, "budget_tokens") else { return };
        let Some(asked) = budget.count(self.body).filter(|asked| *asked >= most) else { return };
        let fits = most.saturating_sub(most.div_ceil(ANSWER_SHARE));
        if fits < MIN_BUDGET {
            self.report.dropped("thinking");
            self.edit(thinking.span.clone(), Bytes::from_static(br#"{"type":"disabled"}"#));
        } else {
            self.report.adapted("thinking.budget_tokens", asked.to_string(), fits.to_string());
            self.edit(budget.span, fits.to_string().into());
        }
    }

    /// A route's limit holds for a client that names none as well. Anthropic's clients have to name one.
    fn limit_what_is_unlimited(&mut self, whole: &Value, scan: &Scan, model: &str) {
        let Some(most) = self.most.filter(|_| self.limits.route_max_output.is_some() && !self.limited) else { return };
        let (member, configs): (&str, &[&str]) = match self.operation {
            Operation::ChatCompletions => (self.limits.chat_limit.unwrap_or_else(|| limit_name(model)).name(), &[]),
            Operation::Responses => ("max_output_tokens", &[]),
            Operation::GenerateContent => ("maxOutputTokens", &["generationConfig", "generation_config"]),
            Operation::Converse => ("maxTokens", &["inferenceConfig"]),
            _ => return,
        };
        let limit = format!("\"{member}\":{most}");
        let Some(outer) = configs.first() else {
            let empty = self.config.is_none_or(|(_, empty)| empty);
            return self.edits.push(Edit::first_member(whole.span.start, empty, &limit));
        };
        let config = format!("{{{limit}}}");
        match (self.config, configs.iter().find_map(|name| scan.last(self.body, name))) {
            (Some((start, empty)), _) => self.edits.push(Edit::first_member(start, empty, &limit)),
            (None, Some(null)) if null.kind == Kind::Null => self.edit(null.span.clone(), config.into()),
            // Not ours to mend: the upstream refuses it in its own words.
            (None, Some(_)) => {}
            (None, None) => {
                let empty = scan.members().iter().all(|member| self.is_taken_out(member));
                self.edits.push(Edit::first_member(whole.span.start, empty, &format!("\"{outer}\":{config}")));
            }
        }
    }

    fn is_taken_out(&self, member: &Member) -> bool {
        self.edits.iter().any(|edit| edit.span.start <= member.name.start && edit.span.end >= member.value.span.end)
    }

    fn edit(&mut self, span: Range<usize>, with: Bytes) {
        if self.edits.len() < MAX_EDITS {
            self.edits.push(Edit { span, with });
        } else {
            self.report.impossible("request", "holds too many fields that the upstream's model does not take");
        }
    }
}

/// Whether a value means the same as leaving it out.
fn is_neutral(value: &Value, body: &[u8], neutral: Neutral) -> bool {
    let bytes = value.bytes(body);
    match (value.kind, neutral) {
        (Kind::Null, _) => true,
        (Kind::Bool(value), Neutral::Bool(same)) => value == same,
        (Kind::Number, Neutral::Number(same)) => {
            std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok()) == Some(same)
        }
        (Kind::Array { empty } | Kind::Object { empty }, Neutral::Empty) => empty,
        (Kind::String { .. }, Neutral::Empty) => bytes == br#""""#,
        (Kind::String { .. }, Neutral::Words(words)) => {
            value.text(body).is_some_and(|text| words.iter().any(|word| text.eq_ignore_ascii_case(word)))
        }
        (Kind::Object { .. }, Neutral::Off) => {
            value.member(body, "type").and_then(|type_| type_.text(body).map(|text| text == "disabled")) == Some(true)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
