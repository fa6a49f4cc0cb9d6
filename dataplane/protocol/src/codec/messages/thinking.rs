//! How a model is told to think (docs/protocols/reasoning.md).
//!
//! An effort stays an effort and a budget stays a budget where the model takes it; only where it does not is one turned
//! into the other. An effort alone never invents a thinking object (hard case 201), unless the model knows no efforts.

use super::{
    context::Context,
    models::{Abilities, Thinking},
};
use crate::{
    codec::{
        effort::{as_said, is_off, of_budget, word},
        field::Name,
    },
    ir::{Effort, ReasoningControl},
};

/// The least budget that Anthropic takes.
const MIN_BUDGET: u64 = 1024;
/// The answer keeps one part in so many of the output limit: a budget just below the limit is legal and leaves one token
/// to answer with.
const ANSWER_SHARE: u64 = 4;
/// What "think" means in tokens where nothing else is said.
const DEFAULT_EFFORT: Effort = Effort::Medium;

/// The settings to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// `thinking`
    pub mode: Mode,
    /// `thinking.display`
    pub display: Option<&'static str>,
    /// `output_config.effort`
    pub effort: Option<&'static str>,
}

/// `thinking.type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not sent.
    #[default]
    Unsaid,
    /// Off.
    Disabled,
    /// The model decides.
    Adaptive,
    /// So many tokens.
    Budget(u64),
}

/// Decides. `max_output` is what will be sent; `history_allows` whether manual thinking can go on from this history.
pub fn plan(control: &ReasoningControl, max_output: u64, history_allows: bool, context: &mut Context<'_>) -> Plan {
    let abilities = context.abilities;
    if is_off(control) {
        if abilities.always_thinks {
            let (name, _) = as_said(control, false, context.from);
            context.dropped(name);
        }
        let mode = if abilities.thinks_by_default { Mode::Disabled } else { Mode::Unsaid };
        return Plan { mode, ..Plan::default() };
    }
    let wants_mode = control.budget.is_some() || control.adaptive || control.enabled == Some(true);
    let shows = control.visible == Some(true);
    if abilities.thinking == Thinking::Never {
        if wants_mode || control.effort.is_some() || shows {
            context.dropped(Name::Thinking);
        }
        return Plan::default();
    }
    let mut plan = Plan::default();
    plan.mode = match control.budget.and_then(|budget| u64::try_from(budget).ok()) {
        Some(budget) if abilities.thinking != Thinking::Adaptive => {
            manual(budget, (control, true), (max_output, history_allows), context)
        }
        _ if abilities.thinking == Thinking::Budget => {
            if wants_mode || control.effort.is_some_and(|_| abilities.efforts.is_empty()) {
                let budget = budget_of(control.effort.unwrap_or(DEFAULT_EFFORT));
                manual(budget, (control, false), (max_output, history_allows), context)
            } else {
                Mode::Unsaid
            }
        }
        // To be shown, thoughts must be asked for.
        _ if wants_mode || shows => Mode::Adaptive,
        _ => Mode::Unsaid,
    };
    plan.effort = effort(control, abilities, plan.mode, context);
    match (plan.mode, control.visible) {
        // Models that know budgets only show their thoughts anyway.
        (Mode::Budget(_) | Mode::Adaptive, Some(visible)) if abilities.thinking != Thinking::Budget => {
            plan.display = Some(if visible { "summarized" } else { "omitted" });
        }
        (Mode::Unsaid | Mode::Disabled, Some(true)) => context.dropped(Name::Visible),
        _ => {}
    }
    plan
}

/// A budget within Anthropic's bounds that leaves a share of the output for the answer, or no thinking where there is no
/// room for that (hard case 200) or where the history forbids it (hard case 160).
///
/// A client that wrote an effort is told about the effort.
fn manual(
    budget: u64,
    (control, by_budget): (&ReasoningControl, bool),
    (max_output, history_allows): (u64, bool),
    context: &mut Context<'_>,
) -> Mode {
    let most = max_output.saturating_sub(max_output.div_ceil(ANSWER_SHARE));
    if most < MIN_BUDGET || !history_allows {
        context.dropped(Name::Thinking);
        return Mode::Unsaid;
    }
    let sent = budget.clamp(MIN_BUDGET, most);
    if sent != budget {
        let (name, value) = as_said(control, by_budget, context.from);
        context.adapted(name, value, sent.to_string());
    }
    Mode::Budget(sent)
}

/// The word for the effort, if one is to be sent.
fn effort(
    control: &ReasoningControl,
    abilities: Abilities,
    mode: Mode,
    context: &mut Context<'_>,
) -> Option<&'static str> {
    // A budget that the model does not take says how hard to think all the same (hard case 202).
    let converted = control.budget.filter(|budget| *budget > 0 && mode == Mode::Adaptive);
    let asked = control.effort.or(converted.map(of_budget))?;
    if abilities.efforts.is_empty() {
        // Spoken by the budget already, unless the client gave both.
        if control.budget.is_some_and(|budget| budget > 0) {
            context.dropped(Name::Effort);
        }
        return None;
    }
    let sent = abilities.efforts.nearest(asked).filter(|_| asked != Effort::None)?;
    if let Some(budget) = converted {
        context.adapted(Name::Budget, budget.to_string(), word(sent));
    }
    if control.effort.is_some() && sent != asked {
        let (_, said) = as_said(control, false, context.from);
        context.adapted(Name::Effort, said, word(sent));
    }
    Some(word(sent))
}

/// No vendor states these figures; they are ours, for Anthropic's models of that time (docs/protocols/reasoning.md).
const fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 4096,
        Effort::High => 16_384,
        Effort::XHigh => 24_576,
        Effort::Max => 32_768,
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, Plan, plan};
    use crate::{
        codec::{
            NameMap,
            messages::{context::Context, models::abilities},
        },
        dialect::Operation,
        ir::{Effort, ReasoningControl},
        report::{Mode as Strictness, Report},
    };

    fn decide(model: &str, control: &ReasoningControl, max_output: u64) -> (Plan, Vec<String>) {
        let mut report = Report::new(Strictness::Default);
        let mut context = Context::new(Operation::ChatCompletions, abilities(model), NameMap::default(), &mut report);
        let plan = plan(control, max_output, true, &mut context);
        (plan, report.finish().unwrap().iter().map(ToString::to_string).collect())
    }

    fn effort(effort: Effort) -> ReasoningControl {
        ReasoningControl { effort: Some(effort), ..ReasoningControl::default() }
    }

    fn budget(budget: i64) -> ReasoningControl {
        ReasoningControl { budget: Some(budget), ..ReasoningControl::default() }
    }

    #[test]
    fn efforts_and_budgets() {
        let rows = [
            ("unset", "m", ReasoningControl::default(), 9000, Mode::Unsaid, None, 0),
            ("hard case 201", "claude-opus-4-6", effort(Effort::High), 9000, Mode::Unsaid, Some("high"), 0),
            ("unknown model", "m", effort(Effort::Max), 9000, Mode::Unsaid, Some("max"), 0),
            ("minimal", "m", effort(Effort::Minimal), 9000, Mode::Unsaid, Some("low"), 1),
            ("xhigh on 4.6", "claude-opus-4-6", effort(Effort::XHigh), 9000, Mode::Unsaid, Some("high"), 1),
            ("xhigh on 4.7", "claude-opus-4-7", effort(Effort::XHigh), 9000, Mode::Unsaid, Some("xhigh"), 0),
            ("effort on 4.5", "claude-sonnet-4-5", effort(Effort::Medium), 9000, Mode::Budget(4096), None, 0),
            ("hard case 204", "claude-3-5-haiku", effort(Effort::High), 9000, Mode::Unsaid, None, 1),
            ("budget", "m", budget(2048), 9000, Mode::Budget(2048), None, 0),
            ("hard case 200, capped", "m", budget(9000), 9000, Mode::Budget(6750), None, 1),
            ("hard case 200, no room", "m", budget(2048), 1024, Mode::Unsaid, None, 1),
            ("too small", "m", budget(100), 9000, Mode::Budget(1024), None, 1),
            ("hard case 202", "claude-opus-4-7", budget(4096), 9000, Mode::Adaptive, Some("medium"), 1),
            ("hard case 6", "m", budget(0), 9000, Mode::Unsaid, None, 0),
            ("off where on by default", "claude-opus-5", effort(Effort::None), 9000, Mode::Disabled, None, 0),
            ("hard case 8", "claude-opus-4-6", budget(-1), 9000, Mode::Adaptive, None, 0),
            ("dynamic on 4.5", "claude-sonnet-4-5", budget(-1), 9000, Mode::Budget(4096), None, 0),
        ];
        for (name, model, control, max_output, mode, effort, warnings) in rows {
            let (plan, warned) = decide(model, &control, max_output);
            assert_eq!((plan.mode, plan.effort), (mode, effort), "{name}");
            assert_eq!(warned.len(), warnings, "{name}: {warned:?}");
        }
    }

    #[test]
    fn thoughts_are_shown_when_asked_for() {
        let control = ReasoningControl { visible: Some(true), ..effort(Effort::High) };
        let (plan, _) = decide("claude-opus-4-6", &control, 9000);
        assert_eq!((plan.mode, plan.display, plan.effort), (Mode::Adaptive, Some("summarized"), Some("high")));
    }
}
