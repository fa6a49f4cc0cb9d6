//! How an answer ended, in the words of Responses (docs/protocols/finish-and-errors.md).

use crate::{
    ir::FinishReason,
    problem::{Problem, ProblemKind, render},
};

/// The end of an answer, or that it has not come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// More is to come.
    Open,
    /// The model was done.
    Completed,
    /// It was cut short, for this reason.
    Incomplete(&'static str),
    /// It failed, with this code and these words.
    Failed(String, String),
}

impl Ending {
    /// What a reason says; `refused` says whether a refusal's words are in the answer.
    pub fn of(reason: FinishReason, refused: bool) -> Self {
        match reason {
            FinishReason::Length | FinishReason::ContextFull | FinishReason::Pause => {
                Self::Incomplete("max_output_tokens")
            }
            FinishReason::ContentFilter => Self::Incomplete("content_filter"),
            FinishReason::Refusal if !refused => Self::Incomplete("content_filter"),
            FinishReason::Malformed => Self::failed(&Problem::new(
                ProblemKind::Upstream,
                "the model wrote a call that cannot be read", // hard case 233
            )),
            FinishReason::Stop
            | FinishReason::StopSequence
            | FinishReason::ToolCalls
            | FinishReason::Refusal
            | FinishReason::Other => Self::Completed,
        }
    }

    /// What a failure says.
    pub fn failed(problem: &Problem) -> Self {
        let mut message = problem.message.to_string();
        if let Some(wait) = problem.retry_after_ms.filter(|_| problem.kind == ProblemKind::RateLimited) {
            // Codex reads the pause out of these words.
            message.push_str(&format!(" Please try again in {}s.", wait.div_ceil(1_000)));
        }
        Self::Failed(render::responses_code(problem).to_owned(), message)
    }

    /// The word of `status`.
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Open => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(..) => "failed",
        }
    }

    /// The event that tells it.
    pub const fn event(&self) -> &'static str {
        match self {
            Self::Open => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
            Self::Failed(..) => "response.failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, FinishReason, Problem, ProblemKind};

    #[test]
    fn a_pause_is_told_in_words() {
        let problem = Problem { retry_after_ms: Some(1_500), ..Problem::new(ProblemKind::RateLimited, "Slow down.") };
        let told = "Slow down. Please try again in 2s.".to_owned();
        assert_eq!(Ending::failed(&problem), Ending::Failed("rate_limit_exceeded".to_owned(), told));
    }

    #[test]
    fn every_reason_has_its_status() {
        let rows = [
            (FinishReason::Stop, false, "completed", ""),
            (FinishReason::StopSequence, false, "completed", ""),
            (FinishReason::ToolCalls, false, "completed", ""), // hard case 111
            (FinishReason::Other, false, "completed", ""),
            (FinishReason::Refusal, true, "completed", ""),
            (FinishReason::Refusal, false, "incomplete", "content_filter"),
            (FinishReason::ContentFilter, true, "incomplete", "content_filter"),
            (FinishReason::Length, false, "incomplete", "max_output_tokens"),
            (FinishReason::ContextFull, false, "incomplete", "max_output_tokens"),
            (FinishReason::Pause, false, "incomplete", "max_output_tokens"),
            (FinishReason::Malformed, false, "failed", "server_error"), // hard case 233
        ];
        for (reason, refused, status, why) in rows {
            let ending = Ending::of(reason, refused);
            let told = match &ending {
                Ending::Incomplete(reason) => reason,
                Ending::Failed(code, _) => code.as_str(),
                Ending::Open | Ending::Completed => "",
            };
            assert_eq!((ending.status(), told), (status, why), "{reason:?}");
            assert_eq!(ending.event(), format!("response.{status}"));
        }
    }
}
