"""The tokens that an identity service has issued, so that an API can tell which it takes."""

import dataclasses
import itertools
import threading
import time


@dataclasses.dataclass
class Token:
    value: str
    scopes: frozenset
    holder: str  # the client, the service account or the pool that asked
    expires: float  # seconds since the epoch
    revoked: bool = False


class Tokens:
    """Each token is unique and lives for `lifetime` seconds, which may be changed at any time."""

    def __init__(self, name, lifetime=3600):
        self.name, self.lifetime = name, lifetime
        self._numbers, self._issued, self._lock = itertools.count(1), {}, threading.Lock()

    def issue(self, scopes, holder):
        with self._lock:
            value = f"{self.name}-{next(self._numbers)}-{time.time_ns():x}"
            token = Token(value, frozenset(scopes), holder, time.time() + self.lifetime)
            self._issued[value] = token
            return token

    def issued(self):
        with self._lock:
            return list(self._issued.values())

    def revoke(self):
        """No token that was issued until now is taken any more."""
        for token in self.issued():
            token.revoked = True

    def refusal(self, value, scopes):
        """Why a request with this token is refused, in a word; None if it is not. One of `scopes` is enough."""
        token = self._issued.get(value)
        if token is None:
            return "unknown"
        if token.revoked:
            return "revoked"
        if token.expires <= time.time():
            return "expired"
        return None if token.scopes & set(scopes) else "scope"
