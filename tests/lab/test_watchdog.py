"""The watchdog on a real host: what is killed, hung, leaking, gone or silent comes back, within limits, and is told."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.steps import until
from tests.trial import Trial, trial
from toolkit.lab import Lab

pytestmark = pytest.mark.lab
HEAL = pytest.mark.some(2, "what a watchdog heals")

RECEIVER = Path(__file__).with_name("receiver.py").read_text()
CANARY = "hook-canary-0815"
UNIT = "toolkit-watchdog.service"
PID = f"$(systemctl show --value --property=MainPID {UNIT})"

START = f"""
cat >/run/receiver.py <<'END'
{RECEIVER}
END
touch /run/received
systemctl reset-failed receiver 2>/dev/null || :
systemd-run --quiet --unit=receiver python3 /run/receiver.py 9999 /run/received
until curl --silent --output /dev/null http://127.0.0.1:9999/; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def watched(lab: Lab, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    # Debian 12, because its guests have limits of memory on every kind of machine.
    made = trial(tmp_path_factory.mktemp("watched") / "repo", lab, lab.host("watched", "debian12", stocked=True))
    (made.repo.root / "hook").write_text(f"http://127.0.0.1:9999/{CANARY}")
    policy = {"every": "1s", "restarts": 2, "within": "10s", "memory": 50, "polls": 2, "healthy_after": "5s"}
    told = [{"name": "ops", "url": "command:cat hook"}]
    made.repo.change(lambda content: content.update(watchdog=policy, notify=told))
    made.repo.on_host(START)
    made.repo.done("provision", "--host", "box")
    # Docker brings containers back after a boot by itself: the watchdog waits, and so does this.
    until('grep -q \'"aside": ""\' /run/toolkit/trial/watchdog.json', made.repo, 60)
    yield made
    lab.remove("watched")


def incidents(watched: Trial) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = watched.repo.done("watchdog.history", "--host", "box", "--json").data
    return found


def healed(watched: Trial, ill: str, *, seconds: float = 60) -> dict[str, Any]:
    """Make a service ill; return the incident that brought it back."""
    before = len(incidents(watched))
    watched.repo.on_host(ill)
    deadline = time.monotonic() + seconds
    while len(found := incidents(watched)) == before:
        assert time.monotonic() < deadline, watched.repo.on_host("cat /run/toolkit/trial/watchdog.json; docker ps -a")
        time.sleep(0.5)
    [one] = found[before:]
    assert one["result"] == "healed", one
    return one


def received(watched: Trial) -> list[dict[str, Any]]:
    return [json.loads(line) for line in watched.repo.on_host("cat /run/received").splitlines()]


def address(service: str) -> str:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return f"$(docker inspect --format '{form}' trial-{service}-1 | cut -d ' ' -f 1)"


def test_it_watches_in_little_memory_and_a_second_provision_changes_nothing(watched: Trial) -> None:
    said = watched.repo.done("watchdog.status", "--host", "box")
    assert said.out.count(" well ") == 5
    resident = int(watched.repo.on_host(f"awk '/^VmRSS/ {{ print $2 }}' /proc/{PID}/status"))
    assert resident <= 40 * 1024
    assert watched.repo.done("provision", "--host", "box", "--json").data["changes"] == 0


@HEAL
def test_one_that_was_killed_is_back_and_everybody_knows(watched: Trial) -> None:
    one = healed(watched, "docker kill trial-nginx-1 >/dev/null")
    assert (one["service"], one["kind"], one["did"]) == ("nginx", "dead", ["restarted"])
    assert one["evidence"]["containers"][0]["exit_code"] == 137
    until("grep -q watchdog.healed /run/received", watched.repo, 30)
    message = received(watched)[-1]
    assert (message["host"], message["subject"]) == ("box", "trial/nginx")
    audit = watched.repo.done("audit", "--host", "box", "--json").data[-1]
    assert (audit["verb"], audit["who"], audit["service"]) == ("heal", "the watchdog", "nginx")


@HEAL
def test_a_hung_one_is_back(watched: Trial) -> None:
    one = healed(watched, "curl --silent --max-time 2 --request POST http://127.0.0.1:8100/hang >/dev/null || :")
    assert (one["service"], one["kind"]) == ("fixed", "hung")
    assert watched.repo.on_host("curl --silent --fail http://127.0.0.1:8100/version").startswith("1 ")


@HEAL
def test_a_leaking_one_is_restarted_before_the_kernel_kills_it(watched: Trial) -> None:
    one = healed(watched, f"curl --silent --request POST http://{address('web')}:8000/leak >/dev/null")
    assert (one["service"], one["kind"]) == ("web", "leaking")
    [container] = one["evidence"]["containers"]
    assert container["oom_killed"] is False
    assert container["memory"] > container["memory_limit"] * 0.5


@HEAL
def test_one_that_says_it_is_healthy_while_its_port_is_dead_is_back(watched: Trial) -> None:
    one = healed(watched, "pkill --full 'docker-proxy.*-host-port 8081'")
    assert (one["service"], one["kind"]) == ("caddy", "silent")
    assert one["reason"] == "port 8081 does not answer: Connection refused"
    watched.repo.on_host("curl --silent --fail http://127.0.0.1:8081/version")


@HEAL
def test_one_that_was_removed_is_made_anew_as_its_release_has_it(watched: Trial) -> None:
    marks = "docker inspect --format '{{json .Config.Labels}}' trial-fixed-1"
    before = json.loads(watched.repo.on_host(marks))
    one = healed(watched, "docker rm --force trial-fixed-1 >/dev/null")
    assert (one["service"], one["kind"], one["did"]) == ("fixed", "gone", ["made anew"])
    after = json.loads(watched.repo.on_host(marks))
    assert {key: after[key] for key in after if key.startswith("toolkit.")} == {
        key: before[key] for key in before if key.startswith("toolkit.")
    }
    assert watched.repo.invoke("status", "--host", "box").code == 0


@HEAL
def test_one_that_cannot_be_healed_is_given_up_told_once_and_counts_again_after_a_deploy(watched: Trial) -> None:
    before = len(incidents(watched))
    watched.repo.on_host("docker exec trial-fixed-1 touch /tmp/ill")
    until("grep -q watchdog.gave-up /run/received", watched.repo, 90)
    tried = [(one["service"], one["result"]) for one in incidents(watched)[before:]]
    # Heals of the tests before count as well, as far as they are recent.
    assert tried[-1] == ("fixed", "given up")
    assert set(tried[:-1]) == {("fixed", "failed")}
    said = watched.repo.invoke("watchdog.status", "--host", "box")
    assert said.code == 1
    assert "given up" in said.out
    restarts = watched.repo.on_host("docker inspect --format '{{.State.StartedAt}}' trial-fixed-1")
    time.sleep(4)
    assert watched.repo.on_host("docker inspect --format '{{.State.StartedAt}}' trial-fixed-1") == restarts
    assert len(incidents(watched)) == before + len(tried)
    assert [one["kind"] for one in received(watched)].count("watchdog.gave-up") == 1
    assert "trial-fixed-1" in received(watched)[-1]["text"]
    metrics = watched.repo.on_host("cat /var/lib/toolkit/metrics/watchdog-trial.prom")
    assert 'toolkit_watchdog_gave_up{stack="trial",service="fixed"} 1' in metrics
    # A new release makes its container anew.
    assert watched.deploy(2, FIXED_MODE="slow-stop:5").code == 0
    until("grep -q '\"gave_up\": false' /run/toolkit/trial/watchdog.json", watched.repo, 30)
    assert watched.repo.invoke("watchdog.status", "--host", "box").code == 0


def test_it_stands_aside_while_somebody_deploys_and_a_deploy_that_is_rolled_back_is_told(watched: Trial) -> None:
    before, release = len(incidents(watched)), watched.runs_whole()
    # One service is stopped for five seconds and more, another crashes, and everything comes back.
    assert watched.deploy(3, FIXED_MODE="slow-stop:5", MODE="crash").code == 18
    assert watched.runs_whole() == release
    time.sleep(2)
    assert len(incidents(watched)) == before
    until("grep -q deploy.rolled-back /run/received", watched.repo, 30)
    message = received(watched)[-1]
    assert "the reason why" in message["text"]
    assert "trial-canary-4711" not in json.dumps(message)


def test_it_stands_aside_on_hold(watched: Trial) -> None:
    watched.repo.done("hold", "--host", "box", "--reason", "moving the disk", "--for", "1h")
    before = len(incidents(watched))
    watched.repo.on_host("docker stop trial-fixed-1 >/dev/null; sleep 4")
    assert len(incidents(watched)) == before
    assert "moving the disk" in watched.repo.invoke("watchdog.status", "--host", "box").out
    one = healed(watched, "/opt/toolkit/current/bin/agent deploy release trial")
    assert one["kind"] == "dead"


def test_its_own_hang_is_noticed_by_systemd(watched: Trial) -> None:
    watched.repo.on_host(
        f"""mkdir -p /run/systemd/system/{UNIT}.d
        printf '[Service]\\nWatchdogSec=3\\n' >/run/systemd/system/{UNIT}.d/test.conf
        systemctl daemon-reload; systemctl restart {UNIT}; echo {PID} >/run/before; kill -STOP {PID}"""
    )
    until(f"[ {PID} != 0 ] && [ {PID} != $(cat /run/before) ]", watched.repo, 60)
    result = watched.repo.on_host(f"journalctl --unit {UNIT} --output cat --no-pager | grep -c 'Watchdog timeout'")
    assert int(result) == 1
    watched.repo.on_host(f"rm -r /run/systemd/system/{UNIT}.d; systemctl daemon-reload; systemctl restart {UNIT}")
    assert healed(watched, "docker kill trial-caddy-1 >/dev/null")["service"] == "caddy"


def test_a_webhook_that_is_down_is_tried_again_and_holds_up_nothing(watched: Trial) -> None:
    watched.repo.on_host("systemctl stop receiver; : >/run/received")
    assert healed(watched, "docker kill trial-nginx-1 >/dev/null")["service"] == "nginx"
    until("grep -q fault /var/lib/toolkit/notify/status.json", watched.repo, 30)
    waiting = watched.repo.invoke("notify.list", "--host", "box")
    assert waiting.code == 1
    assert "fails: [Errno 111] Connection refused" in waiting.out
    assert received(watched) == []
    watched.repo.on_host(START)
    until("grep -q watchdog.healed /run/received", watched.repo, 60)
    assert [one["kind"] for one in received(watched)] == ["watchdog.healed"]
    assert "took one at" in watched.repo.done("notify.test", "--host", "box").out
    assert received(watched)[-1]["kind"] == "notify.test"


def test_addresses_are_nowhere_in_sight(watched: Trial) -> None:
    seen = watched.repo.on_host(
        f"""grep -rl {CANARY} /etc /run/systemd /var/log /var/lib/toolkit /run/toolkit 2>/dev/null || :
        journalctl --no-pager | grep {CANARY} | grep -v 'COMMAND=' || :
        for line in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do
          tr '\\0' ' ' <$line 2>/dev/null | grep {CANARY} | grep -v 'sh -s' || :
        done"""
    )
    assert seen == ""


def test_after_a_reboot_docker_comes_first(watched: Trial, lab: Lab) -> None:
    before, release = len(incidents(watched)), watched.runs_whole()
    lab.reboot("watched")
    until(f"systemctl is-active {UNIT}", watched.repo, 60)
    assert "has just booted" in watched.repo.on_host("cat /run/toolkit/trial/watchdog.json")
    until('grep -q \'"aside": ""\' /run/toolkit/trial/watchdog.json', watched.repo, 90)
    assert len(incidents(watched)) == before
    assert watched.runs_whole() == release


def test_turned_off_it_is_gone(watched: Trial) -> None:
    watched.repo.change(lambda content: content.update(watchdog=False, notify=[]))
    watched.repo.done("provision", "--host", "box")
    assert watched.repo.on_host(f"systemctl is-active {UNIT} || :").strip() == "inactive"
    watched.repo.on_host("docker kill trial-fixed-1 >/dev/null; sleep 3; ! docker ps | grep trial-fixed-1")
    assert watched.repo.invoke("watchdog.status", "--host", "box").code == 1
    assert watched.repo.done("provision", "--host", "box", "--json").data["changes"] == 0
