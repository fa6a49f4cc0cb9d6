"""Where the node lives: its directory, its addresses, and the programs it is made of.

Everything the node writes is below one directory with a short path, because socket paths end at 107 bytes.
"""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
STATE = Path(os.environ.get("ROUTEAPI_CLUSTER_DIR", "/tmp/routeapi-cluster"))
LOGS = STATE / "logs"
PKI = STATE / "pki"
KUBECONFIG = STATE / "admin.conf"
CONTAINERD = STATE / "c.sock"
CONTROL = STATE / "init.sock"
OUTER_PID = STATE / "outer.pid"

# One link joins the machine and the node's network namespace; nothing is routed from there to the outside.
HOST_LINK, NODE_LINK = "routeapi-host", "routeapi-node"
HOST_IP, NODE_IP, LINK_BITS = "10.243.0.1", "10.243.0.2", 30
PODS, SERVICES = "10.244.0.0/24", "10.96.0.0/16"
API_SERVICE_IP, DNS_IP = "10.96.0.1", "10.96.0.10"
NODE_NAME = "node"
PAUSE_IMAGE = "routeapi.test/pause:1"
COREDNS_IMAGE = "routeapi.test/coredns:1"


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def run(*command, **options) -> str:
    """Runs a command; its stdout. What it says on stderr is part of the error."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"cluster: {' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def tools(*names: str) -> Path:
    """The directory with the programs of these tools, compiled if they are not there yet."""
    script = REPOSITORY / "tests/tools/build"
    done = subprocess.run([script, *names], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())
