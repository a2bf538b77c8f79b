"""Compose files as plain data, just enough to see which files of the repository a stack mounts.

What a stack means is for `docker compose config` to say, on the host, with the Compose version that runs it. Here
nothing is interpolated or merged, and Compose's own tags (`!reset`, `!override`) are read as the values they hold.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit.words.errors import ConfigError

LARGEST = 4 * 1024 * 1024
DEEPEST = 5
"""`services`, its name, and the likes of `deploy.resources.limits`."""


class _ComposeLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """The safe loader, with Compose's merge tags as plain values."""


def _plain(loader: Any, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_ComposeLoader.add_multi_constructor("!", _plain)


@dataclass(frozen=True)
class Marked:
    """A Compose file as data, and the line of each key, as deep as a setting of a service goes."""

    data: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]


def read(path: Path) -> Mapping[str, Any]:
    """Return a Compose file as data. Raises ConfigError with the file, and the line where YAML is at fault."""
    return marked(path).data


def marked(path: Path) -> Marked:
    """Return a Compose file as data with its lines. Raises ConfigError as `read` does."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path.name} is larger than {LARGEST} bytes", hint="this is no Compose file")
        loader = _ComposeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        loaded = loader.construct_document(node) if node is not None else None
    except FileNotFoundError as error:
        raise ConfigError(
            f"no Compose file {path}", hint="check its name; in a host file, stack.directory and stack.files"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="name a Compose file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "nested too deeply"
        raise ConfigError(f"{path}{where}: {problem}", hint="correct the YAML at this line") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} holds no mapping", hint="a Compose file has `services:` at its top level")
    return Marked(loaded, dict(_lines(node, ())))


def _lines(node: yaml.Node, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if not isinstance(node, yaml.MappingNode) or len(above) >= DEEPEST:
        return
    for key, value in node.value:
        here = (*above, str(key.value))
        yield here, key.start_mark.line + 1
        yield from _lines(value, here)
