"""What gives out AWS credentials: STS, and the endpoint that EKS Pod Identity and ECS have.

| request | is |
|---|---|
| `POST /`, `Action=AssumeRoleWithWebIdentity` | a pod's projected token for a role's keys; not signed |
| `POST /`, `Action=AssumeRole` | another role's keys, signed with those that the caller has |
| `GET /v1/credentials` | a role's keys for whoever shows the token of the pod |

Sources: the vendor's pages on each; botocore, which asks.
"""

import dataclasses
import datetime
import itertools
import re
import secrets
import threading
import time
from xml.sax.saxutils import escape

from . import sigv4
from .server import Fake, Reply, document, text

REGION = "us-east-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/gateway"
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/team"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
TAG_KEY = re.compile(r"[\w .:/=+@-]{1,128}")
TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")
PARAMETERS = {"Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken", "DurationSeconds", "ExternalId"}
TAG = re.compile(r"Tags\.member\.(\d+)\.(Key|Value)")


@dataclasses.dataclass
class Key:
    id: str
    secret: str
    token: str | None = None
    expires: float | None = None  # seconds since the epoch; None: never
    role: str | None = None
    session: str | None = None  # what a bill names
    tags: dict = dataclasses.field(default_factory=dict)
    revoked: bool = False

    @property
    def expiration(self):
        at = datetime.datetime.fromtimestamp(self.expires, datetime.timezone.utc)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _error(code, words, status=400, **headers):
    kind = "Sender" if status < 500 else "Receiver"
    body = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{escape(words)}</Message></Error>"
    body = f'<ErrorResponse xmlns="{NAMESPACE}">{body}<RequestId>{secrets.token_hex(8)}</RequestId></ErrorResponse>'
    return text(body, status, "text/xml", **headers)


class Aws(Fake):
    """`static` is a key of a user, which never expires. `lifetime` is that of the keys to come, in seconds."""

    FAULTS = {
        "rejected": _error("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403),
        "throttled": _error("Throttling", "Rate exceeded", 429, retry_after="1"),
        "unavailable": _error("ServiceUnavailable", "Service is currently unavailable", 503),
    }

    def __init__(self, authority):
        self.lifetime = 3600
        self._numbers, self._keys, self._lock_keys = itertools.count(1), {}, threading.Lock()
        self.static = Key("AKIAFAKEFAKEFAKE0000", secrets.token_urlsafe(30))
        self._keys[self.static.id] = self.static
        self.web_identity = self.pod_token = None
        self.rotate()
        super().__init__(authority)

    def rotate(self, web_identity_file=None, pod_token_file=None):
        """Replaces the tokens that a cluster projects into a pod; those before are not taken any more."""
        number = next(self._numbers)
        self.web_identity = f"eyJhbGciOiJSUzI1NiJ9.web-identity-{number}.{time.time_ns():x}"
        self.pod_token = f"eyJhbGciOiJSUzI1NiJ9.pod-{number}.{time.time_ns():x}"
        if web_identity_file:
            web_identity_file.write_text(self.web_identity)
        if pod_token_file:
            pod_token_file.write_text(self.pod_token)

    def environment(self, directory):
        """What EKS gives a pod whose service account has a role (IRSA), and the endpoint of STS."""
        file = directory / "aws-web-identity-token"
        file.write_text(self.web_identity)
        return {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
            "AWS_ENDPOINT_URL_STS": self.plain_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def pod_environment(self, directory):
        """What EKS Pod Identity gives a pod."""
        file = directory / "eks-pod-identity-token"
        file.write_text(self.pod_token)
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.plain_url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
            "AWS_ENDPOINT_URL_STS": self.plain_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def keys(self):
        """All that were given out, in that order."""
        with self._lock_keys:
            return [key for key in self._keys.values() if key is not self.static]

    def revoke(self):
        """No key that was given out until now is taken any more."""
        for key in self.keys():
            key.revoked = True

    def find(self, key_id):
        """The key of this id, for who verifies a signature."""
        key = self._keys.get(key_id)
        if key is None or key.revoked:
            words = "The security token included in the request is invalid."
            raise sigv4.Refused("UnrecognizedClientException", words)
        if key.expires is not None and key.expires <= time.time():
            raise sigv4.Refused("ExpiredTokenException", "The security token included in the request is expired")
        return key

    def _issue(self, role, session, tags=None, lifetime=None):
        with self._lock_keys:
            key_id = f"ASIAFAKE{next(self._numbers):012d}"
            expires = time.time() + min(self.lifetime, lifetime or self.lifetime)
            key = Key(key_id, secrets.token_urlsafe(30), secrets.token_urlsafe(120), expires, role, session, tags or {})
            self._keys[key_id] = key
            return key

    def fault(self, name, request):
        reply = super().fault(name, request)
        if request.path != "/v1/credentials":
            return reply
        body = {"code": "AccessDeniedException" if name == "rejected" else "ServerException", "message": name}
        return document(body, reply.status)

    def answer(self, request):
        if request.path == "/v1/credentials" and request.method == "GET":
            return self._container(request)
        if request.path != "/" or request.method != "POST":
            return _error("UnknownOperationException", f"There is no {request.method} {request.path}", 404)
        form = request.form
        if form.get("Version") != "2011-06-15":
            return _error("InvalidAction", f"Could not find version {form.get('Version')}")
        if wrong := self._wrong(form):
            return wrong
        match form.get("Action"):
            case "AssumeRoleWithWebIdentity":
                return self._by_web_identity(form)
            case "AssumeRole":
                return self._by_key(request, form)
        return _error("InvalidAction", f"Could not find operation {form.get('Action')} for version 2011-06-15")

    def _wrong(self, form):
        if unknown := [name for name in form if name not in PARAMETERS and not TAG.fullmatch(name)]:
            return _error("ValidationError", f"Unknown parameters: {', '.join(unknown)}")
        if not SESSION_NAME.fullmatch(form.get("RoleSessionName", "")):
            words = f"Value '{form.get('RoleSessionName')}' at 'roleSessionName' failed to satisfy constraint"
            return _error("ValidationError", f"1 validation error detected: {words}: {SESSION_NAME.pattern}")
        if not 900 <= int(form.get("DurationSeconds", 3600)) <= 43200:
            return _error("ValidationError", "Value at 'durationSeconds' must be between 900 and 43200")
        return None

    def _by_web_identity(self, form):
        if form.get("RoleArn") != ROLE:
            return _error("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403)
        if form.get("WebIdentityToken") != self.web_identity:
            return _error("InvalidIdentityToken", "No OpenIDConnect provider found in your account for the token")
        key = self._issue(ROLE, form["RoleSessionName"], lifetime=int(form.get("DurationSeconds", 3600)))
        more = "<SubjectFromWebIdentityToken>system:serviceaccount:default:gateway</SubjectFromWebIdentityToken>"
        return _assumed("AssumeRoleWithWebIdentity", key, f"{more}<Audience>sts.amazonaws.com</Audience>")

    def _by_key(self, request, form):
        try:
            key = sigv4.verify(request, self.find, "sts", REGION)
        except sigv4.Refused as refused:
            # The query protocol's names for these have no ending, and an unknown key is named otherwise.
            code = refused.name.removesuffix("Exception")
            known = {"UnrecognizedClient": "InvalidClientTokenId", "InvalidSignature": "SignatureDoesNotMatch"}
            return _error(known.get(code, code), refused.words, 403)
        if form.get("RoleArn") not in (ROLE, OTHER_ROLE):
            who = key.role or f"arn:aws:iam::{ACCOUNT}:user/gateway"
            words = f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {form.get('RoleArn')}"
            return _error("AccessDenied", words, 403)
        parts = {name: value for name, value in form.items() if TAG.fullmatch(name)}
        numbers = sorted({int(TAG.fullmatch(name)[1]) for name in parts})
        tags = {}
        for number in numbers:
            at = f"Tags.member.{number}"
            tag, value = parts.get(f"{at}.Key", ""), parts.get(f"{at}.Value", "")
            if not TAG_KEY.fullmatch(tag) or not TAG_VALUE.fullmatch(value) or tag in tags:
                return _error("ValidationError", f"Value at 'tags.{number}.member' failed to satisfy constraint")
            tags[tag] = value
        issued = self._issue(form["RoleArn"], form["RoleSessionName"], tags, int(form.get("DurationSeconds", 3600)))
        return _assumed("AssumeRole", issued)

    def _container(self, request):
        if request.headers.get("authorization") != self.pod_token:
            return document({"code": "AccessDeniedException", "message": "Unauthorized Exception"}, 403)
        key = self._issue(ROLE, "eks-cluster-gateway")
        told = {"AccessKeyId": key.id, "SecretAccessKey": key.secret, "Token": key.token, "AccountId": ACCOUNT}
        return document({**told, "Expiration": key.expiration})


def _assumed(action, key, more=""):
    role = key.role.rpartition("/")[2]
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{key.session}"
    values = {
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "SessionToken": key.token,
        "Expiration": key.expiration,
    }
    credentials = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    user = f"<Arn>{escape(arn)}</Arn><AssumedRoleId>AROAFAKE:{escape(key.session)}</AssumedRoleId>"
    result = f"<Credentials>{credentials}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>{more}"
    about = f"<ResponseMetadata><RequestId>{secrets.token_hex(8)}</RequestId></ResponseMetadata>"
    body = f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{result}</{action}Result>{about}</{action}Response>'
    return Reply(200, body.encode(), {"content-type": "text/xml"})
