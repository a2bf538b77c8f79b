"""Files, folders and single lines: what stands on the disk, compared with what should.

A file that others may read is compared by its content and shown as a diff. One that only its owner may read, or that
is not text, is compared by its hash and never shown.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.converge.changes import difference
from toolkit.host import File
from toolkit.words.command import command, script
from toolkit.words.errors import HostError

# Longer than any file written here: what is longer still differs from it in any case.
LIMIT = 1 << 20

# The first line tells kind and owner, the rest is the content or its hash.
LOOK = f"""
[ -e "$1" ] || [ -L "$1" ] || {{ echo absent; exit 0; }}
stat --format '%F|%a|%U|%G' -- "$1" || exit 1
if [ ! -f "$1" ] || [ -L "$1" ]; then exit 0; fi
if [ "$2" = text ]; then exec head -c {LIMIT} -- "$1"; fi
exec sha256sum <"$1"
"""


@dataclass(frozen=True)
class Entry:
    """What stands under a path: its kind as `stat` says it, its permissions, and its text or its hash."""

    kind: str
    mode: int
    owner: str
    group: str
    content: str

    @property
    def is_file(self) -> bool:
        # An empty one is called "regular empty file".
        return self.kind.startswith("regular")

    @property
    def is_directory(self) -> bool:
        return self.kind == "directory"


def parse_entry(text: str) -> Entry | None:
    """Read what `LOOK` prints; None stands for nothing there."""
    head, _, content = text.partition("\n")
    if head == "absent":
        return None
    kind, mode, owner, group = head.split("|")
    return Entry(kind, int(mode, 8), owner, group, content)


def text(path: str) -> Fact[Entry | None]:
    """Return the fact of what stands at a path, with its content as text."""
    return Fact(path, script(LOOK, path, "text"), parse_entry)


def sealed(path: str) -> Fact[Entry | None]:
    """Return the fact of what stands at a path, with the hash of its content."""
    return Fact(path, script(LOOK, path, "hash"), parse_entry)


@operation
def file(
    facts: Facts, path: str, content: str | bytes, *, mode: int = 0o644, owner: str = "root", group: str = "root"
) -> Iterator[Change]:
    """Ensure one file with exactly this content, mode and owner."""
    body = content.encode() if isinstance(content, str) else content
    wanted = File(path, body, mode, owner, group)
    shown = _shown(wanted)
    entry = facts.get(sealed(path) if shown is None else text(path))
    _refuse_directory(facts, path, entry)
    if entry is None or not entry.is_file or entry.content != (shown if shown is not None else _hash(body)):
        yield Change(f"write {path}", wanted, _diff(path, entry, shown))
    elif (entry.mode, entry.owner, entry.group) != (mode, owner, group):
        yield Change(f"write {path} as {_ownership(mode, owner, group)}", wanted)


def _shown(wanted: File) -> str | None:
    """Return the text of a file that may be shown, or None."""
    if wanted.mode & 0o077 == 0 or len(wanted.body) >= LIMIT:
        return None
    try:
        return wanted.body.decode()
    except UnicodeDecodeError:
        return None


def _hash(body: bytes) -> str:
    return f"{hashlib.sha256(body).hexdigest()}  -\n"


def _diff(path: str, entry: Entry | None, shown: str | None) -> str:
    if shown is None:
        return ""
    return difference(entry.content if entry and entry.is_file else None, shown, path)


def _refuse_directory(facts: Facts, path: str, entry: Entry | None) -> None:
    if entry and entry.is_directory:
        raise HostError(
            f"{facts.host.name}: {path} is a directory where a file belongs",
            hint="look at what is in it, then move it away",
        )


def _ownership(mode: int, owner: str, group: str) -> str:
    return f"{mode:04o} {owner}:{group}"


@operation
def absent(facts: Facts, path: str) -> Iterator[Change]:
    """Ensure that no file or link has this path. A directory is refused: nobody deletes trees by accident here."""
    entry = facts.get(text(path))
    _refuse_directory(facts, path, entry)
    if entry is not None:
        yield Change(f"remove {path}", command("rm", "--force", "--", path), difference(entry.content, None, path))


@operation
def directory(facts: Facts, path: str, mode: int = 0o755, owner: str = "root", group: str = "root") -> Iterator[Change]:
    """Ensure a directory with this mode and owner; missing parents are made."""
    entry = facts.get(text(path))
    if entry and not entry.is_directory:
        raise HostError(f"{facts.host.name}: {path} is a {entry.kind} where a directory belongs", hint="move it away")
    if entry is None or (entry.mode, entry.owner, entry.group) != (mode, owner, group):
        make = command("install", "--directory", f"--mode={mode:o}", f"--owner={owner}", f"--group={group}", "--", path)
        yield Change(f"make {path}/ as {_ownership(mode, owner, group)}", make)


@operation
def line(facts: Facts, path: str, line: str, match: str | None = None) -> Iterator[Change]:
    """Ensure one line in a file, which otherwise stays as it is.

    The first line that `match`, a regular expression, finds is replaced and further ones are dropped; without a
    match the line goes to the end. A missing file is made.
    """
    entry = facts.get(text(path))
    _refuse_directory(facts, path, entry)
    before = entry.content if entry else ""
    after = with_line(before, line, match)
    if after != before:
        kept = (entry.mode, entry.owner, entry.group) if entry else (0o644, "root", "root")
        diff = difference(before if entry else None, after, path)
        yield Change(f"write {line!r} to {path}", File(path, after.encode(), *kept), diff)


def with_line(content: str, line: str, match: str | None = None) -> str:
    """Return the content with the line in it, once."""
    pattern = re.compile(match) if match else None
    kept: list[str] = []
    for old in content.splitlines():
        ours = old == line or (pattern is not None and pattern.search(old) is not None)
        if not ours:
            kept.append(old)
        elif line not in kept:
            kept.append(line)
    if line not in kept:
        kept.append(line)
    return "\n".join(kept) + "\n"
