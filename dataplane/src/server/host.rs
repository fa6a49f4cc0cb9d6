//! Whether a request says which host it is for, once and in one way (RFC 9112 section 3.2, RFC 9113 section 8.3.1). What
//! stands in front may have chosen by the other.

use http::{
    Request, Version,
    header::HOST,
    uri::{Authority, Scheme},
};

/// Refuses a request that names no host, two, or different ones, in words for its sender.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err("the request has more than one Host header");
    }
    let target = request.uri().authority();
    let Some(field) = field else {
        let is_due =
            request.version() == Version::HTTP_11 || (request.version() >= Version::HTTP_2 && target.is_none());
        return if is_due { Err("the request has no Host header") } else { Ok(()) };
    };
    // RFC 9112 allows an empty field where the target names no host.
    let named = if field.is_empty() { None } else { Some(parse(field.as_bytes())?) };
    match (target, named) {
        (None, _) => Ok(()),
        (Some(target), Some(named)) if is_same(target, &named, request.uri().scheme()) => Ok(()),
        (Some(_), _) => Err("the request's Host header and its target name different hosts"),
    }
}

fn parse(field: &[u8]) -> Result<Authority, &'static str> {
    let authority = Authority::try_from(field).ok().filter(|authority| !authority.as_str().contains('@'));
    authority.ok_or("the request's Host header is not a host")
}

fn is_same(left: &Authority, right: &Authority, scheme: Option<&Scheme>) -> bool {
    let default = if scheme == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    left.host().eq_ignore_ascii_case(right.host()) && port(left) == port(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: Version, target: &str, hosts: &[&str]) -> Result<(), &'static str> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check(&request.body(()).unwrap())
    }

    #[test]
    fn single_consistent_host_is_accepted() {
        for (version, target, hosts) in [
            (Version::HTTP_11, "/v1/models", &["gateway:8080"][..]),
            (Version::HTTP_11, "/v1/models", &["[::1]:8080"]),
            (Version::HTTP_11, "/v1/models", &[""]),
            (Version::HTTP_11, "http://gateway/v1/models", &["GATEWAY:80"]),
            (Version::HTTP_10, "/v1/models", &[]),
            (Version::HTTP_2, "http://gateway/v1/models", &[]),
            (Version::HTTP_2, "https://gateway/v1/models", &["gateway:443"]),
            (Version::HTTP_2, "/v1/models", &["gateway"]),
        ] {
            assert_eq!(verdict(version, target, hosts), Ok(()), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn missing_repeated_or_conflicting_hosts_are_refused() {
        for (version, target, hosts, why) in [
            (Version::HTTP_11, "/", &[][..], "no Host"),
            (Version::HTTP_2, "/", &[], "no Host"),
            (Version::HTTP_11, "http://a/", &[], "no Host"),
            (Version::HTTP_11, "/", &["a", "a"], "more than one"),
            (Version::HTTP_10, "/", &["a", "b"], "more than one"),
            (Version::HTTP_2, "http://a/", &["a", "a"], "more than one"),
            (Version::HTTP_11, "/", &["a b"], "not a host"),
            (Version::HTTP_11, "/", &["user@a"], "not a host"),
            (Version::HTTP_11, "/", &["a/../b"], "not a host"),
            (Version::HTTP_11, "http://a/", &["b"], "different"),
            (Version::HTTP_11, "http://a/", &["a:81"], "different"),
            (Version::HTTP_11, "http://a/", &[""], "different"),
            (Version::HTTP_2, "https://a/", &["a:80"], "different"),
        ] {
            let refused = verdict(version, target, hosts).unwrap_err();
            assert!(refused.contains(why), "{version:?} {target} {hosts:?}: {refused}");
        }
    }
}
