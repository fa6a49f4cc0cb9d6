"""Starts the two programs that the tests talk to, and speaks to the scripted upstream's control port.

Both end with the test run: the scripted upstream when its stdin closes, the gateway by the pid that was started here.
"""

import json
import os
import pathlib
import re
import subprocess
import threading
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def built(name, variable):
    """The path of one of our programs: from the environment, else where cargo puts it."""
    path = os.environ.get(variable)
    if path:
        return path
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    path = target / "debug" / name
    if not path.exists():
        raise RuntimeError(f"{path} is not there: set {variable} or build it (tests/run clients does)")
    return str(path)


class Process:
    """A program that says `listening on URL` on stdout."""

    def __init__(self, command, env=None):
        self.lines = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Nobody's home gets a ledger from tests.
            env={"ROUTEAPI_LEDGER": "off", **os.environ, **(env or {})},
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.wait_for(r"listening on (https?://\S+)")

    def _read(self):
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()

    def wait_for(self, pattern, limit=20):
        """The first group of the first line that matches."""
        seen, deadline = 0, time.monotonic() + limit
        with self._said:
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if found := re.search(pattern, line):
                        return found.group(1)
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None
                if left <= 0 or (ended and seen == len(self.lines)):
                    said = "\n".join(self.lines[-30:])
                    raise RuntimeError(f"no line matches {pattern!r} (ended: {ended}); it said:\n{said}")
                self._said.wait(min(left, 0.05))

    def stop(self):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Upstream:
    """The scripted upstream, told what to do and asked what it saw (tests/harness/upstream/control.rs)."""

    def __init__(self, url):
        self.url = url

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def reset(self):
        self._call("DELETE", "/_state")

    def script(self, **default):
        """The script of every request from now on."""
        self._call("POST", "/_script", {"default": default})

    def models(self, **scripts):
        """The scripts of requests that name these models; they go before the default."""
        self._call("POST", "/_script", {"models": scripts})

    def queue(self, *scripts):
        """The scripts of the next requests, one each."""
        self._call("POST", "/_script", {"queue": list(scripts)})

    def fail(self, status, **more):
        self.script(status={"status": status}, **more)

    def received(self):
        """Requests as received; `json` is the body, `headers` a dictionary of lower-case names."""
        requests = self._call("GET", "/_received")
        for request in requests:
            request["headers"] = {name: value for name, value in request["headers"]}
            request["json"] = json.loads(request["body"]) if request["body"] else None
        return requests

    def last(self):
        return self.received()[-1]

    def ledger(self):
        return self._call("GET", "/_ledger")

    def truth(self):
        """The ledger's entry of the last request that was answered."""
        return self.ledger()[-1]
