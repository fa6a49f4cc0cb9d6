//! `routeapi selftest`: asks a gateway as apps do and says, a line per question, what is right and what is wrong.

mod ask;
mod expect;
mod wrong;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args as ClapArgs;
use http::Uri;
use routeapi_protocol::dialect::Family;
use tokio::{runtime::Builder, time::Instant};

use self::{
    ask::{Deadlines, Gateway, Question},
    wrong::{Vantage, Wrong},
};
use super::options::duration;

/// Looks like a key, and is nobody's.
const MADE_UP: &str = "routeapi-selftest-made-up";

const EXAMPLES: &str = "\
Examples:
  routeapi selftest --gateway http://routeapi.ai-platform.svc
  routeapi selftest --gateway http://localhost:8080/v1 --timeout 10s

Needs no key; with one (--token or OPENAI_API_KEY), it also lists the models that the key may use. The exit code is 1 if
anything is wrong; the output ends with what to check.";

/// What `selftest` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Base URL as apps use it, with or without /v1.
    #[arg(long, value_name = "URL")]
    gateway: Uri,
    /// How long to retry while no connection can be made.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    wait: Duration,
    /// Time limit of the whole test.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// An app's API key, to list its models.
    #[arg(long, value_name = "KEY", env = "OPENAI_API_KEY", hide_env_values = true)]
    token: Option<String>,
    /// PEM certificates to trust instead of the public authorities, for an https URL.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Args {
    /// Counted from now.
    fn deadlines(&self) -> Deadlines {
        let now = Instant::now();
        Deadlines { reached: now + self.wait.min(self.timeout), answered: now + self.timeout }
    }
}

/// Asks and tells.
pub(super) fn selftest(args: &Args) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::new(&args.gateway, args.ca.as_deref(), args.deadlines())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let token = args.token.as_deref().filter(|it| !it.is_empty());
    let told = runtime.block_on(examine(&gateway, token, Vantage::here(), &mut io::stdout().lock()));
    runtime.shutdown_background(); // a name that does not resolve would be waited for
    Ok(if told? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line per question, and at the end what to look at. Whether all is well.
async fn examine(gateway: &Gateway, token: Option<&str>, from: Vantage, out: &mut impl Write) -> io::Result<bool> {
    let reached = gateway.reach().await.map(|address| format!("{gateway} is reachable at {address}"));
    let mut wrongs = Vec::new();
    let unreached = reached.is_err();
    tell(out, reached, &mut wrongs)?;
    if !unreached {
        for family in [Family::OpenAi, Family::Anthropic, Family::Gemini] {
            tell(out, no_key(gateway, family).await, &mut wrongs)?;
        }
        tell(out, made_up_key(gateway).await, &mut wrongs)?;
        if let Some(token) = token {
            tell(out, models(gateway, token).await, &mut wrongs)?;
        }
    }
    let mut advice: Vec<String> = wrongs.iter().flat_map(|wrong| wrong.look_at(gateway.host(), from)).collect();
    let mut seen = std::collections::BTreeSet::new();
    advice.retain(|line| seen.insert(line.clone()));
    if !advice.is_empty() {
        writeln!(out, "\nwhat to check:")?;
        advice.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    out.flush()?;
    Ok(wrongs.is_empty())
}

fn tell(out: &mut impl Write, outcome: Result<String, Wrong>, wrongs: &mut Vec<Wrong>) -> io::Result<()> {
    match outcome {
        Ok(right) => writeln!(out, "ok     {right}"),
        Err(wrong) => {
            writeln!(out, "failed {wrong}")?;
            wrongs.push(wrong);
            Ok(())
        }
    }
}

async fn no_key(gateway: &Gateway, family: Family) -> Result<String, Wrong> {
    let question = Question::models(family, None);
    let answer = gateway.ask(&question).await?;
    let id = expect::refused(family, &question, &answer)?;
    Ok(format!("{question} without a key: rejected in the format of {}, request {id}", expect::vendor(family)))
}

/// A gateway that has no configuration yet knows no key, and says that instead of "wrong key".
async fn made_up_key(gateway: &Gateway) -> Result<String, Wrong> {
    let question = Question::models(Family::OpenAi, Some(MADE_UP));
    let answer = gateway.ask(&question).await?;
    expect::configured(&question, &answer)?;
    Ok("an unknown key is rejected: the gateway has a configuration".to_owned())
}

async fn models(gateway: &Gateway, token: &str) -> Result<String, Wrong> {
    let question = Question::models(Family::OpenAi, Some(token));
    let answer = gateway.ask(&question).await?;
    let models = expect::models(&question, &answer)?;
    Ok(match models.as_slice() {
        [] => "the key is valid, but may use no model: no AIRoute that is open to its namespace serves a model in the key's \
               list"
            .to_owned(),
        [one] => format!("the key may use 1 model: {one}"),
        more => format!("the key may use {} models: {}", more.len(), expect::some_of(more)),
    })
}

#[cfg(test)]
mod tests;
