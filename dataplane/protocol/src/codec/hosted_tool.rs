//! Tools that their vendor runs itself, at an upstream that does not have them.

use std::borrow::Cow;

use super::field::Name;
use crate::{
    dialect::Operation,
    ir::{Request, Tool, ToolChoice, ToolKind},
    report::Report,
};

/// Says that a tool is not sent. Responses clients offer such tools with every request, whoever answers (Codex a web
/// search, a shell, tools by namespace), so that they are dropped there unless the choice forces this one. Other clients
/// name them because they want them: that is refused.
pub fn leave_out(
    tool: &Tool,
    request: &Request,
    from: Operation,
    why: impl Into<Cow<'static, str>>,
    report: &mut Report,
) {
    let kind = match &tool.kind {
        ToolKind::Server { kind, .. } => kind,
        ToolKind::Function(_) | ToolKind::Custom(_) => &tool.name,
    };
    let field = Name::Tool.of_kind(kind, from);
    let is_forced = matches!(&request.tool_choice, Some(ToolChoice::Named(name)) if *name == tool.name);
    if from == Operation::Responses && !is_forced {
        report.dropped(field);
    } else {
        report.refused(field, why);
    }
}
