"""What the lab decides without an Engine: mirrors, ways, addresses, ports, names, host files."""

import ipaddress
import os
import socket
import subprocess
from pathlib import Path

import pytest

from toolkit.config.load import load
from toolkit.lab import hostfile
from toolkit.lab.boxes import Box, File, archive
from toolkit.lab.daemon import forget_stale_pids
from toolkit.lab.home import Home, State, identity
from toolkit.lab.hosts import Vps, _resolver
from toolkit.lab.mirror import Mirror, local, parse
from toolkit.lab.network import PORTS, address_of, candidates, free_port, parse_networks, port_of
from toolkit.lab.pictures import fingerprint
from toolkit.lab.services import password_line
from toolkit.lab.ways import Machine, bounding_set, capabilities, ways
from toolkit.words.errors import LabError
from toolkit.words.values import Secret

DEB822 = """
Types: deb
# a comment between fields
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """
# deb http://commented.example/debian trixie main
deb-src http://source.example/debian trixie main
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] https://packages.example/tool stable-tool main
deb [arch=amd64] https://mirror.example/debian trixie main contrib
deb https://mirror.example/security trixie-security main
"""


@pytest.mark.parametrize(
    ("text", "mirror"),
    [
        (DEB822, Mirror("http://mirror.example/debian", "http://mirror.example/debian-security")),
        (ONE_LINE, Mirror("https://mirror.example/debian", "https://mirror.example/security")),
        ("deb http://mirror.example/debian trixie main", Mirror("http://mirror.example/debian")),
        ("Types: deb\nURIs: http://a.example/debian\nSuites: trixie\nEnabled: no\n", None),
        ("Types: deb-src\nURIs: http://a.example/debian\nSuites: trixie\n", None),
        ("deb http://archive.example/ubuntu noble main", None),
        ("", None),
    ],
)
def test_the_mirror_is_read_from_both_formats_of_apt_sources(text: str, mirror: Mirror | None) -> None:
    assert parse([text]) == mirror


def test_the_mirror_of_a_machine_is_found_beside_other_repositories(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "a-tool.list").write_text("deb https://packages.example/tool any-tool main\n")
    (folder / "debian.sources").write_text(DEB822)
    (folder / "debian.sources.bak").write_text("deb http://old.example/debian trixie main\n")
    assert local(tmp_path) == Mirror("http://mirror.example/debian", "http://mirror.example/debian-security")


def test_a_guest_of_another_release_gets_the_same_mirror_for_its_own_suites() -> None:
    assert Mirror("http://a/debian", "http://a/security").sources("trixie").splitlines() == [
        "deb http://a/debian trixie main",
        "deb http://a/debian trixie-updates main",
        "deb http://a/security trixie-security main",
    ]
    assert Mirror("http://a/debian").sources("bookworm") == "deb http://a/debian bookworm main\n"


def test_capabilities_are_named_from_the_bounding_set_of_the_machine() -> None:
    status = "Name:\tsh\nCapInh:\t0000000000000000\nCapBnd:\t000001fffeffffff\n"
    names = capabilities(bounding_set(status))
    assert "SYS_ADMIN" in names
    assert "SYS_RESOURCE" not in names
    assert names[0] == "CHOWN"
    assert names[-1] == "AUDIT_READ"


def test_a_machine_that_says_nothing_is_taken_to_have_every_capability() -> None:
    assert "SYS_RESOURCE" in capabilities(bounding_set(""))


def test_full_privileges_are_tried_first() -> None:
    names = [way.name for way in ways("trixie", Machine(-1, cgroup_v1=False, cgroup_unified=False))]
    assert names[0] == "privileged, private cgroup v2"
    assert names[-1] == "listed capabilities, cgroup v2 of the machine"


def test_a_guest_whose_systemd_refuses_cgroup_v1_is_never_given_it() -> None:
    hybrid = Machine(0x1FFFEFFFFFF, cgroup_v1=True, cgroup_unified=True)
    assert all("v1" not in way.name for way in ways("trixie", hybrid))
    assert [way.name for way in ways("bookworm", hybrid)][:2] == [
        "privileged, cgroup v1 of the machine",
        "privileged, cgroup v2 without controllers",
    ]


def test_two_checkouts_are_two_labs(tmp_path: Path) -> None:
    assert identity(tmp_path / "a") != identity(tmp_path / "b")
    assert identity(tmp_path / "a") == identity(tmp_path / "x" / ".." / "a")


def test_a_subnet_in_use_is_never_chosen() -> None:
    taken = parse_networks("default via 10.0.0.1 dev eth0\n10.213.0.0/17 dev br0 scope link\n192.0.2.0/24 dev eth0")
    chosen = list(candidates("seed", taken))
    assert len(chosen) == 128
    assert all(subnet.subnet_of(ipaddress.IPv4Network("10.213.128.0/17")) for subnet in chosen)


def test_a_default_route_and_single_addresses_are_not_networks_in_use() -> None:
    assert parse_networks("0.0.0.0/0 dev eth0 10.213.4.1 nonsense/99 fd00::/64") == set()


def test_two_labs_start_looking_at_different_subnets() -> None:
    assert next(iter(candidates("one", set()))) != next(iter(candidates("two", set())))


def test_a_port_somebody_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        taken = busy.getsockname()[1]
        draws = iter([taken - PORTS.start, 7])
        monkeypatch.setattr("toolkit.lab.network.secrets.randbelow", lambda _: next(draws))
        assert free_port([]) == PORTS.start + 7


def test_ports_and_addresses_are_chosen_once() -> None:
    state = State(subnet="10.213.9.0/24")
    assert port_of(state, "vps1") == port_of(state, "vps1") != port_of(state, "vps2")
    assert (address_of(state, "vps1"), address_of(state, "vps2")) == ("10.213.9.10", "10.213.9.11")
    assert address_of(state, "registry") == "10.213.9.2"
    del state.places["vps1"]
    assert address_of(state, "vps3") == "10.213.9.10"


def test_a_recipe_changes_with_the_content_the_name_and_the_mode_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    seen = {fingerprint(tmp_path), fingerprint(tmp_path, "base")}
    (tmp_path / "run.sh").write_text("true\n")
    seen.add(fingerprint(tmp_path))
    (tmp_path / "run.sh").chmod(0o755)
    seen.add(fingerprint(tmp_path))
    (tmp_path / "run.sh").rename(tmp_path / "go.sh")
    seen.add(fingerprint(tmp_path))
    assert len(seen) == 5


def test_compiled_python_does_not_change_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("pass\n")
    before = fingerprint(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "app.pyc").write_bytes(b"x")
    assert fingerprint(tmp_path) == before


def test_a_box_is_another_one_when_a_file_in_it_changes() -> None:
    first = Box("a", "image", ("--label", "x"), {"/etc/token": File(Secret(b"one"), mode=0o600)})
    second = Box("a", "image", ("--label", "x"), {"/etc/token": File(Secret(b"two"), mode=0o600)})
    assert first.recipe() != second.recipe()
    assert first.recipe() == Box("a", "image", ("--label", "x"), first.files).recipe()
    assert archive(first.files) == archive(dict(first.files))


def test_secrets_are_drawn_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.secret("token").reveal() == home.secret("token").reveal() != home.secret("other").reveal()
    assert (home.folder / "token").stat().st_mode & 0o777 == 0o600
    assert home.folder.stat().st_mode & 0o777 == 0o700


def test_an_ssh_key_half_made_by_an_interrupt_is_made_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.secret("any")
    (home.folder / "id_ed25519").write_text("half a key")
    key = home.ssh_key()
    assert "OPENSSH PRIVATE KEY" in key.read_text()
    assert key.with_suffix(".pub").read_text().startswith("ssh-ed25519 ")


def test_a_state_that_was_cut_short_counts_as_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.remember(State(subnet="10.213.1.0/24", hosts={"vps1": "debian13"}))
    assert home.state().hosts == {"vps1": "debian13"}
    (home.folder / "state.json").write_text('{"subnet": "10.2')
    assert home.state() == State()


def test_a_pid_file_whose_process_became_another_program_is_removed(tmp_path: Path) -> None:
    ours = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    files = {name: tmp_path / name for name in ("gone", "other", "junk", "alive")}
    for name, content in {"gone": "4194304", "other": str(os.getpid()), "junk": "", "alive": str(os.getpid())}.items():
        files[name].write_text(content)
    expected = {files["gone"]: "dockerd", files["other"]: "dockerd", files["junk"]: "dockerd", files["alive"]: ours}
    assert forget_stale_pids(expected) == [files["gone"], files["other"], files["junk"]]
    assert files["alive"].exists()


def test_a_zombie_does_not_count_as_alive(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / "pid").write_text(str(process.pid))
    assert forget_stale_pids({tmp_path / "pid": "true"}) == [tmp_path / "pid"]
    process.wait()


def test_a_password_file_holds_no_password() -> None:
    line = password_line("acme", Secret(b"token"), b"12345678")
    # Base64 of SHA-1(password + salt) and the salt, as nginx documents it.
    assert line == "acme:{SSHA}sl/YG4OXAKcKl2UvVVgoIbdtD94xMjM0NTY3OA=="
    assert "token" not in line


@pytest.mark.parametrize(
    ("text", "mounted"),
    [("nameserver 192.0.2.53\n", True), ("nameserver 127.0.0.53\noptions edns0\n", False), ("search example\n", False)],
)
def test_a_host_asks_the_machines_name_servers_unless_they_are_on_its_loopback(
    tmp_path: Path, text: str, mounted: bool
) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert bool(_resolver(tmp_path / "resolv.conf")) is mounted


@pytest.mark.parametrize(
    ("host", "file"), [("vps1", "lab.yml"), ("vps2", "lab2.yml"), ("vps12", "lab12.yml"), ("vpsx", "lab-vpsx.yml")]
)
def test_each_host_has_a_host_file_of_its_own(tmp_path: Path, host: str, file: str) -> None:
    assert hostfile.path_of(tmp_path, host) == tmp_path / "hosts" / file


@pytest.mark.parametrize(("os_name", "suite"), [("debian13", None), ("debian12", "trixie")])
def test_the_host_file_a_lab_writes_is_a_sound_one(tmp_path: Path, os_name: str, suite: str | None) -> None:
    home, state = Home(tmp_path), State(subnet="10.213.9.0/24")
    key = home.ssh_key("hosts/vps1")
    host_key = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    vps = Vps("vps1", os_name, "box", address_of(state, "vps1"), 20022, host_key, home.ssh_key())
    stack = tmp_path / "examples" / "taskflow"
    stack.mkdir(parents=True)
    (stack / "compose.yaml").write_text("secrets: {postgres_password: {file: x}}\n")
    (stack / "host.yml").write_text("stack:\n  name: t\n  directory: examples/taskflow\n  files: [compose.yaml]\n")
    host = load(hostfile.write(home, state, vps))
    assert host.machine.docker is not None
    assert host.machine.docker.suite == suite
    assert host.machine.docker.daemon["registry-mirrors"] in (["http://10.213.9.2:5000"], ("http://10.213.9.2:5000",))
    assert host.machine.swap is None
    assert host.connection != "local"
    assert host.connection.host_key == host_key
    assert host.stack is not None
    assert host.stack.secrets["postgres_password"].value == "command:cat .lab/postgres-password"
    assert (home.folder / "postgres-password").exists()
    assert load(hostfile.write(home, state, vps, "nothing")).stack is None


def test_an_unknown_service_is_named_with_those_there_are(tmp_path: Path) -> None:
    from toolkit.lab import Lab

    with pytest.raises(LabError, match="no service mail") as caught:
        Lab.of(tmp_path).stop_service("mail")
    assert "registry" in caught.value.hint


def test_a_host_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    from toolkit.lab import Lab

    with pytest.raises(LabError, match="no host vps7"):
        Lab.of(tmp_path).vps("vps7")
