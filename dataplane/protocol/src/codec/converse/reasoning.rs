//! How a model is told to think on Converse (docs/protocols/reasoning.md): Claude as on Messages, others by an effort.

use super::models::{Model, Reasoning};
use crate::{
    codec::{
        effort::{self, as_said, is_off, word},
        field::Name,
        json::write::Members,
        messages::{
            context::Context,
            conversation::allows_manual_thinking,
            piece::Message,
            thinking::{self, Mode},
        },
    },
    ir::{Effort, ReasoningControl},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Claude's.
    pub thinking: thinking::Plan,
    /// Other models'.
    pub effort: Option<&'static str>,
    /// Where an effort stands.
    place: Place,
}

/// Where an effort stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Additional,
    Output,
}

/// Decides. `max_output` is what may be written at most.
pub fn plan(
    control: &ReasoningControl,
    max_output: u64,
    messages: &[Message<'_>],
    model: &Model,
    context: &mut Context<'_>,
) -> Asked {
    if model.reasoning == Reasoning::Thinking {
        let thinking = thinking::plan(control, max_output, allows_manual_thinking(messages), context);
        return Asked { thinking, place: Place::Output, ..Asked::default() };
    }
    let place = if model.reasoning == Reasoning::Output { Place::Output } else { Place::Additional };
    Asked { effort: effort_of(control, model, context), place, ..Asked::default() }
}

/// The effort for a model that is told one.
fn effort_of(control: &ReasoningControl, model: &Model, context: &mut Context<'_>) -> Option<&'static str> {
    let efforts = context.abilities.efforts;
    let is_stated = control.effort.is_some()
        || control.budget.is_some()
        || control.adaptive
        || control.enabled.is_some()
        || control.visible.is_some();
    if !is_stated {
        return None;
    }
    if is_off(control) {
        // What cannot be asked to think does not; what always thinks cannot be kept from it.
        if model.reasoning == Reasoning::Effort {
            let (name, _) = as_said(control, false, context.from);
            context.dropped(name);
        }
        return None;
    }
    if efforts.is_empty() || model.reasoning == Reasoning::None {
        context.dropped(Name::Thinking);
        return None;
    }
    if control.visible == Some(false) {
        // Nothing hides it.
        context.dropped(Name::Visible);
    }
    let wants = control.adaptive || control.enabled == Some(true) || control.budget.is_some();
    let asked = effort::asked(control).or(wants.then_some(Effort::Medium))?;
    let sent = efforts.nearest(asked)?;
    let is_converted = control.effort.is_none() && control.budget.is_some_and(|budget| budget > 0);
    if is_converted || (control.effort.is_some() && sent != asked) {
        let (name, said) = as_said(control, false, context.from);
        context.adapted(name, said, word(sent));
    }
    Some(word(sent))
}

/// Writes the fields that are their vendor's own.
pub fn fields(asked: &Asked, model: &Model, to: &mut Members<'_>) {
    match asked.thinking.mode {
        Mode::Unsaid => {}
        Mode::Disabled => to.object("thinking", |o| o.put("type", "disabled")),
        Mode::Adaptive => to.object("thinking", |o| {
            o.put("type", "adaptive");
            o.put_some("display", asked.thinking.display);
        }),
        Mode::Budget(tokens) => to.object("thinking", |o| {
            o.put("type", "enabled");
            o.put("budget_tokens", &tokens);
            o.put_some("display", asked.thinking.display);
        }),
    }
    match (model.reasoning, asked.effort) {
        (Reasoning::Config, Some(effort)) => to.object("reasoningConfig", |o| {
            o.put("type", "enabled");
            o.put("maxReasoningEffort", effort);
        }),
        (Reasoning::Effort, Some(effort)) => to.put("reasoning_effort", effort),
        _ => {}
    }
}

impl Asked {
    /// `outputConfig.effort`
    pub fn output_effort(&self) -> Option<&'static str> {
        self.thinking.effort.or(self.effort.filter(|_| self.place == Place::Output))
    }
}
