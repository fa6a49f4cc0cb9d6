//! Where a token is counted.

use routeapi_channel::ObjectId;
use sha2::{Digest, Sha256};

/// A token's two keys. Braces make them one slot of a cluster; a hash makes them short, and hides names.
pub(super) struct Keys {
    /// What was used, and is reserved.
    pub usage: String,
    /// What is open.
    pub leases: String,
}

// === impl Keys ===

impl Keys {
    pub(super) fn of(prefix: &str, token: &ObjectId) -> Self {
        let digest = Sha256::digest(token.to_string());
        let id = hex::encode(digest.get(..16).unwrap_or_default());
        Self { usage: format!("{prefix}:{{{id}}}:usage"), leases: format!("{prefix}:{{{id}}}:leases") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_whatever_a_token_is_called_and_share_a_slot() {
        let long = "x".repeat(60_000);
        for token in [ObjectId::new("apps", "main"), ObjectId::new("a}{b", "\r\n"), ObjectId::new(&long, &long)] {
            let Keys { usage, leases } = Keys::of("routeapi", &token);
            assert_eq!((usage.len(), leases.len()), (49, 50), "{usage}");
            let slot = |key: &str| key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned();
            assert_eq!(slot(&usage), slot(&leases));
            assert!(usage.is_ascii());
        }
    }
}
