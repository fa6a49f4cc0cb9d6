"""What the node needs of the machine, and what it changes there: packages, global sysctls, control groups, one link.

Nothing else outside of the state directory is touched; `restore` undoes all but the packages.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from node import place

# Program -> Debian package.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "gcc": "gcc",
    "openssl": "openssl",
    # What the pages of docs/ use.
    "skopeo": "skopeo",
    "docker-registry": "docker-registry",
    "envsubst": "gettext-base",
    "curl": "curl",
}
# Set by the kubelet, or needed by many watchers; these are the machine's, not the namespace's.
SYSCTLS = {
    "vm.overcommit_memory": None,
    "vm.panic_on_oom": None,
    "kernel.panic": None,
    "kernel.panic_on_oops": None,
    "kernel.keys.root_maxkeys": None,
    "kernel.keys.root_maxbytes": None,
    "fs.inotify.max_user_instances": "1024",
}
SAVED = place.STATE / "sysctls.json"
CGROUPS = Path("/sys/fs/cgroup")
# The kubelet's group for pods, in each hierarchy.
POD_GROUP = "kubepods"


def install_packages() -> None:
    missing = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    if not missing:
        return
    place.say(f"installing {' '.join(missing)}")
    # Packages must not start daemons of theirs: the node runs its own, elsewhere.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    place.run("apt-get", "update", env=environment)
    place.run("apt-get", "install", "--yes", "--no-install-recommends", *missing, env=environment)


def sysctl_file(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def save_sysctls() -> None:
    if not SAVED.exists():
        SAVED.write_text(json.dumps({name: sysctl_file(name).read_text().strip() for name in SYSCTLS}))
    for name, value in SYSCTLS.items():
        if value is not None and int(sysctl_file(name).read_text()) < int(value):
            sysctl_file(name).write_text(value)


def restore_sysctls() -> None:
    if SAVED.exists():
        for name, value in json.loads(SAVED.read_text()).items():
            sysctl_file(name).write_text(value)


def connect(first_process: int) -> None:
    """Joins the machine and the node, and shows the machine the way to pods and Services."""
    place.run("ip", "link", "add", place.HOST_LINK, "type", "veth", "peer", "name", place.NODE_LINK,
              "netns", first_process)
    place.run("ip", "address", "add", f"{place.HOST_IP}/{place.LINK_BITS}", "dev", place.HOST_LINK)
    place.run("ip", "link", "set", place.HOST_LINK, "up")
    enter = ["nsenter", "--target", first_process, "--net", "--mount", "--pid"]
    for command in (
        "ip link set lo up",
        f"ip address add {place.NODE_IP}/{place.LINK_BITS} dev {place.NODE_LINK}",
        f"ip link set {place.NODE_LINK} up",
        # Addresses of Services need some route before they are translated. No other address has one: what a program of
        # the node asks of the outside, such as the pull of an image that nobody loaded, fails at once.
        f"ip route add {place.SERVICES} dev {place.NODE_LINK}",
        "sysctl -qw net.ipv4.ip_forward=1",
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
    ):
        place.run(*enter, *command.split())
    for network in (place.PODS, place.SERVICES):
        place.run("ip", "route", "add", network, "via", place.NODE_IP)


def disconnect() -> None:
    """Takes the link away, which a network namespace that is still ending may hold for a while, or take away itself."""
    subprocess.run(["ip", "link", "delete", place.HOST_LINK], capture_output=True)
    if Path("/sys/class/net", place.HOST_LINK).exists():
        raise SystemExit(f"cluster: the link {place.HOST_LINK} cannot be deleted")


def remove_cgroups() -> None:
    """Removes the pods' control groups, deepest first; they are empty once the node's processes are gone."""
    end = time.monotonic() + 30
    while left := [group for pattern in (POD_GROUP, f"*/{POD_GROUP}") for group in CGROUPS.glob(pattern)]:
        for group in left:
            for directory, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError:
                    pass  # processes are still ending in it
        if time.monotonic() > end:
            raise SystemExit(f"cluster: control groups are still in use: {left}")
        time.sleep(0.05)
