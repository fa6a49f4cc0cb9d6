//! Who is behind a request: the client's address, its program, and the person it says it acts for. For the record alone:
//! nothing is allowed or limited by it.
//!
//! The address is that of whoever connected, or, where trusted proxies stand in between, the nearest hop that is none of
//! them. It goes through the forwarding header from the right, because everything to the left of the first untrusted hop
//! may be made up by the client. `X-Forwarded-For` counts before `Forwarded`: nearly every proxy appends to the former,
//! and passes the latter on as the client wrote it.
//!
//! Agent and person are the caller's own words: bounded, and without characters that would confuse a reader of the log.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{
    HeaderMap, HeaderValue,
    header::{FORWARDED, USER_AGENT},
};

use super::printable::printable;
use crate::server::TrustedProxies;

/// Most characters of each text. Anthropic takes 256 of a user's id, OpenAI 64.
const MAX_TEXT_CHARS: usize = 256;

/// Headers in which front ends say who uses them: Open WebUI's own (`ENABLE_FORWARD_USER_INFO_HEADERS`), and those that
/// apps written for LiteLLM send. The first that is there counts.
const END_USER_HEADERS: [&str; 4] =
    ["x-openwebui-user-id", "x-openwebui-user-email", "x-litellm-customer-id", "x-litellm-end-user-id"];

/// Which facts about the client are kept and recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordClient {
    /// Addresses: of the client and of whoever connected.
    pub address: bool,
    /// `User-Agent`.
    pub user_agent: bool,
    /// The end user that the app names.
    pub end_user: bool,
}

/// Not a list of such facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of address, user-agent and end-user; separate several with commas, or say none")]
pub struct InvalidRecordClient(String);

/// Who is behind a request, as far as that is to be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    /// The nearest address that is no trusted proxy's.
    pub address: Option<IpAddr>,
    /// The program.
    pub user_agent: Option<Box<str>>,
    /// The person.
    pub end_user: Option<Box<str>>,
}

impl Default for RecordClient {
    fn default() -> Self {
        Self { address: true, user_agent: true, end_user: true }
    }
}

impl FromStr for RecordClient {
    type Err = InvalidRecordClient;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut chosen = Self { address: false, user_agent: false, end_user: false };
        if text.trim() == "none" {
            return Ok(chosen);
        }
        for name in text.split(',').map(str::trim) {
            match name {
                "address" => chosen.address = true,
                "user-agent" => chosen.user_agent = true,
                "end-user" => chosen.end_user = true,
                other => return Err(InvalidRecordClient(other.to_owned())),
            }
        }
        Ok(chosen)
    }
}

impl Client {
    /// What connection and headers tell.
    pub(super) fn read(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies, keep: RecordClient) -> Self {
        let text = |name: &str| recorded(&String::from_utf8_lossy(headers.get(name)?.as_bytes()));
        Self {
            address: keep.address.then(|| address(peer, headers, trusted)),
            user_agent: keep.user_agent.then(|| text(USER_AGENT.as_str())).flatten(),
            end_user: keep.end_user.then(|| END_USER_HEADERS.into_iter().find_map(text)).flatten(),
        }
    }

    /// The person that the body names, if no header has named one.
    pub(super) fn set_end_user(&mut self, end_user: Option<&str>, keep: RecordClient) {
        if keep.end_user && self.end_user.is_none() {
            self.end_user = end_user.and_then(recorded);
        }
    }
}

/// What a caller says of itself, as it is recorded; nothing for nothing.
fn recorded(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    (!text.is_empty()).then(|| printable(text, MAX_TEXT_CHARS).into())
}

/// The nearest hop that is no trusted proxy. A hop that is hidden or illegible ends the search: who is behind it is anybody's
/// guess.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let mut nearest = peer.to_canonical();
    if !trusted.contains(nearest) {
        return nearest;
    }
    let mut accept_hop = |hop: Option<IpAddr>| {
        nearest = hop?;
        trusted.contains(nearest).then_some(())
    };
    // Stops at the first hop that is not trusted, so most of a long list is never looked at.
    let _ = if headers.contains_key("x-forwarded-for") {
        from_the_right(headers.get_all("x-forwarded-for").iter(), |hop| accept_hop(ip(hop)))
    } else {
        from_the_right(headers.get_all(FORWARDED).iter(), |hop| accept_hop(forwarded_for(hop)))
    };
    nearest
}

/// The elements of a list header, the last one first, until `each` has had enough.
fn from_the_right<'a>(
    lines: impl DoubleEndedIterator<Item = &'a HeaderValue>,
    mut each: impl FnMut(&str) -> Option<()>,
) -> Option<()> {
    for line in lines.rev() {
        let Ok(line) = line.to_str() else { return each("") };
        let mut quoted = false;
        let elements = line.rsplit(|letter| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        });
        for element in elements.map(str::trim).filter(|element| !element.is_empty()) {
            each(element)?;
        }
    }
    Some(())
}

/// The `for` of an element of `Forwarded` (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, node) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| ip(node.trim().trim_matches('"')))?
    })
}

/// An address as proxies write it: bare, in brackets, and with a port or without.
fn ip(node: &str) -> Option<IpAddr> {
    let bare = || node.parse::<IpAddr>().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect()
    }

    fn seen(peer: &str, list: &[(&str, &str)]) -> String {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:5::/48".parse().unwrap()]);
        address(peer.parse().unwrap(), &headers(list), &trusted).to_string()
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn forwarding_headers_of_untrusted_peers_are_ignored() {
        for list in [&[(XFF, "192.0.2.1")][..], &[("forwarded", "for=192.0.2.1")], &[("x-real-ip", "192.0.2.1")]] {
            assert_eq!(seen("198.51.100.9", list), "198.51.100.9");
        }
        assert_eq!(seen("::ffff:198.51.100.9", &[]), "198.51.100.9");
        let nobody = TrustedProxies::default();
        let found = address([127, 0, 0, 1].into(), &headers(&[(XFF, "192.0.2.1")]), &nobody);
        assert_eq!(found.to_string(), "127.0.0.1");
    }

    #[test]
    fn client_is_the_nearest_untrusted_hop() {
        for (list, client) in [
            (&[(XFF, "192.0.2.1")][..], "192.0.2.1"),
            (&[(XFF, "6.6.6.6, 192.0.2.1")], "192.0.2.1"),
            (&[(XFF, "6.6.6.6,192.0.2.1 , 10.9.9.9")], "192.0.2.1"),
            (&[(XFF, "6.6.6.6"), (XFF, "192.0.2.1, 10.9.9.9")], "192.0.2.1"),
            (&[(XFF, "192.0.2.1:4711")], "192.0.2.1"),
            (&[(XFF, "[2001:db8::1]:4711")], "2001:db8::1"),
            (&[(XFF, "[2001:db8::1]")], "2001:db8::1"),
            (&[(XFF, "2001:db8::1,2001:db8:5::1")], "2001:db8::1"),
            (&[(XFF, "::ffff:192.0.2.1, ::ffff:10.0.0.2")], "192.0.2.1"),
            (&[(XFF, "192.0.2.1,,")], "192.0.2.1"),
            // Proxies all the way, or none: the farthest that is known.
            (&[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (&[], "10.0.0.1"),
            (&[(XFF, "")], "10.0.0.1"),
        ] {
            assert_eq!(seen("10.0.0.1", list), client, "{list:?}");
        }
    }

    #[test]
    fn unparsable_hop_ends_the_search() {
        for hop in ["unknown", "_hidden", "\"", "192.0.2.1%eth0", "\u{e9}"] {
            let Ok(value) = HeaderValue::from_bytes(format!("192.0.2.1, {hop}, 10.0.0.2").as_bytes()) else { continue };
            let list = HeaderMap::from_iter([(XFF.parse::<http::HeaderName>().unwrap(), value)]);
            let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
            let found = address([10, 0, 0, 1].into(), &list, &trusted).to_string();
            assert!(found.starts_with("10.0.0."), "{hop}: {found}");
        }
    }

    #[test]
    fn forwarded_is_used_without_x_forwarded_for() {
        const NAME: &str = "forwarded";
        for (list, client) in [
            (&[(NAME, "for=192.0.2.1")][..], "192.0.2.1"),
            (&[(NAME, "for=6.6.6.6, For=\"192.0.2.1:80\";proto=https, by=10.0.0.1;for=10.0.0.2")], "192.0.2.1"),
            (&[(NAME, "for=\"[2001:db8::1]:4711\"; proto=http;host=a")], "2001:db8::1"),
            (&[(NAME, "for=192.0.2.1;host=\"a,for=6.6.6.6\"")], "192.0.2.1"),
            // A client's open quote does not reach what the proxy appended.
            (&[(NAME, "for=\"6.6.6.6, for=192.0.2.1")], "192.0.2.1"),
            (&[(NAME, "for=192.0.2.1, proto=https")], "10.0.0.1"),
            (&[(NAME, "for=_secret")], "10.0.0.1"),
            (&[(NAME, "for=6.6.6.6"), (XFF, "192.0.2.1")], "192.0.2.1"),
        ] {
            assert_eq!(seen("10.0.0.1", list), client, "{list:?}");
        }
    }

    #[test]
    fn user_agent_and_end_user_are_bounded_and_sanitised() {
        let nobody = TrustedProxies::default();
        let read = |list: &[(&str, &str)]| {
            Client::read([10, 0, 0, 1].into(), &headers(list), &nobody, RecordClient::default())
        };
        let agent = "x".repeat(10_000);
        let client = read(&[("user-agent", &agent), ("x-openwebui-user-email", "a@example.com")]);
        assert_eq!(client.user_agent.unwrap().chars().count(), MAX_TEXT_CHARS + 1, "and a mark that it was cut");
        assert_eq!(client.end_user.as_deref(), Some("a@example.com"));
        let client = read(&[("x-openwebui-user-email", "a@example.com"), ("x-openwebui-user-id", "7")]);
        assert_eq!(client.end_user.as_deref(), Some("7"), "an id says less about a person");
        assert_eq!(read(&[("user-agent", " "), ("x-openwebui-user-id", "")]).user_agent, None);
        let mut client = Client::default();
        client.set_end_user(Some("a\nb\u{1b}[2J\u{202e}c\u{2028}"), RecordClient::default());
        assert_eq!(client.end_user.as_deref(), Some("a\u{fffd}b\u{fffd}[2J\u{fffd}c"), "the last is white space");
        client.set_end_user(Some("another"), RecordClient::default());
        assert_ne!(client.end_user.as_deref(), Some("another"), "a header counts first");
    }

    #[test]
    fn unrecorded_client_facts_are_not_kept() {
        let keep: RecordClient = "none".parse().unwrap();
        let list = headers(&[("user-agent", "x"), ("x-openwebui-user-id", "7")]);
        let mut client = Client::read([10, 0, 0, 1].into(), &list, &TrustedProxies::default(), keep);
        client.set_end_user(Some("me"), keep);
        assert_eq!(client, Client::default());
        let some: RecordClient = "address, end-user".parse().unwrap();
        assert_eq!(some, RecordClient { address: true, user_agent: false, end_user: true });
        for text in ["", "adress", "none,address", "address,"] {
            assert!(text.parse::<RecordClient>().is_err(), "{text:?}");
        }
    }
}
