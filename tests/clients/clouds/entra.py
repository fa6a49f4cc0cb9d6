"""Microsoft Entra's token endpoint, and the managed identity that a virtual machine has (IMDS).

| request | port |
|---|---|
| `POST /{tenant}/oauth2/v2.0/token`, with a secret or an assertion | TLS |
| `GET /{tenant}/v2.0/.well-known/openid-configuration` | TLS |
| `GET /common/discovery/instance` | TLS |
| `GET /metadata/identity/oauth2/token` | plain |

Sources: the vendor's pages on client credentials and on managed identities; azure-identity and MSAL, which ask.
"""

import itertools
import time
import uuid

from .server import Fake, document, segment, text
from .tokens import Tokens

TENANT = "8d7a1f0e-52c1-4f0c-9a57-0f3d5ab4c111"
CLIENT = "2c4f6a0b-7b1e-4a57-8f3e-6d2f10c9b222"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
METADATA_VERSION = "2018-02-01"


def _refusal(error, code, words, status=400, **headers):
    description = f"AADSTS{code}: {words} Trace ID: {uuid.uuid4()} Correlation ID: {uuid.uuid4()}"
    body = {"error": error, "error_description": description, "error_codes": [code]}
    return document({**body, "error_uri": f"https://login.microsoftonline.com/error?code={code}"}, status, **headers)


class Entra(Fake):
    """`url` is what `AZURE_AUTHORITY_HOST` names."""

    FAULTS = {
        "rejected": _refusal(
            "invalid_client", 700016, f"Application with identifier '{CLIENT}' was not found in the directory."
        ),
        "throttled": _refusal(
            "temporarily_unavailable", 90055, "The request was throttled.", status=429, retry_after="1"
        ),
        "unavailable": text("<html><body>Service Unavailable</body></html>", 503, "text/html"),
    }

    def __init__(self, authority):
        self.tokens = Tokens("entra")
        self.secret = "the secret of the application"
        self.identities = {CLIENT}  # user-assigned ones, which a virtual machine may have
        self._assertions = itertools.count(1)
        self.assertion = None
        self.rotate()
        super().__init__(authority)

    @property
    def url(self):
        return self.tls_url

    def rotate(self, file=None):
        """Replaces the token that a cluster projects into a pod; the one before is not taken any more."""
        self.assertion = f"eyJhbGciOiJSUzI1NiJ9.assertion-{next(self._assertions)}.{time.time_ns():x}"
        if file:
            file.write_text(self.assertion)

    def environment(self, directory):
        """What Azure's webhook gives a pod, and the authority that is to be trusted."""
        file = directory / "azure-identity-token"
        file.write_text(self.assertion)
        return {
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_FEDERATED_TOKEN_FILE": str(file),
            "AZURE_AUTHORITY_HOST": self.tls_url,
            "SSL_CERT_FILE": str(self.authority.ca_file),
        }

    def metadata_environment(self):
        """What leads clients from the address of the metadata service to this one."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.plain_url}

    def answer(self, request):
        if request.path == "/metadata/identity/oauth2/token":
            return self._metadata(request)
        if request.path == "/common/discovery/instance":
            tenant = request.query.get("authorization_endpoint", "").split("/")[3:4]
            return self._instance(tenant[0] if tenant else "common")
        tenant, _, rest = request.path.removeprefix("/").partition("/")
        if segment(tenant) != TENANT:
            return _refusal("invalid_request", 90002, f"Tenant '{tenant}' not found.")
        match request.method, rest:
            case "GET", "v2.0/.well-known/openid-configuration":
                return document(self._configuration())
            case "POST", "oauth2/v2.0/token":
                return self._token(request)
        return text("", 404)

    def _configuration(self):
        at = f"{self.tls_url}/{TENANT}"
        return {
            "issuer": f"{at}/v2.0",
            "token_endpoint": f"{at}/oauth2/v2.0/token",
            "authorization_endpoint": f"{at}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{at}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{at}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        }

    def _instance(self, tenant):
        return document(
            {
                "tenant_discovery_endpoint": f"{self.tls_url}/{tenant}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [],
            }
        )

    def _token(self, request):
        if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return _refusal("invalid_request", 900144, "The request body must contain the parameter: 'grant_type'.")
        form = request.form
        for needed in ("grant_type", "client_id", "scope"):
            if not form.get(needed):
                return _refusal("invalid_request", 900144, f"The request body must contain the parameter: '{needed}'.")
        if form["grant_type"] != "client_credentials":
            return _refusal("unsupported_grant_type", 70003, f"The grant type '{form['grant_type']}' is unsupported.")
        if form["client_id"] != CLIENT:
            words = f"Application with identifier '{form['client_id']}' was not found in the directory '{TENANT}'."
            return _refusal("unauthorized_client", 700016, words)
        if refused := self._refused_proof(form):
            return refused
        scope = form["scope"]
        if " " in scope or not scope.endswith("/.default") or not scope.startswith("https://"):
            words = f"The provided value for the input parameter 'scope' is not valid: '{scope}'."
            return _refusal("invalid_scope", 1002012, words)
        token = self.tokens.issue({_resource(scope)}, CLIENT)
        lifetime = int(self.tokens.lifetime)
        told = {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime}
        return document({**told, "access_token": token.value}, cache_control="no-store, no-cache", pragma="no-cache")

    def _refused_proof(self, form):
        if "client_assertion" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                return _refusal("invalid_request", 50027, "The client assertion type is not supported.")
            if form["client_assertion"] != self.assertion:
                words = "No matching federated identity record found for presented assertion."
                return _refusal("invalid_client", 700213, words)
            return None
        if "client_secret" not in form:
            words = "The request body must contain the parameter: 'client_assertion' or 'client_secret'."
            return _refusal("invalid_client", 7000218, words, 401)
        if form["client_secret"] != self.secret:
            return _refusal("invalid_client", 7000215, "Invalid client secret provided.", 401)
        return None

    def _metadata(self, request):
        wrong = lambda words: document({"error": "invalid_request", "error_description": words}, 400)
        if request.headers.get("metadata", "").lower() != "true":
            return wrong("Required metadata header not specified")
        if "x-forwarded-for" in request.headers:
            return wrong("A request with x-forwarded-for is not answered")
        if request.query.get("api-version") != METADATA_VERSION:
            return wrong("Required query variable 'api-version' is missing or not supported")
        resource = request.query.get("resource")
        if not resource:
            return wrong("Required query variable 'resource' is missing")
        client = request.query.get("client_id", CLIENT)
        if client not in self.identities:
            return wrong("Identity not found")
        token = self.tokens.issue({_resource(resource)}, client)
        lifetime = int(self.tokens.lifetime)
        return document(
            {
                "access_token": token.value,
                "client_id": client,
                "expires_in": str(lifetime),
                "expires_on": str(int(token.expires)),
                "ext_expires_in": str(lifetime),
                "not_before": str(int(time.time())),
                "resource": resource,
                "token_type": "Bearer",
            }
        )


def _resource(scope):
    """`https://x/.default` and `https://x/` are the same resource."""
    return scope.removesuffix("/.default").rstrip("/")
