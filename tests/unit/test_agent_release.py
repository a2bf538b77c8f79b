"""The agent's release: what goes in, how it is named, and how a host gets it."""

import ast
import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recorded import NO_UNIT
from toolkit.config import load
from toolkit.converge import Operation, changes
from toolkit.converge.engine import perform
from toolkit.converge.fake import FakeFacts
from toolkit.host.fake import FakeHost
from toolkit.machine import agent, files, systemd
from toolkit.machine.os import SYSTEM
from toolkit.words.command import script
from toolkit.words.errors import HostError
from toolkit.words.report import Silent
from toolkit.workflows import provision, wheelhouse

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
DEBIAN13 = "debian\n13\ntrixie\nx86_64\nnone\n/usr/bin/python3.13\n"


def imported(content: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("toolkit"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_everything_that_is_shipped_finds_what_it_imports() -> None:
    shipped = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in wheelhouse.own_files()}
    ours = ROOT.glob("toolkit/**/*.py")
    modules = {
        str(path.relative_to(ROOT)).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in ours
    }
    for name, content in wheelhouse.own_files().items():
        missing = {module for module in imported(content) if module in modules} - shipped
        assert not missing, f"{name} imports {missing}"


def test_the_name_stands_for_python_architecture_files_and_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = wheelhouse.Release("3.13", "amd64").name
    assert re.fullmatch("[0-9a-f]{24}", name)
    assert wheelhouse.Release("3.13", "amd64").name == name
    others = {wheelhouse.Release("3.12", "amd64").name, wheelhouse.Release("3.13", "arm64").name}
    others.add(wheelhouse.Release("3.13", "amd64", "apprise").name)
    lock = tmp_path / "lock"
    lock.write_bytes(wheelhouse.LOCK.read_bytes() + b"\n")
    monkeypatch.setattr(wheelhouse, "LOCK", lock)
    others.add(wheelhouse.Release("3.13", "amd64").name)
    monkeypatch.undo()
    changed = dict(wheelhouse.own_files()) | {"toolkit/agent/paths.py": b""}
    monkeypatch.setattr(wheelhouse, "own_files", lambda: changed)
    others.add(wheelhouse.Release("3.13", "amd64").name)
    assert len(others - {name}) == 5


def test_an_archive_is_the_same_wherever_it_is_built() -> None:
    files = {"lib/b.py": b"2", "bin/agent": b"#!/bin/sh\n", "lib/a.py": b"1"}
    archive = wheelhouse.packed(files)
    assert archive == wheelhouse.packed(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
    assert [(one.name, one.mode, one.mtime, one.uid) for one in members] == [
        ("bin/agent", 0o755, 0, 0), ("lib/a.py", 0o644, 0, 0), ("lib/b.py", 0o644, 0, 0),
    ]  # fmt: skip


def test_packages_come_from_the_cache_and_without_what_nobody_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def fetch(release: wheelhouse.Release, kept: Path) -> None:
        asked.append(release.python)
        for name in ("pyrage/__init__.py", "pyrage/x.pyi", "pyrage-1.dist-info/RECORD", "bin/tool", ".lock"):
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (kept / name).write_bytes(b"x")

    monkeypatch.setattr(wheelhouse, "_fetch", fetch)
    archives = [wheelhouse.Release("3.13", "amd64").archive for _ in range(2)]
    assert asked == ["3.13"]
    assert archives[0] == archives[1]
    with tarfile.open(fileobj=io.BytesIO(archives[0])) as tar:
        names = tar.getnames()
    assert "lib/pyrage/__init__.py" in names
    assert not [name for name in names if name.endswith((".pyi", "RECORD", "tool", ".lock"))]


def test_a_machine_without_a_package_index_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(wheelhouse, "_installer", lambda *_: ["sh", "-c", "echo no route to the index >&2; exit 1"])
    with pytest.raises(HostError, match=r"cannot fetch the agent's packages for 3\.13 on amd64:\nno route") as caught:
        _ = wheelhouse.Release("3.13", "amd64").archive
    assert "a host never does" in caught.value.hint
    assert list((tmp_path / "toolkit/agent").iterdir()) == []


@pytest.mark.parametrize(("pip", "first"), [(True, "-m"), (False, "pip")])
def test_pip_or_uv_is_asked_for_another_python(monkeypatch: pytest.MonkeyPatch, pip: bool, first: str) -> None:
    monkeypatch.setattr(wheelhouse.importlib.util, "find_spec", lambda name: object() if pip else None)
    words = wheelhouse._installer(wheelhouse.Release("3.13", "arm64"), Path("/t"))
    assert words[1] == first
    assert "--require-hashes" in words
    assert any("aarch64" in word for word in words)
    assert words[words.index("--python-version") + 1] == "3.13"


def test_the_agents_lock_agrees_with_the_toolkits_and_names_no_host() -> None:
    pins = [set(re.findall(r"^([a-z][\w-]*==\S+)", path.read_text(), re.M)) for path in (wheelhouse.LOCK, LOCK)]
    assert pins[0] <= pins[1]
    assert {pin.partition("==")[0] for pin in pins[0]} == {"cffi", "cryptography", "pycparser", "pyrage"}
    assert "://" not in wheelhouse.LOCK.read_text()


@pytest.mark.parametrize("extra", sorted(wheelhouse.EXTRAS))
def test_what_only_some_hosts_need_has_a_lock_of_its_own_that_agrees(extra: str, tmp_path: Path) -> None:
    pins = [
        set(re.findall(r"^([a-z][\w-]*==\S+)", path.read_text(), re.M)) for path in (wheelhouse.EXTRAS[extra], LOCK)
    ]
    assert pins[0] <= pins[1]
    assert "://" not in wheelhouse.EXTRAS[extra].read_text()
    words = wheelhouse._installer(wheelhouse.Release("3.13", "amd64", extra), tmp_path)
    assert words.count("--requirement") == 2
    assert "--requirement" in wheelhouse._installer(wheelhouse.Release("3.13", "amd64"), tmp_path)


def test_a_host_with_a_backup_file_gets_what_backups_take(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts/prod.yml").write_text("connection: local\n")
    described = load.load(tmp_path / "hosts/prod.yml")
    assert provision.builds(described)("3.13", "amd64").extras == ()
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups/prod.yml").write_text("")
    assert provision.builds(described)("3.13", "amd64").extras == ("backup",)


def test_of_boto3s_many_services_one_is_shipped(tmp_path: Path) -> None:
    names = [
        f"botocore/data/{name}" for name in ("endpoints.json", "s3/1/service.json", "s3tables/1/x.json", "ec2/1/x")
    ]
    for name in (*names, "botocore/client.py", "boto3/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in wheelhouse._worth_shipping(tmp_path)}
    assert found == {*names[:2], "botocore/client.py", "boto3/__init__.py"}


class Build:
    name = "b" * 24

    @property
    def archive(self) -> bytes:
        raise AssertionError("a plan needs no archive")


def planned(installed: str, system: str = DEBIAN13) -> tuple[list[str], list[tuple[str, str]]]:
    asked = []

    def builds(python: str, architecture: str) -> Build:
        asked.append((python, architecture))
        return Build()

    facts = FakeFacts()
    facts.tell(SYSTEM, system)
    facts.tell(agent.INSTALLED, installed)
    return [change.summary for change in agent.installed(builds)(facts)], asked


@pytest.mark.parametrize(
    ("installed", "changes"),
    [
        ("\n", [f"unpack agent {'b' * 24}", f"switch to agent {'b' * 24}"]),
        (f"releases/{'a' * 24}\n{'a' * 24}\n", [f"unpack agent {'b' * 24}", f"switch to agent {'b' * 24}"]),
        (f"releases/{'a' * 24}\n{'a' * 24}\n{'b' * 24}\n", [f"switch to agent {'b' * 24}"]),
        (f"\n{'b' * 24}\n", [f"switch to agent {'b' * 24}"]),
        (f"releases/{'b' * 24}\n{'a' * 24}\n{'b' * 24}\n", []),
    ],
)
def test_a_host_gets_the_release_it_lacks(installed: str, changes: list[str]) -> None:
    told, asked = planned(installed)
    assert (told, set(asked)) == (changes, {("3.13", "amd64")})


def test_a_host_without_python_gets_the_release_for_the_one_it_will_have() -> None:
    bare = DEBIAN13.replace("13\ntrixie", "12\nbookworm").replace("/usr/bin/python3.13\n", "")
    assert set(planned("\n", bare)[1]) == {("3.11", "amd64")}


def test_the_archive_is_made_when_it_is_sent() -> None:
    host, told = FakeHost(), []
    host.answer("sh")
    change = changes.Change("feed", changes.Fed(script("cat"), lambda: told.append(1) or b"late"))
    assert told == []
    perform(host, change, Silent())
    assert host.ran[0].input() == b"late"


ENABLED = NO_UNIT.replace("not-found", "loaded").replace("UnitFileState=", "UnitFileState=enabled")


def units(docker: bool, *, docker_state: str = ENABLED, there: bool = False) -> list[str]:
    facts = FakeFacts()
    texts = {
        agent.UNIT: agent.SECRETS,
        agent.SETTLE: agent.SETTLES,
        "docker.service.d/toolkit-secrets.conf": agent.DOCKER_WAITS,
    }
    for name, text in texts.items():
        told = f"regular file|644|root|root\n{text}" if there else "absent\n"
        facts.tell(files.text(f"/etc/systemd/system/{name}"), told)
    for name in (agent.UNIT, agent.SETTLE):
        facts.tell(systemd.state(name), ENABLED if there else NO_UNIT)
    facts.tell(systemd.state("docker.service"), docker_state)
    return [change.summary for change in _of_units(docker)(facts)]


def _of_units(docker: bool, *others: systemd.Wanted) -> Operation:
    first, _, units, *_ = agent.operations(
        lambda *_: pytest.fail("no build is asked for"), docker=docker, others=others
    )
    # The agent is written in it.
    assert first.name == "apt.packages python3"
    return units


def test_units_of_others_are_read_in_the_same_go_and_ours_are_not_restarted() -> None:
    facts, other = FakeFacts(), systemd.Wanted("other.service", "[Service]\n")
    for one in (agent.UNIT, other.unit):
        facts.tell(files.text(f"/etc/systemd/system/{one}"), "absent\n")
        facts.tell(systemd.state(one), ENABLED)
    *_, read = _of_units(False, other)(facts)
    assert read.summary == f"let systemd read {agent.UNIT}, other.service"
    # Docker requires the unit of secrets, and would be stopped with it.
    assert read.action.argv[-2:] == ("restart", "other.service")


def test_docker_is_made_to_wait_for_the_secrets() -> None:
    assert units(True) == [
        f"write /etc/systemd/system/{agent.UNIT}",
        f"write /etc/systemd/system/{agent.SETTLE}",
        "write /etc/systemd/system/docker.service.d/toolkit-secrets.conf",
        f"enable {agent.UNIT}, {agent.SETTLE}",
        f"let systemd read {agent.UNIT}, {agent.SETTLE}, docker.service",
    ]
    assert units(True, there=True) == []
    stale = ENABLED.replace("Reload=no", "Reload=yes")
    assert units(True, there=True, docker_state=stale) == ["let systemd read docker.service"]


def test_a_host_without_docker_makes_nobody_wait() -> None:
    assert units(False) == [
        f"write /etc/systemd/system/{agent.UNIT}",
        f"enable {agent.UNIT}",
        f"let systemd read {agent.UNIT}",
    ]


class Folder:
    """Runs the scripts of installing over a folder in place of `/opt/toolkit`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def archive(self, name: str, told: str = "") -> bytes:
        entry = f'#!/bin/sh\necho \'{{"release": "{told or name}"}}\'\n'.encode()
        return wheelhouse.packed({"bin/agent": entry, "lib/x.py": b"X = 1\n"})

    def run(self, text: str, *arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        text = text.replace(agent.FOLDER, str(self.root))
        words = ["sh", "-c", text, "sh", *arguments]
        return subprocess.run(words, input=given, capture_output=True, check=False)

    def install(self, name: str) -> None:
        python = shutil.which("python3") or "python3"
        done = self.run(agent.UNPACK, name, python, given=self.archive(name))
        assert done.returncode == 0, done.stderr
        done = self.run(agent.SWITCH, name, "2")
        assert done.returncode == 0, done.stderr

    def look(self) -> agent.Installed:
        return agent.parse_installed(self.run(agent.LOOK).stdout.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "opt")


def test_a_bare_host_has_no_agent(folder: Folder) -> None:
    assert folder.look() == agent.Installed("", ())


def test_two_releases_are_kept_and_the_newest_is_current(folder: Folder) -> None:
    for name in ("aaa", "bbb", "ccc"):
        folder.install(name)
    assert folder.look() == agent.Installed("ccc", ("bbb", "ccc"))
    assert list((folder.root / "current/lib/__pycache__").iterdir())
    folder.run(agent.SWITCH, "bbb", "2")
    assert folder.look() == agent.Installed("bbb", ("bbb", "ccc"))
    folder.install("ddd")
    assert folder.look() == agent.Installed("ddd", ("bbb", "ddd")), "the one last in use is the one to go back to"


@pytest.mark.parametrize("harm", ["cut", "other"])
def test_a_release_that_does_not_prove_itself_changes_nothing(folder: Folder, harm: str) -> None:
    folder.install("aaa")
    given = folder.archive("bbb")[:-40] if harm == "cut" else folder.archive("bbb", told="ccc")
    done = folder.run(agent.UNPACK, "bbb", "python3", given=given)
    assert done.returncode != 0
    assert folder.look() == agent.Installed("aaa", ("aaa",))
    assert sorted(path.name for path in (folder.root / "releases").iterdir()) == ["aaa"]


def test_a_release_whose_entry_is_gone_is_sent_again(folder: Folder) -> None:
    folder.install("aaa")
    (folder.root / "releases/aaa/bin/agent").unlink()
    assert folder.look() == agent.Installed("", ())
    folder.install("aaa")
    assert folder.look() == agent.Installed("aaa", ("aaa",))


def test_a_release_that_went_ahead_is_not_unpacked_again(folder: Folder) -> None:
    folder.install("aaa")
    assert folder.run(agent.UNPACK, "aaa", "no-python", given=b"").returncode == 0
    assert folder.look() == agent.Installed("aaa", ("aaa",))
    done = folder.run(agent.UNPACK, "bbb", "python3", given=b"")
    assert done.returncode != 0, "what did not arrive cannot be taken for having arrived"
