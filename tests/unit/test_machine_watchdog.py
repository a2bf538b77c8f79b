"""The watchdog's and the sender's units, and who is told: what a host lacks of them, from what it says."""

import json
from pathlib import Path

import pytest

from toolkit.config.models import HostFile, Machine, Notify, Stack, Watchdog
from toolkit.converge import Operation
from toolkit.converge.changes import Fed
from toolkit.converge.fake import FakeFacts
from toolkit.machine import files, notify, systemd, watchdog
from toolkit.stack.watchdog.policy import Policy
from toolkit.vault import addresses
from toolkit.words.values import Duration, Secret

RUNNING = """\
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no
ConditionResult=yes
ConditionTimestampMonotonic=1761728252
"""
UNKNOWN = RUNNING.replace("=loaded", "=not-found").replace("=active", "=inactive").replace("=enabled", "=")
STACK = Stack(name="shop", directory=".")


def host_file(**more: object) -> HostFile:
    return HostFile(**{"name": "prod", "root": Path(), "connection": "local", "stack": STACK, **more})


def said(content: str, mode: str = "644") -> str:
    return f"regular file|{mode}|root|root\n{content}"


def test_a_host_with_a_stack_is_watched_as_its_file_says() -> None:
    wanted = watchdog.wanted(host_file(watchdog=Watchdog(every=Duration(5), leave=("cache",))))
    assert wanted == Policy("shop", every=5.0, leave=("cache",))
    assert watchdog.wanted(host_file()) == Policy("shop")


@pytest.mark.parametrize("without", [{"watchdog": None}, {"stack": None}, {"machine": Machine(docker=False)}])
def test_a_host_without_one_of_these_is_not_watched(without: dict[str, object]) -> None:
    assert watchdog.wanted(host_file(**without)) is None


def changes(operations: list[Operation], facts: FakeFacts) -> list[str]:
    return [change.summary for operation in operations for change in operation(facts)]


def converged() -> FakeFacts:
    facts = FakeFacts()
    facts.tell(files.text("/etc/toolkit"), "directory|755|root|root\n")
    facts.tell(files.text(watchdog.POLICY), said(Policy("shop").dumps()))
    facts.tell(files.text(f"/etc/systemd/system/{watchdog.SERVICE}"), said(watchdog.UNIT))
    facts.tell(systemd.state(watchdog.SERVICE), RUNNING)
    facts.tell(systemd.stale(watchdog.SERVICE, watchdog.POLICY, "/opt/toolkit/current"), "")
    return facts


def test_a_watched_host_needs_nothing_and_a_new_agent_or_policy_needs_a_restart() -> None:
    facts = converged()
    assert changes(watchdog.operations(host_file()), facts) == []
    facts.tell(systemd.stale(watchdog.SERVICE, watchdog.POLICY, "/opt/toolkit/current"), "/opt/toolkit/current\n")
    told = "restart toolkit-watchdog.service, which has not read /opt/toolkit/current"
    assert changes(watchdog.operations(host_file()), facts) == [told]


def test_a_bare_host_gets_the_policy_and_the_unit_that_reads_it() -> None:
    facts = converged()
    facts.tell(files.text(f"/etc/systemd/system/{watchdog.SERVICE}"), "absent\n")
    assert changes(watchdog.operations(host_file()), facts) == [
        f"write /etc/systemd/system/{watchdog.SERVICE}",
        f"let systemd read {watchdog.SERVICE}",
    ]


def test_a_watchdog_that_is_turned_off_ends() -> None:
    off = watchdog.operations(host_file(watchdog=None))
    assert changes(off, converged()) == [
        "disable toolkit-watchdog.service",
        "stop toolkit-watchdog.service",
        "remove /etc/toolkit/watchdog.json",
    ]
    facts = FakeFacts()
    facts.tell(files.text(watchdog.POLICY), "absent\n")
    facts.tell(systemd.state(watchdog.SERVICE), UNKNOWN)
    assert changes(off, facts) == []


def test_the_unit_says_what_the_process_keeps_to() -> None:
    assert "\nWatchdogSec=30\n" in watchdog.UNIT
    assert "\nType=notify\n" in watchdog.UNIT
    assert "\nRestart=always\n" in watchdog.UNIT


TOLD = (Notify(name="ops", url="env:OPS", on=("watchdog",)),)
BODY = addresses.pack(
    "prod", [({"name": "ops", "kind": "webhook", "on": ["watchdog"]}, Secret(b"https://hook-canary-4711"))]
)


def value(provider: str) -> Secret:
    assert provider == "env:OPS"
    return Secret(b"https://hook-canary-4711")


def index(body: bytes, salt: str = "5a" * 16) -> str:
    return json.dumps({"format": addresses.FORMAT, "salt": salt, "proof": addresses.proof(salt, body), "targets": []})


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        ("", True),
        ("{", True),
        ("[]", True),
        (index(BODY), False),
        (index(BODY, "00" * 16), False),
        (index(BODY + b" "), True),
        (index(BODY).replace("notify 1", "notify 2"), True),
    ],
)
def test_who_is_told_is_delivered_where_the_host_has_something_else(found: str, missing: bool) -> None:
    facts = FakeFacts()
    facts.tell(notify.INDEX, found)
    made = list(notify.told("prod", TOLD, value)(facts))
    assert [one.summary for one in made] == (["let ops be told what happens here"] if missing else [])
    for one in made:
        assert isinstance(one.action, Fed)
        assert one.action.make() == BODY
        assert "canary" not in f"{one}"


def test_nobody_is_told_where_the_host_file_names_nobody() -> None:
    facts = FakeFacts()
    facts.tell(notify.INDEX, index(BODY))
    for unit in (notify.SERVICE, notify.PATH):
        facts.tell(systemd.state(unit), RUNNING)
    assert changes(notify.operations("prod", (), value), facts) == [
        "let nobody be told what happens here",
        "disable toolkit-notify.path",
        "stop toolkit-notify.path",
        "disable toolkit-notify.service",
        "stop toolkit-notify.service",
    ]
    facts.tell(notify.INDEX, "")
    for unit in (notify.SERVICE, notify.PATH):
        facts.tell(systemd.state(unit), UNKNOWN)
    assert changes(notify.operations("prod", (), value), facts) == []


def test_units_name_no_address() -> None:
    assert "http" not in notify.SENDER + notify.WATCH
    assert notify.FOLDER in notify.SENDER
