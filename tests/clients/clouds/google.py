"""Google's identity services in one: which of them is asked is told by the path.

| request | is |
|---|---|
| `POST /token` | the token endpoint of service-account keys |
| `GET /computeMetadata/v1/…` | the metadata server of a machine or of GKE |
| `POST /v1/token` | the token exchange of workload identity federation |
| `POST /v1/projects/-/serviceAccounts/{email}:generateAccessToken` | impersonation |

Sources: the vendor's pages on each; google-auth, which asks.
"""

import base64
import binascii
import datetime
import functools
import itertools
import json
import time
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .server import Fake, document, text
from .tokens import Tokens

PROJECT = "fake-project"
EMAIL = f"gateway@{PROJECT}.iam.gserviceaccount.com"
POOL = "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/pool/providers/cluster"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
IAM = "https://www.googleapis.com/auth/iam"
# What google-auth signs, whatever `token_uri` says.
AUDIENCE = "https://oauth2.googleapis.com/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SUBJECT_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
METADATA = "/computeMetadata/v1/"


class Refused(Exception):
    """A request for a token is refused: the error's name and its words."""

    def __init__(self, error, words):
        self.error, self.words = error, words


def _rpc(status, name, words):
    return document({"error": {"code": status, "message": words, "status": name}}, status)


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


# One for all tests: it takes long to make.
_key = functools.cache(new_key)


def pem(key):
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


class Google(Fake):
    FAULTS = {
        "rejected": document(
            {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, 400
        ),
        "throttled": document(
            {"error": "rate_limit_exceeded", "error_description": "Rate limit exceeded"}, 429, retry_after="1"
        ),
        "unavailable": document({"error": "internal_failure", "error_description": "Backend Error"}, 503),
    }

    def __init__(self, authority):
        self.tokens = Tokens("google")
        self.federated = Tokens("federated")
        self.key = _key()
        self.key_id = uuid.uuid4().hex
        self._subjects = itertools.count(1)
        self.subject = None
        self.rotate()
        super().__init__(authority)

    def rotate(self, file=None):
        """Replaces the token that a cluster projects into a pod; the one before is not taken any more."""
        self.subject = f"eyJhbGciOiJSUzI1NiJ9.subject-{next(self._subjects)}.{time.time_ns():x}"
        if file:
            file.write_text(self.subject)

    def service_account(self, tls=False):
        """A service account's key as the console gives it out, naming this server."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": self.key_id,
            "private_key": pem(self.key),
            "client_email": EMAIL,
            "client_id": "100000000000000000001",
            "token_uri": f"{self.tls_url if tls else self.plain_url}/token",
            "universe_domain": "googleapis.com",
        }

    def external_account(self, directory, impersonate=False, tls=False):
        """The configuration of workload identity federation, and its subject token in a file."""
        url = self.tls_url if tls else self.plain_url
        file = directory / "google-subject-token"
        file.write_text(self.subject)
        account = {
            "type": "external_account",
            "audience": POOL,
            "subject_token_type": SUBJECT_TYPES[0],
            "token_url": f"{url}/v1/token",
            "credential_source": {"file": str(file)},
            "universe_domain": "googleapis.com",
        }
        if impersonate:
            place = f"{url}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
            account["service_account_impersonation_url"] = place
        return account

    def environment(self, directory, account):
        """A pod's, with this key or configuration in a file."""
        file = directory / "google-credentials.json"
        file.write_text(json.dumps(account))
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(file),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "SSL_CERT_FILE": str(self.authority.ca_file),
        }

    def metadata_environment(self):
        """What leads clients from the metadata server's name and address to this one."""
        host = self.plain_url.removeprefix("http://")
        return {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}

    def revoke(self):
        self.tokens.revoke()
        self.federated.revoke()

    def refusal(self, value):
        """Why an API that asks for the scope of the cloud refuses this token; None if it does not."""
        tokens = self.federated if (value or "").startswith("federated-") else self.tokens
        return tokens.refusal(value, {CLOUD_PLATFORM})

    def fault(self, name, request):
        reply = super().fault(name, request)
        if not request.path.endswith(":generateAccessToken"):
            return reply
        if name == "rejected":
            return _rpc(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource")
        return _rpc(reply.status, "RESOURCE_EXHAUSTED" if reply.status == 429 else "UNAVAILABLE", name)

    def answer(self, request):
        place = f"/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
        if request.method == "GET" and (request.path == "/" or request.path.startswith(METADATA)):
            return self._metadata(request)
        try:
            match request.method, request.path:
                case "POST", "/token":
                    return self._by_key(request)
                case "POST", "/v1/token":
                    return self._by_exchange(request)
                case "POST", path if path == place:
                    return self._by_impersonation(request)
        except Refused as refused:
            return document({"error": refused.error, "error_description": refused.words}, 400)
        if request.path.endswith(":generateAccessToken"):
            return _rpc(404, "NOT_FOUND", "Requested entity was not found.")
        return text("", 404)

    def _told(self, token, **more):
        lifetime = int(self.tokens.lifetime)
        return document({"access_token": token.value, "expires_in": lifetime, "token_type": "Bearer", **more})

    def _by_key(self, request):
        if request.form.get("grant_type") != JWT_BEARER:
            raise Refused("unsupported_grant_type", f"Invalid grant_type: {request.form.get('grant_type')}")
        claims = self._verified(request.form.get("assertion", ""))
        now = time.time()
        if claims.get("iss") != EMAIL:
            raise Refused("invalid_grant", "Invalid grant: account not found")
        if claims.get("aud") not in (AUDIENCE, f"{self.plain_url}/token", f"{self.tls_url}/token"):
            raise Refused("invalid_grant", "Invalid JWT: Failed audience check.")
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int) or not 0 < expires - issued <= 3600:
            words = "Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            raise Refused("invalid_grant", f"Invalid JWT: {words}")
        if expires <= now or issued > now + 300:
            raise Refused("invalid_grant", "Invalid JWT: Token is not within its timeframe. Check your iat and exp.")
        scopes = (claims.get("scope") or "").split()
        if not scopes:
            raise Refused("invalid_scope", "Empty or missing scope not allowed.")
        return self._told(self.tokens.issue(scopes, EMAIL))

    def _verified(self, assertion):
        try:
            head, claims, signature = assertion.split(".")
            header = json.loads(_unpadded(head))
            public = self.key.public_key()
            public.verify(_unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
            if header.get("alg") != "RS256" or header.get("kid") != self.key_id:
                raise Refused("invalid_grant", "Invalid JWT Signature.")
            return json.loads(_unpadded(claims))
        except (ValueError, binascii.Error, InvalidSignature):
            raise Refused("invalid_grant", "Invalid JWT Signature.") from None

    def _by_exchange(self, request):
        form = request.form
        expected = {"grant_type": EXCHANGE, "audience": POOL, "requested_token_type": ACCESS_TOKEN}
        for name, value in expected.items():
            if form.get(name) != value:
                raise Refused("invalid_request", f"Invalid value for \"{name}\".")
        if form.get("subject_token_type") != SUBJECT_TYPES[0]:
            raise Refused("invalid_request", "Invalid subject token type.")
        if form.get("subject_token") != self.subject:
            raise Refused("invalid_grant", "The given credential is rejected by the attribute condition.")
        scopes = set(form.get("scope", "").split())
        if not scopes & {CLOUD_PLATFORM, IAM}:
            raise Refused("invalid_scope", "Scope is empty or not allowed.")
        self.federated.lifetime = self.tokens.lifetime
        return self._told(self.federated.issue(scopes, POOL), issued_token_type=ACCESS_TOKEN)

    def _by_impersonation(self, request):
        if self.federated.refusal(request.bearer, {CLOUD_PLATFORM, IAM}):
            return _rpc(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        scopes, lifetime = request.json.get("scope"), request.json.get("lifetime", "3600s")
        if set(request.json) - {"scope", "lifetime", "delegates"} or not isinstance(scopes, list) or not scopes:
            return _rpc(400, "INVALID_ARGUMENT", "Scope required.")
        if not lifetime.endswith("s") or not 0 < int(lifetime[:-1]) <= 3600:
            return _rpc(400, "INVALID_ARGUMENT", "Lifetime must be at most 3600s.")
        token = self.tokens.issue(scopes, EMAIL)
        expires = datetime.datetime.fromtimestamp(token.expires, datetime.timezone.utc)
        return document({"accessToken": token.value, "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _metadata(self, request):
        flavor = {"metadata_flavor": "Google", "server": "Metadata Server for VM"}
        if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
            return text("<html>Missing Metadata-Flavor:Google header.</html>", 403, "text/html", **flavor)
        if request.path == "/":
            return text("computeMetadata/\n", kind="application/text", **flavor)
        rest = request.path.removeprefix(METADATA)
        lines = {
            "project/project-id": PROJECT,
            "project/numeric-project-id": "123456789",
            "universe/universe-domain": "googleapis.com",
            "instance/zone": "projects/123456789/zones/europe-west1-b",
        }
        if rest in lines:
            return text(lines[rest], kind="application/text", **flavor)
        for account in ("default", EMAIL):
            if rest.startswith(beginning := f"instance/service-accounts/{account}"):
                return self._account(rest.removeprefix(beginning).strip("/"), request.query).having(**flavor)
        return text("Not Found", 404, "text/html", **flavor)

    def _account(self, rest, query):
        if rest == "email":
            return text(EMAIL, kind="application/text")
        if rest == "token":
            scopes = [scope for scope in query.get("scopes", "").split(",") if scope]
            return self._told(self.tokens.issue(scopes or [CLOUD_PLATFORM], EMAIL))
        if rest == "" and query.get("recursive", "").lower() == "true":
            return document({"aliases": ["default"], "email": EMAIL, "scopes": [CLOUD_PLATFORM]})
        return text("Not Found", 404, "text/html")


def _unpadded(encoded):
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
