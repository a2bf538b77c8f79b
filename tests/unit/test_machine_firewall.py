"""The firewall: one table of our own, its drift, and the order in which it is changed."""

import pytest

from toolkit.config.models import Firewall, HostFile, Machine, Sshd
from toolkit.config.values import Port
from toolkit.converge import Check
from toolkit.converge.fake import FakeFacts
from toolkit.host.fake import FakeHost
from toolkit.machine import files, firewall, guard, systemd
from toolkit.machine.firewall_probe import Probe, probe
from toolkit.machine.firewall_rules import replacing, table
from toolkit.words.errors import HostError, Unreachable

OPEN = Firewall(open=(Port(443), Port(80), Port(51820, "udp")))
SSHD = Sshd()
WANTED = replacing(table([Port(22), *OPEN.open]))
UNIT_UP = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n" + (
    "ConditionResult=yes\nConditionTimestampMonotonic=1\n"
)

# What nft 1.1.3 on Debian 13 makes of the first lines.
LISTED = """\
table inet toolkit {
	set open_tcp {
		type inet_service
		elements = { 22, 80, 443,
\t\t\t     8080 }
	}

	set open_udp {
		type inet_service
		elements = { 51820 }
	}
}
"""


def said(changes) -> list[str]:
    return [change.summary for change in changes]


def host_file(**machine) -> HostFile:
    return HostFile(name="web", root="/", connection="local", machine=Machine(**machine))


def filtering(live: str, wanted: str = WANTED, armed: str = "") -> FakeFacts:
    facts = FakeFacts()
    facts.tell(firewall.LIVE, live)
    facts.tell(firewall.worded(WANTED), wanted)
    facts.tell(guard.ARMED, armed)
    return facts


# The rules


def test_the_table_opens_the_listed_ports_of_each_protocol_in_order() -> None:
    text = table([Port(443), Port(51820, "udp"), Port(80), Port(443)])
    assert "elements = { 80, 443 }" in text
    assert "elements = { 51820 }" in text


def test_a_set_without_ports_has_no_elements_because_nft_takes_no_empty_list() -> None:
    assert table([Port(22)]).count("elements") == 1


def test_only_our_own_table_is_replaced_and_nothing_is_flushed() -> None:
    assert replacing(table([])).startswith("table inet toolkit\ndelete table inet toolkit\ntable inet toolkit {\n")
    assert "flush" not in WANTED


def test_what_docker_publishes_is_judged_by_the_port_the_stranger_asked_for() -> None:
    accept = WANTED.index("ct status dnat meta l4proto tcp ct original proto-dst @open_tcp accept")
    assert accept < WANTED.index("ct status dnat counter drop")


# Loading them


def test_rules_that_are_live_are_left_alone() -> None:
    assert list(firewall.guarded_rules(OPEN, SSHD)(filtering(LISTED, LISTED))) == []


def test_a_rule_that_was_deleted_by_hand_is_drift_with_a_diff() -> None:
    live = LISTED.replace("443,", "")
    keep, arm, load, proof, disarm = firewall.guarded_rules(OPEN, SSHD)(filtering(live, LISTED))
    assert (keep.summary, load.summary) == ("keep the rules of now for the way back", "load the firewall's rules")
    assert arm.summary.startswith("arm the way back")
    assert "+\t\telements = { 22, 80, 443," in load.diff
    assert load.action.stdin == WANTED.encode()
    assert isinstance(proof.action, Check)
    assert disarm.summary == "disarm the way back of firewall"


def test_a_bare_host_without_nft_gets_a_plan_all_the_same() -> None:
    changes = list(firewall.guarded_rules(OPEN, SSHD)(filtering("", "")))
    assert "+\tchain forward {" in changes[2].diff


def test_a_proof_that_a_cut_run_still_owes_is_made_up_for() -> None:
    changes = firewall.guarded_rules(OPEN, SSHD)(filtering(LISTED, LISTED, armed="firewall\n"))
    assert said(changes) == ["log in a second time", "disarm the way back of firewall"]


def test_without_a_say_over_sshd_the_ports_it_really_has_stay_open() -> None:
    facts = FakeFacts()
    facts.tell(firewall.SSHD_PORTS, "port 2222\nport 22\ngatewayports no\naddressfamily any\n")
    facts.tell(files.text(firewall.RULES), "absent")
    for unit in firewall.UNITS:
        facts.tell(files.text(unit.path), f"regular file|644|root|root\n{unit.content}")
        facts.tell(systemd.state(unit.unit), UNIT_UP)
    [rules] = firewall.kept_rules(Firewall(), None)(facts)
    assert b"elements = { 22, 2222 }" in rules.action.body


# A second login


class Door(FakeHost):
    """A host where only some ports let one in."""

    ports: tuple[int | None, ...] = ()

    def prove_login(self, port: int | None = None) -> None:
        if port not in self.ports:
            raise Unreachable(f"nobody listens on {port}")


def proof(sshd: Sshd | None) -> Check:
    changes = list(firewall.guarded_rules(OPEN, sshd)(filtering("", LISTED)))
    return next(change.action for change in changes if isinstance(change.action, Check))


def test_a_login_where_the_host_file_says_is_proof_enough() -> None:
    host = Door()
    host.ports = (None,)
    proof(SSHD).prove(host)


def test_a_login_on_the_port_sshd_has_just_moved_to_counts_too() -> None:
    host = Door()
    host.ports = (22,)
    proof(SSHD).prove(host)


def test_no_login_anywhere_tells_of_the_port_the_host_file_names() -> None:
    with pytest.raises(HostError, match="nobody listens on None"):
        proof(SSHD).prove(Door())


# Beside others


def test_another_active_firewall_is_refused_with_the_way_out() -> None:
    facts = FakeFacts()
    facts.tell(firewall.OTHERS, "ufw\n")
    with pytest.raises(HostError, match="fake: ufw is active") as caught:
        list(firewall.alone()(facts))
    assert "ufw disable" in caught.value.hint


def test_sshd_finds_its_next_port_open_before_it_moves() -> None:
    facts = FakeFacts()
    facts.tell(firewall.LIVE, LISTED)
    assert list(firewall.admits(8080)(facts)) == []
    [change] = firewall.admits(2222)(facts)
    assert change.action.argv == ("nft", "add", "element", "inet", "toolkit", "open_tcp", "{ 2222 }")


def test_a_host_without_our_table_needs_no_opening_for_sshd() -> None:
    facts = FakeFacts()
    facts.tell(firewall.LIVE, "")
    assert list(firewall.admits(2222)(facts)) == []


def test_the_stock_unit_brings_our_table_back_whenever_it_flushes() -> None:
    facts = FakeFacts()
    for unit in firewall.UNITS:
        facts.tell(files.text(unit.path), "absent")
        facts.tell(systemd.state(unit.unit), UNIT_UP)
    _, write, reload = systemd.units(*firewall.UNITS)(facts)
    assert write.action.path == "/etc/systemd/system/nftables.service.d/toolkit.conf"
    assert b"ExecStartPost=-/usr/sbin/nft --file /etc/toolkit/firewall.nft" in write.action.body
    # Debian's own would flush every table there is, and ours load rules that are about to change.
    assert reload.action.argv[-1] == "keep"


def test_a_firewall_that_is_turned_off_wants_nothing() -> None:
    off = host_file(firewall=False)
    assert firewall.operations(off) == []
    assert firewall.before_sshd(off) == []
    assert [each.name for each in firewall.before_sshd(host_file())] == ["firewall.admits"]


def test_the_operations_come_in_an_order_that_never_leaves_the_host_unguarded() -> None:
    names = [each.name for each in firewall.operations(host_file())]
    assert names == [
        "firewall.alone", "apt.fetched nftables", "firewall.guarded_rules", "firewall.kept_rules",
        "systemd.units toolkit-firewall.service", "systemd.service toolkit-firewall.service",
    ]  # fmt: skip


# The probe


def test_the_probe_tells_what_answers_a_stranger_although_nobody_opened_it() -> None:
    result = probe([Port(22), Port(80), Port(3000), Port(8080)], lambda port: port in (22, 3000))
    assert result.reached == {Port(22), Port(3000)}
    assert result.leaks([Port(22), Port(80)]) == [Port(3000)]


def test_the_probe_leaves_udp_out_where_silence_tells_nothing() -> None:
    assert probe([Port(53, "udp")], lambda port: True) == Probe(frozenset(), frozenset())
