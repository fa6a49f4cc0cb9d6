//! What `routeapi run` prints: where it listens, what to put into each SDK, the tokens, and three requests to paste.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use routeapi_channel::{ObjectId, Snapshot};
use routeapi_crds::value::ModelPattern;

use crate::config::local::{Loaded, values::LocalToken};

/// Everything a newcomer needs.
pub(super) fn welcome(out: &mut impl Write, gateway: SocketAddr, admin: SocketAddr, loaded: &Loaded) -> io::Result<()> {
    let base = format!("http://{}", reachable(gateway));
    writeln!(out, "listening on {base}")?;
    writeln!(out, "admin on http://{}", reachable(admin))?;
    writeln!(out, "\nbase URL for each SDK:")?;
    writeln!(out, "  OpenAI     {base}/v1")?;
    writeln!(out, "  Anthropic  {base}")?;
    writeln!(out, "  Gemini     {base}")?;
    tokens(out, &loaded.tokens)?;
    match example(loaded) {
        Some((token, model)) => {
            writeln!(out, "\ntry it:")?;
            requests(&base, token.value.expose(), &model).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        None if loaded.tokens.is_empty() => writeln!(out, "\nno ApiToken: nobody can call yet")?,
        None => writeln!(out, "\nno ApiToken may use any model by its exact name: there is nothing to try")?,
    }
    out.flush()
}

/// The tokens with their values. This is the one place that shows any.
pub(super) fn tokens(out: &mut impl Write, tokens: &[LocalToken]) -> io::Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ntokens:")?;
    for token in tokens {
        let made = if token.made { "made now" } else { "from its Secret" };
        writeln!(out, "  {}  {}  ({made})", token.id, token.value.expose())?;
    }
    out.flush()
}

/// One request in each dialect.
fn requests(base: &str, token: &str, model: &str) -> [String; 3] {
    let json = "-H 'content-type: application/json'";
    let messages = r#""messages":[{"role":"user","content":"Hello"}]"#;
    [
        format!(
            "curl {base}/v1/chat/completions -H 'authorization: Bearer {token}' {json} -d '{{\"model\":\"{model}\",{messages}}}'"
        ),
        format!(
            "curl {base}/v1/messages -H 'x-api-key: {token}' -H 'anthropic-version: 2023-06-01' {json} -d '{{\"model\":\"{model}\",\"max_tokens\":256,{messages}}}'"
        ),
        format!(
            "curl {base}/v1beta/models/{model}:generateContent -H 'x-goog-api-key: {token}' {json} -d '{{\"contents\":[{{\"role\":\"user\",\"parts\":[{{\"text\":\"Hello\"}}]}}]}}'"
        ),
    ]
}

/// A token and a model that it may use, by an exact name. Their alphabets need no quoting.
fn example(loaded: &Loaded) -> Option<(&LocalToken, String)> {
    let snapshot = &loaded.compiled.snapshot;
    loaded.tokens.iter().find_map(|token| Some((token, usable(snapshot, &token.id)?)))
}

fn usable(snapshot: &Snapshot, id: &ObjectId) -> Option<String> {
    let token = snapshot.tokens.get(id).filter(|token| !token.suspended)?;
    snapshot
        .routes
        .values()
        .filter(|route| {
            !route.upstreams.is_empty() && route.allowed_namespaces.is_open_to(id.namespace(), &snapshot.namespaces)
        })
        .flat_map(|route| &route.models)
        .filter_map(|model| match model {
            ModelPattern::Exact(model) => Some(model),
            ModelPattern::Prefix(_) => None,
        })
        .find(|model| token.models.iter().any(|pattern| pattern.matches(model)))
        .cloned()
}

/// An address to connect to, where any address is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}
