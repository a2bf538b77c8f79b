"""Containers: read as Docker tells them, and judged by a table of every state they can be in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.stack.containers import CRASHES, STEADY, Container, State, judge, parse, read
from toolkit.stack.service import Service

RECORDED = (Path(__file__).parents[1] / "cases" / "stack" / "inspect-20.10.txt").read_text()

RUNNING = Container("id", "taskflow-api-1", "api", "api:1", "running", "", 0, False, 0, 60.0)
PLAIN = Service("api:1")
PLAIN = Service("api:1")
ONE_SHOT = Service("api:1", one_shot=True)


def container(**what: object) -> Container:
    return replace(RUNNING, **what)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> dict[str, Container]:
    return {one.service: one for one in parse(RECORDED)}


def test_every_container_is_read_and_those_of_compose_run_are_left_out(found: dict[str, Container]) -> None:
    names = [one.name for one in parse(RECORDED)]
    assert names == [f"taskflow-{service}-1" for service in ("crash", "db", "late", "migrate", "oom", "web")]
    assert found["db"].image == "debian:trixie"
    assert len(found["db"].id) == 64


def test_states_are_read_as_docker_tells_them(found: dict[str, Container]) -> None:
    assert {name: (one.status, one.health, one.exit_code, one.restarts) for name, one in found.items()} == {
        "crash": ("restarting", "", 1, 6),
        "db": ("running", "healthy", 0, 0),
        "late": ("created", "", 0, 0),
        "migrate": ("exited", "", 0, 0),
        "oom": ("exited", "", 137, 0),
        "web": ("running", "unhealthy", 0, 0),
    }


def test_age_is_counted_by_the_hosts_own_clock_from_the_last_start(found: dict[str, Container]) -> None:
    assert found["db"].age == pytest.approx(8.582, abs=0.001)
    assert found["crash"].age == pytest.approx(1.854, abs=0.001)


def test_a_health_log_keeps_the_last_three_words(found: dict[str, Container]) -> None:
    assert found["web"].health_log == ("connection refused",) * 3
    assert found["crash"].health_log == ()


def test_published_ports_are_told_with_their_address(found: dict[str, Container]) -> None:
    assert found["db"].ports == ("127.0.0.1:32768→80",)


def inspected(ports: object = None, started: str = "2026-01-02T03:04:05Z", output: str = "") -> str:
    health = {"Status": "starting", "Log": [{"Output": output}]}
    state = {"ExitCode": 0, "OOMKilled": False, "StartedAt": started, "Status": "running", "Health": health}
    labels = {"com.docker.compose.service": "a"}
    return json.dumps(
        {"id": "x", "name": "/s-a-1", "state": state, "restarts": 0, "image": "i", "labels": labels, "ports": ports},
        ensure_ascii=False,
    )


def binding(address: str, port: int) -> dict[str, str]:
    return {"HostIp": address, "HostPort": str(port)}


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        (None, ()),
        ({"80/tcp": None}, ()),
        ({"80/tcp": [binding("0.0.0.0", 8080), binding("0.0.0.0", 8080)]}, ("0.0.0.0:8080→80",)),
        ({"53/udp": [binding("", 53)]}, ("0.0.0.0:53→53/udp",)),
        ({"80/tcp": [binding("::", 80), binding("0.0.0.0", 80)]}, ("0.0.0.0:80→80", ":::80→80")),
    ],
    ids=["none", "exposed only", "twice the same", "udp without an address", "both families"],
)
def test_ports_are_told_once_each(ports: object, told: tuple[str, ...]) -> None:
    assert parse(f"1767323045.5\n{inspected(ports)}\n")[0].ports == told


@pytest.mark.parametrize(
    ("started", "age"),
    [
        ("2026-01-02T03:04:05Z", 0.5),
        ("2026-01-02T03:04:05.25Z", 0.25),
        ("2026-01-02T03:04:05.123456789Z", 0.377),
        ("2026-01-02T03:04:09.0Z", 0.0),
    ],
    ids=["whole seconds", "hundredths", "nanoseconds", "a start in the future"],
)
def test_a_start_is_read_however_many_digits_it_has(started: str, age: float) -> None:
    (one,) = parse(f"1767323045.5\n{inspected(started=started)}\n")
    assert one.age == pytest.approx(age, abs=0.001)


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\x1c", "\x0b"], ids=["NEL", "LS", "FS", "VT"])
def test_odd_line_ends_inside_a_health_log_cut_nothing(odd: str) -> None:
    assert parse(f"1\n{inspected(output=f'a{odd}b')}\n")[0].health_log == (f"a{odd}b",)


def test_a_host_where_nothing_runs_has_no_containers() -> None:
    assert parse("1767323045.5\n") == ()


def test_what_is_asked_names_the_project_as_an_argument() -> None:
    assert "$(reboot)" in read("$(reboot)").argv
    assert "reboot" not in read("$(reboot)").argv[2]


VERDICTS: list[tuple[str, Service, dict[str, object], State, str]] = [
    ("healthy", PLAIN, {"health": "healthy"}, "healthy", "its health check passes"),
    ("healthy from the first second on", PLAIN, {"health": "healthy", "age": 0.1}, "healthy", "passes"),
    ("unhealthy", PLAIN, {"health": "unhealthy"}, "failed", "its health check fails"),
    ("not checked yet", PLAIN, {"health": "starting"}, "starting", "starting"),
    ("no check, just up", PLAIN, {"age": STEADY - 0.1}, "starting", "just started"),
    ("no check, up for a while", PLAIN, {"age": STEADY}, "healthy", "runs without restarts"),
    ("created", PLAIN, {"status": "created"}, "starting", "created"),
    ("paused", PLAIN, {"status": "paused"}, "starting", "paused"),
    ("being removed", PLAIN, {"status": "removing"}, "starting", "removing"),
    ("restarting once", PLAIN, {"status": "restarting", "restarts": 1}, "starting", "restarting"),
    ("crash loop, at rest", PLAIN, {"status": "restarting", "restarts": CRASHES, "exit_code": 2}, "failed",
     "restarted 3 times"),
    ("crash loop, up right now", PLAIN, {"restarts": CRASHES, "age": 1.0}, "failed", "restarted 3 times"),
    ("crash loop with a check that passes", PLAIN, {"restarts": CRASHES, "health": "healthy"}, "failed", "restarted"),
    ("ended", PLAIN, {"status": "exited", "exit_code": 1}, "failed", "exited with code 1"),
    ("ended well, but nobody asked it to", PLAIN, {"status": "exited"}, "failed", "exited with code 0"),
    ("dead", PLAIN, {"status": "dead", "exit_code": 137}, "failed", "exited with code 137"),
    ("out of memory", PLAIN, {"status": "exited", "exit_code": 137, "oom_killed": True}, "failed", "out of memory"),
    ("one-shot at work", ONE_SHOT, {}, "starting", "at work"),
    ("one-shot done", ONE_SHOT, {"status": "exited"}, "done", "finished with exit code 0"),
    ("one-shot failed", ONE_SHOT, {"status": "exited", "exit_code": 3}, "failed", "exited with code 3"),
    ("one-shot out of memory", ONE_SHOT, {"status": "exited", "oom_killed": True}, "failed", "out of memory"),
    ("one-shot not begun", ONE_SHOT, {"status": "created"}, "starting", "created"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "service", "what", "state", "reason"), VERDICTS, ids=[row[0] for row in VERDICTS])
def test_every_state_has_its_verdict(
    case: str, service: Service, what: dict[str, object], state: State, reason: str
) -> None:
    (verdict,) = judge({"api": service}, [container(**what)])
    assert verdict.state == state
    assert reason in verdict.reason
    assert verdict.good == (state in ("healthy", "done"))


def test_a_service_with_too_few_containers_is_missing_some() -> None:
    (verdict,) = judge({"api": Service("api:1", replicas=3)}, [container(), container(name="taskflow-api-2")])
    assert (verdict.state, verdict.reason, verdict.good) == ("missing", "2 of 3 containers", False)


def test_a_service_of_which_none_should_run_is_as_it_should_be() -> None:
    (verdict,) = judge({"api": Service("api:1", replicas=0)}, [])
    assert verdict.good


@pytest.mark.parametrize(
    ("others", "state"),
    [
        ([{}, {}], "healthy"),
        ([{}, {"age": 0.0}], "starting"),
        ([{"age": 0.0}, {"status": "exited", "exit_code": 1}], "failed"),
        ([{}, {"restarts": CRASHES}], "failed"),
    ],
)
def test_a_service_is_as_well_as_its_worst_container(others: list[dict[str, object]], state: State) -> None:
    for order in (others, others[::-1]):
        (verdict,) = judge({"api": Service("api:1", replicas=2)}, [container(**what) for what in order])
        assert verdict.state == state
        assert len(verdict.containers) == 2


def test_what_runs_beside_the_stack_is_not_judged() -> None:
    verdicts = judge({"api": PLAIN, "db": PLAIN}, [container(), container(service="old", status="dead")])
    assert [(verdict.service, verdict.state) for verdict in verdicts] == [("api", "healthy"), ("db", "missing")]


def test_the_recorded_stack_is_judged_as_a_person_would() -> None:
    expected = dict.fromkeys(("crash", "db", "late", "oom", "web"), PLAIN) | {"migrate": ONE_SHOT}
    assert {verdict.service: verdict.state for verdict in judge(expected, parse(RECORDED))} == {
        "crash": "failed", "db": "healthy", "late": "starting", "migrate": "done", "oom": "failed", "web": "failed",
    }  # fmt: skip
