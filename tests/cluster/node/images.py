"""The node's own images, made from scratch, and the loading of images into a cluster."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from node import place

PACK = place.REPOSITORY / "images/pack.py"


def pack(name: str, program: Path) -> Path:
    """An image of one static program."""
    archive = place.STATE / f"{program.name}.tar"
    place.run("python3", PACK, archive, "--name", name, "--file", f"/{program.name}={program}",
              "--entrypoint", f"/{program.name}", "--level", 1)
    return archive


def pause() -> Path:
    source, program = place.REPOSITORY / "tests/cluster/pause.c", place.STATE / "pause"
    place.run("gcc", "-Os", "-static", "-o", program, source)
    return pack(place.PAUSE_IMAGE, program)


def coredns(bin_: Path) -> Path:
    program = place.STATE / "coredns"
    shutil.copyfile(bin_ / "coredns", program)  # the cache has links
    program.chmod(0o755)
    return pack(place.COREDNS_IMAGE, program)


def load(archive: Path) -> None:
    """Makes an image known to the cluster: to our own node, or with the command in CLUSTER_LOAD_COMMAND."""
    command = os.environ.get("CLUSTER_LOAD_COMMAND")
    if command:
        subprocess.run([*shlex.split(command), archive], check=True)
        return
    place.run("ctr", "--address", place.CONTAINERD, "--namespace", "k8s.io", "images", "import", archive)
