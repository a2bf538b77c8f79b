"""The policy: how a watchdog works, as the host file says it. It lies on the host as JSON; times are seconds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from toolkit.words.errors import HostError

FORMAT = "toolkit watchdog 1"


@dataclass(frozen=True)
class Policy:
    """What each part means stands in the host file's reference."""

    stack: str
    every: float = 30.0
    restarts: int = 3
    within: float = 900.0
    healthy_after: float = 600.0
    memory: int = 95
    host_memory: int = 80
    polls: int = 3
    leave: tuple[str, ...] = ()

    def dumps(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what stands in a file. Raises HostError where that is no policy of ours."""
        try:
            return cls._parse(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HostError(f"{path} cannot be understood: {error}", hint="provision again") from error

    @classmethod
    def _parse(cls, body: Mapping[str, Any]) -> Self:
        if body["format"] != FORMAT:
            raise ValueError(f"its format is {body['format']!r}")
        rest = {key: value for key, value in body.items() if key not in ("format", "leave")}
        return cls(**rest, leave=tuple(body["leave"]))

    def pause(self, heals: int) -> float:
        """Return how long to wait after so many heals before the next one."""
        return self.every * float(2 ** (heals - 1)) if heals else 0.0
