"""The way to a host and back: what is sent, what comes of it, and a host that cannot be reached."""

import ast
import gzip
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import load
from toolkit.config.models import Connection, HostFile
from toolkit.host.fake import FakeHost
from toolkit.host.ssh import SshHost
from toolkit.stack.doctor.diagnosis import diagnose
from toolkit.words.command import Command, Result
from toolkit.words.errors import ConfigError, HostError, Unreachable, UntrustedHost
from toolkit.words.values import Secret
from toolkit.workflows import wheelhouse
from toolkit.workflows.doctor import bundle, reach, ship, visit
from toolkit.workflows.doctor.visit import Visit

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "toolkit"
CANARY = "canary-4711"

HOST = f"""\
connection: {{address: 192.0.2.1, port: 2222}}
machine: {{firewall: {{open: [443]}}}}
registries:
  - {{host: ghcr.io, user: acme, token: "command:printf {CANARY}"}}
stack:
  name: shop
  directory: shop
  variables: {{SITE: shop.example, PASSWORD: "command:printf {CANARY}"}}
  gate: {{probes: [{{url: "https://www.shop.example/health"}}]}}
"""


@pytest.fixture
def host_file(tmp_path: Path) -> HostFile:
    for folder in ("hosts", "shop", "backups"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hosts/box.yml").write_text(HOST)
    (tmp_path / "shop/compose.yaml").write_text("services: {web: {image: web}}\n")
    return load.named(tmp_path, "box")


def answered(**more: Any) -> bytes:
    told = {"format": "toolkit evidence 1", "stack": "shop", "now": 1000.0, "sections": {"agent": {"value": {}}}} | more
    return json.dumps(told).encode()


def box(stdout: bytes = b"", code: int = 0, stderr: bytes = b"") -> FakeHost:
    return FakeHost("box", {"sh": lambda command: Result(command, code, stdout, stderr)})


def modules(content: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_everything_that_is_sent_along_finds_what_it_imports_and_nothing_else_is_needed() -> None:
    paths = {path for pattern in ship.SHIPPED for path in PACKAGE.glob(pattern)}
    sent = {
        "toolkit." + str(path.relative_to(PACKAGE))[:-3].replace("/", ".").removesuffix(".__init__") for path in paths
    }
    sent.add("toolkit")
    ours = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    }
    for path in paths:
        named = set(modules(path.read_bytes()))
        assert {name for name in named if name in ours} <= sent, path
        outside = {name.split(".")[0] for name in named if not name.startswith("toolkit")}
        assert outside <= sys.stdlib_module_names, path


def test_it_runs_from_memory_by_itself_and_says_what_it_cannot_tell(tmp_path: Path, host_file: HostFile) -> None:
    """Run for real, over an empty root: no Docker, no agent, no toolkit beside it."""
    command = ship.examine(visit.request(host_file) | {"root": str(tmp_path / "root"), "registries": [], "names": []})
    done = subprocess.run(
        command.argv,
        input=command.input(),
        capture_output=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["sections"]["docker"]["fault"] == "docker does not run"
    assert told["sections"]["agent"]["value"] == {}
    assert told["sections"]["memory"]["value"]["total"] > 0
    assert not (tmp_path / "root").exists()
    seen = visit.visit(host_file, box(done.stdout), now=lambda: told["now"])
    rules = [one.rule for one in diagnose(seen.evidence).findings]
    assert {"docker-down", "agent-missing", "never-deployed"} <= set(rules)
    assert rules[0] == "docker-down"


def test_a_host_without_a_stack_is_looked_at_and_left_as_it_is(tmp_path: Path, host_file: HostFile) -> None:
    bare = replace(host_file, stack=None, registries=())
    command = ship.examine(visit.request(bare) | {"root": str(tmp_path / "root")})
    done = subprocess.run(command.argv, input=command.input(), capture_output=True, check=True)
    seen = visit.visit(bare, box(done.stdout))
    assert "deploys" not in seen.evidence.sections
    assert "never-deployed" not in {one.rule for one in diagnose(seen.evidence).findings}
    assert not (tmp_path / "root").exists()


def test_a_host_without_python_is_told_so(tmp_path: Path, host_file: HostFile) -> None:
    sh = shutil.which("sh")
    assert sh
    command = ship.examine(visit.request(host_file))
    done = subprocess.run(
        [sh, *command.argv[1:]], input=command.input(), capture_output=True, env={"PATH": str(tmp_path)}, check=False
    )
    assert done.returncode == ship.NO_PYTHON
    [one] = diagnose(visit.visit(host_file, box(code=done.returncode)).evidence).findings
    assert one.rule == "python-missing"


def test_the_request_names_what_to_look_at_and_no_secret(host_file: HostFile) -> None:
    shutil.copy(ROOT / "backups/example.yml", host_file.root / "backups/box.yml")
    asked = visit.request(host_file, lines=5)
    wanted = visit.visit(host_file, box(answered()), now=lambda: 1000.0).evidence.wanted
    assert wanted.backups
    assert wanted.drills > 0
    assert asked["names"] == ["ghcr.io", "s3.example.com"]
    assert asked["registries"] == ["ghcr.io"]
    assert asked["tls"] == ["www.shop.example", "shop.example", "localhost"]
    assert "elements = { 22, 443 }" in asked["firewall"]
    assert CANARY not in json.dumps(asked)


def test_rules_are_not_compared_where_sshd_has_a_port_of_its_own(host_file: HostFile) -> None:
    assert (
        visit.request(replace(host_file, machine=host_file.machine.model_copy(update={"sshd": None})))["firewall"] == ""
    )
    none = replace(host_file, machine=host_file.machine.model_copy(update={"firewall": None}), stack=None)
    assert visit.request(none)["firewall"] == ""
    assert (visit.request(none)["tls"], visit.request(none)["stack"]) == ([], "")


@pytest.mark.parametrize(("now", "skew"), [(1000.0, 0.0), (990.0, 8.0), (1020.0, -20.0)])
def test_the_clock_is_off_by_what_the_way_does_not_explain(host_file: HostFile, now: float, skew: float) -> None:
    times = iter([now, now + 2])
    assert visit.visit(host_file, box(answered()), now=lambda: next(times)).evidence.wanted.skew == skew


def test_the_agent_is_compared_with_the_one_that_would_be_installed(host_file: HostFile) -> None:
    agent = {"release": "old", "python": "3.13", "architecture": "amd64"}
    seen = visit.visit(host_file, box(answered(sections={"agent": {"value": agent}})), now=lambda: 1000.0)
    assert seen.evidence.wanted.agent == wheelhouse.release("3.13", "amd64").name


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"[]",
        b"not json",
        answered(format="other"),
        answered(now="late"),
        answered(sections=[]),
        answered(sections={"a": 1}),
    ],
)
def test_an_answer_that_is_no_evidence_is_an_error_with_a_way_out(host_file: HostFile, stdout: bytes) -> None:
    with pytest.raises(HostError, match="box: looking at the host failed") as caught:
        visit.visit(host_file, box(stdout))
    assert caught.value.hint


def test_what_python_complains_of_is_passed_on(host_file: HostFile) -> None:
    with pytest.raises(HostError, match="MemoryError"):
        visit.visit(host_file, box(code=1, stderr=b"MemoryError"))


@dataclass
class Far(FakeHost):
    """A host that cannot be reached, at an address of this machine."""

    place: tuple[str, int] | None = None
    error: HostError = Unreachable("box: no answer", hint="look there")  # noqa: RUF009 - never changed

    def where(self) -> tuple[str, int] | None:
        return self.place

    def run(self, command: Command, **_: Any) -> Result:
        raise self.error


@contextmanager
def listening(said: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=5)


def first(host_file: HostFile, host: Far) -> str:
    return diagnose(visit.visit(host_file, host).evidence).findings[0].rule


def test_a_port_where_nobody_listens(host_file: HostFile) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert first(host_file, Far("box", place=("127.0.0.1", port))) == "ssh-refused"


@pytest.mark.parametrize(
    ("said", "rule"),
    [(b"HTTP/1.1 400\r\n", "not-ssh"), (b"", "not-ssh"), (b"SSH-2.0-OpenSSH\r\n", "login-refused-by-host")],
)
def test_what_answers_says_what_it_is(host_file: HostFile, said: bytes, rule: str) -> None:
    with listening(said) as port:
        assert first(host_file, Far("box", place=("127.0.0.1", port))) == rule


def test_another_key_comes_before_all_else(host_file: HostFile) -> None:
    with listening(b"SSH-2.0-OpenSSH\r\n") as port:
        far = Far("box", place=("127.0.0.1", port), error=UntrustedHost("THE HOST KEY HAS CHANGED"))
        assert first(host_file, far) == "host-key-changed"


def test_packets_that_get_no_answer(host_file: HostFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(where: tuple[str, int], _: float) -> socket.socket:
        if where[1] == 443:
            return socket.socket()
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    found = reach.reach(host_file, Far("box", place=("192.0.2.1", 22)), Unreachable("no answer"))
    assert (found["tcp"], found["open"]) == ("silent", [443])


def test_behind_a_jump_host_only_the_error_is_known(host_file: HostFile) -> None:
    assert first(host_file, Far("box")) == "login-refused-by-host"


def packed(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        return {one.name: archive.extractfile(one).read().decode() for one in archive.getmembers()}  # type: ignore[union-attr]


def test_names_of_a_bundle_stay_inside_of_it() -> None:
    hostile = {"../../etc/passwd": "a", "/etc/shadow": "b", "logs/..": "c", "logs/x\n\x1b.txt": "d"}
    assert sorted(packed(bundle.packed(hostile))) == [
        "doctor/etc/passwd",
        "doctor/etc/shadow",
        "doctor/logs",
        "doctor/logs/x__.txt",
    ]


def test_a_bundle_holds_what_was_cleaned_and_not_what_was_not(host_file: HostFile, tmp_path: Path) -> None:
    cleaned = {
        "files": {"logs/web.txt": "[password]"},
        "evidence": {"sections": {"names": {"value": {"[password]": "x"}}}},
    }
    told = answered(sections={"names": {"value": {CANARY: "x"}}}, bundle=cleaned)
    seen = visit.visit(host_file, box(told), bundle=True)
    assert CANARY in diagnose(seen.evidence).findings[0].cause
    bundle.write(tmp_path / "out.tar.gz", seen)
    files = packed((tmp_path / "out.tar.gz").read_bytes())
    assert files["doctor/logs/web.txt"] == "[password]"
    assert json.loads(files["doctor/diagnosis.json"])["findings"][0]["rule"] == "name-unknown"
    assert CANARY not in "".join(files.values())
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o777 == 0o600


def test_a_bundle_that_cannot_be_written_is_told(host_file: HostFile, tmp_path: Path) -> None:
    seen: Visit = visit.visit(host_file, box(answered()))
    with pytest.raises(ConfigError, match="cannot be written"):
        bundle.write(tmp_path / "nowhere/out.tar.gz", seen)


@pytest.mark.parametrize(
    ("connection", "where"),
    [
        ({"address": "192.0.2.1", "port": 2222}, ("192.0.2.1", 2222)),
        ({"address": "192.0.2.1", "user": "ada"}, ("192.0.2.1", 22)),
        ({"address": "192.0.2.1", "jump": "ada@198.51.100.1"}, None),
    ],
)
def test_where_a_host_over_ssh_is(tmp_path: Path, connection: dict[str, Any], where: tuple[str, int] | None) -> None:
    host = SshHost("box", Connection(**connection), root=tmp_path, ask=lambda: Secret(b""))
    assert host.where() == where


def test_an_identity_that_is_missing_is_told_and_the_way_is_not_known(host_file: HostFile) -> None:
    described = Connection(address="192.0.2.1", identity="nowhere")
    host = SshHost("box", described, root=host_file.root, ask=lambda: Secret(b""))
    [one] = diagnose(visit.visit(host_file, host).evidence).findings
    assert one.rule == "login-refused-by-host"
    assert "no identity file" in one.seen[0]
