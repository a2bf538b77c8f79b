"""A YAML text as plain values that remember their lines.

The dialect is YAML 1.2 with as few surprises as possible: only `true` and `false` are booleans, only decimal digits
are numbers, `no`, `on`, `0o22` and `22:22` are text. A key written twice and a tag are faults. Text comes from
strangers (a pull request), so size, depth and what aliases expand to are bounded before anything is built.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import yaml

from toolkit.config.faults import Fault, Faulty, Trail

Plain = None | bool | int | float | str | tuple["Plain", ...] | dict[str, "Plain"]

LARGEST_TEXT = 256 * 1024
_DEEPEST = 24
_MOST_VALUES = 10_000

_CONSTANTS: dict[str, Plain] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")


@dataclass(frozen=True)
class Node:
    """A value, the line it is written on, and the same of everything inside it."""

    value: Plain
    line: int
    inside: Mapping[str | int, "Node"] = field(default_factory=dict)
    size: int = 1

    def line_of(self, path: Trail) -> int:
        """Return the line of what is at `path`, or of the nearest thing around it."""
        if path and path[0] in self.inside:
            return self.inside[path[0]].line_of(path[1:])
        return self.line


def parse(text: str) -> tuple[Node, list[Fault]]:
    """Return the text's only document and the faults that do not keep it from being read. Raises Faulty."""
    if len(text) > LARGEST_TEXT:
        raise Faulty(Fault(1, (), f"larger than {LARGEST_TEXT // 1024} KiB", "keep it to a page or two of settings"))
    try:
        composer = _Composer(text)
        return composer.document(), composer.faults
    except yaml.MarkedYAMLError as error:
        raise Faulty(_syntax(error)) from error
    except (yaml.reader.ReaderError, UnicodeEncodeError) as error:
        raise Faulty(Fault(1, (), "holds a character that YAML does not allow", "save it as plain UTF-8")) from error


def _syntax(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Fault(line, (), f"column {column}: {error.problem or 'not YAML'}", "check indentation, quotes and colons")


class _Composer:
    """Builds nodes from the parser's events. Recursion is ours, so that its depth is, too."""

    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self._anchors: dict[str, Node] = {}
        # The C parser is ten times faster, and some builds lack it.
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def document(self) -> Node:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Node(None, 1)
        node = self._node(next(self._events), ())
        next(self._events)
        if not isinstance(following := next(self._events), yaml.StreamEndEvent):
            raise Faulty(Fault(_line(following), (), "a second document starts here", "keep one document per file"))
        return node

    def _node(self, event: yaml.Event, path: Trail) -> Node:
        if len(path) > _DEEPEST:
            raise Faulty(Fault(_line(event), path[:3], "nested too deeply", "a host file has a few levels only"))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if getattr(event, "tag", None):
            self.faults.append(Fault(_line(event), path, "tags are not used here", "remove the word with !"))
        node = self._content(event, path)
        if node.size > _MOST_VALUES:
            raise Faulty(Fault(node.line, path, "expands to too many values", "write the aliases out"))
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = node
        return node

    def _content(self, event: yaml.Event, path: Trail) -> Node:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(_line(event), path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(_line(event), path)
        assert isinstance(event, yaml.ScalarEvent)
        return Node(_scalar(event), _line(event))

    def _alias(self, event: yaml.AliasEvent, path: Trail) -> Node:
        # An anchor is known once its value is complete: a value can never hold itself.
        if event.anchor not in self._anchors:
            raise Faulty(Fault(_line(event), path, "an alias of something that is not above it", "write the value out"))
        return replace(self._anchors[event.anchor], line=_line(event))

    def _sequence(self, line: int, path: Trail) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return Node(tuple(item.value for item in items), line, dict(enumerate(items)), _size(items))

    def _mapping(self, line: int, path: Trail) -> Node:
        items: dict[str | int, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise Faulty(Fault(_line(event), path, "a key must be plain text", "write `key: value`"))
            here = (*path, event.value)
            if event.value in items:
                told = f"written twice, first on line {items[event.value].line}"
                self.faults.append(Fault(_line(event), here, told, "keep one of them"))
            items[event.value] = replace(self._node(next(self._events), here), line=_line(event))
        return Node({str(key): item.value for key, item in items.items()}, line, items, _size(items.values()))


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None  # a parser's events have marks; only hand-made ones do not
    return event.start_mark.line + 1


def _size(items: Iterable[Node]) -> int:
    return 1 + sum(item.size for item in items)


def _scalar(event: yaml.ScalarEvent) -> Plain:
    written = str(event.value)
    if not event.implicit[0]:
        return written
    if written in _CONSTANTS:
        return _CONSTANTS[written]
    if _INTEGER.fullmatch(written):
        return int(written)
    return float(written) if _FRACTION.fullmatch(written) else written
