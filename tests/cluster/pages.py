"""The pages of docs/ whose every command is run: their blocks, and a shell like the one that a reader types them into.

A page's fenced blocks say what becomes of them by the first word after the fence:

    sh         run by `bash -euo pipefail` in the repository's root, one shell per page
    sh fails   run the same way, and has to fail
    text       right after one of those: what it prints, with … for what differs each time
    others     shown, not run

A reader puts in names of their own; SUBSTITUTED are those that the suite puts in. `helm` is Helm 3, or Helm 4 with
CLUSTER_HELM=helm4.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tarfile
from dataclasses import dataclass

from kube import REPOSITORY, until
from node import control, place

NAMES = ("install", "upgrade", "gitops", "migrate-from-litellm", "uninstall")
SHOWN = {"text", "yaml", "json"}
REGISTRY = "127.0.0.1:5000"
# tests/cluster/run has built the images, and there is a registry of our own instead of the reader's.
BUILD, IMAGES, HOST = "images/build target/images", "target/images/", "registry.example.com"
SUBSTITUTED = (BUILD, IMAGES, HOST)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    text: str
    fails: bool
    expected: str | None

    def __str__(self):
        return f"{self.page}.md:{self.line}"


def fences(text):
    """(line, info, content, whether it follows the one before directly) of each fenced block."""
    found, opened, between = [], None, []
    for number, line in enumerate(text.splitlines(), 1):
        if opened is not None and line == "```":
            found.append((*opened, "\n".join(content), not any(between)))
            opened, between = None, []
        elif opened is not None:
            content.append(line)
        elif line.startswith("```"):
            opened, content = (number, line[3:].strip()), []
        else:
            between.append(line.strip())
    assert opened is None, f"the block of line {opened} is not closed"
    return found


def blocks(page):
    """What is to be run of a page, in its order."""
    found = []
    previous = ""
    for line, info, content, follows in fences((REPOSITORY / f"docs/{page}.md").read_text()):
        kind, _, mark = info.partition(" ")
        assert kind in SHOWN | {"sh"} and mark in ("", "fails"), f"{page}.md:{line}: what is ```{info}?"
        if kind == "sh":
            found.append(Block(page, line, content, mark == "fails", None))
        elif kind == "text" and follows and previous.startswith("sh"):
            found[-1] = Block(page, found[-1].line, found[-1].text, found[-1].fails, content)
        previous = info
    return found


def matches(expected, printed):
    """Whether this is what a page says is printed."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


class Shell:
    """One bash that keeps variables from block to block. Ended with all that it started by `close`."""

    def __init__(self, environment, directory, enter=()):
        self.directory = directory
        directory.mkdir()
        self.process = subprocess.Popen(
            [*enter, "bash", "-euo", "pipefail"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=REPOSITORY, env=environment, start_new_session=True,
        )

    def run(self, text, fails=False, seconds=300):
        """What the commands print."""
        number = len(list(self.directory.iterdir())) // 2
        script, output = self.directory / f"{number}.sh", self.directory / f"{number}.out"
        script.write_text(text + "\n")
        output.touch()
        command = f". {script} >{output} 2>&1 </dev/null"
        if fails:  # in a shell of its own, which ends with the first command that fails, as `bash -e` says
            command = f"set +e; ({command}); status=$?; set -e; ((status != 0))"
        self.process.stdin.write(f"{command}\necho done\n")
        self.process.stdin.flush()
        came, _, _ = select.select([self.process.stdout], [], [], seconds)
        ended = self.process.stdout.readline() if came else ""
        printed = output.read_text()
        says = "did not fail" if fails else "failed" if came else f"did not end within {seconds} s"
        assert ended == "done\n", f"it {says}:\n{text}\n--- printed:\n{printed}"
        return printed

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Reader:
    """Follows pages: puts in names, runs their blocks, and looks at what they print."""

    def __init__(self, kube, home, images, registry, enter):
        self.home, self.enter, self.shells, self.followed, self.used = home, enter, {}, [], set()
        self.names = {
            BUILD: f"test -e {images}/routeapi.tar",
            IMAGES: f"{images}/",
            HOST: registry,
        }
        programs = home / "bin"
        programs.mkdir(parents=True)
        (programs / "kubectl").symlink_to(kube.programs / "kubectl")
        (programs / "helm").symlink_to(kube.programs / os.environ.get("CLUSTER_HELM", "helm"))
        take_program(images / "routeapi.tar", "routeapi", programs)
        trust(home, registry)
        self.environment = {**kube.environment, "HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}

    def shell(self, page):
        if page not in self.shells:
            self.shells[page] = Shell(self.environment, self.home / page, self.enter)
        return self.shells[page]

    def follow(self, block):
        printed = self.shell(block.page).run(self.put_in(block.text), block.fails)
        if block.expected is not None:
            expected = self.put_in(block.expected)
            assert matches(expected, printed), f"{block} says that this is printed:\n{expected}\n--- but it was:\n{printed}"
        self.followed.append(block)

    def put_in(self, text):
        for name, value in self.names.items():
            if name in text:
                self.used.add(name)
                text = text.replace(name, value)
        return text

    def close(self):
        for shell in self.shells.values():
            shell.close()


def take_program(archive, name, directory):
    """The program out of an image, as `docker cp` would."""
    with tarfile.open(archive) as image:
        def read(digest):
            return image.extractfile(f"blobs/{digest.replace(':', '/')}")

        manifest = json.load(read(json.load(image.extractfile("index.json"))["manifests"][0]["digest"]))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=read(layer["digest"])) as files:
                if name in files.getnames():
                    (directory / name).write_bytes(files.extractfile(name).read())
    (directory / name).chmod(0o755)


def trust(home, registry):
    """What skopeo has to be told: no signatures are asked for, and this registry is plain http."""
    containers = home / ".config/containers"
    containers.mkdir(parents=True)
    (containers / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (containers / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')


def start_registry():
    """A registry in the node's network, at an address that containerd takes for plain http by itself."""
    program = shutil.which("docker-registry")
    assert program, "needs docker-registry (Debian and Ubuntu: apt-get install docker-registry)"
    configuration = place.STATE / "registry.yaml"
    configuration.write_text(json.dumps({  # JSON is YAML
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(place.STATE / "registry")}},
        "http": {"addr": REGISTRY},
    }))
    control.ask(do="start", name="registry", args=[program, "serve", str(configuration)])
    until("the registry", lambda: listens(REGISTRY))


def listens(address):
    host, _, port = address.partition(":")
    probe = [*in_node_network(), "bash", "-c", f": </dev/tcp/{host}/{port}"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def in_node_network():
    """Where the node's loopback addresses are meant: the registry's, and those that `kubectl port-forward` makes."""
    return ("nsenter", f"--net=/proc/{control.first_process()}/ns/net")
