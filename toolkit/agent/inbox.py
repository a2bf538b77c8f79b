"""The inbox: requests that a driver is to carry out, kept in memory until it has."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from toolkit.agent import memory
from toolkit.agent.drafts import Drafts, wipe
from toolkit.agent.paths import Paths
from toolkit.words.errors import HostError

_OURS = {"mode": 0o600, "uid": os.getuid(), "gid": os.getgid()}


class Asked(Protocol):
    """Any request: all of it that is no secret."""

    def header(self) -> dict[str, Any]: ...


Kind = TypeVar("Kind", bound=Asked)


def put(paths: Paths, name: str, request: Asked, body: bytes) -> None:
    """Keep a request under the name of its journal."""
    memory.ensure(paths)
    paths.requests.mkdir(mode=0o700, exist_ok=True)
    with Drafts() as drafts:
        drafts.add(_body(paths, name), body, **_OURS)
        drafts.add(_header(paths, name), json.dumps(request.header()).encode(), **_OURS)
        drafts.commit()


@contextmanager
def taken(paths: Paths, name: str, parse: Callable[[dict[str, Any]], Kind]) -> Iterator[tuple[Kind, bytes]]:
    """Yield a request and its bytes; they are wiped at the end, however that comes. Raises HostError."""
    try:
        request = parse(json.loads(_header(paths, name).read_bytes()))
        body = _body(paths, name).read_bytes()
    except (OSError, ValueError) as error:
        raise HostError(f"there is no request {name} any more", hint="ask again") from error
    try:
        yield request, body
    finally:
        drop(paths, name)


def drop(paths: Paths, name: str) -> None:
    for path in (_header(paths, name), _body(paths, name)):
        if path.exists():
            wipe(path)


def _header(paths: Paths, name: str) -> Path:
    return paths.requests / f"{name}.json"


def _body(paths: Paths, name: str) -> Path:
    return paths.requests / f"{name}.secrets"
