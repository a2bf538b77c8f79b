"""Units: from what `systemctl show` says to what has to be done."""

from dataclasses import replace

import pytest

from tests.recorded import NO_UNIT
from toolkit.converge.fake import FakeFacts
from toolkit.host import File
from toolkit.machine import files, systemd

RUNNING = """\
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no
ConditionResult=yes
ConditionTimestampMonotonic=1761728252
"""
# systemd-timesyncd in a container, recorded on Debian 13 after a start.
BARRED = """\
LoadState=loaded
ActiveState=inactive
UnitFileState=enabled
NeedDaemonReload=no
ConditionResult=no
ConditionTimestampMonotonic=2210035120
"""


def wanted(operation, state: str, **more) -> list[str]:
    facts = FakeFacts()
    facts.tell(systemd.state("x.service"), state)
    for fact, output in more.items():
        facts.tell({"file": files.text("/etc/systemd/system/x.service")}[fact], output)
    return [change.summary for change in operation(facts)]


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (RUNNING, []),
        (NO_UNIT, ["enable x.service", "start x.service"]),
        (BARRED, []),
        (BARRED.replace("2210035120", "0"), ["start x.service"]),
        (RUNNING.replace("=active", "=failed"), ["start x.service"]),
        (RUNNING.replace("=active", "=activating"), []),
        (RUNNING.replace("=enabled", "=disabled"), ["enable x.service"]),
        (RUNNING.replace("=enabled", "=static"), []),
        (BARRED.replace("loaded", "masked").replace("enabled", "masked").replace("2210035120", "0"),
         ["unmask x.service", "enable x.service", "start x.service"]),
    ],
)  # fmt: skip
def test_a_service_is_enabled_and_runs(state: str, changes: list[str]) -> None:
    assert wanted(systemd.service("x.service"), state) == changes


def test_a_service_can_be_wanted_off() -> None:
    off = systemd.service("x.service", enabled=False, running=False)
    assert wanted(off, RUNNING) == ["disable x.service", "stop x.service"]
    assert wanted(off, NO_UNIT) == []
    assert wanted(off, RUNNING.replace("=enabled", "=static").replace("=active", "=inactive")) == []


def test_whether_it_runs_can_be_left_alone() -> None:
    assert wanted(systemd.service("x.service", running=None), RUNNING.replace("=active", "=inactive")) == []


def test_a_new_unit_is_written_and_read() -> None:
    assert wanted(systemd.units(systemd.Wanted("x.service", "[Service]\n")), NO_UNIT, file="absent\n") == [
        "write /etc/systemd/system/x.service",
        "let systemd read x.service",
    ]


def test_a_unit_that_is_to_start_at_boot_is_enabled_before_systemd_reads_it() -> None:
    unit = systemd.units(systemd.Wanted("x.service", "[Service]\n", enabled=True))
    same = "regular file|644|root|root\n[Service]\n"
    assert wanted(unit, NO_UNIT, file="absent\n") == [
        "write /etc/systemd/system/x.service",
        "enable x.service",
        "let systemd read x.service",
    ]
    assert wanted(unit, RUNNING, file=same) == []
    assert wanted(unit, RUNNING.replace("=enabled", "=disabled"), file=same) == [
        "enable x.service",
        "let systemd read x.service",
    ]
    # To unmask it is for `service`.
    assert wanted(unit, BARRED.replace("loaded", "masked").replace("enabled", "masked"), file=same) == []


def test_several_units_are_read_in_one_go_and_only_what_is_ours_and_new_is_restarted() -> None:
    facts = FakeFacts()
    ours, same = systemd.Wanted("x.service", "[Service]\n"), systemd.Wanted("y.service", "[Unit]\n")
    added = systemd.Wanted("z.service", "[Unit]\nAfter=x.service\n", beside="toolkit")
    for one in (ours, same, added):
        there = f"regular file|644|root|root\n{one.content}" if one is same else "absent\n"
        facts.tell(files.text(one.path), there)
        facts.tell(systemd.state(one.unit), RUNNING)
    *written, reload = systemd.units(ours, same, added)(facts)
    assert [change.action.path for change in written] == [
        "/etc/systemd/system/x.service",
        "/etc/systemd/system/z.service.d/toolkit.conf",
    ]
    assert reload.summary == "let systemd read x.service, z.service"
    assert reload.action.argv[-2:] == ("restart", "x.service")
    *_, left = systemd.units(replace(ours, restarts=False), same, added)(facts)
    assert left.action.argv[-1] == "keep"


def test_a_unit_that_systemd_has_not_read_is_read_again() -> None:
    same = "regular file|644|root|root\n[Service]\n"
    unit = systemd.units(systemd.Wanted("x.service", "[Service]\n"))
    assert wanted(unit, RUNNING, file=same) == []
    assert wanted(unit, RUNNING.replace("Reload=no", "Reload=yes"), file=same) == ["let systemd read x.service"]


def test_a_service_older_than_its_files_is_restarted() -> None:
    facts = FakeFacts()
    facts.tell(systemd.stale("x.service", "/etc/x", "/etc/y"), "/etc/y\n")
    [change] = systemd.current("x.service", "/etc/x", "/etc/y")(facts)
    assert change.summary == "restart x.service, which has not read /etc/y"
    facts.tell(systemd.stale("x.service", "/etc/x", "/etc/y"), "")
    assert list(systemd.current("x.service", "/etc/x", "/etc/y")(facts)) == []


def test_a_unit_file_lands_where_systemd_looks_first() -> None:
    facts = FakeFacts()
    facts.tell(systemd.state("x.timer"), NO_UNIT)
    facts.tell(files.text("/etc/systemd/system/x.timer"), "absent\n")
    first = next(iter(systemd.units(systemd.Wanted("x.timer", "[Timer]\n"))(facts)))
    assert first.action == File("/etc/systemd/system/x.timer", b"[Timer]\n")


def test_several_units_are_asked_in_one_call_and_told_apart() -> None:
    asked = [systemd.state(name).command for name in ("x.service", "y.timer")]
    assert systemd.SHOW.join(asked).argv == (*asked[0].argv, "y.timer")
    parts = systemd.SHOW.part(f"{RUNNING}\n{NO_UNIT}".encode())
    assert [systemd.parse_unit(part.decode()).exists for part in parts] == [True, False]
