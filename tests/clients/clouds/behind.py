"""The scripted upstream behind a fake: it answers in the vendor's own dialect, the fake adds what the cloud does."""

import contextlib
import dataclasses
import http.client
import json
from urllib.parse import urlsplit

from .server import Cut, Reply

# What is about one connection, or made anew.
NOT_PASSED = {"connection", "content-length", "transfer-encoding", "date", "server", "keep-alive"}


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes | None  # None: `events` has it
    events: object = None

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def passed(self):
        return {name: value for name, value in self.headers.items() if name not in NOT_PASSED}

    @property
    def about(self):
        """The headers, for a body that is written anew."""
        return {name: value for name, value in self.passed.items() if name != "content-type"}

    def reply(self, **headers):
        body = self.events if self.body is None else self.body
        return Reply(self.status, body, self.passed).having(**headers)


class Behind:
    def __init__(self, url):
        self.host = urlsplit(url).netloc

    def post(self, path, body, headers=None):
        """Sends a document; what comes back is whole, or a stream of Server-Sent Events."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", path, data, {"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            about = {name.lower(): value for name, value in response.getheaders()}
            if about.get("content-type", "").startswith("text/event-stream"):
                return Answer(response.status, about, None, _events(connection, response))
            with contextlib.closing(connection):
                return Answer(response.status, about, response.read())
        except (OSError, http.client.HTTPException):
            connection.close()
            raise Cut from None


def _events(connection, response):
    """The events as they came, each with the blank line after it."""
    with contextlib.closing(connection):
        try:
            event = b""
            while line := response.readline():
                event += line
                if not line.strip():
                    yield event
                    event = b""
        except (OSError, http.client.HTTPException):
            raise Cut from None
        if event:  # it ends in the middle of one: so does what is passed on
            yield event
            raise Cut


def own(request):
    """The headers that Claude's own API has."""
    return {name: request.headers[name] for name in ("anthropic-version", "anthropic-beta") if name in request.headers}


def data(event):
    """The document of an event; None if it has none, as heartbeats and `[DONE]`."""
    lines = [line.removeprefix(b"data:") for line in event.splitlines() if line.startswith(b"data:")]
    joined = b"\n".join(lines).strip()
    return json.loads(joined) if joined and joined != b"[DONE]" else None


def event(document):
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"
