"""The first process of the node: pid 1 of its own pid, mount and network namespaces.

It starts what `up` asks for, reaps what ends, and takes everything with it when it is killed: programs and containers by
the pid namespace, mounts by the mount namespace, interfaces and iptables rules by the network namespace. So nothing has
to be found and undone one by one, and a crash leaves no more behind than an orderly `down`.

One JSON line in, one out, on a Unix socket:

    {"do": "start", "name": N, "args": [...]}   start it unless it runs; without args as it was started before
    {"do": "signal", "name": N, "signal": S}    send it a signal
    {"do": "list"}                              {"name": {"pid": P, "status": null | wait status, "args": [...]}}
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path

# Directories that programs write to by fixed names: empty here, whatever the machine has in them.
PRIVATE = ["/run", "/var/lib", "/var/log"]


def mounts() -> None:
    """Volumes of pods need shared propagation; the machine sees none of it, since the namespace was made private."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for directory in PRIVATE:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "node", directory], check=True)


class Node:
    def __init__(self, state: Path):
        self.logs = state / "logs"
        self.programs: dict[str, dict] = {}

    def start(self, name: str, args: list[str] | None) -> dict:
        running = self.programs.get(name)
        if running is None or running["status"] is not None:
            args = args or running["args"]
            with (self.logs / f"{name}.log").open("ab") as log:
                child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            child.returncode = 0  # `reap` waits for it, not this object
            self.programs[name] = {"pid": child.pid, "status": None, "args": args}
        return self.programs[name]

    def signal(self, name: str, number: int) -> dict:
        program = self.programs[name]
        if program["status"] is None:
            os.kill(program["pid"], number)
        return program

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for program in self.programs.values():
                if program["pid"] == pid:
                    program["status"] = status

    def answer(self, request: dict) -> dict:
        match request:
            case {"do": "start", "name": name}:
                return self.start(name, request.get("args"))
            case {"do": "signal", "name": name, "signal": number}:
                return self.signal(name, number)
            case {"do": "list"}:
                return self.programs
        return {"error": "not understood"}


def main() -> None:
    state = Path(sys.argv[1])
    mounts()
    node = Node(state)
    # A signal has to wake the selector: children end at any time.
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(state / "init.sock"))
    server.listen()
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is woken:
                woken.recv(4096)
                node.reap()
                continue
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as stream:
                try:
                    reply = node.answer(json.loads(stream.readline()))
                except (OSError, KeyError, TypeError, ValueError) as error:
                    reply = {"error": repr(error)}
                stream.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
