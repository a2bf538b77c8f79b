"""The gate: it waits as long as it may, ends as soon as it can, and brings the evidence."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat

import pytest

from toolkit.host.fake import FakeHost
from toolkit.stack import containers, gate
from toolkit.stack.containers import Container, State, Verdict
from toolkit.stack.gate import Patience
from toolkit.stack.service import Service
from toolkit.words.clock import FakeClock
from toolkit.words.command import Command, Result
from toolkit.words.errors import Stopped
from toolkit.words.report import Silent

ONE = Container("id-1", "s-api-1", "api", "api:1", "running", "", 0, False, 0, 60.0)


class Heard(Silent):
    def __init__(self) -> None:
        self.shares: list[tuple[float, float, str]] = []

    def progress(self, done: float, total: float, note: str = "") -> None:
        self.shares.append((done, total, note))


def verdicts(*states: State) -> tuple[Verdict, ...]:
    return tuple(Verdict(f"s{number}", state, f"is {state}") for number, state in enumerate(states))


def waited(
    looks: Iterable[Sequence[Verdict]], within: float = 60, steady: float = 0
) -> tuple[Sequence[Verdict], float, Heard]:
    seen: Iterator[Sequence[Verdict]] = iter(looks)
    clock, heard = FakeClock(), Heard()
    last = gate.wait(lambda: next(seen), Patience(within, steady), clock=clock, listener=heard)
    return last.verdicts, clock.time, heard


def test_a_stack_that_is_healthy_already_costs_no_time() -> None:
    last, took, _ = waited([verdicts("healthy", "done")])
    assert (took, [one.state for one in last]) == (0, ["healthy", "done"])


def test_it_waits_until_the_last_service_is_healthy() -> None:
    looks = [verdicts("missing", "missing"), verdicts("healthy", "starting"), verdicts("healthy", "healthy")]
    last, took, heard = waited(looks)
    assert all(one.good for one in last)
    assert took == 2 * gate.INTERVAL
    assert heard.shares == [
        (0, 2, "waiting for s0 (is missing), s1 (is missing)"),
        (1, 2, "waiting for s1 (is starting)"),
        (2, 2, "all healthy"),
    ]


def test_it_gives_up_when_the_time_is_over_and_returns_what_it_saw() -> None:
    last, took, _ = waited(repeat(verdicts("healthy", "starting")), within=30)
    assert (took, [one.state for one in last]) == (30, ["healthy", "starting"])


def test_it_looks_once_more_at_the_very_end() -> None:
    looks = chain(repeat(verdicts("starting"), 60), [verdicts("healthy")])
    last, took, _ = waited(looks, within=30)
    assert (took, last[0].good) == (30, True)


def test_a_service_that_failed_ends_the_waiting_at_once() -> None:
    last, took, _ = waited(chain([verdicts("starting", "starting")], repeat(verdicts("failed", "starting"))))
    assert (took, last[0].state) == (gate.INTERVAL, "failed")


def test_no_time_at_all_is_one_look() -> None:
    last, took, _ = waited([verdicts("starting")], within=0)
    assert (took, last[0].state) == (0, "starting")


def test_all_has_to_stay_good_for_a_while() -> None:
    looks = chain([verdicts("healthy"), verdicts("starting")], repeat(verdicts("healthy")))
    last, took, heard = waited(looks, steady=2)
    assert last[0].good
    assert took == 2 * gate.INTERVAL + 2
    assert "whether they stay so" in heard.shares[-2][2]


def test_a_restart_begins_the_wait_anew() -> None:
    def with_restarts(count: int) -> tuple[Verdict, ...]:
        return (Verdict("api", "healthy", "", (replace(ONE, restarts=count),)),)

    looks = chain(repeat(with_restarts(0), 3), repeat(with_restarts(1)))
    _, took, _ = waited(looks, steady=2)
    assert took == 3 * gate.INTERVAL + 2


def test_what_is_asked_beside_counts_until_the_time_is_over() -> None:
    answers = chain([["the page is blank"]] * 3, repeat([]))
    clock = FakeClock()
    passed = gate.wait(
        lambda: verdicts("healthy"), Patience(60), clock=clock, listener=Heard(), ask=lambda _: next(answers)
    )
    assert (passed.good, clock.time) == (True, 3 * gate.INTERVAL)
    never = gate.wait(
        lambda: verdicts("healthy"), Patience(5), clock=FakeClock(), listener=Heard(), ask=lambda _: ["blank"]
    )
    assert (never.good, never.complaints) == (False, ("blank",))


def test_a_stop_ends_the_wait_at_the_next_look() -> None:
    asked = iter([False, False, True])

    def pause() -> None:
        if next(asked):
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        gate.wait(lambda: verdicts("starting"), Patience(60), clock=FakeClock(), listener=Heard(), pause=pause)


def test_a_look_is_one_command_judged_by_what_is_expected() -> None:
    host = FakeHost()
    host.answer("sh", "1767323045.5\n")
    seen = gate.look(host, "taskflow", {"api": Service("api:1")})
    assert [(one.service, one.state) for one in seen] == [("api", "missing")]
    assert host.ran == [containers.read("taskflow")]


def logs_of(texts: dict[str, str], events: str = "") -> FakeHost:
    def logs(asked: Command) -> Result:
        return Result(asked, 0, f"{events}last words\n{texts[asked.argv[4]]}".encode())

    return FakeHost(programs={"sh": logs})


def test_the_evidence_has_the_reason_the_health_check_and_the_last_lines() -> None:
    sick = replace(ONE, health="unhealthy", health_log=("ok", "connection refused"))
    host = logs_of({"id-1": "starting\npanic: no database\n"})
    (diagnosis,) = gate.diagnose(host, [Verdict("api", "failed", "its health check fails", (sick,))])
    assert str(diagnosis).splitlines() == [
        "api: its health check fails",
        "  health check said: connection refused",
        "  | starting",
        "  | panic: no database",
    ]


def test_the_evidence_says_when_it_was_the_memory() -> None:
    dead = replace(ONE, status="exited", exit_code=137, oom_killed=True)
    (diagnosis,) = gate.diagnose(logs_of({"id-1": ""}), [Verdict("api", "failed", "killed: out of memory", (dead,))])
    assert (diagnosis.exit_code, diagnosis.oom_killed) == (137, True)
    assert "for memory" in str(diagnosis)


def test_how_a_container_died_that_runs_again_is_asked_of_the_engine() -> None:
    again = replace(ONE, restarts=3, exit_code=0)
    host = logs_of({"id-1": "allocating\n"}, "die 1\noom <no value>\ndie 137\n")
    (diagnosis,) = gate.diagnose(host, [Verdict("api", "failed", "restarted 3 times", (again,))])
    assert str(diagnosis).splitlines() == [
        "api: restarted 3 times",
        "  the kernel killed it for memory",
        "  its last exit code was 137",
        "  | allocating",
    ]


def test_only_what_is_not_well_is_diagnosed() -> None:
    host = logs_of({"id-1": ""})
    found = gate.diagnose(host, [Verdict("db", "healthy", "", (ONE,)), Verdict("api", "starting", "x", (ONE,))])
    assert [one.service for one in found] == ["api"]
    assert len(host.ran) == 1


def test_a_service_without_a_container_has_no_logs_to_ask_for() -> None:
    host = FakeHost()
    (diagnosis,) = gate.diagnose(host, [Verdict("api", "missing", "0 of 1 containers")])
    assert str(diagnosis) == "api: 0 of 1 containers"
    assert host.ran == []


@pytest.mark.parametrize(
    "worse",
    [{"health": "unhealthy"}, {"restarts": 4}, {"status": "exited", "exit_code": 1}, {"status": "restarting"}],
    ids=["unhealthy", "crashed", "ended", "restarting"],
)
def test_the_evidence_comes_from_the_container_that_is_worst(worse: dict[str, object]) -> None:
    other = replace(ONE, id="id-2", **worse)  # type: ignore[arg-type]
    host = logs_of({"id-1": "all is well", "id-2": "panic"})
    for order in ((ONE, other), (other, ONE)):
        (diagnosis,) = gate.diagnose(host, [Verdict("api", "failed", "x", order)])
        assert diagnosis.last_lines == ("panic",)


def test_logs_that_cannot_be_read_do_not_hide_the_verdict() -> None:
    host = FakeHost()
    host.answer("sh", "Error: No such container: id-1\n", code=1)
    (diagnosis,) = gate.diagnose(host, [Verdict("api", "failed", "exited with code 1", (ONE,))])
    assert str(diagnosis).startswith("api: exited with code 1\n")
