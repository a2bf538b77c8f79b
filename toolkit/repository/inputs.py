"""What a backup is made of: trees to walk and streams to read, each under a name of its own.

Sources (databases, volumes) describe themselves as these two and nothing else, so every kind of data takes one path.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from toolkit.repository.listing import check_path
from toolkit.words.errors import ConfigError

Facts = Callable[[], Mapping[str, Any]]


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Tree:
    """A directory as it lies on the disk. `exclude` has shell patterns, matched against the path inside the tree."""

    name: str
    path: Path
    exclude: Sequence[str] = ()
    kind: str = "tree"
    facts: Facts = dict


@dataclass(frozen=True)
class Stream:
    """Bytes that somebody produces, such as a dump. Leaving the context raises if the producer failed.

    `facts` is asked after the stream has ended.
    """

    name: str
    open: Callable[[], AbstractContextManager[Readable]]
    kind: str = "stream"
    facts: Facts = dict


Input = Tree | Stream


def ordered(inputs: Sequence[Input]) -> list[Input]:
    """Return the inputs in the order of a listing. Raises ConfigError for names that cannot stand side by side."""
    names = [given.name for given in inputs]
    for name in names:
        try:
            check_path(name)
        except ValueError as error:
            raise ConfigError(f"{name!r} cannot name a source: {error}", hint="use a plain relative name") from error
        if any(other == name or other.startswith(f"{name}/") for other in _others(names, name)):
            raise ConfigError(f"{name!r} names more than one source", hint="give each source a name of its own")
    return sorted(inputs, key=lambda given: os.fsencode(given.name).split(b"/"))


def _others(names: Sequence[str], name: str) -> list[str]:
    others = list(names)
    others.remove(name)
    return others


def parents(name: str) -> list[str]:
    """The directories above a name, outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
