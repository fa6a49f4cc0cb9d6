//! Options that `run` and `serve` share, and how option values are read.

use std::{net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use routeapi_crds::value;
use routeapi_process::{DefaultHost, listen};

use crate::{
    request::{RecordClient, RequestSettings, SessionSettings},
    server::{
        Limits, TrustedProxies,
        cors::{Cors, Origin},
        trusted_proxies::Range,
    },
    upstream::ConnectionLifetimes,
};

/// What clients may do.
#[derive(Debug, Args)]
pub(super) struct Clients {
    /// Maximum concurrent client connections; further ones get 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = at_least_one)]
    max_connections: usize,
    /// Maximum concurrent client connections from one IPv4 address or IPv6 /64; further ones get 503. Connections from
    /// --trusted-proxies do not count. Set it to --max-connections if all clients arrive through one NAT. Default: half of
    /// --max-connections.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_connections_per_client: Option<usize>,
    /// Maximum bytes of incomplete request headers, of all connections together; beyond it, the oldest are dropped.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().pending_bytes, value_parser = at_least_one)]
    max_unfinished_header_bytes: usize,
    /// Largest request body in bytes, before and after decompression.
    #[arg(long, value_name = "BYTES", default_value_t = RequestSettings::default().max_body_bytes, value_parser = at_least_one)]
    max_body_bytes: usize,
    /// Largest non-streaming answer in bytes; for larger ones the client gets 502.
    #[arg(long, value_name = "BYTES", default_value_t = RequestSettings::default().max_answer_bytes, value_parser = at_least_one)]
    max_answer_bytes: usize,
    /// Maximum bytes of request bodies and non-streaming answers that are buffered, of all requests together; beyond it,
    /// requests get 503. Set it to about half of the memory limit.
    #[arg(long, value_name = "BYTES", default_value_t = RequestSettings::default().max_buffered_bytes, value_parser = at_least_one)]
    max_buffered_bytes: usize,
    /// Send a heartbeat to a streaming client after this long without output, unless its AIRoute sets an interval; 0s
    /// disables heartbeats.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    heartbeat: Duration,
    /// Time limit from a request's headers to the end of its body; beyond it, the client gets 408.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = some_time)]
    request_body_timeout: Duration,
    /// How long a client may stop reading its answer before the request ends and its connection is closed.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = some_time)]
    client_write_timeout: Duration,
    /// Address ranges of the proxies and load balancers in front, such as 10.0.0.0/8, separated by commas. Only from these
    /// is the client address in X-Forwarded-For or Forwarded trusted for the access log. Default: none.
    #[arg(long, value_name = "CIDR", env = "ROUTEAPI_TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    trusted_proxies: List<Range>,
    /// Expect a PROXY protocol header (version 1 or 2) on each connection to the traffic ports; with --trusted-proxies, only
    /// on connections from these. Connections without one are closed.
    #[arg(long, env = "ROUTEAPI_PROXY_PROTOCOL", value_parser = switch)]
    proxy_protocol: bool,
    /// Client details in the access log: address, user-agent, end-user, separated by commas, or none.
    #[arg(long, value_name = "FACTS", env = "ROUTEAPI_RECORD_CLIENT", default_value = "address,user-agent,end-user")]
    record_client: RecordClient,
    /// Origins of web pages that may send requests from a browser, such as https://chat.example.com, separated by commas, or
    /// * for all. Pages need a token as well. Default: none; browsers then block such requests.
    #[arg(long, value_name = "ORIGIN", env = "ROUTEAPI_CORS_ORIGINS", default_value = "", hide_default_value = true)]
    cors_origins: List<Origin>,
    /// Close a client connection after this long without a request. Has to be longer than the idle timeout of the load
    /// balancer in front, which could otherwise send a request at the moment the connection closes.
    #[arg(long, value_name = "DURATION", default_value = "620s", value_parser = some_time)]
    client_idle_timeout: Duration,
    /// Ask clients to reconnect after this long, so that load spreads to new pods: HTTP/1 clients get `connection: close`
    /// with an answer, HTTP/2 clients a GOAWAY. Answers in progress finish. 0s for no limit.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    client_max_connection_age: Duration,
    /// Close a connection to an upstream after this long without a request. Has to be shorter than the idle timeout of
    /// whatever is at the other end.
    #[arg(long, value_name = "DURATION", default_value = "50s", value_parser = duration)]
    upstream_idle_timeout: Duration,
    /// Replace a connection to an upstream after this long, so that changes in DNS take effect. 0s for no limit.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    upstream_max_connection_age: Duration,
    /// Close a WebSocket session after this long without a message in either direction; pings do not count.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = some_time)]
    realtime_idle_timeout: Duration,
    /// Maximum duration of a WebSocket session.
    #[arg(long, value_name = "DURATION", default_value = "60m", value_parser = some_time)]
    realtime_max_duration: Duration,
    /// Largest message of a WebSocket session in bytes; a larger one closes the session with code 1009.
    #[arg(long, value_name = "BYTES", default_value_t = SessionSettings::default().max_message_bytes, value_parser = at_least_one)]
    realtime_max_message_bytes: usize,
    /// Also export latency histograms of each route: 44 more series for each route in use.
    #[arg(long, env = "ROUTEAPI_ROUTE_HISTOGRAMS", value_parser = switch)]
    route_histograms: bool,
    /// Threads for traffic. Default: one per core.
    #[arg(long, value_name = "N", env = "ROUTEAPI_WORKERS")]
    pub(super) workers: Option<usize>,
}

impl Clients {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            connections_per_client: self.max_connections_per_client.unwrap_or(self.max_connections.div_ceil(2)),
            requests: self.max_connections,
            pending_bytes: self.max_unfinished_header_bytes,
            idle: self.client_idle_timeout,
            max_age: Some(self.client_max_connection_age).filter(|age| !age.is_zero()),
            // A quarter more, so that the request's own end comes first and is recorded as what it is.
            write: self.client_write_timeout.saturating_add(self.client_write_timeout / 4),
            trusted_proxies: TrustedProxies::new(self.trusted_proxies.0.clone()),
            proxy_protocol: self.proxy_protocol,
            cors: Cors::new(self.cors_origins.0.clone()).map(Arc::new),
            ..Limits::default()
        }
    }

    pub(super) fn upstreams(&self) -> ConnectionLifetimes {
        ConnectionLifetimes {
            idle: self.upstream_idle_timeout,
            max_age: Some(self.upstream_max_connection_age).filter(|age| !age.is_zero()),
        }
    }

    pub(super) fn requests(&self) -> RequestSettings {
        RequestSettings {
            max_body_bytes: self.max_body_bytes,
            max_answer_bytes: self.max_answer_bytes,
            max_buffered_bytes: self.max_buffered_bytes,
            body_total: self.request_body_timeout,
            client_write: self.client_write_timeout,
            heartbeat: Some(self.heartbeat).filter(|it| !it.is_zero()),
            trusted_proxies: TrustedProxies::new(self.trusted_proxies.0.clone()),
            record_client: self.record_client,
            route_histograms: self.route_histograms,
            sessions: SessionSettings {
                idle: self.realtime_idle_timeout,
                longest: self.realtime_max_duration,
                max_message_bytes: self.realtime_max_message_bytes,
            },
            ..RequestSettings::default()
        }
    }
}

/// Values separated by commas. Nothing, as an environment variable that is set to nothing, is none.
#[derive(Clone, Debug)]
struct List<T>(Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        values.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// An address to listen on; of this machine only, if a port is all that is said.
pub(super) fn on_this_machine(text: &str) -> Result<SocketAddr, String> {
    listen(text, DefaultHost::Loopback)
}

/// An address to listen on; any, if a port is all that is said.
pub(super) fn on_any_address(text: &str) -> Result<SocketAddr, String> {
    listen(text, DefaultHost::Any)
}

/// Durations are written as in manifests: `500ms`, `30s`, `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, value::InvalidDuration> {
    text.parse::<value::Duration>().map(Duration::from)
}

/// A duration that must not be zero: a timeout of nothing ends everything at once.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(time) if time.is_zero() => Err("must be longer than 0s".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// A bound: with 0 nothing would be served, and nothing would say why.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number".to_owned()),
    }
}

/// A flag that an environment variable can set as well, in the spellings that people use; empty is as not set.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "" | "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        clients: Clients,
    }

    #[test]
    fn options_that_serve_nothing_are_refused() {
        for name in [
            "max-connections",
            "max-connections-per-client",
            "max-unfinished-header-bytes",
            "max-body-bytes",
            "max-answer-bytes",
            "max-buffered-bytes",
            "realtime-max-message-bytes",
        ] {
            let read = |value| Line::try_parse_from(["routeapi".to_owned(), format!("--{name}={value}")]);
            assert!(read("1").is_ok(), "{name}");
            for (value, why) in [("0", "must be at least 1"), ("10MB", "must be a whole number")] {
                let error = read(value).unwrap_err().to_string();
                assert!(error.contains(why) && error.contains(name), "{error}");
            }
        }
        for name in [
            "request-body-timeout",
            "client-write-timeout",
            "client-idle-timeout",
            "realtime-idle-timeout",
            "realtime-max-duration",
        ] {
            let read = |value| Line::try_parse_from(["routeapi".to_owned(), format!("--{name}={value}")]);
            assert!(read("1s").is_ok(), "{name}");
            assert!(read("0s").unwrap_err().to_string().contains("must be longer than 0s"), "{name}");
            assert!(read("5").unwrap_err().to_string().contains("500ms"), "{name}: says how to write it");
        }
        assert!(Line::try_parse_from(["routeapi", "--client-max-connection-age=0s", "--heartbeat=0s"]).is_ok());
    }

    #[test]
    fn boolean_variables_accept_common_spellings() {
        for (text, on) in [("true", true), ("1", true), ("Yes", true), ("", false), ("0", false), ("off", false)] {
            assert_eq!(switch(text), Ok(on), "{text}");
        }
        assert!(switch("flase").is_err());
        let line = Line::try_parse_from(["routeapi", "--proxy-protocol"]).unwrap();
        assert!(line.clients.proxy_protocol && !line.clients.route_histograms);
    }

    #[test]
    fn lists_are_comma_separated_and_may_be_empty() {
        let read = |text: &str| text.parse::<List<Range>>().map(|list| list.0.len());
        assert_eq!((read(""), read(" , "), read("10.0.0.0/8, ::1")), (Ok(0), Ok(0), Ok(2)));
        assert!(read("10.0.0.0/8,proxy.example").is_err());
    }
}
