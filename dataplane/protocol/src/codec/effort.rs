//! How hard to think, between words and token budgets (docs/protocols/reasoning.md).
//!
//! No vendor publishes a table from effort to budget; the figures here are our choice, in one place.

use std::borrow::Cow;

use super::field::Name;
use crate::{
    dialect::{Family, Operation},
    ir::{Effort, Efforts, ReasoningControl},
};

/// The word of OpenAI's vocabulary.
pub fn parse(word: &str) -> Option<Effort> {
    Some(match word.to_ascii_lowercase().as_str() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

/// How OpenAI spells it.
pub const fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

/// Whether reasoning is explicitly off, however the client said so.
pub fn is_off(control: &ReasoningControl) -> bool {
    control.enabled == Some(false) || control.effort == Some(Effort::None) || control.budget == Some(0)
}

/// The effort asked for: the word, or what a budget comes to. A budget that the model decides on (-1) is none.
pub fn asked(control: &ReasoningControl) -> Option<Effort> {
    if is_off(control) {
        return Some(Effort::None);
    }
    control.effort.or_else(|| control.budget.filter(|budget| *budget > 0).map(of_budget))
}

/// Which of a client's fields asks for reasoning, or turns it off, and its value as the client wrote it. Of a budget and
/// an effort together the one that is followed, which is the budget only where `by_budget` says so.
pub fn as_said(control: &ReasoningControl, by_budget: bool, from: Operation) -> (Name, Cow<'static, str>) {
    let said = |effort: Effort| match from.family() {
        Family::Gemini => Cow::Owned(word(effort).to_ascii_uppercase()),
        Family::OpenAi | Family::Anthropic | Family::Bedrock => word(effort).into(),
    };
    match (control.effort, control.budget) {
        (_, Some(0)) => (Name::Budget, "0".into()),
        (Some(Effort::None), _) => (Name::Effort, said(Effort::None)),
        _ if control.enabled == Some(false) => (Name::Thinking, "disabled".into()),
        (None, Some(budget)) => (Name::Budget, budget.to_string().into()),
        (Some(_), Some(budget)) if by_budget => (Name::Budget, budget.to_string().into()),
        (Some(effort), _) => (Name::Effort, said(effort)),
        (None, None) if control.adaptive => (Name::Thinking, "adaptive".into()),
        (None, None) if control.enabled == Some(true) => (Name::Thinking, "enabled".into()),
        (None, None) => (Name::Thinking, "default".into()),
    }
}

/// Several, for the documentation.
pub fn words(efforts: Efforts) -> String {
    efforts.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// The effort that a budget comes to.
pub const fn of_budget(tokens: i64) -> Effort {
    match tokens {
        ..=1024 => Effort::Minimal,
        1025..=2048 => Effort::Low,
        2049..=8192 => Effort::Medium,
        8193..=24_576 => Effort::High,
        _ => Effort::XHigh,
    }
}

/// The budget that an effort comes to.
pub const fn budget(effort: Effort) -> i64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal => 512,
        Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High => 24_576,
        Effort::XHigh | Effort::Max => 32_768,
    }
}

#[cfg(test)]
mod tests {
    use super::{asked, of_budget};
    use crate::ir::{Effort, Efforts, ReasoningControl};

    #[test]
    fn zero_is_off_and_minus_one_is_nothing() {
        let budget = |budget| ReasoningControl { budget: Some(budget), ..ReasoningControl::default() };
        assert_eq!(asked(&budget(0)), Some(Effort::None));
        assert_eq!(asked(&budget(-1)), None);
        assert_eq!(asked(&budget(4096)), Some(Effort::Medium));
        assert_eq!(asked(&ReasoningControl::default()), None);
        assert_eq!(of_budget(100_000), Effort::XHigh);
    }

    #[test]
    fn nearest_never_thinks_harder_unless_it_must() {
        let allowed: Efforts = [Effort::Low, Effort::Medium, Effort::High].into_iter().collect();
        assert_eq!(allowed.nearest(Effort::Max), Some(Effort::High));
        assert_eq!(allowed.nearest(Effort::None), Some(Effort::Low));
        assert_eq!(Efforts::NOTHING.nearest(Effort::Low), None);
    }

    #[test]
    fn a_request_for_reasoning_never_turns_it_off() {
        let allowed: Efforts = [Effort::None, Effort::Low, Effort::High].into_iter().collect();
        assert_eq!(allowed.nearest(Effort::Minimal), Some(Effort::Low));
        assert_eq!(allowed.nearest(Effort::None), Some(Effort::None));
        assert_eq!(Efforts::NOTHING.with(Effort::None).nearest(Effort::Minimal), None);
    }
}
