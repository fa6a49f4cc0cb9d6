"""Verifies AWS Signature Version 4: botocore's own signer computes what the signature must be.

The path is taken as it came and encoded once more, as every service but S3 does: `/model/a%3A0/converse` is canonical
as `/model/a%253A0/converse`.
"""

import datetime
import hashlib
import hmac
import re

from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SKEW = datetime.timedelta(minutes=5)
FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, *"
    r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})"
)
# What proxies change or remove, as botocore has it: a signature that covers them breaks behind one.
NEVER = set(SIGNED_HEADERS_BLACKLIST)


class Refused(Exception):
    """The exception's name in AWS's APIs, and its words."""

    def __init__(self, name, words):
        super().__init__(f"{name}: {words}")
        self.name, self.words = name, words


def verify(request, find, service, region, now=None):
    """Returns the key that signed the request. `find` gives the key of an id, with `secret` and `token`, or raises."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    headers = request.headers
    if "authorization" not in headers:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    form = FORM.fullmatch(headers["authorization"])
    if not form:
        raise Refused("IncompleteSignatureException", "Authorization header is not a Signature Version 4.")
    key_id, day, its_region, its_service, names, signature = form.groups()
    key = find(key_id)
    scope = f"{day}/{its_region}/{its_service}/aws4_request"
    if (its_region, its_service) != (region, service):
        words = f"Credential should be scoped to a valid region and to the service '{service}', not '{scope}'."
        raise Refused("InvalidSignatureException", words)
    _check_time(headers.get("x-amz-date", ""), day, now)
    if key.token != headers.get("x-amz-security-token"):
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    names = names.split(";")
    _check_names(names, headers)
    hashed = headers.get("x-amz-content-sha256")
    if hashed and hashed != hashlib.sha256(request.body).hexdigest():
        raise Refused("InvalidSignatureException", "The value of x-amz-content-sha256 is not the hash of the body.")
    if not hmac.compare_digest(expected(request, names, key, service, region), signature):
        words = "The request signature we calculated does not match the signature you provided."
        raise Refused("InvalidSignatureException", f"{words} Check your AWS Secret Access Key and signing method.")
    return key


def _check_time(stamp, day, now):
    try:
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Refused("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'.") from None
    if not stamp.startswith(day):
        raise Refused("InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from x-amz-date.")
    if abs(now - at) > SKEW:
        bound, word = (now - SKEW, "earlier") if at < now else (now + SKEW, "later")
        kind = "Signature expired" if at < now else "Signature not yet current"
        raise Refused("InvalidSignatureException", f"{kind}: {stamp} is now {word} than {bound:%Y%m%dT%H%M%SZ}")


def _check_names(names, headers):
    needed = {"host", "x-amz-date"} | {name for name in headers if name.startswith("x-amz-")}
    if missing := needed - set(names):
        words = f"'{', '.join(sorted(missing))}' must be a 'SignedHeader' in the AWS Authorization."
        raise Refused("InvalidSignatureException", words)
    if names != sorted(set(names)) or NEVER & set(names) or not set(names) <= set(headers):
        raise Refused("InvalidSignatureException", f"These SignedHeaders cannot be verified: {';'.join(names)}")


def expected(request, names, key, service, region):
    """The signature that botocore makes of the request as it came."""
    signed = AWSRequest(
        method=request.method,
        url=f"http://{request.headers['host']}{request.target}",
        headers={name: request.headers[name] for name in names},
        data=request.body,
    )
    signed.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(key.id, key.secret, key.token), service, region)
    canonical = signer.canonical_request(signed)
    return signer.signature(signer.string_to_sign(signed, canonical), signed)
