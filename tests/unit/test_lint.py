"""Lint as a workflow and a verb, over a Compose that answers what it is told to; the real one is in the lab's tests."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from invoke.program import Program

from tests import lint_cases
from toolkit.config import compose, suppressions
from toolkit.stack.lint import RULES, env_files, installed, report, sarif
from toolkit.stack.lint.rule import Found
from toolkit.verbs.program import namespace
from toolkit.words.command import Result, command
from toolkit.words.errors import ConfigError, HostError, LabError, Unsupported
from toolkit.words.report import Silent
from toolkit.workflows import resolve
from toolkit.workflows.resolve import Answer, Contained, Installed, Request

HOST = """connection: local
stack:
  name: shop
  directory: shop
  variables:
    TAG: "1"
    TOKEN: "command:touch {witness}"
    KEPT: "secret:kept"
"""
FILE = """services:
  api:
    image: acme/api:${TAG}
    ports: ["5432:5432"]
    volumes:
      - ./conf:/etc/conf
"""
BODY: dict[str, Any] = {
    "image": "postgres:1",
    "ports": [{"target": 5432, "published": "5432", "protocol": "tcp"}],
    "environment": {"API_TOKEN": "hunter2"},
}


@dataclass
class Scripted:
    """A Compose that remembers what it was asked, with the files of the request as they were then."""

    model: dict[str, Any] = field(default_factory=lambda: {"services": {"api": BODY}})
    code: int = 0
    errors: str = ""
    asked: list[Request] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def answers(self, requests: Sequence[Request], folders: Sequence[Path]) -> list[Answer]:
        self.asked += requests
        for path in requests[0].directory.iterdir():
            if path.is_file():
                self.files[path.name] = path.read_text()
        said = self.errors.replace("FOLDER", str(requests[0].directory))
        return [Answer(self.code, json.dumps(self.model).encode(), said) for _ in requests]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    scripted = Scripted()
    monkeypatch.setattr(resolve, "compose", lambda _listener: scripted)
    return scripted


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts/prod.yml").write_text(HOST.format(witness=tmp_path / "witness"))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/compose.yaml").write_text(FILE)
    (tmp_path / "shop/conf").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["toolkit", *words])
    try:
        Program(name="toolkit", binary="toolkit", namespace=namespace()).run(["toolkit", *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def lint(place: Path, said: Scripted, monkeypatch: pytest.MonkeyPatch):
    return lambda *words: call(monkeypatch, "lint", *words)


def test_a_host_file_is_linted_without_asking_its_providers(lint: Any, place: Path, said: Scripted) -> None:
    assert lint("--host", "prod") == 1
    assert not (place / "witness").exists()
    assert said.files[".env"] == "KEPT='10203'\nTAG='1'\nTOKEN='10203'\n"
    assert said.files["0-compose.yaml"] == FILE
    (request,) = said.asked
    assert (request.project, request.env_file) == ("shop", request.directory / ".env")
    assert not request.directory.exists()


def test_findings_have_their_files_and_lines(lint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lint("--host", "prod", "--json")
    told = json.loads(capsys.readouterr().out)
    places = {one["rule"]: (one["file"], one["line"]) for one in told["findings"]}
    assert places["public-database"] == ("shop/compose.yaml", 4)
    # Nothing in the file says it: the service stands for it.
    assert places["no-limits"] == ("shop/compose.yaml", 2)
    assert places["secret-through-variable"] == ("hosts/prod.yml", 8)
    assert "hunter2" not in str(told)


def test_text_is_grouped_by_service_and_explains_each_rule_once(
    lint: Any, said: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    said.model = {"services": {"api": BODY, "web": BODY}}
    assert lint("shop/compose.yaml") == 1
    lines = capsys.readouterr().out.splitlines()
    assert {"api", "web"} <= set(lines)
    assert "  error  port 5432 opens PostgreSQL to everybody  (public-database, shop/compose.yaml:4)" in lines
    fixes = [line for line in lines if line.startswith("    Take `ports` out")]
    assert len(fixes) == 1
    assert lines[-1] == "shop/compose.yaml: 2 errors, 12 warnings, 2 notes"


QUIET = {
    "image": "acme/api:1",
    "user": "1000",
    "read_only": True,
    "restart": "unless-stopped",
    "cpus": 1,
    "mem_limit": 1,
    "healthcheck": {"test": ["CMD", "curl", "x"]},
    "logging": {"driver": "local"},
}


@pytest.mark.parametrize(
    ("change", "plain", "strict"),
    [({}, 0, 0), ({"read_only": False}, 0, 0), ({"user": "0"}, 0, 1), ({"privileged": True}, 1, 1)],
    ids=["clean", "info", "warning", "error"],
)
def test_exit_codes(
    lint: Any, said: Scripted, change: dict[str, Any], plain: int, strict: int, capsys: pytest.CaptureFixture[str]
) -> None:
    said.model = {"services": {"api": QUIET | change}}
    assert lint("shop/compose.yaml") == plain
    assert lint("shop/compose.yaml", "--strict") == strict
    if not change:
        assert "shop/compose.yaml: nothing found" in capsys.readouterr().out


def test_what_the_machine_has_can_be_said(lint: Any, said: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    said.model = {"services": {"api": QUIET | {"cpus": 3, "mem_limit": str(3 * 2**30)}}}
    assert lint("shop/compose.yaml", "--memory", "2GiB", "--cpus", "2", "--strict") == 1
    out = capsys.readouterr().out
    assert "memory add up to 3 GiB, and the host has 2 GiB" in out
    assert "CPU add up to 3 cores, and the host has 2" in out


def test_profiles_and_variables_of_compose_files_reach_compose(lint: Any, place: Path, said: Scripted) -> None:
    (place / "shop/compose.yaml").write_text(FILE + "    profiles: [extra]\n")
    (place / "some.env").write_text("A=1\n")
    lint("shop", "--profile", "extra", "--profile", "more", "--env-file", "some.env")
    chosen, everything = said.asked
    assert (chosen.profiles, everything.profiles) == (("extra", "more"), ("*",))
    assert chosen.env_file == place / "some.env"
    assert chosen.files == (place / "shop/compose.yaml",)


def test_a_folder_stands_for_its_file_and_its_override(lint: Any, place: Path, said: Scripted) -> None:
    (place / "shop/compose.override.yaml").write_text("services: {}\n")
    lint("shop")
    assert [path.name for path in said.asked[0].files] == ["compose.yaml", "compose.override.yaml"]


REFUSED = {
    "nothing": ((), "nothing to lint", "--host NAME"),
    "both": (("shop", "--host", "prod"), "a host and Compose files", "one of them"),
    "a profile for a host": (("--host", "prod", "--profile", "x"), "--profile and --env-file", "its own"),
    "connect without a host": (("shop", "--connect"), "--connect is for a host", "--host NAME"),
    "no such file": (("nothing.yaml",), "no Compose file", "check its name"),
    "a folder without one": (("hosts",), "no Compose file in hosts", "compose.yaml"),
    "cores": (("shop", "--cpus", "many"), "'many' is no number of cores", "4 or 1.5"),
    "memory": (("shop", "--memory", "much"), "'much' is not a size", "512MiB"),
    "sarif": (("shop", "--sarif", "no/where.sarif"), "no/where.sarif cannot be written", "another file"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_asked_is_told_with_the_way_out(
    lint: Any, words: tuple[str, ...], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lint(*words) == 10
    first, second = capsys.readouterr().err.splitlines()
    assert message in first
    assert hint in second


def test_complaints_speak_of_the_persons_own_files_and_quote_none(
    lint: Any, said: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    said.code = 15
    said.errors = (
        'time="now" level=warning msg="something"\n'
        'failed to read FOLDER/agent.env in FOLDER/0-compose.yaml: line 1: unexpected "-" near "-----KEY\\nhunter2"'
    )
    assert lint("--host", "prod") == 10
    err = capsys.readouterr().err
    assert "failed to read agent.env in shop/compose.yaml" in err
    assert "hunter2" not in err
    assert "level=warning" not in err


def test_a_complaint_does_not_steer_the_terminal_and_is_never_empty() -> None:
    assert Answer(1, b"", "service \x1b[2J\x07 is odd\nand more").complaint == "service �[2J� is odd\nand more"
    assert Answer(3, b"", "").complaint == "exit code 3"


def test_a_variable_without_a_value_is_named(lint: Any, said: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    said.errors = (
        'time="now" level=warning msg="The \\"GHCR_USERNAME\\" variable is not set. Defaulting to a blank string."'
    )
    assert lint("--host", "prod") == 10
    err = capsys.readouterr().err
    assert "no value for GHCR_USERNAME" in err
    assert "stack.variables" in err


def test_a_dependency_that_is_refused_points_to_profiles(
    lint: Any, said: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    said.code, said.errors = 15, 'service "web" depends on undefined service "db": invalid compose project'
    assert lint("shop") == 10
    assert "turn on the profile it is in" in capsys.readouterr().err


def test_sarif_has_what_the_standard_requires(lint: Any, place: Path, said: Scripted) -> None:
    written = "x-lint:\n  - {rule: writable-root, reason: a demo}\n" + FILE
    (place / "shop/compose.yaml").write_text(written)
    lint("shop", "--sarif", "found.sarif")
    log = json.loads((place / "found.sarif").read_text())
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]
    assert run["tool"]["driver"]["name"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        assert result["message"]["text"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "shop/compose.yaml"
    accepted = [result for result in run["results"] if "suppressions" in result]
    assert [one["ruleId"] for one in accepted] == ["writable-root"]
    assert accepted[0]["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "a demo"}]


def test_sarif_places_are_addresses() -> None:
    assert sarif._uri("a file.yaml") == "a%20file.yaml"
    assert sarif._uri("/else/where.yaml") == "file:///else/where.yaml"


def test_the_rules_are_listed(lint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint("--rules") == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES) + 1
    assert lint("--rules", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[0].keys() == {"id", "severity", "reason", "fix"}


def test_accepted_findings_of_a_host_file_are_counted_and_stale_ones_placed(
    lint: Any, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "hosts/prod.yml"
    accepted = (
        "  lint:\n    - {rule: public-database, service: api, reason: a demo}\n    - {rule: nothing, reason: x}\n"
    )
    file.write_text(file.read_text() + accepted)
    assert lint("--host", "prod") == 0
    out = capsys.readouterr().out
    assert "nothing is suppressed: there is no such rule  (stale-suppression, hosts/prod.yml:9)" in out
    assert "1 accepted with a reason" in out


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("[{rule: x}]", "x-lint[0].reason: field required"),
        ("{rule: x, reason: y}", "x-lint: "),
        ("[{rule: x, reason: y, servise: z}]", "x-lint[0].servise: "),
    ],
)
def test_suppressions_of_a_compose_file_are_checked(tmp_path: Path, written: str, fault: str) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(f"x-lint: {written}\n")
    with pytest.raises(ConfigError) as told:
        suppressions.read("compose.yaml", compose.read(path))
    assert f"compose.yaml: {fault}" in told.value.message


def test_lines_are_known_through_anchors_and_merge_tags(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(
        "x-a: &a\n  image: x\nservices:\n  api:\n    <<: *a\n    ports: !reset []\n    deploy: {replicas: 2}\n"
    )
    marked = compose.marked(path)
    assert marked.lines["services", "api", "ports"] == 6
    assert marked.lines["services", "api", "deploy", "replicas"] == 7
    assert marked.data["services"]["api"]["image"] == "x"


def test_the_topmost_file_that_says_it_is_the_place() -> None:
    low = compose.Marked({}, {("services", "api"): 1, ("services", "api", "ports"): 5})
    high = compose.Marked({}, {("services", "api"): 2})
    files = report.Files({"low": low, "high": high})
    assert files.place(Found("", "api", ("ports",))) == ("low", 5)
    assert files.place(Found("", "api", ("image",))) == ("high", 2)
    assert files.place(Found("", "other")) == ("", 0)


def test_env_files_are_read_as_compose_does() -> None:
    text = "export A=1\n B = 'two' \nC=\"th ree\"\nD=4 # four\nE=${A}\n# F=6\nnot a line\n"
    assert env_files.parse(text) == {"A": "1", "B": "two", "C": "th ree", "D": "4"}


def test_an_env_file_outside_of_the_repository_is_not_looked_at(place: Path) -> None:
    marked = {"compose.yaml": compose.Marked({"services": {"a": {"env_file": ["/etc/passwd", "conf"]}}}, {})}
    read = dict(lint_cases.lint._read(place / "shop", place / "shop/.env", marked))
    assert list(read) == ["conf"]


def test_what_a_host_says_of_itself_is_understood() -> None:
    override = (
        '{"services": {"db": {"volumes": [{"target": "/x", "source": "/opt/s/files/a/x"}], "build": !reset null}}}'
    )
    capacity, deployed = installed.parse(f"2048\n2\ns_data other \n{override}")
    assert (capacity.memory, capacity.cpus) == (2048 * 1024, 2.0)
    assert deployed.sources == {("db", "/x"): "/opt/s/files/a/x"}
    assert deployed.volumes == {"s_data", "other"}
    assert installed.parse("2048\n2\n\n")[1].sources == {}
    with pytest.raises(HostError):
        installed.parse("nonsense")


@dataclass
class Ears:
    """An Engine that hears one command."""

    code: int = 0
    out: bytes = b""
    words: tuple[str | int, ...] = ()
    given: bytes = b""

    def ask(self, *words: str | int, stdin: bytes = b"", timeout: float = 0) -> Result:
        self.words, self.given = words, stdin
        return Result(command("docker"), self.code, self.out, b"no such image")


def test_the_container_gets_no_network_no_rights_and_read_only_folders(tmp_path: Path) -> None:
    engine: Any = Ears(out=b"0 2 2\n{}no" + b"15 0 4\nugly")
    odd = tmp_path / 'a "b", c'
    asked = Request(odd, (odd / "compose.yaml",), profiles=("p",))
    answers = Contained(engine, "image").answers([asked, asked], [odd, odd])
    words = list(engine.words)
    assert words[words.index("--network") + 1] == "none"
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert "--read-only" in words
    mounts = [after for word, after in pairwise(words) if word == "--mount"]
    quoted = str(odd).replace('"', '""')
    assert mounts == [f'type=bind,"source={quoted}","target={quoted}",readonly']
    assert b"--profile p config" in engine.given
    assert [(one.code, one.output) for one in answers] == [(0, b"{}"), (15, b"")]
    assert answers[1].errors == "ugly"


def test_a_container_that_does_not_start_says_so(tmp_path: Path) -> None:
    engine: Any = Ears(code=125)
    with pytest.raises(LabError, match="no such image"):
        Contained(engine, "image").answers([Request(tmp_path, ())], [tmp_path])


OLD = '#!/bin/sh\ncase "$*" in *version*) echo 2.23.3;; esac\n'
NEW = """#!/bin/sh
case "$*" in *version*) echo v2.24.0; exit;; esac
env >"$0.env"
echo '{}'
"""


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def make(program: str, text: str) -> Path:
        file = tmp_path / program
        file.write_text(text)
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return file

    monkeypatch.setenv("PATH", str(tmp_path))
    return make


def test_an_installed_compose_is_taken_and_sees_no_variable_of_ours(
    path_with: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = path_with("docker-compose", NEW)
    path_with("docker", "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("IMAGE_TAG", "hunter2")
    found = resolve.compose(Silent())
    assert found == Installed(("docker-compose",))
    (answer,) = found.answers([Request(tmp_path, ())], [])
    assert (answer.code, answer.output) == (0, b"{}\n")
    seen = Path(f"{program}.env").read_text()
    assert "IMAGE_TAG" not in seen
    assert "COMPOSE_EXPERIMENTAL_GIT_REMOTE=false" in seen


def test_without_a_compose_and_an_engine_the_way_out_is_told(path_with: Any) -> None:
    path_with("docker", OLD.replace("esac", "*) exit 1;; esac"))
    with pytest.raises(Unsupported) as told:
        resolve.compose(Silent())
    assert "2.24" in told.value.hint


def test_a_compose_that_hangs_is_given_up(path_with: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path_with("docker-compose", "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(resolve, "PATIENCE", 0.1)
    (answer,) = Installed(("docker-compose",)).answers([Request(tmp_path, ())], [])
    assert answer.code == 124
    assert "did not answer" in answer.complaint
