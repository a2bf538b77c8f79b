"""Docker: where it comes from, which version stays, and what the running daemon really does."""

import json
from pathlib import Path

import pytest

from toolkit.config.models import Docker, DockerRepository, HostFile, Machine
from toolkit.converge.fake import FakeFacts
from toolkit.host import File
from toolkit.machine import apt, docker, docker_daemon, docker_source, files
from toolkit.machine.os import SYSTEM
from toolkit.words.command import script
from toolkit.words.errors import ConfigError, HostError, Unsupported
from toolkit.words.values import Size

DEBIAN_12 = "debian\n12\nbookworm\nx86_64\nnone\n/usr/bin/python3.11\n"
DEBIAN_13 = "debian\n13\ntrixie\nx86_64\nnone\n/usr/bin/python3.13\n"
UBUNTU_24 = "ubuntu\n24.04\nnoble\naarch64\nnone\n/usr/bin/python3.12\n"

# What an Engine 26.1 on Debian 13 says of itself, as far as it is read.
INFO = {
    "ServerVersion": "26.1.5+dfsg1",
    "Swarm": {"NodeID": "", "LocalNodeState": "inactive", "RemoteManagers": None},
    "ContainersRunning": 4,
    "RegistryConfig": {"Mirrors": ["http://10.232.7.50:5000/"], "InsecureRegistryCIDRs": ["127.0.0.0/8"]},
    "DockerRootDir": "/var/lib/docker",
    "Debug": False,
    "LiveRestoreEnabled": True,
    "LoggingDriver": "json-file",
    "Driver": "overlay2",
}
CONVERGED = docker_daemon.wanted(Docker(), {})

# What `gpg --show-keys --with-colons` said of two real keys; the first has a revoker and a subkey.
ARCHIVE_KEYS = """\
pub:-:4096:1:73A4F27B8DD47936:1610882316:1863170316::-:::scSC::::::23::0:
rvk:::1::::::80E976F14A508A48E9CA3FE9BC372252CA1CF964:80:
fpr:::::::::1F89983E0081FDE018F3CC9673A4F27B8DD47936:
sub:-:4096:1:0E98404D386FA1D9:1610882367:1863170367:::::s::::::23:
fpr:::::::::A7236886F3CCCAAD148A27F80E98404D386FA1D9:
pub:-:255:22:762F67A0B2C39DE4:1742842581:1995130581::-:::scSC:::::ed25519:::0:
fpr:::::::::41587F7DB8C774BCCF131416762F67A0B2C39DE4:
"""
OURS = f"pub:-:4096:1:8D81803C0EBFCD88:1487788586:::-:::scESCA:\nfpr:::::::::{docker_source.OFFICIAL_FINGERPRINT}:\n"


def as_file(content: str) -> str:
    return f"regular file|644|root|root\n{content}"


def said(changes) -> list[str]:
    return [change.summary for change in changes]


# daemon.json


def daemon(
    present: str | None,
    info: dict | None = None,
    *,
    unread: bool = False,
    is_there: bool = True,
) -> FakeFacts:
    facts = FakeFacts()
    facts.tell(docker_daemon.CONFIGURED, "absent" if present is None else as_file(present))
    facts.tell(docker_daemon.ENGINE, "" if info is None else json.dumps(info))
    facts.tell(docker_daemon.NOT_READ_YET, "newer\n" if unread else "")
    facts.tell(docker_daemon.IS_THERE, "/usr/sbin/dockerd\n" if is_there else "")
    return facts


def configured(facts: FakeFacts, spec: Docker | None = None) -> list:
    return list(docker_daemon.configured(spec or Docker())(facts))


def awaited(facts: FakeFacts) -> list[File]:
    return [change.action for change in docker_daemon.awaited(Docker())(facts)]


def test_a_daemon_that_is_not_there_yet_finds_its_file_at_its_first_start() -> None:
    kept, written = awaited(daemon(None, is_there=False))
    assert (kept.path, kept.body) == (docker_daemon.BEFORE, b"{}\n")
    assert (written.path, json.loads(written.body)) == (docker_daemon.PATH, CONVERGED)
    assert configured(daemon(None, is_there=False)) == []
    # Once it is there it is asked what it makes of a file before that counts.
    assert awaited(daemon(None)) == []


def test_what_a_docker_that_was_removed_has_left_is_kept() -> None:
    left = '{"dns": ["192.0.2.1"]}'
    kept, written = awaited(daemon(left, is_there=False))
    assert kept.body.decode() == left
    assert json.loads(written.body) == CONVERGED | {"dns": ["192.0.2.1"]}
    assert awaited(daemon(json.dumps(CONVERGED), is_there=False)) == []


def test_a_daemon_that_did_not_come_up_with_its_first_file_is_started_under_the_way_back() -> None:
    [start] = configured(daemon(json.dumps(CONVERGED)))
    assert (start.summary, start.action) == ("start docker", script(docker_daemon.LOAD, "restart"))


def test_the_way_back_is_gone_once_the_daemon_is_up() -> None:
    [unit] = docker.units(HostFile(name="web", root=Path("/"), connection="local", machine=Machine()))
    assert unit.path == "/etc/systemd/system/docker.service.d/toolkit-daemon.conf"
    # A failure to remove it must not stop a daemon that runs.
    assert unit.content == f"[Service]\nExecStartPost=-/bin/rm -f {docker_daemon.BEFORE}\n"


def test_logs_are_capped_and_containers_outlive_the_daemon_by_default() -> None:
    wanted = {
        "log-driver": "json-file",
        "live-restore": True,
        "log-opts": {"max-size": "10000000", "max-file": "3"},
    }
    assert wanted == CONVERGED


def test_foreign_keys_stay_and_ours_win() -> None:
    present = {"dns": ["10.0.0.1"], "live-restore": False, "log-opts": {"labels": "app", "max-size": "1g"}}
    spec = Docker(log_max_size=Size(5_000_000), daemon={"debug": True})
    wanted = docker_daemon.wanted(spec, present)
    assert wanted["dns"] == ["10.0.0.1"]
    assert wanted["live-restore"] is True
    assert wanted["debug"] is True
    assert wanted["log-opts"] == {"labels": "app", "max-size": "5000000", "max-file": "3"}


def test_a_log_driver_of_ones_own_gets_no_caps_it_does_not_know() -> None:
    assert "log-opts" not in docker_daemon.wanted(Docker(daemon={"log-driver": "journald"}), {})


def test_options_of_another_log_driver_go_with_it() -> None:
    present = {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://logs:514"}}
    assert "syslog-address" not in docker_daemon.wanted(Docker(), present)["log-opts"]


def test_what_the_host_file_adds_is_laid_over_inner_mappings_too() -> None:
    spec = Docker(daemon={"log-opts": {"compress": "true"}})
    assert docker_daemon.wanted(spec, {})["log-opts"]["max-file"] == "3"


def test_a_daemon_that_runs_as_wanted_is_left_alone() -> None:
    assert configured(daemon(json.dumps(CONVERGED), INFO)) == []


def test_the_order_and_layout_of_the_file_do_not_matter() -> None:
    assert configured(daemon(json.dumps(dict(reversed(CONVERGED.items()))), INFO)) == []


def test_a_new_setting_that_docker_takes_over_while_it_runs_is_a_reload() -> None:
    spec = Docker(daemon={"registry-mirrors": ["http://10.232.7.50:5000"]})
    draft, load = configured(daemon(json.dumps(CONVERGED), INFO), spec)
    assert draft.action.path == docker_daemon.DRAFT
    assert "registry-mirrors" in draft.diff
    assert load.action.argv[-1] == "reload"


def test_any_other_new_setting_is_a_restart() -> None:
    spec = Docker(log_max_files=5)
    assert configured(daemon(json.dumps(CONVERGED), INFO), spec)[1].action.argv[-1] == "restart"


def test_a_restart_that_stops_containers_says_so() -> None:
    spec = Docker(live_restore=False, log_max_files=5)
    [_, load] = configured(daemon(json.dumps(CONVERGED), INFO), spec)
    assert load.summary.endswith("restart docker; live-restore is off, so 4 running containers stop and start again")


def test_a_bare_host_gets_the_whole_file_and_one_restart() -> None:
    draft, load = configured(daemon(None))
    assert draft.diff.startswith("--- /dev/null\n+++ /etc/docker/daemon.json\n")
    assert load.action.argv[-1] == "restart"


def test_a_daemon_that_has_not_read_its_file_is_restarted() -> None:
    [restart] = configured(daemon(json.dumps(CONVERGED), INFO, unread=True))
    assert restart.summary == "restart docker, which runs without /etc/docker/daemon.json"


def test_a_daemon_that_runs_otherwise_than_its_file_says_is_restarted() -> None:
    [restart] = configured(daemon(json.dumps(CONVERGED), INFO | {"LiveRestoreEnabled": False}))
    assert restart.summary == "restart docker, which runs without live-restore"


def test_a_mirror_the_engine_does_not_use_is_noticed() -> None:
    engine = docker_daemon.parse_info(json.dumps(INFO))
    assert docker_daemon.deviations(engine, {"registry-mirrors": ["http://10.232.7.50:5000"]}) == []
    assert docker_daemon.deviations(engine, {"registry-mirrors": ["https://hub.example"]}) == ["registry-mirrors"]


def test_live_restore_in_a_swarm_is_refused_before_docker_refuses_to_start() -> None:
    swarm = INFO | {"Swarm": {"LocalNodeState": "active"}}
    with pytest.raises(HostError, match="while the host is in a swarm") as caught:
        configured(daemon(None, swarm))
    assert "live_restore: false" in caught.value.hint


@pytest.mark.parametrize("content", ["{,}", "[]"])
def test_a_daemon_json_that_is_no_object_is_refused_and_stays(content: str) -> None:
    with pytest.raises(HostError, match=r"daemon\.json is not"):
        configured(daemon(content, INFO))


# Where it comes from


def sourced(system: str, spec: Docker, tmp_path=None, **told: str) -> list:
    facts = FakeFacts()
    facts.tell(SYSTEM, system)
    facts.tell(
        apt.INSTALLED, "ca-certificates install installed 1\ncurl install installed 1\ngnupg install installed 1\n"
    )
    facts.tell(docker_source.OFFICIAL_KEY, told.get("key", ""))
    facts.tell(docker_source.MIRROR_OF, told.get("mirrors", ""))
    pins = [f"/etc/apt/preferences.d/{name}.pref" for name in ("docker", "docker-others")]
    for path in (docker_source.SOURCES, docker_source.KEY, *pins):
        facts.tell(files.text(path), "absent")
    facts.tell(files.sealed("/etc/apt/keyrings/docker.gpg"), "absent")
    return list(docker_source.repository(spec, tmp_path)(facts))


def bodies(changes: list) -> dict[str, str]:
    return {change.action.path: change.action.body.decode() for change in changes if isinstance(change.action, File)}


def test_the_official_key_is_compared_with_the_fingerprint_before_apt_trusts_it() -> None:
    fetch, source = sourced(DEBIAN_13, Docker())
    assert fetch.action.argv[-2:] == (
        "https://download.docker.com/linux/debian/gpg",
        "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
    )
    assert (
        "Suites: trixie\nComponents: stable\nSigned-By: /etc/apt/keyrings/docker.asc\n" in source.action.body.decode()
    )


def test_an_ubuntu_host_takes_ubuntus_packages() -> None:
    assert "URIs: https://download.docker.com/linux/ubuntu\nSuites: noble\n" in sourced(UBUNTU_24, Docker())[
        1
    ].diff.replace("+", "")


def test_a_key_that_is_there_with_the_right_fingerprint_is_not_fetched_again() -> None:
    assert said(sourced(DEBIAN_13, Docker(), key=OURS)) == [f"write {docker_source.SOURCES}"]


def test_a_second_key_in_the_file_makes_it_another_file() -> None:
    assert said(sourced(DEBIAN_13, Docker(), key=OURS + ARCHIVE_KEYS))[0].startswith("fetch Docker's key")


def test_fingerprints_are_those_of_primary_keys() -> None:
    assert docker_source.parse_fingerprints(ARCHIVE_KEYS) == (
        "1F89983E0081FDE018F3CC9673A4F27B8DD47936",
        "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
    )


def test_a_mirror_comes_with_its_own_key_from_the_repository(tmp_path) -> None:
    (tmp_path / "docker.asc").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    mirror = DockerRepository(url="http://mirror.example/linux/debian", key="docker.asc")
    written = bodies(sourced(DEBIAN_13, Docker(source=mirror), tmp_path))
    assert written["/etc/apt/keyrings/docker.asc"].startswith("-----BEGIN")
    assert (
        "URIs: http://mirror.example/linux/debian\nSuites: trixie\nComponents: stable\n"
        in written[docker_source.SOURCES]
    )


def test_a_key_may_stand_in_the_host_file_itself(tmp_path) -> None:
    mirror = DockerRepository(url="http://mirror.example", key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n", suite="sid")
    written = bodies(sourced(DEBIAN_13, Docker(source=mirror), tmp_path))
    assert written["/etc/apt/keyrings/docker.asc"] == "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
    assert "Suites: sid\n" in written[docker_source.SOURCES]


def test_a_key_that_is_not_there_is_named(tmp_path) -> None:
    mirror = DockerRepository(url="http://mirror.example", key="keys/none.asc")
    with pytest.raises(ConfigError, match=r"machine.docker.source.key.*none\.asc"):
        sourced(DEBIAN_13, Docker(source=mirror), tmp_path)


def test_debian_12_takes_three_packages_from_the_next_suite_and_nothing_else_moves() -> None:
    spec = Docker(source="distro", suite="trixie")
    mirrors = (
        "bookworm bookworm http://deb.example/debian/\nbookworm-updates stable-updates http://deb.example/debian/\n"
    )
    written = bodies(sourced(DEBIAN_12, spec, mirrors=mirrors))
    assert "URIs: http://deb.example/debian/\nSuites: trixie\n" in written[docker_source.SOURCES]
    others, ours = (written[f"/etc/apt/preferences.d/{name}.pref"] for name in ("docker-others", "docker"))
    assert others == "Package: *\nPin: release n=trixie\nPin-Priority: 50\n"
    assert ours == "Package: docker.io docker-cli docker-compose\nPin: release n=trixie\nPin-Priority: 990\n"


def test_a_host_without_a_mirror_of_its_own_release_is_told_so() -> None:
    with pytest.raises(HostError, match="apt has no mirror of bookworm main"):
        sourced(DEBIAN_12, Docker(source="distro", suite="trixie"))


def test_the_distributions_own_docker_needs_no_source() -> None:
    assert sourced(DEBIAN_13, Docker(source="distro")) == []


# The packages


def installed(system: str, packages: str = "", apparmor: str = "") -> FakeFacts:
    facts = FakeFacts()
    facts.tell(SYSTEM, system)
    facts.tell(apt.INSTALLED, packages)
    facts.tell(docker.APPARMOR, apparmor)
    return facts


def test_the_official_engine_comes_whole_and_is_held() -> None:
    install, hold = docker.engine(Docker())(installed(DEBIAN_13))
    names = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin")
    assert install.action.argv[-7:] == ("ca-certificates", "curl", *names)
    assert hold.action.argv[-5:] == names


@pytest.mark.parametrize(
    ("system", "last"), [(DEBIAN_13, "docker-compose"), (DEBIAN_12, "docker-compose"), (UBUNTU_24, "docker-compose-v2")]
)
def test_each_distribution_has_its_own_name_for_compose(system: str, last: str) -> None:
    assert next(docker.engine(Docker(source="distro"))(installed(system))).action.argv[-1] == last


def test_a_kernel_with_apparmor_gets_its_parser() -> None:
    install = next(docker.engine(Docker())(installed(DEBIAN_13, apparmor="Y\n")))
    assert "apparmor" in install.action.argv


@pytest.mark.parametrize(
    ("source", "version", "wanted"),
    [
        ("official", "28", "docker-ce=5:28.*"),
        ("official", "28.1", "docker-ce=5:28.1.*"),
        ("official", "28.1.1", "docker-ce=5:28.1.1*"),
        ("distro", "26.1", "docker.io=26.1.*"),
    ],
)
def test_a_version_is_the_beginning_of_the_packages_own(source: str, version: str, wanted: str) -> None:
    install = next(docker.engine(Docker(source=source, version=version))(installed(DEBIAN_13)))
    assert wanted in install.action.argv


def test_the_version_of_the_engine_is_not_asked_of_compose() -> None:
    install = next(docker.engine(Docker(version="28"))(installed(DEBIAN_13)))
    assert "docker-compose-plugin" in install.action.argv


def test_an_engine_at_another_version_than_pinned_is_moved_and_held_again_because_apt_let_go_of_it() -> None:
    there = "".join(f"{name} hold installed 5:27.5.1-1~debian.13~trixie\n" for name in docker.OFFICIAL_PACKAGES)
    move, hold = docker.engine(Docker(version="28"))(installed(DEBIAN_13, there))
    assert "docker-ce=5:28.*" in move.action.argv
    assert hold.action.argv[:3] == ("apt-mark", "hold", "--")


def test_an_engine_that_is_there_at_its_version_is_only_held() -> None:
    helpers = "ca-certificates install installed 1\ncurl install installed 1\n"
    there = helpers + "".join(f"{name} install installed 5:28.5.1\n" for name in docker.OFFICIAL_PACKAGES)
    [hold] = docker.engine(Docker(version="28.5"))(installed(DEBIAN_13, there))
    assert hold.summary.startswith("hold docker-ce")


# What is refused


@pytest.mark.parametrize(
    ("source", "other"), [("official", "docker.io install installed 26"), ("distro", "docker-ce hold installed 5:28")]
)
def test_an_engine_from_elsewhere_is_refused_because_changing_it_would_stop_containers(source: str, other: str) -> None:
    with pytest.raises(HostError, match="is installed, and the host file wants Docker from elsewhere"):
        list(docker.one_origin(Docker(source=source))(installed(DEBIAN_13, f"{other}\n")))


def test_debian_12s_own_compose_is_refused_before_anything_is_installed() -> None:
    with pytest.raises(Unsupported, match="Compose v1 only") as caught:
        list(docker.one_origin(Docker(source="distro"))(installed(DEBIAN_12)))
    assert caught.value.exit_code == 16
    assert "suite: trixie" in caught.value.hint


def test_debian_12_with_another_suite_or_the_official_source_is_welcome() -> None:
    for spec in (Docker(source="distro", suite="trixie"), Docker()):
        assert list(docker.one_origin(spec)(installed(DEBIAN_12))) == []


@pytest.mark.parametrize(
    "package", ["docker-compose install installed 1.29.2-3", "docker-compose-v2 i installed 2.20.2"]
)
def test_a_compose_that_is_too_old_is_refused_with_the_way_out(package: str) -> None:
    with pytest.raises(Unsupported, match=r"is too old: stacks need Compose 2\.24") as caught:
        list(docker.compose()(installed(DEBIAN_13, f"{package}\n")))
    assert "official" in caught.value.hint


@pytest.mark.parametrize("version", ["2.24.0", "5:2.40.3-1~debian.13~trixie", "v2.26.1", "5.0.1"])
def test_a_compose_that_is_new_enough_is_taken(version: str) -> None:
    assert docker.compose_version(version) >= docker.OLDEST_COMPOSE


def test_docker_that_is_turned_off_wants_nothing() -> None:
    off = HostFile(name="web", root="/", connection="local", machine=Machine(docker=False))
    assert docker.operations(off) == []
