#!/usr/bin/env python3
"""Restore a backup with nothing but Python 3.9 or newer and the commands `age` and `zstd`.

    python3 recover.py --identity operator.key COPY list
    python3 recover.py --identity operator.key COPY restore SNAPSHOT TARGET

COPY is a directory with a copy of the bucket, or of one host's part of it. SNAPSHOT is a name that `list` prints, or
`latest`. TARGET must not exist yet. With --signing-key (64 hexadecimal digits, as pinned by the team) the signature is
checked; without it, anybody who has the recipients' public keys could have written the snapshot. Device nodes, setuid
bits and capabilities are left out. FORMAT.md explains the format.
"""

# ruff: noqa: B905, UP035 - this file must run on old machines: `strict` came with Python 3.10
from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

NAMED = ("host", "epoch", "sequence")
Fields = dict[str, Any]
Ref = tuple[str, int, int, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--identity", "-i", action="append", required=True, help="file with an age identity")
    parser.add_argument("--signing-key", default="", help="the host's public signing key")
    parser.add_argument("copy", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    restore = commands.add_parser("restore")
    restore.add_argument("snapshot")
    restore.add_argument("target", type=Path)
    restore.add_argument("--below", default="", help="only this path of the snapshot")
    given = parser.parse_args()
    found = snapshots(given.copy)
    if given.command == "list":
        sys.stdout.writelines(f"{path.stem}  {path.parts[-5]}  epoch {path.parts[-3]}\n" for path in found)
        return
    chosen = [path for path in found if given.snapshot in (path.stem, "latest")]
    path = chosen[-1] if chosen else sys.exit(f"there is no snapshot {given.snapshot}: see `list`")
    manifest = open_manifest(path, given.identity, given.signing_key)
    packs = Packs(path.parent.parent / "packs", manifest["packs"], given.identity)
    Restore(packs, given.target.absolute()).run(manifest, given.below.strip("/"))


def snapshots(copy: Path) -> list[Path]:
    """All snapshots of one host in the copy, oldest first."""
    found = [path for path in copy.absolute().rglob("snapshots/*Z-*.age") if path.stem[-8:].isdigit()]
    if len({path.parts[-5] for path in found}) > 1:
        sys.exit("the copy has several hosts: name the directory of one")
    return sorted(found, key=lambda path: path.stem[-8:])


def run(command: list[str], content: bytes) -> bytes:
    """Filter bytes through a command."""
    done = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=False)
    return done.stdout if done.returncode == 0 else sys.exit(f"{command[0]} failed; its words are above")


def unseal(content: bytes, identities: list[str]) -> bytes:
    return run(["age", "-d", *(word for path in identities for word in ("-i", path))], content)


def open_manifest(path: Path, identities: list[str], signing_key: str) -> Fields:
    magic, header, signature = run(["zstd", "-dc"], unseal(path.read_bytes(), identities)).splitlines(keepends=True)
    if magic != b"toolkit/snapshot 1\n":
        sys.exit(f"{path} is a snapshot of a version that this program cannot read")
    if not signing_key:
        say("warning: no --signing-key was given, so nobody knows who wrote this snapshot")
    elif not signed(bytes.fromhex(signing_key), magic + header, base64.b64decode(signature)):
        sys.exit(f"{path} was not signed with this key")
    manifest: Fields = json.loads(header)
    if (path.parts[-5], path.parts[-3], int(path.stem[-8:])) != tuple(manifest[name] for name in NAMED):
        sys.exit(f"{path} lies under a name that is not its own")
    if manifest["outcome"] != "complete":
        say(f"warning: this backup was incomplete: {manifest['problems']}")
    return manifest


class Packs:
    """The packs of one snapshot, each checked before it is opened."""

    def __init__(self, directory: Path, named: dict[str, tuple[str, int]], identities: list[str]) -> None:
        self.directory, self.named, self.identities = directory, named, identities

    def chunks(self, pack: int, refs: list[Ref]) -> Iterator[bytes]:
        """Yield the content of each reference to one pack."""
        digest, size = self.named[str(pack)]
        stored = (self.directory / f"{digest}.age").read_bytes()
        if hashlib.sha256(stored).hexdigest() != digest or len(stored) != size:
            sys.exit(f"pack {digest} is damaged")
        plaintext = unseal(stored, self.identities)
        for start in range(0, len(refs), 64):
            batch = refs[start : start + 64]
            content = run(["zstd", "-dc"], b"".join(plaintext[ref[2] : ref[2] + ref[3]] for ref in batch))
            if len(content) != sum(ref[4] for ref in batch):
                sys.exit("a frame is not as long as it should be")
            rest = io.BytesIO(content)
            yield from (rest.read(ref[4]) for ref in batch)

    def joined(self, refs: list[Ref]) -> bytes:
        """The contents of a few references in their own order."""
        groups = {pack: [ref for ref in refs if ref[1] == pack] for pack in {ref[1] for ref in refs}}
        found = {ref: content for pack in groups for ref, content in zip(groups[pack], self.chunks(pack, groups[pack]))}
        return b"".join(found[ref] for ref in refs)


class Restore:
    """Writes a tree: contents first, links after all of them, owners, modes and times last."""

    def __init__(self, packs: Packs, target: Path) -> None:
        self.packs, self.target = packs, target
        self.wanted: dict[int, dict[Ref, list[tuple[Path, int]]]] = {}

    def run(self, manifest: Fields, below: str) -> None:
        self.target.mkdir(0o700)
        listing = self.packs.joined([(*ref,) for ref in manifest["listing"]])
        entries = list(self.entries(listing, below))
        for entry in entries:
            self.path(entry["path"]).parent.mkdir(0o700, parents=True, exist_ok=True)
            if entry["type"] == "directory":
                self.path(entry["path"]).mkdir(0o700, exist_ok=True)
            elif entry["type"] == "file":
                self.begin(entry)
        for pack, places in sorted(self.wanted.items()):
            self.fill(pack, places)
        for kind in ("link", "fifo", "symlink"):
            for entry in (entry for entry in entries if entry["type"] == kind):
                self.make(entry)
        for entry in reversed(entries):
            if entry["type"] in ("directory", "file", "fifo", "symlink"):
                self.dress(entry)
            elif entry["type"] in ("character", "block"):
                say(f"left out the device {entry['path']}")

    def entries(self, listing: bytes, below: str) -> Iterator[Fields]:
        """Yield the entries below a path, each with all its chunks, and the files that links among them need."""
        whole: list[Fields] = []
        for fields in map(json.loads, listing.splitlines()):
            if "path" in fields:
                whole.append(fields)
            else:
                whole[-1]["chunks"] += fields["chunks"]
        chosen = {entry["path"] for entry in whole if f"{entry['path']}/".startswith(f"{below}/" if below else "")}
        chosen |= {entry["target"] for entry in whole if entry["type"] == "link" and entry["path"] in chosen}
        return (entry for entry in whole if entry["path"] in chosen)

    def path(self, name: str) -> Path:
        """Where a name of the listing goes; refuses every name that leads elsewhere."""
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            sys.exit(f"the listing has a forbidden path: {name!r}")
        return self.target / name

    def begin(self, entry: Fields) -> None:
        path, offset = self.path(entry["path"]), 0
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.truncate(entry["size"])
        for ref in entry["chunks"]:
            if len(ref) == 5:
                self.wanted.setdefault(ref[1], {}).setdefault((*ref,), []).append((path, offset))
            offset += ref[-1]

    def fill(self, pack: int, places: dict[Ref, list[tuple[Path, int]]]) -> None:
        for ref, content in zip(places, self.packs.chunks(pack, list(places))):
            for path, offset in places[ref]:
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW), "wb") as file:
                    file.seek(offset)
                    file.write(content)

    def make(self, entry: Fields) -> None:
        path = self.path(entry["path"])
        if entry["type"] == "link":
            os.link(self.path(entry["target"]), path, follow_symlinks=False)
        elif entry["type"] == "symlink":
            path.symlink_to(entry["target"])
        else:
            os.mkfifo(path, 0o600)

    def dress(self, entry: Fields) -> None:
        path, mode = self.path(entry["path"]), int(entry["mode"], 8)
        if os.geteuid() == 0:
            os.chown(path, entry["uid"], entry["gid"], follow_symlinks=False)
        for name in (name for name in entry.get("xattrs", {}) if not name.startswith(("security.", "trusted."))):
            try:
                os.setxattr(path, name, base64.b64decode(entry["xattrs"][name]), follow_symlinks=False)
            except OSError as error:
                say(f"left out {name} of {entry['path']}: {error}")
        if entry["type"] != "symlink":
            path.chmod(mode if entry["type"] == "directory" else mode & 0o1777)
        os.utime(path, ns=(entry["mtime"], entry["mtime"]), follow_symlinks=False)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


# Ed25519 (RFC 8032), verification only: short and slow, for the day when no library is at hand.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    return (f - e) * (h - g) % P, (h + g) * (f + e) % P, (h - g) * (h + g) % P, (f - e) * (f + e) % P


def multiply(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    for bit in f"{scalar:b}":
        result = add(add(result, result), point) if bit == "1" else add(result, result)
    return result


def decode(text: bytes) -> Point:
    """Return the point that 32 bytes stand for. Raises ValueError."""
    number = int.from_bytes(text, "little")
    y, square = number % 2**255, (number % 2**255) ** 2 - 1
    square = square * pow(D * (square + 1) + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    if len(text) != 32 or y >= P or (x * x - square) % P or (x == 0 and number >> 255):
        raise ValueError("not a point of the curve")
    x = P - x if x & 1 != number >> 255 else x
    return x, y, 1, x * y % P


def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    s, hashed = int.from_bytes(signature[32:], "little"), hashlib.sha512(signature[:32] + key + message).digest()
    try:
        public, r, base = decode(key), decode(signature[:32]), decode(b"\x58" + b"\x66" * 31)
    except ValueError:
        return False
    left, right = multiply(s, base), add(r, multiply(int.from_bytes(hashed, "little") % L, public))
    return len(signature) == 64 and s < L and all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


if __name__ == "__main__":
    main()
