"""The server under every fake: HTTP/1.1 on two ports (plain and TLS), a memory of requests, and faults to switch on.

A fake answers in `answer`; what it returns is sent. A fault that is switched on goes before that, in the words that the
service has for it.
"""

import contextlib
import dataclasses
import functools
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    target: str  # as it came: the path, still encoded, and the query
    headers: dict  # by lower-case name; a header that came twice is joined by ", "
    body: bytes
    at: float  # seconds since the epoch

    @property
    def path(self):
        """Still percent-encoded."""
        return self.target.partition("?")[0]

    @functools.cached_property
    def query(self):
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @functools.cached_property
    def form(self):
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @functools.cached_property
    def json(self):
        return json.loads(self.body) if self.body else None

    @property
    def bearer(self):
        """The token of `Authorization: Bearer`, if that is there."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None


@dataclasses.dataclass(frozen=True)
class Reply:
    """`body` is bytes, or an iterator of pieces that are sent in chunks as they come."""

    status: int
    body: object = b""
    headers: dict = dataclasses.field(default_factory=dict)

    def having(self, **headers):
        """With more headers; `_` in a name stands for `-`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return dataclasses.replace(self, headers={**self.headers, **more})


def document(value, status=200, **headers):
    body = json.dumps(value, ensure_ascii=False).encode()
    return Reply(status, body, {"content-type": "application/json"}).having(**headers)


def text(value, status=200, kind="text/plain", **headers):
    return Reply(status, value.encode(), {"content-type": kind}).having(**headers)


class Cut(Exception):
    """Raised by the pieces of a body: the connection is closed here, in the middle of the answer."""


class Hang(Exception):
    """Raised by `answer`: nothing is ever sent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, fake, port=0, context=None):
        self.fake, self.context = fake, context
        self.connections = set()
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        if self.context:  # the handshake is made by the thread that reads
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass  # clients that hang up, or trust another authority, are part of the tests

    def end(self):
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # the head and the body of a short answer go out together

    def log_message(self, *_):
        pass

    def _read(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _exchange(self):
        headers = {}
        for name, value in self.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        request = Request(self.command, self.path, headers, self._read(), time.time())
        try:
            self._send(self.server.fake.exchange(request))
        except (Cut, Hang):
            self.close_connection = True
            self.wfile.flush()

    def _send(self, reply):
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            return self.wfile.flush()
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for piece in filter(None, reply.body):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _exchange


class Fake:
    """One service. `FAULTS` has the service's own words: the reply by the fault's name."""

    FAULTS = {}

    def __init__(self, authority):
        """`authority` signs the certificate of the port that speaks TLS."""
        self.authority = authority
        self._requests, self._lock = [], threading.Lock()
        self._fault, self._times = None, None
        self._healed = threading.Event()
        self._plain, self._tls = _Server(self), _Server(self, context=authority.context)
        self._ports = self._plain.server_port, self._tls.server_port

    @property
    def plain_url(self):
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def tls_url(self):
        return f"https://127.0.0.1:{self._ports[1]}"

    @property
    def url(self):
        return self.plain_url

    def answer(self, request):
        raise NotImplementedError

    def exchange(self, request):
        with self._lock:
            self._requests.append(request)
            fault = self._take_fault()
        if fault == "hang":
            self._healed.wait()
            raise Hang
        if fault == "bad_json":
            return text('{"access_token": "half of it', kind="application/json")
        return self.fault(fault, request) if fault else self.answer(request)

    def fault(self, name, request):
        """The reply of a fault, where the words of `FAULTS` are not those of all paths."""
        return self.FAULTS[name]

    def _take_fault(self):
        fault = self._fault
        if fault and self._times is not None:
            self._times -= 1
            if self._times == 0:
                self._fault = None
        return fault

    def fail(self, fault, times=None):
        """Answers the next `times` requests (default: all) with a fault of `FAULTS`, or with one of

        `hang`      nothing is sent until `heal`, and then the connection is closed
        `refused`   the ports refuse connections, whatever `times` says
        `bad_json`  200, and half of a document
        """
        assert fault in (*self.FAULTS, "hang", "refused", "bad_json"), f"{type(self).__name__} has no fault {fault!r}"
        if fault == "refused":
            self._plain.end()
            self._tls.end()
            self._plain = self._tls = None
            return
        with self._lock:
            self._fault, self._times = fault, times

    def heal(self):
        with self._lock:
            self._fault = None
            healed, self._healed = self._healed, threading.Event()
        healed.set()
        if self._plain is None:
            self._plain = _Server(self, self._ports[0])
            self._tls = _Server(self, self._ports[1], self.authority.context)

    def received(self):
        with self._lock:
            return list(self._requests)

    def last(self):
        return self.received()[-1]

    def forget(self):
        with self._lock:
            self._requests.clear()

    def close(self):
        self.heal()
        self._plain.end()
        self._tls.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def segment(encoded):
    """One segment of a path, decoded; None if it is not one: it is empty, is `.` or `..`, or hides a slash."""
    decoded = unquote(encoded)
    return None if decoded in ("", ".", "..") or "/" in decoded else decoded
