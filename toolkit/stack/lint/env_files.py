"""Env files that services read: which ones lie on top of each other, and what they say."""

import os
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from toolkit.stack.lint.model import mapping, sequence, text

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$", re.MULTILINE)


def named(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the env files of each service of a Compose file, as it names them, in its order."""
    for body in mapping(document.get("services")).values():
        written = mapping(body).get("env_file")
        entries = [written] if isinstance(written, str) else sequence(written)
        paths = (text(entry.get("path")) if isinstance(entry, Mapping) else text(entry) for entry in entries)
        if files := tuple(os.path.normpath(path) for path in paths if path):
            yield files


def layers(groups: Iterator[tuple[str, ...]]) -> frozenset[tuple[str, str]]:
    """Return the pairs of files of which one is meant to win over the other."""
    return frozenset(pair for files in groups for pair in combinations(files, 2))


def parse(content: str) -> dict[str, str]:
    """Read an env file, quotes taken off; a value that is made of other variables is left out."""
    found = {name: _plain(value) for name, value in _LINE.findall(content)}
    return {name: value for name, value in found.items() if "$" not in value}


def _plain(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return re.sub(r"\s+#.*", "", value)
