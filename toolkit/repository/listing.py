"""Listings: one JSON line per directory, file and link, in the order of the tree.

Encoding is on the path of every backup and trusts its caller; decoding trusts nobody, because a listing may have been
written by a host that was taken over: whatever comes out of `read` is inside the limits of the format.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from json.encoder import encode_basestring_ascii as _quoted  # the C encoder of one string
from typing import Any, NamedTuple

from toolkit.repository import layout
from toolkit.words.errors import RepositoryError

KINDS = frozenset({"directory", "file", "symlink", "link", "fifo", "character", "block"})
_LARGEST = 1 << 62


class Ref(NamedTuple):
    """Where one chunk is. A hole has no id and no place."""

    id: bytes
    pack: int
    offset: int
    stored: int
    size: int

    @property
    def hole(self) -> bool:
        return not self.id


def hole(size: int) -> Ref:
    return Ref(b"", -1, 0, 0, size)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree. Bytes that are not UTF-8 are surrogates in `path` and `target`, as in `os.fsdecode`."""

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    changed: bool = False


class Part(NamedTuple):
    """An entry with some of its chunks; a large file comes in several parts, the first at offset 0."""

    entry: Entry
    offset: int
    refs: Sequence[Ref]

    @property
    def last(self) -> bool:
        return self.offset + sum(ref.size for ref in self.refs) == self.entry.size


def encode(entry: Entry, refs: Iterable[Ref] = ()) -> Iterator[bytes]:
    """Yield the entry's line, and the lines after it that a large file needs."""
    more = _lines_of(refs)
    head = next(more)
    fields = [f'"path":{_quoted(entry.path)},"type":"{entry.kind}"']
    if entry.kind == "link":
        fields.append(f'"target":{_quoted(entry.target)}')
    else:
        fields.append(f'"mode":"{entry.mode:04o}","uid":{entry.uid},"gid":{entry.gid},"mtime":{entry.mtime}')
        fields.extend(_rest(entry, head))
    yield ("{" + ",".join(fields) + "}\n").encode()
    yield from (f'{{"chunks":[{text}]}}\n'.encode() for text in more)


def _rest(entry: Entry, chunks: str) -> Iterator[str]:
    if entry.kind == "file":
        yield f'"size":{entry.size},"chunks":[{chunks}]'
    if entry.kind == "symlink":
        yield f'"target":{_quoted(entry.target)}'
    if entry.device:
        yield f'"device":[{entry.device[0]},{entry.device[1]}]'
    if entry.xattrs:
        pairs = (f'{_quoted(name)}:"{base64.b64encode(value).decode()}"' for name, value in entry.xattrs.items())
        yield f'"xattrs":{{{",".join(pairs)}}}'
    if entry.changed:
        yield '"changed":true'


def _lines_of(refs: Iterable[Ref]) -> Iterator[str]:
    """Yield as many references as go into a line, and an empty line where there are none."""
    texts = map(encode_ref, refs)
    yield ",".join(islice(texts, layout.REFERENCES_IN_LINE))
    while text := ",".join(islice(texts, layout.REFERENCES_IN_LINE)):
        yield text


def encode_ref(ref: Ref) -> str:
    if not ref.id:
        return f"[{ref.size}]"
    return f'["{ref.id.hex()}",{ref.pack},{ref.offset},{ref.stored},{ref.size}]'


def read(blocks: Iterable[bytes | None]) -> Iterator[Part]:
    """Read a listing from pieces of its bytes; None stands for a piece that is lost, and costs the lines around it.

    Raises RepositoryError for anything that the format does not allow.
    """
    parts = _Parts()
    for number, line in enumerate(_lines(blocks), 1):
        if line is None:
            parts.lose()
            continue
        try:
            part = parts.take(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _damaged(f"line {number} of the listing: {error}") from error
        if part:
            yield part
    if not parts.whole:
        raise _damaged("the listing ends inside a file")


class _Parts:
    """Puts the lines of large files together."""

    def __init__(self) -> None:
        self._entry: Entry | None = None
        self._offset = 0
        self._lost = False

    @property
    def whole(self) -> bool:
        return self._entry is None or self._offset == self._entry.size

    def lose(self) -> None:
        self._entry, self._lost = None, True

    def take(self, fields: dict[str, Any]) -> Part | None:
        refs = tuple(decode_ref(value) for value in fields.get("chunks", ()))
        if "path" in fields:
            _require(self.whole, "the file before is not whole")
            self._entry, self._offset, self._lost = _entry(fields), 0, False
        if self._entry is None:
            _require(self._lost, "chunks without a file")
            return None
        _require(not refs or self._entry.kind == "file", "chunks of something that is no file")
        part = Part(self._entry, self._offset, refs)
        self._offset += sum(ref.size for ref in refs)
        _require(self._offset <= self._entry.size, "more chunks than the file is long")
        return part


def decode_ref(value: Any) -> Ref:
    """Check and convert one chunk reference. Raises ValueError."""
    if len(value) == 1:
        return hole(_number(value[0], 1, _LARGEST))
    text, pack, offset, stored, size = value
    name = bytes.fromhex(text)
    _require(len(name) == 32, "an id that is not 32 bytes")
    return Ref(
        name,
        _number(pack, 0, _LARGEST),
        _number(offset, 0, layout.PACK_LIMIT),
        _number(stored, 1, layout.PACK_LIMIT),
        _number(size, 1, layout.CHUNK_LIMIT),
    )


def _entry(fields: dict[str, Any]) -> Entry:
    kind = fields["type"]
    _require(isinstance(kind, str) and kind in KINDS, "an unknown type")
    path = check_path(fields["path"])
    if kind == "link":
        return Entry(path, kind, target=check_path(fields["target"]))
    entry = Entry(
        path,
        kind,
        mode=_number(int(fields["mode"], 8), 0, 0o7777),
        uid=_number(fields["uid"], 0, (1 << 32) - 2),
        gid=_number(fields["gid"], 0, (1 << 32) - 2),
        mtime=_number(fields["mtime"], -_LARGEST, _LARGEST),
        size=_number(fields.get("size", 0), 0, _LARGEST if kind == "file" else 0),
        xattrs={
            _name(name): base64.b64decode(value, validate=True) for name, value in fields.get("xattrs", {}).items()
        },
        changed=fields.get("changed", False) is True,
    )
    if kind == "symlink":
        return replace(entry, target=_name(fields["target"]))
    if kind in ("character", "block"):
        major, minor = fields["device"]
        return replace(entry, device=(_number(major, 0, 1 << 31), _number(minor, 0, 1 << 31)))
    return entry


def check_path(path: Any) -> str:
    """Return the path if it is relative, inside, and within the limits. Raises ValueError."""
    parts = _name(path).split("/")
    _require(not {"", ".", ".."} & set(parts), "a path that leads elsewhere")
    _require(len(parts) <= layout.DEPTH_LIMIT, "a path that is too deep")
    _require(max(len(os.fsencode(part)) for part in parts) <= 255, "a name that is too long")
    return str(path)


def _name(text: Any) -> str:
    _require(isinstance(text, str) and text != "" and "\0" not in text, "no name")
    # Raises UnicodeEncodeError, a ValueError, for surrogates that no byte stands behind.
    _require(len(os.fsencode(text)) <= layout.PATH_LIMIT, "a path that is too long")
    return str(text)


def _number(value: Any, least: int, most: int) -> int:
    _require(type(value) is int and least <= value <= most, "a number out of range")
    return int(value)


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(complaint)


def _lines(blocks: Iterable[bytes | None]) -> Iterator[bytes | None]:
    rest: bytes | None = b""
    for block in blocks:
        if block is None:
            rest = None
            yield None
            continue
        first, *more = block.split(b"\n")
        # After a lost piece, everything up to the next line end belongs to a line whose beginning is lost.
        line = None if rest is None else _short(rest + first)
        for following in more:
            if line is not None:
                yield line
            line = _short(following)
        rest = line
    if rest:
        raise _damaged("the listing ends inside a line")


def _short(line: bytes) -> bytes:
    if len(line) > layout.LINE_LIMIT:
        raise _damaged("a listing with an endless line")
    return line


def _damaged(what: str) -> RepositoryError:
    return RepositoryError(what, hint="verify the repository; an earlier snapshot may be whole")
