"""The node's first process, seen from outside: is it there, start a program in it, signal one, end it all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from node import place


def ask(**request) -> dict:
    """Sends one request to the node's first process."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(place.CONTROL))
        with connection.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            reply = json.loads(stream.readline())
    if "error" in reply:
        raise SystemExit(f"cluster: {request}: {reply['error']}")
    return reply


def started(pid: int) -> str | None:
    """When a process started, in ticks since boot: with its pid, what tells it from a later process of that pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return None


def outer_process() -> int | None:
    """The pid of the `unshare` that holds the node's first process, if it runs."""
    try:
        record = json.loads(place.OUTER_PID.read_text())
    except FileNotFoundError:
        return None
    return record["pid"] if started(record["pid"]) == record["started"] else None


def first_process() -> int | None:
    """The pid of the node's first process as the machine sees it, if it runs."""
    outer = outer_process()
    children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split() if outer else []
    return int(children[0]) if children else None


def create() -> int:
    """Makes the namespaces with the node's first process in them; its pid."""
    with (place.LOGS / "init.log").open("ab") as log:
        outer = subprocess.Popen(
            ["unshare", "--fork", "--pid", "--mount", "--net", "--mount-proc", "--propagation", "private",
             "--kill-child=KILL", sys.executable, Path(__file__).with_name("init.py"), place.STATE],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
    place.OUTER_PID.write_text(json.dumps({"pid": outer.pid, "started": started(outer.pid)}))
    wait_for("the node's first process", place.CONTROL.exists, 10)
    return first_process()


def destroy() -> None:
    """Ends the node's first process, and with it all that runs in its namespaces."""
    outer, first = outer_process(), first_process()
    for pid in (first, outer):
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_for("the end of the node's processes", lambda gone=pid: started(gone) is None, 60)


def inside(*command) -> str:
    """Runs a command in the node's namespaces."""
    return place.run("nsenter", "--target", first_process(), "--mount", "--net", "--pid", *command)


def wait_for(what: str, condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"cluster: {what} did not come within {seconds} s; logs are in {place.LOGS}")
        time.sleep(0.05)
