"""A restore as it travels to a host, and where a host keeps what belongs to restores.

The reach into the backups is part of the request: its header here, its secrets as the bytes that follow.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from toolkit.stack.place import Place
from toolkit.words.errors import HostError

RESTORE, UNDO, FORGET = "restore", "undo", "forget"
MARK = "restore.json"
"""There while a restore is under way."""


@dataclass(frozen=True)
class Desk(Place):
    """A stack's place, with the journals and marks of restores where those of deploys would be."""

    @property
    def state(self) -> Path:
        return self.root / "var/lib/toolkit/restores" / self.stack


@dataclass(frozen=True)
class Wish:
    """What is asked for: `restore` a snapshot, `undo` a restore, or `forget` what one kept.

    `sources` and `path` choose a part, `to` is a directory of the host in place of the stack; `kept` names a restore.
    With `at`, a moment, the only source is a database, the reach is that of shipped logs, and `snapshot` is a base.
    """

    action: str
    stack: str
    who: str
    snapshot: str = ""
    sources: tuple[str, ...] = ()
    path: str = ""
    to: str = ""
    at: str = ""
    kept: str = ""
    trees: Mapping[str, str] = field(default_factory=dict)
    """Where directories of the host belong, by their names in the snapshot, as the operator's own file says."""

    reach: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,127}", self.stack):
            raise HostError(f"{self.stack!r} is no name for a stack", hint="name one that runs on this host")
        if self.action not in (RESTORE, UNDO, FORGET):
            raise HostError(f"{self.action!r} is nothing to ask for", hint="provision with the toolkit that restores")

    @property
    def release(self) -> str:
        """What whoever is refused meanwhile reads: a restore of this."""
        return self.snapshot or self.kept

    def header(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, header: Mapping[str, Any]) -> Self:
        """Read a header. Raises HostError."""
        try:
            return cls(
                **{
                    **header,
                    "sources": tuple(map(str, header["sources"])),
                    "reach": dict(header["reach"]),
                    "trees": dict(header["trees"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            hint = "provision with the toolkit that restores"
            raise HostError("a request that this agent does not understand", hint=hint) from error
