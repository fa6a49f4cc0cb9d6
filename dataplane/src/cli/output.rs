//! What `routeapi run` prints: where it listens, what to put into each SDK, the tokens, and three requests to paste.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use routeapi_channel::{ObjectId, Snapshot, snapshot::Route};
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
            let value = if token.made { token.value.expose() } else { "$TOKEN" };
            if !token.made {
                writeln!(out, "  TOKEN=...   # the value in the Secret of {}", token.id)?;
            }
            requests(&base, value, &model).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        None if loaded.tokens.is_empty() => writeln!(out, "\nno ApiToken yet: every request will be rejected")?,
        None => writeln!(out, "\nno ApiToken may use a model with an exact name, so there is no example to show")?,
    }
    out.flush()
}

/// The tokens, with the values that were made here: nobody knows those otherwise. A value from a Secret is known to
/// whoever wrote it, and output ends in logs, so it is not shown. This is the one place that shows any.
pub(super) fn tokens(out: &mut impl Write, tokens: &[LocalToken]) -> io::Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ntokens:")?;
    for token in tokens {
        match token.made {
            true => writeln!(out, "  {}  {}  (generated)", token.id, token.value.expose())?,
            false => writeln!(out, "  {}  (from its Secret)", token.id)?,
        }
    }
    out.flush()
}

/// One request in each dialect.
fn requests(base: &str, token: &str, model: &str) -> [String; 3] {
    let json = "-H 'content-type: application/json'";
    let messages = r#""messages":[{"role":"user","content":"Hello"}]"#;
    [
        format!(
            r#"curl {base}/v1/chat/completions -H "authorization: Bearer {token}" {json} -d '{{"model":"{model}",{messages}}}'"#
        ),
        format!(
            r#"curl {base}/v1/messages -H "x-api-key: {token}" -H 'anthropic-version: 2023-06-01' {json} -d '{{"model":"{model}","max_tokens":256,{messages}}}'"#
        ),
        format!(
            r#"curl {base}/v1beta/models/{model}:generateContent -H "x-goog-api-key: {token}" {json} -d '{{"contents":[{{"role":"user","parts":[{{"text":"Hello"}}]}}]}}'"#
        ),
    ]
}

/// A token and a model that it may use, by an exact name, preferably a token that was made here. Their alphabets need no
/// quoting.
fn example(loaded: &Loaded) -> Option<(&LocalToken, String)> {
    let snapshot = &loaded.compiled.snapshot;
    let usable = |made: bool| {
        let mut tokens = loaded.tokens.iter().filter(move |token| token.made == made);
        tokens.find_map(|token| Some((token, usable(snapshot, &token.id)?)))
    };
    usable(true).or_else(|| usable(false))
}

fn usable(snapshot: &Snapshot, id: &ObjectId) -> Option<String> {
    let token = snapshot.tokens.get(id).filter(|token| !token.suspended)?;
    let namespace = id.namespace();
    let is_open = |route: &Route| route.serves() && route.is_open_to(namespace, &snapshot.namespaces);
    let open = snapshot.routes.iter().filter(|(_, route)| is_open(route));
    let models = open.flat_map(|(route_id, route)| {
        let own = (route_id.namespace() == namespace).then_some(&route.models).into_iter().flatten();
        own.chain(route.published.iter().filter(|it| it.reach.contains(namespace)).map(|it| &it.model))
    });
    let exact = models.filter_map(|model| match model {
        ModelPattern::Exact(model) => Some(model),
        ModelPattern::Prefix(_) => None,
    });
    exact.into_iter().find(|model| token.models.iter().any(|pattern| pattern.matches(model))).cloned()
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::local::{Loader, values::Values};

    fn welcome_of(manifests: &str) -> (String, Loaded) {
        let directory = tempfile::tempdir().unwrap();
        let file: PathBuf = directory.path().join("manifests.yaml");
        std::fs::write(&file, manifests).unwrap();
        let loaded = Loader::new(vec![file], Values::random()).unwrap().load(&|_| None);
        assert_eq!(loaded.problems, []);
        let mut text = Vec::new();
        let address: SocketAddr = ([127, 0, 0, 1], 8080).into();
        welcome(&mut text, address, address, &loaded).unwrap();
        (String::from_utf8(text).unwrap(), loaded)
    }

    const ECHO: &str = "
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {name: echo}
spec: {type: Echo}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {name: hello}
spec: {model: hello, upstreams: [{name: echo, providerRef: {name: echo}}]}
---
apiVersion: routeapi.dev/v1alpha1
kind: ApiToken
metadata: {name: app}
spec: {models: ['*']}
---
";

    #[test]
    fn token_from_a_secret_is_not_printed() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: app-routeapi-token}\nstringData: {token: canary-value-of-a-token}\n";
        let (text, loaded) = welcome_of(&format!("{ECHO}{secret}"));
        assert!(!loaded.tokens[0].made);
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("\n  default/app  (from its Secret)\n"), "{text}");
        assert!(text.contains("-H \"authorization: Bearer $TOKEN\""), "{text}");
    }

    #[test]
    fn generated_token_is_printed_and_used_in_the_example() {
        let brought = "apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {name: a-brought}\nspec: {models: ['*'], secretName: s}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: canary-value-of-a-token}\n";
        let (text, loaded) = welcome_of(&format!("{ECHO}{brought}"));
        let made = loaded.tokens.iter().find(|token| token.made).unwrap().value.expose();
        assert!(text.contains(&format!("default/app  {made}  (generated)")), "{text}");
        assert!(text.contains(&format!("-H \"x-api-key: {made}\"")), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}
