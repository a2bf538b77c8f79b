"""A service as Compose resolved it, and the deadline that follows from the health checks."""

import json
from typing import Any

import pytest

from toolkit.stack import deadline
from toolkit.stack.service import Check, Limits, Service, parse_model, seconds
from toolkit.words.errors import ConfigError


def one(**body: Any) -> Service:
    return parse_model(json.dumps({"services": {"web": {"image": "web:1", **body}}}))["web"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("1h0m10s", 3610), ("16m0s", 960), ("500ms", 0.5), ("1.5s", 1.5), ("0s", 0), (30, 30.0), ("10us", 1e-5)],
)
def test_durations_are_read_as_go_writes_them(written: str | float, expected: float) -> None:
    assert seconds(written) == pytest.approx(expected)


def test_ports_are_read_with_address_protocol_and_ranges() -> None:
    ports = [
        {"target": 80, "published": "80", "protocol": "tcp"},
        {"target": 53, "published": "53", "protocol": "udp", "host_ip": "127.0.0.1"},
        {"target": 90, "published": "90-91", "protocol": "tcp"},
        {"target": 99, "protocol": "tcp"},
    ]
    assert one(ports=ports).ports == ("0.0.0.0:80/tcp", "127.0.0.1:53/udp", "0.0.0.0:90/tcp", "0.0.0.0:91/tcp")


def test_volumes_with_and_without_a_name_are_kept_and_mounts_are_not() -> None:
    mounts = [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "volume", "target": "/cache"},
        {"type": "bind", "source": "/etc", "target": "/etc"},
        {"type": "tmpfs", "target": "/tmp"},
    ]
    assert one(volumes=mounts).volumes == ("data", "anonymous at /cache")
    assert one(volumes=mounts).stateful
    assert not one(volumes=mounts[2:]).stateful
    assert not one(volumes=mounts, restart="no").stateful


@pytest.mark.parametrize(
    ("body", "check"),
    [
        (None, None),
        ({"disable": True}, Check(("NONE",))),
        ({"test": ["CMD", "true"], "interval": "5s", "retries": 2}, Check(("CMD", "true"), 5.0, 30.0, 2)),
        ({"test": "curl x", "start_period": "1m0s"}, Check(("CMD-SHELL", "curl x"), start=60.0)),
        ({"interval": "1s"}, Check((), interval=1.0)),
    ],
)
def test_a_health_check_is_read_with_composes_defaults(body: object, check: Check | None) -> None:
    assert one(healthcheck=body).check == check


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        ({}, Limits()),
        ({"deploy": {"resources": {"limits": {"memory": "512", "cpus": "0.5"}}}}, Limits(512, 0.5)),
        ({"deploy": {"resources": {"reservations": {"memory": "9", "cpus": "2"}}}}, Limits(0, 0.0, 9, 2.0)),
        ({"mem_limit": "77", "cpu_quota": 50000, "cpu_period": 100000}, Limits(77, 0.5)),
        ({"cpus": 1.5, "mem_reservation": "8", "cpu_quota": -1}, Limits(0, 1.5, 8)),
    ],
)
def test_limits_are_read_wherever_compose_has_them(body: dict[str, Any], limits: Limits) -> None:
    assert one(**body).limits == limits


def test_dependencies_namespaces_and_the_rest() -> None:
    needs = {"db": {"condition": "service_healthy"}, "bus": {"condition": "service_started", "restart": True}}
    found = one(depends_on=needs, network_mode="service:vpn", stop_grace_period="16m0s", container_name="it")
    assert found.needs == {"db": "service_healthy", "bus": "service_started"}
    assert (found.follows, found.joins, found.grace, found.fixed_name) == (("bus",), ("vpn",), 960, "it")


def chain(*patience: float) -> tuple[dict[str, Service], dict[str, Check | None]]:
    names = [f"s{number}" for number in range(len(patience))]
    services = {
        name: Service("x", needs={names[number - 1]: "service_healthy"} if number else {})
        for number, name in enumerate(names)
    }
    checks: dict[str, Check | None] = {
        name: Check(interval=0, timeout=0, start=each) for name, each in zip(names, patience, strict=True)
    }
    return services, checks


def test_the_deadline_adds_up_along_what_waits_and_not_beside_it() -> None:
    services, checks = chain(10, 20, 30)
    assert deadline.needed(services, checks) == 60
    apart = {name: Service("x") for name in services}
    assert deadline.needed(apart, checks) == 30


def test_one_shots_and_missing_checks_take_little_of_it() -> None:
    services = {
        "job": Service("x", one_shot=True),
        "plain": Service("x", needs={"job": "service_completed_successfully"}),
    }
    assert deadline.needed(services, {"job": Check(start=500), "plain": None}) == deadline.STEADY


def test_a_deadline_that_is_too_short_is_refused_with_what_would_do() -> None:
    services, checks = chain(100)
    assert deadline.agreed(None, services, checks) == 100 + deadline.SLACK
    assert deadline.agreed(100, services, checks) == 100
    assert deadline.agreed(None, *chain(1)) == deadline.LEAST
    with pytest.raises(ConfigError, match=r"ready_within is 1 m 39 s, and the health checks may take 1 m 40 s"):
        deadline.agreed(99, services, checks)


def test_circles_of_waiting_end() -> None:
    services = {"a": Service("x", needs={"b": ""}), "b": Service("x", needs={"a": ""})}
    assert deadline.needed(services, {"a": Check(start=1, interval=0, timeout=0), "b": None}) > 0
