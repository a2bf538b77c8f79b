"""Deploys that go wrong on their way: in the end the stack is the old release whole, or the new one, and says which.

Slow families of faults run in part: see `tests/selection.py`.
"""

import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from tests.selection import SEED
from tests.trial import MARKED, PHASES, Trial, trial
from toolkit.lab import Lab
from toolkit.lab.link import Link

pytestmark = pytest.mark.lab
TRIAL = pytest.mark.some(3, "trials of a deploy")

# Without an image to fetch, the pull is over in no time; the last phases nearly so.
LASTING = tuple(phase for phase in PHASES if phase not in ("pull", "prune"))


def next_release(whole: Trial) -> tuple[int, int]:
    """Return the release that runs and the number of the next."""
    return whole.runs_whole(), whole.runs_whole() + 1


def outcome(whole: Trial) -> str:
    """Return what the host says of its last deploy."""
    return str(whole.repo.done("audit", "--host", "box", "--json").data[-1]["result"])


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"MIGRATE": "migrate-fail"}, ["migrate", "the column is there already"]),
        ({"MODE": "crash"}, ["web", "the reason why"]),
        ({"MODE": "never"}, ["web", "503"]),
        ({"MODE": "oom"}, ["web", "memory"]),
        ({"FIXED_MODE": "crash"}, ["fixed", "the reason why"]),
        ({"FIXED_MODE": "never"}, ["fixed", "503"]),
    ],
    ids=["migration", "crash", "never healthy", "out of memory", "crash unrolled", "never unrolled"],
)
def test_a_service_that_does_not_come_up_brings_everything_back(
    whole: Trial, variables: dict[str, str], words: list[str]
) -> None:
    before, release = next_release(whole)
    said = whole.deploy(release, **variables)
    assert said.code == 18, said
    assert "runs" in said.err
    assert "as before" in said.err
    for word in words:
        assert word in said.err, said
    assert whole.runs_whole() == before
    assert whole.repo.invoke("status", "--host", "box").code == 0
    assert outcome(whole) == "rolled back"
    assert whole.unlocked()


def steady(seconds: int) -> object:
    return lambda content: content["stack"]["gate"].update(steady=f"{seconds}s")


@TRIAL
def test_a_service_that_crashes_once_it_was_healthy_is_caught_while_the_gate_watches(whole: Trial) -> None:
    before, release = next_release(whole)
    whole.repo.change(steady(8))
    said = whole.deploy(release, FIXED_MODE="crash-after:5")
    assert said.code == 18, said
    assert "fixed" in said.err
    assert whole.runs_whole() == before


@TRIAL
def test_a_service_that_crashes_later_is_of_the_new_release_and_status_says_so(whole: Trial) -> None:
    before, release = next_release(whole)
    said = whole.deploy(release, FIXED_MODE="crash-after:6")
    assert said.code == 0, said
    deadline = time.monotonic() + 60
    while whole.repo.invoke("status", "--host", "box").code == 0:
        assert time.monotonic() < deadline
    back = whole.repo.invoke("rollback", "--host", "box")
    assert back.code == 0, back
    assert whole.runs_whole() == before


@TRIAL
def test_a_probe_that_is_not_answered_as_it_should_be_fails_the_gate(whole: Trial) -> None:
    before, release = next_release(whole)

    def probes(content: dict[str, object]) -> None:
        content["stack"]["gate"]["probes"] = [{"url": "http://127.0.0.1:8199/health"}]  # type: ignore[index]
        content["stack"]["ready_within"] = "60s"  # type: ignore[index]

    whole.repo.change(probes)
    said = whole.deploy(release)
    assert said.code == 18, said
    assert "http://127.0.0.1:8199/health: " in said.err
    assert whole.runs_whole() == before


@TRIAL
def test_an_assertion_that_does_not_hold_fails_the_gate_and_one_that_does_passes(whole: Trial) -> None:
    before, release = next_release(whole)

    def assertions(expected: str) -> object:
        def change(content: dict[str, object]) -> None:
            content["stack"]["ready_within"] = "60s"  # type: ignore[index]
            content["stack"]["gate"]["assertions"] = [  # type: ignore[index]
                {"service": "db", "command": ["cat", "/data/migrated"], "contains": expected},
                {"service": "web", "variable": "MODE", "equals": "ok"},
            ]

        return change

    whole.repo.change(assertions("nonsense"))
    said = whole.deploy(release)
    assert said.code == 18, said
    assert "should contain 'nonsense', found" in said.err
    assert whole.runs_whole() == before
    whole.repo.change(assertions(str(release)))
    assert whole.deploy(release).code == 0
    assert whole.runs_whole() == release


@contextmanager
def pulling(whole: Trial) -> Iterator[None]:
    """Let the next deploy have a pull that takes a while."""
    large = whole.repo.stack / "large.yaml"
    large.write_text("services:\n  ballast: {image: 'ghcr.io/acme/trial:large'}\n")
    kept = (whole.repo.root / "hosts/box.yml").read_text()
    whole.repo.change(lambda content: content["stack"].update(files=["compose.yaml", "large.yaml"]))
    whole.repo.on_host("docker image ls --quiet ghcr.io/acme/trial:large | xargs --no-run-if-empty docker image rm")
    yield
    (whole.repo.root / "hosts/box.yml").write_text(kept)
    large.unlink()


@TRIAL
def test_a_pull_that_is_cut_half_way_touches_nothing(whole: Trial) -> None:
    before, release = next_release(whole)
    cut = "-p tcp --dport 443 -j REJECT --reject-with tcp-reset"
    with pulling(whole), whole.when("pull", f"iptables --insert OUTPUT {cut}"):
        said = whole.deploy(release)
    whole.repo.on_host(f"iptables --delete OUTPUT {cut}")
    assert said.code == 12, said
    assert "cannot pull every image" in said.err
    assert whole.runs_whole() == before


@pytest.mark.some(1)
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_driver_leaves_one_release_whole(whole: Trial, phase: str) -> None:
    before, release = next_release(whole)
    with pulling(whole) if phase == "pull" else nullcontext(), whole.when(phase, "kill -9 $pid"):
        said = whole.deploy(release)
    whole.settled()
    if phase in ("switch", "prune"):
        assert whole.runs_whole() == release
    elif phase == "gate":
        # It may have passed in the moment of the kill.
        assert whole.runs_whole() in (before, release)
    else:
        assert said.code in (12, 18), said
        assert whole.runs_whole() == before
    assert whole.unlocked()
    assert whole.repo.invoke("status", "--host", "box").code == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("phase", LASTING)
def test_a_killed_control_side_changes_nothing_and_attach_tells_the_end(whole: Trial, phase: str) -> None:
    _, release = next_release(whole)
    whole.want(release)
    with whole.when(phase, "true"):
        control = whole.repo.start("deploy", "--host", "box")
    control.kill()
    control.wait()
    said = whole.repo.invoke("attach", "--host", "box")
    assert said.code == 0, said
    assert "is now" in said.out
    assert whole.runs_whole() == release


@pytest.mark.some(1)
@pytest.mark.parametrize("phase", LASTING)
def test_a_reboot_leaves_one_release_whole(whole: Trial, lab: Lab, phase: str) -> None:
    before, release = next_release(whole)
    whole.want(release)
    # Whoever waits is there first: a phase may be over before a shell is up.
    with whole.when(phase, "kill -9 $pid; systemctl --force --force reboot"):
        control = whole.repo.start("deploy", "--host", "box")
    lab.reboot(whole.repo.vps.name)
    control.kill()
    control.wait()
    whole.repo.on_host("systemctl is-system-running --wait >/dev/null || true")
    whole.settled(180)
    deadline = time.monotonic() + 120
    while len(whole.releases()) != MARKED or whole.repo.invoke("status", "--host", "box").code:
        assert time.monotonic() < deadline, whole.repo.invoke("status", "--host", "box")
        time.sleep(1)
    if phase not in ("gate", "switch"):
        assert whole.runs_whole() == before
    assert whole.runs_whole() in (before, release)
    assert whole.unlocked()


@pytest.mark.some(1)
@pytest.mark.parametrize("number", range(30))
def test_a_link_that_is_cut_at_any_moment_leaves_one_release_whole(whole: Trial, number: int) -> None:
    before, release = next_release(whole)
    after = random.Random(f"link {SEED} {number}").randrange(2_000, 90_000)
    whole.want(release)
    port = whole.repo.vps.port
    with Link(port, cut_after=after) as link:
        whole.repo.change(lambda content: content["connection"].update(port=link.port))
        said = whole.repo.invoke("deploy", "--host", "box")
    whole.repo.change(lambda content: content["connection"].update(port=port))
    whole.settled()
    assert said.code in (0, 12, 13), (SEED, after, said)
    assert whole.runs_whole() in ((release,) if said.code == 0 else (before, release)), (SEED, after)
    assert whole.unlocked()
    assert whole.repo.invoke("deploy", "--host", "box").code == 0
    assert whole.runs_whole() == release


@TRIAL
def test_two_deploys_at_once_do_not_mix_and_the_second_may_wait(whole: Trial) -> None:
    release = whole.runs_whole() + 1
    whole.want(release)
    with whole.when("stateless", "true"):
        first = whole.repo.start("deploy", "--host", "box")
    refused = whole.repo.invoke("deploy", "--host", "box")
    assert refused.code == 24, refused
    assert re.search(r"is at work on trial: deploy of \S+, in \S+ since", refused.err)
    assert "somebody is deploying" in whole.repo.invoke("status", "--host", "box").out
    waited = whole.deploy(release + 1, "--wait")
    assert first.wait(timeout=120) == 0
    assert waited.code == 0, waited
    assert whole.runs_whole() == release + 1


@TRIAL
def test_ctrl_c_stops_and_goes_back_and_twice_lets_go(whole: Trial) -> None:
    before, release = next_release(whole)
    whole.want(release)
    with whole.when("stateless", "true"):
        once = whole.repo.start("deploy", "--host", "box")
    once.send_signal(signal.SIGINT)
    out, err = once.communicate(timeout=120)
    assert once.returncode == 27, (out, err)
    assert "asked to stop and go back" in err
    assert whole.runs_whole() == before
    with whole.when("stateless", "true"):
        twice = whole.repo.start("deploy", "--host", "box")
    # The first is not sent on before the second comes: the driver may or may not have heard of it.
    twice.send_signal(signal.SIGINT)
    time.sleep(0.05)
    twice.send_signal(signal.SIGINT)
    out, err = twice.communicate(timeout=120)
    assert twice.returncode == 4, (out, err)
    assert "invoke attach" in err
    whole.settled()
    assert whole.runs_whole() in (before, release)


@TRIAL
def test_rollback_by_hand_brings_images_files_and_secrets_back_with_the_registry_down(whole: Trial, lab: Lab) -> None:
    before, release = next_release(whole)
    secret = whole.repo.on_host("docker exec trial-db-1 cat /run/secrets/trial_password")
    program = whole.repo.stack / "trial.py"
    program.write_text(program.read_text() + "\n# changed\n")
    (whole.repo.root / "trial-password").write_text("another-canary-0815")
    said = whole.deploy(release, TAG="2", DB_TAG="2")
    assert said.code == 0, said
    assert whole.repo.on_host("docker exec trial-db-1 cat /run/secrets/trial_password") == "another-canary-0815"
    lab.stop_service("registry")
    try:
        back = whole.repo.invoke("rollback", "--host", "box", "--json")
    finally:
        lab.start_service("registry")
    assert back.code == 0, back
    assert whole.runs_whole() == before
    assert whole.repo.on_host("docker exec trial-db-1 cat /run/secrets/trial_password") == secret
    assert "# changed" not in whole.repo.on_host("docker exec trial-db-1 cat /app/trial.py")
    assert "canary" not in back.out + back.err
    images = whole.repo.on_host("docker ps --filter label=com.docker.compose.project=trial --format '{{.Image}}'")
    assert "trial:2" not in images
    # To the release that was left, by its name, and it is the new one again.
    newest = whole.state()["releases"][0]["id"]
    assert whole.repo.invoke("rollback", "--host", "box", "--to", newest).code == 0
    assert whole.runs_whole() == release
    assert whole.repo.invoke("rollback", "--host", "box", "--to", "nonsense").code == 10


@TRIAL
def test_an_image_of_the_release_before_that_was_pruned_by_hand_is_brought_back_first(whole: Trial) -> None:
    assert whole.deploy(whole.runs_whole() + 1, TAG="2", DB_TAG="2").code == 0
    before, release = next_release(whole)
    # Gone by force, as somebody does who needs room: running containers keep what they have, the name is gone.
    whole.repo.on_host("""docker image ls --digests --format '{{.Repository}}@{{.Digest}}' | grep trial@ |
        xargs docker image rm --force >/dev/null 2>&1 || true""")
    said = whole.deploy(release, MODE="never")
    assert said.code == 18, said
    assert whole.runs_whole() == before


@TRIAL
def test_what_somebody_changed_by_hand_is_seen_and_put_right(whole: Trial) -> None:
    release = whole.runs_whole()
    whole.want(release)
    assert whole.repo.invoke("deploy", "--host", "box").code == 0
    whole.repo.on_host("docker update --restart=no trial-fixed-1 >/dev/null")
    seen = whole.repo.invoke("plan", "--host", "box", "--stack")
    assert seen.code == 2, seen
    assert "trial-fixed-1: its limits, restart policy or networks were changed by hand" in seen.out
    before = whole.repo.containers()
    said = whole.repo.done("deploy", "--host", "box", "--json").data
    assert said["recreated"] == ["fixed", "migrate"]
    assert whole.repo.containers()["trial-db-1"] == before["trial-db-1"]
    assert whole.repo.invoke("plan", "--host", "box", "--stack").code == 0


@TRIAL
def test_a_long_farewell_is_waited_for_and_told(whole: Trial) -> None:
    release = whole.runs_whole() + 1
    assert whole.deploy(release, FIXED_MODE="slow-stop:12", FIXED_GRACE="90s").code == 0
    said = whole.deploy(release + 1)
    assert said.code == 0, said
    assert re.search(r"fixed may take another 1 m \d+ s to stop", said.err), said
    assert whole.runs_whole() == release + 1


@TRIAL
def test_a_service_that_is_exclusive_never_runs_in_two_versions(whole: Trial) -> None:
    release = whole.runs_whole() + 1
    whole.repo.change(lambda content: content["stack"].update(exclusive=["web"]))
    whole.want(release)
    seen = whole.repo.invoke("plan", "--host", "box", "--stack", "--json")
    assert {one["service"]: one["kind"] for one in seen.data["stack"]["moves"]}["web"] == "recreate"
    # A line for each look: the releases of every container of the service that runs in that moment.
    sample = """
    while ! flock --nonblock /run/toolkit/trial/lock true; do
      for id in $(docker ps --quiet --filter label=com.docker.compose.service=web); do
        docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' $id 2>/dev/null | sed -n 's/^RELEASE=//p'
      done | sort -u | tr '\\n' ' '; echo
    done >/run/watched
    """
    with whole.when("stateless", sample):
        assert whole.repo.invoke("deploy", "--host", "box").code == 0
    looks = {tuple(line.split()) for line in whole.repo.on_host("cat /run/watched").splitlines()}
    assert {look for look in looks if len(look) > 1} == set(), looks
    assert (str(release),) in looks
    assert whole.runs_whole() == release


@TRIAL
def test_one_offs_have_the_releases_environment_and_leave_nothing(whole: Trial) -> None:
    release = whole.runs_whole()
    before = whole.repo.containers()
    said = whole.repo.done("run", "--host", "box", "--service", "web", "--", "sh", "-c", "echo $RELEASE; exit 0")
    assert said.out.strip() == str(release)
    failed = whole.repo.invoke("run", "--host", "box", "--service", "web", "--", "sh", "-c", "exit 7")
    assert failed.code == 7, failed
    assert whole.repo.containers() == before


@TRIAL
def test_down_asks_for_the_hosts_name_and_keeps_every_volume(whole: Trial) -> None:
    release = whole.runs_whole()
    whole.repo.on_host("docker exec trial-db-1 sh -c 'echo precious >/data/row'")
    refused = whole.repo.invoke("down", "--host", "box")
    assert refused.code == 10, refused
    assert whole.runs_whole() == release
    whole.repo.done("down", "--host", "box", "--confirm", "box")
    assert whole.repo.containers() == {}
    whole.want(release)
    assert whole.repo.invoke("deploy", "--host", "box").code == 0
    assert whole.repo.on_host("docker exec trial-db-1 cat /data/row") == "precious\n"


SMALL = """
mkdir /small
mount -t tmpfs -o size=1500m none /small
for folder in var/lib/docker opt var/lib/toolkit; do
  mkdir -p "/small/$folder" "/$folder"
  mount --bind "/small/$folder" "/$folder"
done
"""


@pytest.fixture(scope="module")
def small(lab: Lab, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A host whose disk is small: everything of Docker's and ours is on one file system that can be filled."""
    vps = lab.host("small", stocked=True)
    subprocess.run(lab.ssh_command(vps, "sudo", "sh", "-es"), input=SMALL.encode(), check=True)
    yield trial(tmp_path_factory.mktemp("small") / "repo", lab, vps)
    lab.remove("small")


@pytest.mark.some(1)
@pytest.mark.parametrize("phase", LASTING)
def test_a_disk_that_fills_up_leaves_one_release_whole(small: Trial, phase: str) -> None:
    before, release = next_release(small)
    most = "$(($(stat --file-system --format '%a * %S' /small) - 8000000))"
    fill = f"fallocate --length {most} /small/fill; dd if=/dev/zero of=/small/rest bs=64k 2>/dev/null; true"
    with small.when(phase, fill):
        said = small.deploy(release, TAG="2" if release % 2 else "1")
    small.repo.on_host("rm -f /small/fill /small/rest")
    small.settled()
    assert small.unlocked()
    # Nobody but the host knows how one ended whose last word found no room.
    lost = said.code == 12 and "its last word is lost" in said.err
    assert small.runs_whole() in ({before, release} if lost else {release if said.code == 0 else before}), said
    assert said.code in (0, 12, 18), said
    assert small.deploy(release, TAG="2" if release % 2 else "1").code == 0
    assert small.runs_whole() == release
