"""The lab's hosts: real enough, quick, apart from each other, and whole again after whatever happens."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from toolkit.config.load import load
from toolkit.converge import Facts, plan
from toolkit.host.connect import connect
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.machine import baseline, docker
from toolkit.words.errors import LabError

pytestmark = pytest.mark.lab


def shell(lab: Lab, vps: Vps, text: str, *, user: str = "", stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(lab.ssh_command(vps, text, user=user), input=stdin, capture_output=True, timeout=120)


def said(lab: Lab, vps: Vps, text: str, *, user: str = "") -> str:
    done = shell(lab, vps, text, user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@pytest.fixture
def other_lab(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The lab of another checkout on this machine."""
    other = Lab.of(tmp_path)
    (tmp_path / "hosts").mkdir()
    yield other
    other.down()


@pytest.mark.parametrize(("os", "python"), [("debian12", "3.11"), ("debian13", "3.13")])
def test_a_host_is_a_bare_debian_with_systemd(lab: Lab, fresh_host, os: str, python: str) -> None:
    vps = fresh_host(os=os)
    assert said(lab, vps, "systemctl is-system-running") in {"running", "degraded"}
    assert said(lab, vps, "python3 --version").startswith(f"Python {python}")
    assert said(lab, vps, "sudo id -u") == "0"
    assert shell(lab, vps, "command -v docker").returncode != 0
    assert said(lab, vps, "hostname") == vps.name


@pytest.mark.parametrize("os", ["debian12", "debian13"])
def test_a_stocked_host_has_every_package_and_nothing_of_it_runs(lab: Lab, fresh_host, os: str) -> None:
    vps = fresh_host(os=os, stocked=True)
    assert said(lab, vps, "systemctl is-enabled docker.service docker.socket || true") == "disabled\ndisabled"
    assert shell(lab, vps, "pidof dockerd containerd").returncode != 0
    host_file = load(lab.host_file(vps.name))
    with closing(connect(host_file)) as host:
        wanted = plan(Facts(host), [*baseline.operations(host_file), *docker.operations(host_file)])
    summaries = [change.summary for step in wanted.steps for change in step.changes]
    assert summaries
    assert [one for one in summaries if "install" in one] == []


def test_a_host_whose_engine_has_paused_something_can_be_removed(lab: Lab, fresh_host) -> None:
    vps = fresh_host(os="debian12", stocked=True)
    base = lab.pictures.base("bookworm")
    said(lab, vps, "sudo systemctl start docker.service")
    with subprocess.Popen(["docker", "save", base], stdout=subprocess.PIPE) as sent:
        subprocess.run(lab.ssh_command(vps, "sudo", "docker", "load", "-q"), stdin=sent.stdout, check=True)
    said(lab, vps, f"sudo docker run --detach --name one {base} sleep 1000 && sudo docker pause one")
    lab.remove(vps.name)
    assert lab.engine.inspect("container", vps.container) is None


def test_a_second_host_stands_on_the_image_of_the_first(lab: Lab, vps: Vps, fresh_host) -> None:
    images = {lab.engine.inspect("container", one.container)["Image"] for one in (vps, fresh_host())}
    assert len(images) == 1


def test_operator_needs_a_password_and_guest_has_no_sudo(lab: Lab, vps: Vps) -> None:
    password = lab.home.secret("operator-password").reveal() + b"\n"
    assert shell(lab, vps, "sudo -n true", user="operator").returncode != 0
    assert shell(lab, vps, "sudo -S true", user="operator", stdin=b"wrong\n").returncode != 0
    assert shell(lab, vps, "sudo -S true", user="operator", stdin=password).returncode == 0
    assert shell(lab, vps, "sudo -S true", user="guest", stdin=password).returncode != 0
    assert said(lab, vps, "id -un", user="guest") == "guest"


def test_a_reboot_wipes_run_and_keeps_the_disk(lab: Lab, vps: Vps) -> None:
    said(lab, vps, "sudo touch /run/gone /var/lib/kept")
    lab.reboot(vps.name)
    assert said(lab, vps, "ls /run/gone /var/lib/kept 2>/dev/null || true") == "/var/lib/kept"
    assert said(lab, vps, "systemctl is-system-running --wait || true") in {"running", "degraded"}


def test_a_host_removed_and_made_again_is_another_machine(lab: Lab, fresh_host) -> None:
    first = fresh_host()
    said(lab, first, "sudo touch /var/lib/kept")
    lab.remove(first.name)
    assert not lab.host_file(first.name).exists()
    second = lab.host(first.name)
    assert second.host_key != first.host_key
    assert shell(lab, second, "test -e /var/lib/kept").returncode != 0


def test_a_host_stays_itself_when_asked_for_again(lab: Lab, vps: Vps) -> None:
    said(lab, vps, "sudo touch /var/lib/kept")
    assert lab.host(vps.name) == vps
    said(lab, vps, "test -e /var/lib/kept")
    with pytest.raises(LabError, match="runs debian13, not debian12"):
        lab.host(vps.name, "debian12")


def test_a_host_that_was_switched_off_is_switched_on(lab: Lab, vps: Vps) -> None:
    lab.engine.run("kill", vps.container)
    lab.host(vps.name)
    assert said(lab, vps, "sudo id -u") == "0"


def test_hosts_reach_each_other_by_both_families(lab: Lab, vps: Vps, fresh_host) -> None:
    stranger = fresh_host()
    v6 = said(lab, vps, "ip -6 -o addr show dev eth0 scope global | awk '{print $4}' | cut -d/ -f1")
    for address in (vps.address, v6):
        banner = said(lab, stranger, f"timeout 5 bash -c 'read -r line </dev/tcp/{address}/22; echo $line'")
        assert banner.startswith("SSH-2.0")


def test_two_labs_run_side_by_side(lab: Lab, vps: Vps, other_lab: Lab) -> None:
    (other,) = other_lab.up(services=())
    assert other.container != vps.container
    assert other.port != vps.port
    assert other_lab.home.state().subnet != lab.home.state().subnet
    assert other_lab.host_file("vps1").exists()
    assert said(other_lab, other, "hostname") == "vps1"
    other_lab.down()
    assert said(lab, vps, "hostname") == vps.name
    assert not other_lab.host_file("vps1").exists()


def test_up_twice_touches_nothing(other_lab: Lab) -> None:
    [first] = other_lab.up(services=())
    before = other_lab.engine.inspect("container", first.container)
    assert other_lab.up(services=()) == [first]
    after = other_lab.engine.inspect("container", first.container)
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])


def test_down_leaves_what_others_made_alone(lab: Lab, vps: Vps, other_lab: Lab) -> None:
    # A foreign container with a name very like ours, on the Engine of everybody.
    name = other_lab.home.name("foreign")
    lab.engine.run("create", "--name", name, "--label", "toolkit.lab=foreign", lab.pictures.base("trixie"), "true")
    try:
        other_lab.up(hosts=0, services=())
        other_lab.down()
        assert lab.engine.inspect("container", name) is not None
        assert lab.engine.inspect("container", vps.container) is not None
    finally:
        lab.engine.run("rm", "--force", name)


def test_down_twice_and_down_before_up_are_fine(other_lab: Lab) -> None:
    other_lab.down()
    other_lab.up(hosts=0, services=())
    other_lab.down()
    other_lab.down()
    assert other_lab.status() == []


def test_an_interrupt_before_the_first_start_is_healed(other_lab: Lab) -> None:
    # What a kill between `docker create` and the files leaves: a container without keys, unknown to the state.
    other_lab.up(hosts=0, services=())
    image = other_lab.pictures.recipe("vps", "trixie")
    other_lab.engine.run("create", "--name", other_lab.home.name("vps1"), "--label", other_lab.home.label, image)
    (vps,) = other_lab.up(services=())
    assert said(other_lab, vps, "sudo id -u") == "0"


def test_a_lab_whose_network_and_memory_are_gone_is_healed(other_lab: Lab) -> None:
    (vps,) = other_lab.up(services=())
    other_lab.engine.run("rm", "--force", vps.container)
    other_lab.engine.run("network", "rm", other_lab.home.name("net"))
    (other_lab.home.folder / "state.json").write_text("{")
    (again,) = other_lab.up(services=())
    assert said(other_lab, again, "sudo id -u") == "0"


def test_another_process_waits_for_the_one_that_changes_the_lab(other_lab: Lab) -> None:
    waited: list[bool] = []
    with other_lab.home.locked():
        code = (
            "import sys; from pathlib import Path; from toolkit.lab.home import Home\n"
            "with Home(Path(sys.argv[1])).locked(lambda: print('waiting', flush=True)): print('mine', flush=True)"
        )
        root = Path(__file__).parents[2]
        argv = [str(root / ".venv/bin/python"), "-c", code, str(other_lab.home.root)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root)
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        waited.append(process.poll() is None)
    assert process.stdout.read() == "mine\n"
    assert waited == [True]
    process.wait()
