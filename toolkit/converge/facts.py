"""Facts: what is true of a host, read in batches.

A fact is one command and one pure parser. `Facts.get` answers from the run's cache or raises `Unknown`; whoever
catches that calls `ask`, which reads everything still missing in one round trip. Nobody declares what they need.
"""

import secrets
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from toolkit.host import Host
from toolkit.words.command import Command, Result, script
from toolkit.words.errors import HostError

T = TypeVar("T")


@dataclass(frozen=True)
class Together:
    """How one command answers several facts of a kind, where starting it costs more than what it is asked."""

    join: Callable[[Sequence[Command]], Command]
    """Make one command of the facts' own."""

    part: Callable[[bytes], Sequence[bytes]]
    """Cut its output into what each of them would have printed, in their order."""


@dataclass(frozen=True)
class Fact(Generic[T]):
    """A name, one command that changes nothing, and one pure parser of its standard output.

    A command that exits with 0 was able to look: what is absent is a value of the parser's choosing. Any other exit
    code means that nobody knows, which is `Unreadable` and never the same as absent.
    """

    name: str
    command: Command
    parse: Callable[[str], T] = field(compare=False, repr=False)
    together: Together | None = field(default=None, compare=False, repr=False)


class Unknown(Exception):
    """Some facts have not been read yet."""

    def __init__(self, *facts: Fact[Any]) -> None:
        super().__init__(", ".join(fact.name for fact in facts))
        self.facts = facts


class Unreadable(HostError):
    """The host could not tell: the command failed, or its output made no sense."""


class Facts:
    """What this run knows of one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.round_trips = 0
        self._known: dict[Fact[Any], Result] = {}

    def get(self, fact: Fact[T]) -> T:
        """Return a fact's value. Raises Unknown, or Unreadable where the host could not tell."""
        if fact not in self._known:
            raise Unknown(fact)
        result = self._known[fact]
        if not result.ok:
            raise Unreadable(
                f"{self.host.name}: cannot read {fact.name}: {result.complaint or f'exit code {result.code}'}",
                hint=f"run it by hand on the host: {fact.command}",
            )
        return _parsed(self.host.name, fact, result)

    def need(self, *facts: Fact[Any]) -> None:
        """Raise one Unknown for all that are missing, so that they are read together."""
        if missing := [fact for fact in facts if fact not in self._known]:
            raise Unknown(*missing)

    def ask(self, facts: Iterable[Fact[Any]]) -> None:
        """Read these facts in one round trip."""
        groups = _grouped(dict.fromkeys(facts))
        mark = secrets.token_hex(8)
        text = "\n".join(_framed(_question(group), mark) for group in groups)
        # The framing goes in as input: a script of any length, and no argument limit.
        result = self.host.run(script("exec sh", stdin=text.encode()))
        self.round_trips += 1
        for group, (code, out, err) in zip(groups, _unframe(result.stdout, mark), strict=True):
            self._known.update(_answers(group, code, out, err))

    def forget(self) -> None:
        """Something changed: trust nothing that was read before."""
        self._known.clear()


def _grouped(facts: Iterable[Fact[Any]]) -> list[list[Fact[Any]]]:
    """Put facts that are asked with one command into one group; every other one stands alone."""
    groups: dict[object, list[Fact[Any]]] = {}
    for fact in facts:
        groups.setdefault(fact.together or fact, []).append(fact)
    return list(groups.values())


def _question(group: Sequence[Fact[Any]]) -> Command:
    first = group[0]
    return first.together.join([fact.command for fact in group]) if first.together and group[1:] else first.command


def _answers(group: Sequence[Fact[Any]], code: int, out: bytes, err: bytes) -> dict[Fact[Any], Result]:
    first = group[0]
    parts = first.together.part(out) if first.together and group[1:] and code == 0 else [out] * len(group)
    if len(parts) != len(group):
        # Nobody knows whose the answers are.
        code, err, parts = 1, b"%d answers to %d questions" % (len(parts), len(group)), [b""] * len(group)
    return {fact: Result(fact.command, code, part, err) for fact, part in zip(group, parts, strict=True)}


def _framed(command: Command, mark: str) -> str:
    given = f"printf '%s' {_quoted(command.input())} | " if command.stdin else ""
    quiet = f"{given}{command.line()} 2>&1 >&3" if given else f"{command.line()} </dev/null 2>&1 >&3"
    # Standard error is caught in a variable and told after the output, each part behind its mark.
    return (
        f'{{ err=$({quiet}); code=$?; }} 3>&1\nprintf \'\\n{mark} %s %s\\n%s\\n{mark}.\\n\' "$code" "${{#err}}" "$err"'
    )


def _quoted(data: bytes) -> str:
    return shlex.quote(data.decode())


def _unframe(output: bytes, mark: str) -> Iterable[tuple[int, bytes, bytes]]:
    for part in output.split(f"\n{mark}.\n".encode())[:-1]:
        out, _, rest = part.rpartition(f"\n{mark} ".encode())
        head, _, err = rest.partition(b"\n")
        yield int(head.split()[0]), out, err


def _parsed(host: str, fact: Fact[T], result: Result) -> T:
    try:
        value: T = fact.parse(result.text)
        return value
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise Unreadable(
            f"{host}: {fact.name} makes no sense: {result.text[:200]!r}",
            hint=f"run it by hand on the host: {fact.command}",
        ) from error
