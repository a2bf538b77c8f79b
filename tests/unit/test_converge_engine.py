"""The engine: it asks in batches, plans without touching anything, applies in order and proves what it did."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.converge import Change, Check, Fact, Facts, Operation, Unreadable, apply, operation, plan
from toolkit.converge.changes import difference
from toolkit.host import File, Host
from toolkit.host.local import LocalHost
from toolkit.words.command import Command, command, script
from toolkit.words.errors import HostError, NotConverged
from toolkit.words.report import Silent
from toolkit.words.values import Secret

ABSENT = "absent"


def nobody() -> Secret:
    raise AssertionError("no password is needed here")


@pytest.fixture(scope="module")
def machine() -> Iterator[LocalHost]:
    host = LocalHost("here", nobody)
    yield host
    host.close()


@pytest.fixture
def facts(machine: LocalHost) -> Facts:
    return Facts(machine)


class Heard(Silent):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def step(self, title: str) -> None:
        self.told.append(("step", title))

    def line(self, text: str) -> None:
        self.told.append(("line", text))

    def done(self, note: str = "") -> None:
        self.told.append(("done", note))


def content_of(path: Path) -> Fact[str]:
    return Fact(f"content of {path.name}", script(f'cat "$1" 2>/dev/null || echo {ABSENT}', str(path)), str.strip)


def write(path: Path, text: str) -> Command:
    return script('printf "%s" "$2" >"$1"', str(path), text)


@operation
def holds(facts: Facts, path: Path, text: str) -> Iterator[Change]:
    if facts.get(content_of(path)) != text:
        yield Change(f"write {path.name}", write(path, text))


@operation
def never_content(facts: Facts, path: Path) -> Iterator[Change]:
    facts.get(content_of(path))
    yield Change(f"touch {path.name}", command("touch", str(path)))


@operation
def needs_a_place(facts: Facts, folder: Path) -> Iterator[Change]:
    listing = Fact(f"listing of {folder.name}", command("ls", str(folder)), str.split)
    if "inside" not in facts.get(listing):
        yield Change("write inside", write(folder / "inside", "x"))


@operation
def place(facts: Facts, folder: Path) -> Iterator[Change]:
    there = Fact("place", script('[ ! -d "$1" ] || echo yes', str(folder)), str.strip)
    if not facts.get(there):
        yield Change("make the place", command("mkdir", str(folder)))


def fails(summary: str = "fail") -> Change:
    return Change(summary, script("echo broken >&2; exit 1"))


def test_an_operation_is_named_by_its_home_and_its_subject(tmp_path: Path) -> None:
    @operation
    def packages(facts: Facts, *names: str) -> Iterator[Change]:
        yield from ()

    assert packages("curl", "jq").name.endswith("test_converge_engine.packages curl")
    assert holds(tmp_path / "a", "x").name.endswith(".holds x")


def test_many_operations_cost_one_round_trip(facts: Facts, tmp_path: Path) -> None:
    outcome = plan(facts, [holds(tmp_path / str(number), "x") for number in range(30)])
    assert (outcome.round_trips, outcome.changes, outcome.operations) == (1, 30, 30)


def test_facts_that_follow_from_facts_cost_one_more_round_trip_for_all(facts: Facts, tmp_path: Path) -> None:
    @operation
    def follows(facts: Facts, first: Path) -> Iterator[Change]:
        second = facts.get(content_of(first))
        if facts.get(content_of(tmp_path / second)) == ABSENT:
            yield Change(f"make {second}", command("true"))

    for number in range(5):
        (tmp_path / f"from{number}").write_text(f"to{number}")
    outcome = plan(facts, [follows(tmp_path / f"from{number}") for number in range(5)])
    assert [step.changes[0].summary for step in outcome.steps] == [f"make to{number}" for number in range(5)]
    assert outcome.round_trips == 2


def test_a_fact_that_two_operations_share_is_read_once(facts: Facts, tmp_path: Path) -> None:
    reads = tmp_path / "reads"
    fact = Fact("shared", script('echo read >>"$1"; echo value', str(reads)), str.strip)

    @operation
    def shares(facts: Facts, number: int) -> Iterator[Change]:
        assert facts.get(fact) == "value"
        yield from ()

    plan(facts, [shares(1), shares(2)])
    assert reads.read_text() == "read\n"


def test_a_plan_changes_nothing(facts: Facts, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    outcome = plan(facts, [holds(tmp_path / "there", "new"), holds(tmp_path / "gone", "new"), never_content(tmp_path)])
    assert outcome.changes == 3
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"there": "old"}


def test_a_plan_tells_only_of_operations_that_want_something(facts: Facts, tmp_path: Path) -> None:
    (tmp_path / "right").write_text("x")
    outcome = plan(facts, [holds(tmp_path / "right", "x"), holds(tmp_path / "wrong", "x")])
    assert [change.summary for step in outcome.steps for change in step.changes] == ["write wrong"]
    assert outcome.operations == 2


def test_what_cannot_be_known_yet_is_a_note_that_counts_as_a_change(facts: Facts, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    outcome = plan(facts, [place(folder), needs_a_place(folder)])
    assert outcome.steps[0].note == ""
    assert outcome.steps[1].note.startswith("known after apply: here: cannot read listing of folder")
    assert outcome.changes == 2


def test_applying_reads_again_what_could_not_be_known_before(facts: Facts, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    outcome = apply(facts, [place(folder), needs_a_place(folder)], Silent())
    assert (folder / "inside").read_text() == "x"
    assert outcome.changes == 2


def test_what_stays_unreadable_while_applying_is_an_error(facts: Facts, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="listing of nowhere"):
        apply(facts, [needs_a_place(tmp_path / "nowhere")], Silent())


def test_applying_keeps_the_order(facts: Facts, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def once(number: int) -> Operation:
        append = Change(f"append {number}", script('printf "%s" "$2" >>"$1"', str(log), number))

        @operation
        def appended(facts: Facts) -> Iterator[Change]:
            if str(number) not in facts.get(content_of(log)):
                yield append

        return appended()

    outcome = apply(facts, [once(number) for number in (3, 1, 2)], Silent())
    assert log.read_text() == "312"
    assert outcome.changes == 3


def test_a_second_run_changes_nothing_and_costs_one_round_trip(machine: LocalHost, tmp_path: Path) -> None:
    operations = [holds(tmp_path / str(number), "x") for number in range(10)]
    apply(Facts(machine), operations, Silent())
    again = apply(Facts(machine), operations, Silent())
    assert (again.changes, again.steps, again.round_trips) == (0, (), 1)


def test_what_the_next_change_makes_forgotten_is_not_read(facts: Facts, tmp_path: Path) -> None:
    reads = tmp_path / "reads"

    @operation
    def steady(facts: Facts, number: int) -> Iterator[Change]:
        look = script('echo "$2" >>"$1"', str(reads), number)
        facts.get(Fact(f"steady {number}", look, str))
        yield from ()

    wanted = [holds(tmp_path / "a", "x"), steady(1), holds(tmp_path / "b", "x"), steady(2), steady(3)]
    outcome = apply(facts, wanted, Silent())
    # All at first; then each where nothing changes any more before it is asked.
    assert reads.read_text().split() == ["1", "2", "3", "1", "2", "3"]
    # The first look, and the proof of each change together with what comes after it.
    assert outcome.round_trips == 3


def test_a_change_nobody_foresaw_makes_what_was_read_forgotten_all_the_same(facts: Facts, tmp_path: Path) -> None:
    @operation
    def undoes(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(tmp_path / "a")) != "x":
            yield Change("write a, lose b", script('printf x >"$1"; rm "$2"', str(tmp_path / "a"), str(tmp_path / "b")))

    (tmp_path / "b").write_text("x")
    apply(facts, [undoes(), holds(tmp_path / "b", "x")], Silent())
    assert (tmp_path / "b").read_text() == "x"


def test_a_change_that_fails_stops_the_run_and_nothing_known_before_is_trusted(facts: Facts, tmp_path: Path) -> None:
    @operation
    def half(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(tmp_path / "half")) != "done":
            yield Change("write half", write(tmp_path / "half", "begun"))
            yield fails()
            yield Change("never", write(tmp_path / "never", "x"))

    with pytest.raises(HostError, match="broken"):
        apply(facts, [half(), holds(tmp_path / "later", "x")], Silent())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half"]
    facts.ask([content_of(tmp_path / "half")])
    assert facts.get(content_of(tmp_path / "half")) == "begun"


def test_an_operation_that_still_wants_something_is_told_with_what_it_wants(facts: Facts, tmp_path: Path) -> None:
    after = holds(tmp_path / "after", "x")
    with pytest.raises(NotConverged, match=r"here: .*never_content still wants, after applying: touch it"):
        apply(facts, [never_content(tmp_path / "it"), after], Silent())
    assert not (tmp_path / "after").exists()


def test_an_operation_is_judged_by_what_is_true_and_not_by_what_it_ran(facts: Facts, tmp_path: Path) -> None:
    @operation
    def undone(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(tmp_path / "x")) != "new":
            yield Change("write x", write(tmp_path / "x", "new"))
            yield Change("undo x", write(tmp_path / "x", "old"))

    with pytest.raises(NotConverged):
        apply(facts, [undone()], Silent())


def test_a_change_may_be_a_file_whose_secret_shows_nowhere(facts: Facts, tmp_path: Path) -> None:
    heard = Heard()

    @operation
    def key(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(tmp_path / "key")) != "hunter2":
            yield Change("write key", File(f"{tmp_path}/key", Secret.of("hunter2"), 0o600))

    outcome = apply(facts, [key()], heard)
    assert (tmp_path / "key").read_text() == "hunter2"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in f"{outcome!r} {heard.told}"


def test_files_that_stand_together_are_sent_together_and_in_their_place(
    machine: LocalHost, facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[str]] = []
    send = machine.send

    def counting(files: list[File]) -> None:
        sent.append([Path(file.path).name for file in files])
        send(files)

    monkeypatch.setattr(machine, "send", counting)
    heard = Heard()

    @operation
    def several(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(tmp_path / "c")) == ABSENT:
            yield Change("write a", File(f"{tmp_path}/a", b"1"))
            yield Change("write b", File(f"{tmp_path}/b", b"2"))
            yield Change("join them", script('cat "$1/a" "$1/b" >"$1/joined"', str(tmp_path)))
            yield Change("write c", File(f"{tmp_path}/c", b"3"))

    apply(facts, [several()], heard)
    assert sent == [["a", "b"], ["c"]]
    assert (tmp_path / "joined").read_text() == "12"
    assert [text for kind, text in heard.told if kind == "line"] == ["write a", "write b", "join them", "write c"]


def checked(proof: Callable[[Host], None], path: Path) -> Operation:
    @operation
    def guarded(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(path)) != "x":
            yield Change("prove it is safe", Check(proof))
            yield Change("write", write(path, "x"))

    return guarded()


def test_a_check_that_refuses_keeps_what_comes_after_from_happening(facts: Facts, tmp_path: Path) -> None:
    def refuse(host: Host) -> None:
        raise HostError(f"{host.name}: nobody could log in")

    with pytest.raises(HostError, match="here: nobody could log in"):
        apply(facts, [checked(refuse, tmp_path / "x")], Silent())
    assert list(tmp_path.iterdir()) == []


def test_a_check_is_asked_while_applying_and_never_while_planning(facts: Facts, tmp_path: Path) -> None:
    asked: list[str] = []
    guarded = checked(lambda host: asked.append(host.name), tmp_path / "x")
    assert plan(facts, [guarded]).changes == 2
    assert asked == []
    apply(facts, [guarded], Silent())
    assert asked == ["here"]


def test_the_person_hears_each_operation_each_change_and_its_output(facts: Facts, tmp_path: Path) -> None:
    @operation
    def noisy(facts: Facts) -> Iterator[Change]:
        if facts.get(content_of(tmp_path / "n")) != "x":
            yield Change("say it", script("echo so be it"))
            yield Change("write n", write(tmp_path / "n", "x"))

    heard = Heard()
    apply(facts, [noisy(), holds(tmp_path / "m", "x")], heard)
    assert [kind for kind, _ in heard.told] == ["step", "line", "line", "line", "done", "step", "line", "done"]
    assert [text for kind, text in heard.told if kind != "step"] == [
        "say it", "so be it", "write n", "2 changes", "write m", "1 change",
    ]  # fmt: skip


def test_silence_is_heard_where_nothing_changes(facts: Facts, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("x")
    heard = Heard()
    apply(facts, [holds(tmp_path / "m", "x")], heard)
    assert heard.told == []


def test_an_operation_may_be_made_of_operations(facts: Facts, tmp_path: Path) -> None:
    @operation
    def both(facts: Facts) -> Iterator[Change]:
        yield from holds(tmp_path / "one", "x")(facts)
        yield from holds(tmp_path / "two", "x")(facts)

    assert apply(facts, [both()], Silent()).changes == 2
    assert plan(facts, [both()]).changes == 0


@pytest.mark.parametrize(
    ("before", "after", "diff"),
    [
        ("a\n", "a\n", ""),
        (None, "a\n", "--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+a\n"),
        ("a\n", None, "--- /etc/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"),
        ("a\nb\n", "a\nc\n", "--- /etc/x\n+++ /etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
        ("a", "b", "--- /etc/x\n+++ /etc/x\n@@ -1 +1 @@\n-a\n+b\n"),
        (None, "", ""),
    ],
    ids=["same", "new", "gone", "changed", "no line end", "empty"],
)
def test_a_difference_is_a_unified_diff(before: str | None, after: str | None, diff: str) -> None:
    assert difference(before, after, "/etc/x") == diff
