//! Parses listen addresses, in which the host may be omitted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The host of `8081` and `:8081`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultHost {
    /// `127.0.0.1`: this machine only.
    Loopback,
    /// `[::]`: all IPv6 and IPv4 addresses, see [`crate::bind`].
    Any,
}

/// Reads `ADDRESS:PORT`, `[ADDRESS]:PORT`, `localhost:PORT`, `:PORT` or `PORT`.
///
/// # Errors
/// If the text has none of these forms; the message lists them.
pub fn listen(text: &str, default: DefaultHost) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let ip = match host {
        "" => Some(match default {
            DefaultHost::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
            DefaultHost::Any => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => None,
    };
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
        _ => {
            Err("must be an address and a port: 127.0.0.1:8080, [::1]:8080, localhost:8080, or only a port, 8080"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_may_be_omitted() {
        for (text, loopback, any) in [
            ("127.0.0.1:8081", "127.0.0.1:8081", "127.0.0.1:8081"),
            ("[::1]:8081", "[::1]:8081", "[::1]:8081"),
            ("0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0"),
            ("8081", "127.0.0.1:8081", "[::]:8081"),
            (":8081", "127.0.0.1:8081", "[::]:8081"),
            ("localhost:8081", "127.0.0.1:8081", "127.0.0.1:8081"),
            ("*:8081", "[::]:8081", "[::]:8081"),
        ] {
            let read = [DefaultHost::Loopback, DefaultHost::Any].map(|default| listen(text, default).unwrap());
            assert_eq!(read.map(|address| address.to_string()), [loopback, any], "{text}");
        }
    }

    #[test]
    fn errors_list_the_accepted_forms() {
        for text in ["", ":", "localhost", "127.0.0.1", "::1", "example.com:80", "http://127.0.0.1:80", "65536", "+80"]
        {
            let error = listen(text, DefaultHost::Loopback).unwrap_err();
            assert!(error.contains("127.0.0.1:8080") && error.contains("localhost:8080"), "{text}: {error}");
        }
    }
}
