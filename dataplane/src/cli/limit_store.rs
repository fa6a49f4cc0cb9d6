//! Options of a limit store that gateways share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use routeapi_channel::Secret;

use super::options::some_time;
use crate::{
    limits::{
        LostAction, OnStoreFailure, SharedLimits,
        redis::{Address, Password, RedisSettings, RedisStore, StoreClock},
    },
    upstream::Egress,
};

/// Where the password is, if no file has it.
const PASSWORD: &str = "ROUTEAPI_LIMIT_STORE_PASSWORD";

/// Shorter ones end while requests go on, because of one slow renewal.
const MIN_LEASE: Duration = Duration::from_secs(3);

/// Where limits are counted together with other gateways.
#[derive(Debug, Args)]
pub(super) struct LimitStoreOptions {
    /// Redis or Valkey in which all gateways count the limits of tokens together: redis://HOST:6379/0, or rediss:// for TLS.
    /// Without it, each gateway enforces an equal share of every limit.
    #[arg(long, value_name = "URL", env = "ROUTEAPI_LIMIT_STORE")]
    limit_store: Option<String>,
    /// User name for the limit store.
    #[arg(long, value_name = "NAME", env = "ROUTEAPI_LIMIT_STORE_USERNAME")]
    limit_store_username: Option<String>,
    /// File with the password for the limit store; reread for each connection. Default: the variable
    /// ROUTEAPI_LIMIT_STORE_PASSWORD, if it is set.
    #[arg(long, value_name = "FILE", env = "ROUTEAPI_LIMIT_STORE_PASSWORD_FILE")]
    limit_store_password_file: Option<PathBuf>,
    /// PEM certificates to trust as the limit store's CA instead of the usual ones; reread for each connection.
    #[arg(long, value_name = "FILE", env = "ROUTEAPI_LIMIT_STORE_CA")]
    limit_store_ca: Option<PathBuf>,
    /// Begins every key in the limit store. Gateways with the same prefix count together.
    #[arg(long, value_name = "PREFIX", env = "ROUTEAPI_LIMIT_STORE_PREFIX", default_value = "routeapi")]
    limit_store_prefix: String,
    /// How long a request waits for the limit store.
    #[arg(long, value_name = "DURATION", env = "ROUTEAPI_LIMIT_STORE_TIMEOUT", default_value = "100ms", value_parser = some_time)]
    limit_store_timeout: Duration,
    /// When the limit store gives back what a gateway has reserved that was killed.
    #[arg(long, value_name = "DURATION", env = "ROUTEAPI_LIMIT_STORE_LEASE", default_value = "60s", value_parser = some_time)]
    limit_store_lease: Duration,
    /// While the limit store is lost, requests of tokens with limits in money, or per day or month: reject them, or allow
    /// them within this gateway's share of the limits.
    #[arg(
        long,
        value_name = "ACTION",
        env = "ROUTEAPI_LIMIT_STORE_LOST_BUDGETS",
        default_value = "reject",
        ignore_case = true
    )]
    limit_store_lost_budgets: Action,
    /// While the limit store is lost, requests of tokens with other limits, which are per second, minute or hour.
    #[arg(
        long,
        value_name = "ACTION",
        env = "ROUTEAPI_LIMIT_STORE_LOST_RATES",
        default_value = "allow",
        ignore_case = true
    )]
    limit_store_lost_rates: Action,
}

/// What becomes of requests.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    Reject,
    Allow,
}

impl LimitStoreOptions {
    /// The store that is meant, if one is.
    ///
    /// # Errors
    /// Naming the option that cannot be used.
    pub(super) fn open(
        &self,
        egress: &Egress,
        environment: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Option<SharedLimits>> {
        // A variable that is set to nothing is not set.
        let Some(url) = self.limit_store.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        ensure!(self.limit_store_lease >= MIN_LEASE, "--limit-store-lease must be at least {MIN_LEASE:?}");
        let username = self.limit_store_username.clone().filter(|name| !name.is_empty());
        let password = self.password(environment);
        ensure!(
            username.is_none() || !matches!(password, Password::None),
            "--limit-store-username needs --limit-store-password-file or {PASSWORD}"
        );
        let address = Address::new(url, egress.roots(), self.limit_store_ca.clone()).context("--limit-store")?;
        let store = RedisStore::new(RedisSettings {
            address: address.with_login(username, password),
            prefix: self.limit_store_prefix.clone(),
            timeout: self.limit_store_timeout,
            lease: self.limit_store_lease,
            clock: StoreClock::Server,
        });
        let policy =
            OnStoreFailure { budgets: self.limit_store_lost_budgets.into(), rates: self.limit_store_lost_rates.into() };
        // The store's own deadline comes first.
        let within = self.limit_store_timeout.saturating_mul(2);
        Ok(Some(SharedLimits::new(Arc::new(store)).within(within).on_failure(policy)))
    }

    fn password(&self, environment: impl Fn(&str) -> Option<String>) -> Password {
        match &self.limit_store_password_file {
            Some(file) => Password::File(file.clone()),
            None => match environment(PASSWORD).filter(|password| !password.is_empty()) {
                Some(password) => Password::Value(Secret::new(password)),
                None => Password::None,
            },
        }
    }
}

impl From<Action> for LostAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Reject => Self::Reject,
            Action::Allow => Self::Allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        store: LimitStoreOptions,
    }

    fn open(arguments: &[&str], password: Option<&str>) -> anyhow::Result<Option<SharedLimits>> {
        let line = Line::try_parse_from([&["routeapi"], arguments].concat())?;
        line.store.open(&Egress::default(), |name| password.filter(|_| name == PASSWORD).map(str::to_owned))
    }

    #[test]
    fn without_a_url_there_is_no_store() {
        assert!(open(&[], Some("secret")).unwrap().is_none());
        assert!(open(&["--limit-store="], None).unwrap().is_none());
    }

    #[test]
    fn password_is_neither_taken_from_the_url_nor_shown() {
        let error = format!("{:#}", open(&["--limit-store=redis://:hunter2@limits"], None).unwrap_err());
        assert!(error.starts_with("--limit-store: ") && !error.contains("hunter2"), "{error}");
        let shared = open(&["--limit-store=redis://limits"], Some("hunter2")).unwrap().unwrap();
        assert!(!format!("{shared:?}").contains("hunter2"), "{shared:?}");
        let error = open(&["--limit-store=redis://limits", "--limit-store-username=gw"], None).unwrap_err();
        assert!(error.to_string().contains(PASSWORD), "{error}");
    }

    #[test]
    fn lost_store_rejects_budgets_and_allows_rates_unless_told_otherwise() {
        let shared = open(&["--limit-store=redis://limits"], None).unwrap().unwrap();
        assert_eq!(shared.on_failure, OnStoreFailure::default());
        let told = ["--limit-store=redis://h", "--limit-store-lost-budgets=Allow", "--limit-store-lost-rates=reject"];
        let expected = OnStoreFailure { budgets: LostAction::Allow, rates: LostAction::Reject };
        assert_eq!(open(&told, None).unwrap().unwrap().on_failure, expected);
        assert!(open(&["--limit-store=redis://h", "--limit-store-lease=1s"], None).is_err());
    }
}
