"""The firewall on a real host, tried by a stranger next door: before, after a restart of Docker, and after a reboot."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from toolkit.config.load import load
from toolkit.config.models import Docker, Firewall, HostFile, Machine, Sshd
from toolkit.config.values import Port
from toolkit.converge import Facts, Outcome, apply, plan
from toolkit.host.connect import connect
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.machine import docker, firewall
from toolkit.machine.firewall_probe import from_here, probe
from toolkit.words.command import script
from toolkit.words.errors import HostError
from toolkit.words.report import Silent

pytestmark = pytest.mark.lab

OPEN = {22, 80, 443}
TRIED = (22, 80, 443, 3000, 3001, 8080)

# A web server in one static file, published in each of the ways people publish.
SERVE = """
apt-get install --quiet=2 --yes --no-install-recommends busybox-static >/dev/null 2>&1 || exit 1
mkdir -p /tmp/root/bin && cp /bin/busybox /tmp/root/bin/ || exit 1
tar -C /tmp/root -c . | docker import - web >/dev/null || exit 1
serve() {
  docker run --detach --restart unless-stopped --publish "$1" web busybox httpd -f -p 8080 >/dev/null || exit 1
}
serve 80:8080
serve 3000:8080
serve 127.0.0.1:3001:8080
serve 127.0.0.1:443:8080
"""

# A connection says little while Docker's own proxy accepts it: only an answer counts as reached.
KNOCK = """
exec python3 - "$@" <<'PYTHON'
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def knock(target):
    address, _, port = target.rpartition("/")
    try:
        with socket.create_connection((address, int(port)), 2) as door:
            door.settimeout(2)
            door.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            return bool(door.recv(1))
    except OSError:
        return False

with ThreadPoolExecutor(32) as pool:
    print(json.dumps([t for t, reached in zip(sys.argv[1:], pool.map(knock, sys.argv[1:])) if reached]))
PYTHON
"""

# The neighbour sends packets for the host's loopback and containers to the host itself.
BECOME_NEIGHBOUR = """
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet || exit 1
ip route replace 172.16.0.0/12 via "$1" || exit 1
ip address flush dev lo
ip route flush table local to 127.0.0.0/8
ip route replace 127.0.0.0/8 via "$1"
"""
BECOME_STRANGER = """
ip route delete 127.0.0.0/8 2>/dev/null; ip route delete 172.16.0.0/12 2>/dev/null
ip address replace 127.0.0.1/8 dev lo
"""


def wanting(lab: Lab, vps: Vps, **machine) -> HostFile:
    parts = {"docker": Docker(source="distro"), "firewall": Firewall(open=(Port(80), Port(443)))} | machine
    return replace(load(lab.host_file(vps.name)), machine=Machine(**parts))


def converge(host_file: HostFile, *, only_plan: bool = False) -> Outcome:
    operations = [*docker.operations(host_file), *firewall.operations(host_file)]
    with closing(connect(host_file)) as host:
        facts = Facts(host)
        return plan(facts, operations) if only_plan else apply(facts, operations, Silent())


def on(host_file: HostFile, text: str, *arguments: str) -> str:
    with closing(connect(host_file)) as host:
        return host.run(script(text, *arguments)).text


@pytest.fixture(scope="module")
def web(lab: Lab) -> Iterator[Vps]:
    """A host with Docker, the firewall and four published containers."""
    vps = lab.host("firewalled")
    host_file = wanting(lab, vps)
    converge(host_file)
    on(host_file, SERVE)
    yield vps
    lab.remove(vps.name)


@pytest.fixture(scope="module")
def stranger(lab: Lab) -> Iterator[Vps]:
    yield lab.host("stranger")
    lab.remove("stranger")


def knock(lab: Lab, stranger: Vps, *targets: str) -> set[str]:
    result = lab.engine.inside(stranger.container, script(KNOCK, *targets))
    assert result.ok, result.complaint
    return set(json.loads(result.text))


def addresses(lab: Lab, web: Vps) -> list[str]:
    found = on(wanting(lab, web), "ip -6 -brief address show dev eth0 scope global").split()
    return [web.address, *(word.partition("/")[0] for word in found[2:])]


def reached(lab: Lab, web: Vps, stranger: Vps) -> set[tuple[str, int]]:
    """Return the ports a stranger reaches, by kind of address."""
    v4, v6 = addresses(lab, web)
    answers = knock(lab, stranger, *(f"{address}/{port}" for address in (v4, v6) for port in TRIED))
    return {("v6" if ":" in answer else "v4", int(answer.rpartition("/")[2])) for answer in answers}


# 443 is open, but what listens there is published on 127.0.0.1 only.
ONLY_WHAT_IS_OPEN = {(kind, port) for kind in ("v4", "v6") for port in (22, 80)}


def wait_for_web(lab: Lab, web: Vps, stranger: Vps) -> None:
    for _ in range(60):
        if knock(lab, stranger, f"{web.address}/80"):
            return
        time.sleep(0.5)
    pytest.fail("the container that is open to everybody does not answer")


def test_a_stranger_reaches_only_what_the_host_file_opens(lab: Lab, web: Vps, stranger: Vps) -> None:
    assert reached(lab, web, stranger) == ONLY_WHAT_IS_OPEN


def test_the_probe_of_this_machine_sees_the_same(lab: Lab, web: Vps) -> None:
    seen = probe(map(Port, TRIED), from_here(web.address))
    assert seen.leaks(map(Port, OPEN)) == []
    assert {port.number for port in seen.reached} == {22, 80}


def test_a_second_run_wants_nothing_and_asks_once(lab: Lab, web: Vps) -> None:
    again = converge(wanting(lab, web))
    assert again.steps == ()
    assert again.round_trips == 1


def test_a_neighbour_reaches_no_container_and_no_loopback_address(lab: Lab, web: Vps, stranger: Vps) -> None:
    containers = on(wanting(lab, web), "docker inspect --format '{{.NetworkSettings.IPAddress}}' $(docker ps --quiet)")
    targets = [*(f"{address}/8080" for address in containers.split()), "127.0.0.1/443", "127.0.0.1/3001"]
    assert lab.engine.inside(stranger.container, script(BECOME_NEIGHBOUR, web.address)).ok
    try:
        assert knock(lab, stranger, *targets) == set()
        # Without the rules every one of them answers: the test can fail.
        on(wanting(lab, web), "nft delete table inet toolkit")
        assert knock(lab, stranger, *targets) == set(targets)
    finally:
        lab.engine.inside(stranger.container, script(BECOME_STRANGER))
        converge(wanting(lab, web))


def test_restarting_docker_opens_nothing(lab: Lab, web: Vps, stranger: Vps) -> None:
    on(wanting(lab, web), "systemctl restart docker.service")
    wait_for_web(lab, web, stranger)
    assert reached(lab, web, stranger) == ONLY_WHAT_IS_OPEN


def test_a_reboot_opens_nothing_and_changes_nothing(lab: Lab, web: Vps, stranger: Vps) -> None:
    lab.reboot(web.name)
    wait_for_web(lab, web, stranger)
    assert reached(lab, web, stranger) == ONLY_WHAT_IS_OPEN
    assert converge(wanting(lab, web), only_plan=True).steps == ()


def test_a_rule_deleted_by_hand_is_seen_and_comes_back(lab: Lab, web: Vps, stranger: Vps) -> None:
    host_file = wanting(lab, web)
    on(host_file, "nft flush chain inet toolkit forward")
    assert ("v4", 3000) in reached(lab, web, stranger)
    [step] = converge(host_file, only_plan=True).steps
    assert any("+\t\tct status dnat counter drop" in change.diff for change in step.changes)
    converge(host_file)
    assert reached(lab, web, stranger) == ONLY_WHAT_IS_OPEN


@pytest.mark.parametrize("verb", ["start", "reload", "restart"])
def test_the_stock_nftables_unit_flushes_and_ours_is_back_at_once(lab: Lab, web: Vps, verb: str) -> None:
    host_file = wanting(lab, web)
    on(host_file, f"systemctl {verb} nftables.service")
    assert converge(host_file, only_plan=True).steps == ()


def test_rules_that_would_lock_us_out_are_taken_back(lab: Lab, web: Vps) -> None:
    # sshd listens on 22; with these rules only 2222 would be open.
    with pytest.raises(HostError, match="firewall would lock you out"):
        converge(wanting(lab, web, sshd=Sshd(port=2222)))
    assert converge(wanting(lab, web), only_plan=True).steps == ()


def test_a_host_with_ufw_at_work_is_refused_and_stays_as_it_is(lab: Lab, web: Vps) -> None:
    host_file = wanting(lab, web)
    on(host_file, "mkdir -p /etc/ufw && echo ENABLED=yes >/etc/ufw/ufw.conf")
    try:
        with pytest.raises(HostError, match="ufw is active"):
            converge(host_file)
    finally:
        on(host_file, "rm -r /etc/ufw")
