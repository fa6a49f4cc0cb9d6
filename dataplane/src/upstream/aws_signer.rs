//! AWS Signature Version 4: a proof that is about the whole request, its body and the time.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    request::Parts,
};
use sha2::{Digest, Sha256};

use super::payload::{Payload, Stale};
use crate::clock::Now;

/// The headers that are signed beside those of the signature itself. Everything else may be changed by a proxy on the way.
const SIGNED: [HeaderName; 2] = [HOST, CONTENT_TYPE];

/// Signs requests with one pair of keys, for one region and service.
#[derive(Clone)]
pub struct AwsSigner {
    identity: Identity,
    access_key_id: String,
    session_token: Option<String>,
    region: String,
    service: &'static str,
}

impl AwsSigner {
    /// With these keys.
    pub fn new(access_key_id: &str, secret: &str, token: Option<&str>, region: &str, service: &'static str) -> Self {
        let credentials = Credentials::new(access_key_id, secret, token.map(str::to_owned), None, "routeapi");
        Self {
            identity: credentials.into(),
            access_key_id: access_key_id.to_owned(),
            session_token: token.map(str::to_owned),
            region: region.to_owned(),
            service,
        }
    }

    /// Puts a signature on a request.
    ///
    /// # Errors
    /// When the request cannot be signed, as with a URL that is none.
    pub fn sign(&self, request: &mut Parts, body: Payload<'_>, now: Now) -> Result<(), Stale> {
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.unix_ms).unwrap_or(0));
        let mut settings = SigningSettings::default();
        // The path is sent as it is, and encoded once more for the signature alone.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(|_| Stale)?
            .into();
        let uri = request.uri.to_string();
        let headers = request.headers.iter().filter(|(name, _)| SIGNED.contains(name));
        let headers: Vec<_> = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let signable = SignableRequest::new(request.method.as_str(), &uri, headers.into_iter(), payload(body));
        let (instructions, _) = sign(signable.map_err(|_| Stale)?, &params).map_err(|_| Stale)?.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|_| Stale)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| Stale)?;
            value.set_sensitive(name == AUTHORIZATION || name.as_str() == "x-amz-security-token");
            // In the place of an older signature's.
            request.headers.insert(name, value);
        }
        Ok(())
    }
}

fn payload(body: Payload<'_>) -> SignableBody<'static> {
    match body {
        Payload::Whole(pieces) => {
            let mut hash = Sha256::new();
            pieces.iter().for_each(|piece| hash.update(piece));
            SignableBody::Precomputed(hex::encode(hash.finalize()))
        }
        Payload::Streamed => SignableBody::UnsignedPayload,
    }
}

impl fmt::Debug for AwsSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AwsSigner")
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl PartialEq for AwsSigner {
    fn eq(&self, other: &Self) -> bool {
        let key = |signer: &Self| {
            (signer.access_key_id.clone(), signer.session_token.clone(), signer.region.clone(), signer.service)
        };
        // A secret that differs beside the same key id does not belong to it.
        key(self) == key(other)
    }
}

impl Eq for AwsSigner {}
