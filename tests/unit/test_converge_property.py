"""Whatever is wanted of whatever is there: applying converges, planning touches nothing, a second run is silent."""

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.converge import Change, Fact, Facts, Operation, apply, operation, plan
from toolkit.host import File
from toolkit.host.fake import FakeHost
from toolkit.words.command import Command, Result, command
from toolkit.words.report import Silent

NAMES = st.sampled_from([f"/srv/{letter}" for letter in "abcdef"])
TEXTS = st.text("xy\n", max_size=3)


def far_side(host: FakeHost) -> None:
    """Give a fake host three programs over its own files: `content`, `remove` and the batch of facts itself."""

    def content(asked: Command) -> Result:
        found = host.files.get(asked.argv[1])
        return Result(asked, 0, b"-" if found is None else b"+" + found.body)

    def remove(asked: Command) -> Result:
        return Result(asked, 0 if host.files.pop(asked.argv[1], None) else 1)

    def batch(asked: Command) -> Result:
        answer = b""
        for line in asked.input().decode().split("{ err=$(")[1:]:
            words = line.split(" </dev/null")[0].split()
            mark = line.rsplit("\\n", 2)[-2].removesuffix(".").encode()
            answer += content(command(*words)).stdout + b"\n" + mark + b" 0 0\n\n" + mark + b".\n"
        return Result(asked, 0, answer)

    host.programs |= {"content": content, "remove": remove, "sh": batch}


def content(path: str) -> Fact[str | None]:
    return Fact(f"content of {path}", command("content", path), lambda text: text[1:] if text[0] == "+" else None)


@operation
def holds(facts: Facts, path: str, text: str) -> Iterator[Change]:
    if facts.get(content(path)) != text:
        yield Change(f"write {path}", File(path, text.encode()))


@operation
def absent(facts: Facts, path: str) -> Iterator[Change]:
    if facts.get(content(path)) is not None:
        yield Change(f"remove {path}", command("remove", path))


@operation
def copied(facts: Facts, source: str, target: str) -> Iterator[Change]:
    # Two levels: what the target should hold is known once the source has been read.
    wanted = facts.get(content(source))
    yield from (absent(target) if wanted is None else holds(target, wanted))(facts)


@dataclass(frozen=True)
class Wish:
    """An operation with the one path it decides about and the one it reads."""

    made: Operation
    target: str
    source: str | None = None


WISHES = (
    st.builds(lambda path, text: Wish(holds(path, text), path), NAMES, TEXTS)
    | st.builds(lambda path: Wish(absent(path), path), NAMES)
    | st.builds(lambda source, target: Wish(copied(source, target), target, source), NAMES, NAMES)
)


def without_contradictions(wishes: list[Wish]) -> list[Operation]:
    """Keep the first wish for each path, and none that changes what an earlier one has copied from."""
    kept: dict[str, Operation] = {}
    read: set[str] = set()
    for wish in wishes:
        if wish.target not in kept and wish.target not in read and wish.source != wish.target:
            kept[wish.target] = wish.made
            read |= {wish.source} if wish.source else set()
    return list(kept.values())


def a_host(there: dict[str, str]) -> FakeHost:
    host = FakeHost(files={path: File(path, text.encode()) for path, text in there.items()})
    far_side(host)
    return host


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAMES, TEXTS), st.lists(WISHES, max_size=6).map(without_contradictions))
def test_applying_converges_whatever_was_there(there: dict[str, str], operations: list[Operation]) -> None:
    host = a_host(there)
    planned = plan(Facts(host), operations)
    assert {path: file.body.decode() for path, file in host.files.items()} == there
    assert all(asked.argv[:2] == ("sh", "-c") for asked in host.ran)

    applied = apply(Facts(host), operations, Silent())
    assert applied.operations == planned.operations == len(operations)

    after = dict(host.files)
    again = plan(Facts(host), operations)
    assert (again.steps, again.changes) == ((), 0)
    assert again.round_trips <= 2
    assert apply(Facts(host), operations, Silent()).changes == 0
    assert host.files == after


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, TEXTS), st.lists(WISHES, max_size=6).map(without_contradictions))
def test_planning_twice_says_the_same(there: dict[str, str], operations: list[Operation]) -> None:
    host = a_host(there)
    assert plan(Facts(host), operations) == plan(Facts(host), operations)
