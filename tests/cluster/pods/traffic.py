"""Steady traffic until SIGTERM; then the sums, as one JSON line.

    traffic.py SHORT_MODEL LONG_MODEL

Four clients ask for short answers, two on connections that they keep, two on a new one each time; six hold long streams
open, one after the other. None tries a request a second time, except as every HTTP client does: when a kept connection
was closed before a byte of the answer came, the request goes out once more on a new one (`reused`, counted apart).
A stream counts as whole when it ends with `[DONE]`.
"""

import collections
import http.client
import json
import os
import signal
import threading
import time
from urllib.parse import urlsplit

import sys

SHORT, LONG = sys.argv[1:3]
BASE = urlsplit(os.environ["OPENAI_BASE_URL"])
HEADERS = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "content-type": "application/json"}
stopping = threading.Event()
lock = threading.Lock()
counts, failures = collections.Counter(), []
longest = 0.0


def connect():
    return http.client.HTTPConnection(BASE.hostname, BASE.port or 80, timeout=60)


def send(connection, model, stream):
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "go on"}]}
    connection.request("POST", f"{BASE.path}/chat/completions", json.dumps(body), HEADERS)
    return connection.getresponse()


def count(name, failure=None):
    with lock:
        counts[name] += 1
        if failure is not None:
            failures.append({"at": time.time(), "what": name, "why": failure})


def short(keep):
    global longest
    connection, fresh = connect(), True
    while not stopping.is_set():
        started = time.monotonic()
        try:
            try:
                answer = send(connection, SHORT, False)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if fresh:
                    raise
                count("reused")
                connection = connect()
                answer = send(connection, SHORT, False)
            body = answer.read()
            if answer.status == 200:
                count("answered")
            else:
                count("failed", f"{answer.status} {body[:300]!r}")
            fresh = answer.will_close or not keep
        except (OSError, http.client.HTTPException) as error:
            count("failed", repr(error))
            fresh = True
        if fresh:
            connection.close()
            connection = connect()
        with lock:
            longest = max(longest, time.monotonic() - started)
        stopping.wait(0.05)


def long():
    while not stopping.is_set():
        last = b""
        try:
            answer = send(connect(), LONG, True)
            if answer.status != 200:
                count("streams_refused", f"{answer.status} {answer.read()[:300]!r}")
                continue
            for line in answer:
                last = line.strip() or last
            if last == b"data: [DONE]":
                count("streams_whole")
            else:
                count("streams_cut", f"last line: {last[:300]!r}")
        except (OSError, http.client.HTTPException) as error:
            count("streams_cut", f"{error!r} after {last[:300]!r}")
        if counts["streams_cut"] + counts["streams_refused"]:
            stopping.wait(0.2)


signal.signal(signal.SIGTERM, lambda *_: stopping.set())
threads = [threading.Thread(target=short, args=(keep,)) for keep in (True, True, False, False)]
threads += [threading.Thread(target=long) for _ in range(6)]
for number, thread in enumerate(threads):
    thread.start()
    time.sleep(0.3)
print("started", flush=True)
for thread in threads:
    while thread.is_alive():
        thread.join(0.2)  # short, so that the signal is seen
print(json.dumps({"counts": counts, "longest_answer_s": round(longest, 3), "failures": failures[:20]}), flush=True)
