"""Docker on real hosts: from the distribution, from the next suite, from a signed repository; then drift and faults."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from toolkit.config.load import load
from toolkit.config.models import Docker, DockerRepository, Firewall, HostFile, Machine
from toolkit.converge import Facts, Outcome, apply, plan
from toolkit.host.connect import connect
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.machine import docker, docker_source, firewall
from toolkit.machine.docker_daemon import PATH
from toolkit.words.command import script
from toolkit.words.errors import HostError, Unsupported
from toolkit.words.report import Silent

pytestmark = pytest.mark.lab

DISTRO = {"debian13": Docker(source="distro"), "debian12": Docker(source="distro", suite="trixie")}
INFO = "curl --silent --unix-socket /run/docker.sock http://localhost/info"
# Live-restore is about containers that run while the daemon does not.
RUN = """
apt-get install --quiet=2 --yes --no-install-recommends busybox-static >/dev/null 2>&1 || exit 1
mkdir -p /tmp/root/bin && cp /bin/busybox /tmp/root/bin/ || exit 1
tar -C /tmp/root -c . | docker import - tiny >/dev/null || exit 1
docker run --detach tiny busybox sleep 9999
"""
STARTED = "docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet)"


def wanting(lab: Lab, vps: Vps, spec: Docker) -> HostFile:
    return replace(load(lab.host_file(vps.name)), machine=Machine(docker=spec, firewall=Firewall()))


def converge(host_file: HostFile, *, only_plan: bool = False) -> Outcome:
    operations = [*docker.operations(host_file), *firewall.operations(host_file)]
    with closing(connect(host_file)) as host:
        facts = Facts(host)
        return plan(facts, operations) if only_plan else apply(facts, operations, Silent())


def on(host_file: HostFile, text: str, *arguments: str) -> str:
    with closing(connect(host_file)) as host:
        return host.run(script(text, *arguments)).text.strip()


def versions(host_file: HostFile) -> dict[str, str]:
    shown = on(host_file, "dpkg-query --show --showformat '${Package} ${Version}\\n'")
    return dict(line.split(" ") for line in shown.splitlines())


SYSTEMS = [pytest.param(name, marks=pytest.mark.some(1, "systems with Docker", name)) for name in sorted(DISTRO)]


@pytest.fixture(scope="module", params=SYSTEMS)
def distro_host(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[HostFile, Vps]]:
    """A host of each system with the distribution's Docker, provisioned from bare."""
    vps = lab.host(f"docker-{request.param}", request.param)
    host_file = wanting(lab, vps, DISTRO[request.param])
    before = versions(host_file)
    converge(host_file)
    assert versions(host_file).items() >= before.items(), "a package that was there has moved"
    yield host_file, vps
    lab.remove(vps.name)


def test_a_second_run_wants_nothing_and_asks_once(distro_host: tuple[HostFile, Vps]) -> None:
    again = converge(distro_host[0])
    assert again.steps == ()
    assert again.round_trips == 1


def test_the_engine_itself_reports_what_was_asked_for(distro_host: tuple[HostFile, Vps]) -> None:
    info = json.loads(on(distro_host[0], INFO))
    assert (info["LoggingDriver"], info["LiveRestoreEnabled"]) == ("json-file", True)
    assert on(distro_host[0], "docker compose version --short").startswith("2.26")
    assert "docker.io" in on(distro_host[0], "apt-mark showhold")
    # It came up with its first file at once, and what was to bring it back is gone.
    assert "daemon.json.before" not in on(distro_host[0], "ls /etc/docker").split()
    # What let apt go on while it came up is gone too.
    assert on(distro_host[0], "ls -d /var/lib/toolkit/apt 2>/dev/null || true") == ""
    assert on(distro_host[0], "systemctl show --value --property=NRestarts docker.service") == "0"


def test_after_a_reboot_nothing_is_wanted(lab: Lab, distro_host: tuple[HostFile, Vps]) -> None:
    host_file, vps = distro_host
    lab.reboot(vps.name)
    on(host_file, "systemctl is-system-running --wait || true")
    assert converge(host_file, only_plan=True).steps == ()


def test_a_daemon_json_edited_by_hand_is_seen_and_put_right_without_stopping_containers(
    distro_host: tuple[HostFile, Vps],
) -> None:
    host_file, _ = distro_host
    on(host_file, RUN)
    started = on(host_file, STARTED)
    edited = json.dumps({"live-restore": False, "log-driver": "local", "dns": ["192.0.2.1"]})
    on(host_file, 'printf %s "$1" >"$2" && systemctl reload docker.service', edited, PATH)
    [step] = converge(host_file, only_plan=True).steps
    assert '+  "live-restore": true' in step.changes[0].diff
    converge(host_file)
    assert json.loads(on(host_file, f"cat {PATH}"))["dns"] == ["192.0.2.1"]
    assert on(host_file, STARTED) == started


def test_a_daemon_that_never_read_its_file_is_restarted(distro_host: tuple[HostFile, Vps]) -> None:
    host_file, _ = distro_host
    on(host_file, f"touch {PATH}")
    [step] = converge(host_file, only_plan=True).steps
    assert step.changes[0].summary.startswith("restart docker, which runs without")
    converge(host_file)
    assert converge(host_file, only_plan=True).steps == ()


def test_a_reload_keeps_the_daemon_and_still_takes_effect(lab: Lab, distro_host: tuple[HostFile, Vps]) -> None:
    host_file, vps = distro_host
    process = on(host_file, "cat /run/docker.pid")
    debugging = wanting(lab, vps, DISTRO[vps.os].model_copy(update={"daemon": {"debug": True}}))
    converge(debugging)
    assert json.loads(on(host_file, INFO))["Debug"] is True
    assert on(host_file, "cat /run/docker.pid") == process


@pytest.mark.parametrize("fault", [{"storage-driver": "nonesuch"}, {"nonesuch": True}])
def test_settings_docker_does_not_come_up_with_are_taken_back(
    lab: Lab, distro_host: tuple[HostFile, Vps], fault: dict[str, object]
) -> None:
    host_file, vps = distro_host
    before = on(host_file, f"cat {PATH}")
    with pytest.raises(HostError, match="nonesuch"):
        converge(wanting(lab, vps, DISTRO[vps.os].model_copy(update={"daemon": fault})))
    assert on(host_file, f"cat {PATH}") == before
    assert "draft" not in on(host_file, "ls /etc/docker")
    assert json.loads(on(host_file, INFO))["ServerVersion"]


def test_a_bare_host_whose_docker_does_not_come_up_says_why_and_does_once_that_is_corrected(lab: Lab, vps: Vps) -> None:
    faulty = wanting(lab, vps, DISTRO[vps.os].model_copy(update={"daemon": {"nonesuch": True}}))
    with pytest.raises(HostError, match="nonesuch"):
        converge(faulty)
    corrected = wanting(lab, vps, DISTRO[vps.os].model_copy(update={"daemon": {"debug": True}}))
    converge(corrected)
    assert json.loads(on(corrected, INFO))["Debug"] is True


# A signed repository shaped like Docker's own


def key_of(apt_repository: str) -> str:
    with urllib.request.urlopen(f"{apt_repository}/gpg") as answer:
        return answer.read().decode()


def test_a_mirror_given_by_url_and_key_pins_holds_and_moves_the_engine(lab: Lab, vps: Vps, apt_repository: str) -> None:
    mirror = DockerRepository(url=apt_repository, key=key_of(apt_repository), suite="trixie")
    older, newer = (wanting(lab, vps, Docker(source=mirror, version=version)) for version in ("27.5", "28.5.2"))
    converge(older)
    assert versions(older)["docker-ce"] == "5:27.5.1-1~debian.13~trixie"
    assert converge(older).steps == ()
    converge(newer)
    assert versions(newer)["docker-ce"] == versions(newer)["docker-ce-cli"] == "5:28.5.2-1~debian.13~trixie"
    assert set(docker.OFFICIAL_PACKAGES) <= set(on(newer, "apt-mark showhold").split())
    assert converge(newer).steps == ()
    with pytest.raises(HostError, match="docker-ce is installed, and the host file wants Docker from elsewhere"):
        converge(wanting(lab, vps, DISTRO["debian13"]))


def test_the_official_path_trusts_no_key_but_the_one_with_its_fingerprint(
    lab: Lab, vps: Vps, apt_repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_file = wanting(lab, vps, Docker())
    monkeypatch.setattr(docker_source, "OFFICIAL_URL", apt_repository.removesuffix("/debian"))
    with pytest.raises(HostError, match="do not trust it"):
        converge(host_file)
    assert on(host_file, f"ls {docker_source.KEY} {docker_source.SOURCES} 2>/dev/null || true") == ""

    shown = on(host_file, 'printf %s "$1" | gpg --show-keys --with-colons 2>/dev/null', key_of(apt_repository))
    monkeypatch.setattr(docker_source, "OFFICIAL_FINGERPRINT", docker_source.parse_fingerprints(shown)[0])
    converge(host_file)
    assert versions(host_file)["docker-ce"] == "5:28.5.2-1~debian.13~trixie"
    assert converge(host_file).steps == ()


def test_a_repository_signed_by_somebody_else_installs_nothing(lab: Lab, vps: Vps, apt_repository: str) -> None:
    armoured = lab.engine.inside(
        vps.container,
        script("""
            export GNUPGHOME=$(mktemp -d)
            gpg --batch --quiet --passphrase '' --quick-generate-key 'Somebody else' ed25519 sign never 2>/dev/null
            gpg --batch --armor --export
        """),
    ).text
    host_file = wanting(lab, vps, Docker(source=DockerRepository(url=apt_repository, key=armoured, suite="trixie")))
    with pytest.raises(HostError):
        converge(host_file)
    assert "docker-ce" not in versions(host_file)


def test_debian_12_alone_is_refused_for_its_compose_and_stays_as_it_was(lab: Lab, fresh_host) -> None:
    vps = fresh_host(os="debian12")
    host_file = wanting(lab, vps, Docker(source="distro"))
    before = versions(host_file)
    with pytest.raises(Unsupported, match="Compose v1 only"):
        converge(host_file)
    assert versions(host_file) == before
