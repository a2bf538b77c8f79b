"""What is delivered to a host, as values: each checked for what it may not be before anything is written.

Control side and agent share these.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from toolkit.crypto.tags import LENGTH
from toolkit.words.errors import SecretError

FORMAT = "toolkit secrets 1"
LARGEST = 1 << 20
_HIGHEST_ID = (1 << 32) - 2


@dataclass(frozen=True)
class Entry:
    """One secret at one value: its tag, and who may read it. Never the value."""

    name: str
    tag: str
    mode: int
    uid: int
    gid: int
    size: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", self.name):
            raise SecretError(
                f"{self.name!r} is no name for a secret", hint="use letters, digits, '_', '-' and '.', no slash"
            )
        if not re.fullmatch(f"[0-9a-f]{{{LENGTH}}}", self.tag):
            raise SecretError(f"{self.name}: {self.tag!r} is no tag", hint="deploy with the toolkit that provisioned")
        if not (0 <= self.mode <= 0o777 and 0 <= self.uid <= _HIGHEST_ID and 0 <= self.gid <= _HIGHEST_ID):
            raise SecretError(f"{self.name}: impossible owner or mode", hint="correct stack.secrets in the host file")
        if not 0 < self.size <= LARGEST:
            raise SecretError(f"{self.name}: {self.size} bytes", hint="a secret has between 1 byte and 1 MiB")

    @property
    def file(self) -> str:
        return f"{self.name}-{self.tag}"


@dataclass(frozen=True)
class Delivery:
    """The whole set of one release, and the tags that retained releases still need."""

    stack: str
    release: str
    files: tuple[Entry, ...]
    keep: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_stack(self.stack)
        names = [entry.name for entry in self.files]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SecretError(f"{self.stack}: {', '.join(twice)} is delivered twice", hint="name each secret once")

    @classmethod
    def parse(cls, header: Mapping[str, Any]) -> Self:
        """Read a request. Raises SecretError."""
        try:
            entries = tuple(Entry(**body) for body in header["files"])
            return cls(header["stack"], header["release"], entries, frozenset(header["keep"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise SecretError(
                "a request that this agent does not understand", hint="provision with the toolkit that deploys"
            ) from error

    def header(self) -> dict[str, Any]:
        files = [asdict(entry) for entry in self.files]
        return {"stack": self.stack, "release": self.release, "files": files, "keep": sorted(self.keep)}


def check_stack(stack: str) -> None:
    """Raise SecretError for what cannot be a stack's name, and so not a folder's."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,127}", stack):
        raise SecretError(f"{stack!r} is no name for a stack", hint="use lower-case letters, digits, '_' and '-'")


@dataclass(frozen=True)
class Index:
    """What a host has of one stack. Written last: what it names is there, whole."""

    release: str = ""
    files: Sequence[Entry] = ()

    def dumps(self) -> bytes:
        body = {"format": FORMAT, "release": self.release, "files": [asdict(entry) for entry in self.files]}
        return (json.dumps(body, indent=1) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes, path: object) -> Self:
        """Read what `dumps` wrote. Raises SecretError, naming the file."""
        try:
            body = json.loads(content)
            if body["format"] != FORMAT:
                raise SecretError(f"{path} has the format {body['format']!r}", hint="use the agent that wrote it")
            return cls(body["release"], tuple(Entry(**entry) for entry in body["files"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SecretError(f"{path} is damaged", hint="move it away and deploy again") from error
