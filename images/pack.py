#!/usr/bin/env python3
"""Packs files into an OCI image archive of one layer, with the standard library alone.

    pack.py OUT.tar --name REGISTRY/NAME:TAG [--tree /=DIR] [--file /PATH=FILE]... [--user UID:GID] [--entrypoint PROGRAM]

The same content gives the same bytes: times are zero, entries sorted, owners root. Symbolic links of a tree stay links;
devices, sockets and set-uid bits are left out, since no image of ours needs any. Prints name, archive and unpacked size.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def entry(name: str, kind: bytes, mode: int, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, size, link
    return info


def parents(path: str) -> list[str]:
    return ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]


def tree_entries(prefix: str, top: Path):
    """(name in the image, source path) of all below `top`, sorted."""
    for directory, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(files + directories):
            source = Path(directory) / name
            yield (prefix.strip("/") + "/" + str(source.relative_to(top))).strip("/"), source


def layer(trees: list[tuple[str, str]], files: list[tuple[str, str]]) -> bytes:
    buffer, seen = io.BytesIO(), set()
    sources = [pair for prefix, top in trees for pair in tree_entries(prefix, Path(top))]
    sources += [(name.strip("/"), Path(source).resolve()) for name, source in files]  # a file that is named is meant
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, source in sources:
            for parent in parents(name):
                if parent not in seen:
                    seen.add(parent)
                    tar.addfile(entry(parent, tarfile.DIRTYPE, 0o755))
            if name in seen:
                continue
            seen.add(name)
            mode = source.lstat().st_mode
            permissions = stat.S_IMODE(mode) & 0o1777
            if stat.S_ISLNK(mode):
                tar.addfile(entry(name, tarfile.SYMTYPE, 0o777, link=os.readlink(source)))
            elif stat.S_ISDIR(mode):
                tar.addfile(entry(name, tarfile.DIRTYPE, permissions))
            elif stat.S_ISREG(mode):
                with source.open("rb") as content:
                    tar.addfile(entry(name, tarfile.REGTYPE, permissions, source.stat().st_size), content)
    return buffer.getvalue()


def descriptor(media: str, blob: bytes) -> dict:
    return {"mediaType": media, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def compact(value: dict) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def pack(options: argparse.Namespace) -> tuple[int, int]:
    unpacked = layer(options.tree, options.file)
    packed = gzip.compress(unpacked, compresslevel=options.level, mtime=0)
    config = compact({
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"User": options.user, "Entrypoint": options.entrypoint, "Env": options.env, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]},
    })
    manifest = compact({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, packed)],
    })
    names = {"io.containerd.image.name": options.name, "org.opencontainers.image.ref.name": options.name.rpartition(":")[2]}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, manifest) | {"annotations": names}]}
    members = {"oci-layout": compact({"imageLayoutVersion": "1.0.0"}), "index.json": compact(index)}
    members |= {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in (config, manifest, packed)}
    making = Path(f"{options.output}.{os.getpid()}")
    with tarfile.open(making, "w") as tar:
        for name, blob in members.items():
            tar.addfile(entry(name, tarfile.REGTYPE, 0o644, len(blob)), io.BytesIO(blob))
    making.replace(options.output)
    return Path(options.output).stat().st_size, len(unpacked)


def pair(text: str) -> tuple[str, str]:
    target, separator, source = text.partition("=")
    if not separator or not target.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not /PATH=SOURCE")
    return target, source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output")
    parser.add_argument("--name", required=True)
    parser.add_argument("--tree", type=pair, action="append", default=[], metavar="/PATH=DIR")
    parser.add_argument("--file", type=pair, action="append", default=[], metavar="/PATH=FILE")
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--entrypoint", action="append", default=[])
    parser.add_argument("--env", action="append", default=["PATH=/usr/local/bin:/usr/bin:/bin"])
    parser.add_argument("--level", type=int, default=9, help="of gzip")
    options = parser.parse_args()
    archive, unpacked = pack(options)
    print(f"{options.name}  {archive / 2**20:.1f} MiB packed, {unpacked / 2**20:.1f} MiB unpacked")


if __name__ == "__main__":
    main()
