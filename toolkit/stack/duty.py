"""The duty: what a host backs up and when, as its backup file says it. It lies on the host as JSON, without secrets.

Times are seconds, sizes bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from toolkit.words.errors import HostError

FORMAT = "toolkit backup 1"
SHIPPED = "-wal"
"""What follows a host's name in the store: shippings are many, and their manifests are kept small."""


@dataclass(frozen=True)
class Tree:
    """A directory of the host, and what it is called in snapshots."""

    path: str
    name: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pausing:
    """Services paused around the barrier; `toolkit.sources.pause` says what each part means."""

    services: tuple[str, ...]
    how: str
    until: str
    at_most: float


@dataclass(frozen=True)
class Odd:
    """How far a backup may differ from the ones before, in percent."""

    size: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Duty:
    """`every` is the longest time between two runs, 0 where nobody starts one; `stack` may be empty.

    `stale` is how old the newest complete backup may be, 0 where nobody says.

    `sources` has the fields of `toolkit.sources.corrections.Wanted` that a person gave.
    """

    host: str
    url: str
    recipients: tuple[str, ...]
    stack: str = ""
    epoch: float = 30 * 86400.0
    lock: float | None = None
    paths: tuple[Tree, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    leave: tuple[str, ...] = ()
    wal: tuple[str, ...] = ()
    """Sources of PostgreSQL whose log is shipped all the time."""

    pause: Pausing | None = None
    bandwidth: int | None = None
    odd: Odd | None = None
    every: float = 0.0
    stale: float = 0.0
    format: str = FORMAT

    def dumps(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a host's duty. Raises HostError where it has none, or one of another toolkit."""
        try:
            data = json.loads(path.read_bytes())
            if data["format"] != FORMAT:
                raise ValueError(data["format"])
            lists: dict[str, Any] = {key: tuple(data.pop(key)) for key in ("recipients", "sources", "leave", "wal")}
            trees = tuple(Tree(one["path"], one["name"], tuple(one["exclude"])) for one in data.pop("paths"))
            pause, odd = data.pop("pause"), data.pop("odd")
            return cls(
                paths=trees,
                pause=Pausing(**(pause | {"services": tuple(pause["services"])})) if pause else None,
                odd=Odd(**odd) if odd else None,
                **lists,
                **data,
            )
        except FileNotFoundError as error:
            hint = "write backups/<host>.yml, then `invoke provision`"
            raise HostError("nobody said what to back up on this host", hint=hint) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HostError(f"{path} is not what this agent understands", hint="provision again") from error
