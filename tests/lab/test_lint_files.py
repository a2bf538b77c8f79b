"""Lint as a user types it, with the real Compose behind it: good files, bad files, and files that mean harm."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolkit.lab.engine import Engine
from toolkit.lab.pictures import Pictures
from toolkit.words.report import Silent

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A repository of the test's own."""

    root: Path
    path: str = os.environ["PATH"]

    def file(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def lint(self, *words: str) -> tuple[int, str, str]:
        """Return the exit code and both outputs of `toolkit lint …`."""
        program = "from toolkit.verbs.program import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, "lint", *words],
            cwd=self.root,
            env={"PATH": self.path, "PYTHONPATH": str(ROOT), "IMAGE_TAG": "from-the-shell", "HOME": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "hosts").mkdir()
    return Place(tmp_path)


SOUND = 'services: {api: {image: "acme/api:1"}}\n'
FAULTS = {
    "syntax": (
        "services:\n  api: {image: x\n  web: y\n",
        "compose.yaml:3: did not find expected ',' or '}'",
        "correct the YAML at this line",
    ),
    "a tab": ("services:\n\tapi: {}\n", "compose.yaml:2: found character that cannot start any token", "this line"),
    "a list": ("- a\n- b\n", "holds no mapping", "`services:` at its top level"),
    "an unknown key": (
        "services: {api: {image: x, frobnicate: 1}}\n",
        "validating compose.yaml: services.api Additional property frobnicate is not allowed",
        "correct the Compose files",
    ),
    "an unknown key at the top": ("frob: 1\n" + SOUND, "compose.yaml: (root) Additional property frob", "correct"),
    "a variable without a value": (
        'services: {api: {image: "x:${TAG}"}}\n',
        "compose.yaml: no value for TAG",
        "set it in .env beside the file, or give it a default: ${TAG:-value}",
    ),
    "a variable that is required": (
        'services: {api: {image: "x:${TAG:?say which}"}}\n',
        "required variable TAG is missing a value: say which",
        "correct the Compose files",
    ),
    "a circle of includes": ("include: [other.yaml]\n" + SOUND, "include cycle detected:", "correct"),
    "a circle of extends": (
        "services:\n  a: {extends: b, image: x}\n  b: {extends: a, image: y}\n",
        "Circular reference:",
        "correct",
    ),
    "a circle of dependencies": (
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: y, depends_on: [a]}\n",
        "dependency cycle detected:",
        "correct",
    ),
    "a dependency whose profile is off": (
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: y, profiles: [p]}\n",
        'service "a" depends on undefined service "b"',
        "turn on the profile it is in: stack.profiles, or --profile",
    ),
    "no services": ("services: {a: {image: x, profiles: [p]}}\n", "the stack has no services", "turn a profile on"),
    "files of a stranger's server": (
        'include: ["https://github.com/acme/stack.git"]\n' + SOUND,
        "COMPOSE_EXPERIMENTAL_GIT_REMOTE",
        "correct",
    ),
    "a file outside of the repository": (
        "services: {a: {image: x, env_file: ../outside.env}}\n",
        "outside.env",
        "correct",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_with_the_way_out_and_exit_code_10(place: Place, text: str, message: str, hint: str) -> None:
    place.file("compose.yaml", text)
    place.file("other.yaml", "include: [compose.yaml]\n" + SOUND)
    (place.root.parent / "outside.env").write_text("TOKEN=hunter2\n")
    code, out, err = place.lint("compose.yaml")
    assert (code, out) == (10, "")
    assert message in err
    assert err.startswith("error: ")
    assert hint in err.splitlines()[-1]


def test_reset_and_override_mean_what_compose_says(place: Place) -> None:
    place.file(
        "compose.yaml",
        'services:\n  api:\n    image: "acme/api:1"\n    ports: ["3000:3000"]\n    environment: {TOKEN: hunter2}\n'
        "    volumes: [./a:/a]\n",
    )
    place.file(
        "compose.prod.yaml",
        "services:\n  api:\n    ports: !reset []\n    environment: !override {LOG_LEVEL: info}\n"
        "    volumes: !override [data:/a]\nvolumes: {data: {}}\n",
    )
    rules = {"port-on-all-addresses", "secret-in-environment", "written-bind-mount"}
    for files, expected in ((["compose.yaml"], rules), (["compose.yaml", "compose.prod.yaml"], set())):
        code, out, err = place.lint(*files, "--json")
        assert code == 0, err
        assert rules & {one["rule"] for one in json.loads(out)["findings"]} == expected


def test_five_thousand_lines_are_linted(place: Place) -> None:
    one = (
        '  s{0}:\n    image: "acme/s:{0}"\n    ports: ["{1}:80"]\n    environment:\n      LEVEL: info\n      N: "{0}"\n'
    )
    body = "".join(one.format(number, 10000 + number) for number in range(834))
    place.file("compose.yaml", "services:\n" + body)
    assert body.count("\n") >= 5000
    code, out, err = place.lint("compose.yaml", "--json")
    assert code == 0, err
    found = json.loads(out)["findings"]
    ports = [one for one in found if one["rule"] == "port-on-all-addresses"]
    assert len(ports) == 834
    assert {one["line"] for one in ports} == {2 + 6 * number + 2 for number in range(834)}


HOST = """connection: {{address: 192.0.2.1, sudo_password: "command:touch {witness}"}}
registries:
  - {{host: ghcr.io, user: acme, token: "command:touch {witness}"}}
stack:
  name: shop
  directory: shop
  profiles: [extra]
  scale: {{worker: 3}}
  variables: {{TAG: "command:touch {witness}", PORT: "env:NOWHERE"}}
  secrets: {{token: "command:touch {witness}"}}
"""
SHOP = """services:
  api:
    image: "acme/api:${TAG}"
    ports: ["${PORT}:80"]
    volumes: ["./api.env:/etc/api.env"]
    env_file: [.env, api.env]
    secrets: [token]
  worker:
    image: "acme/worker:${TAG}"
    container_name: worker
    profiles: [extra]
secrets: {token: {file: ./token}}
"""


def test_a_host_file_is_linted_without_a_host_a_value_or_a_program_of_its(place: Place) -> None:
    witness = place.root / "witness"
    place.file("hosts/prod.yml", HOST.format(witness=witness))
    place.file("shop/compose.yaml", SHOP)
    place.file("shop/api.env", "LEVEL=info\n")
    code, out, err = place.lint("--host", "prod", "--json")
    assert code == 1, err
    found = {(one["rule"], one["service"], one["file"], one["line"]) for one in json.loads(out)["findings"]}
    assert ("fixed-when-scaled", "worker", "shop/compose.yaml", 10) in found
    assert ("written-bind-mount", "api", "shop/compose.yaml", 5) in found
    assert "no-log-cap" not in {rule for rule, *_ in found}
    assert not witness.exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "hosts/prod.yml",
            "connection: local\nstack: {name: shop, directory: shop, fils: [x]}\n",
            'did you mean "files"?',
        ),
        ("hosts/prod.yml", "connection: local\n", "hosts/prod.yml has no stack"),
        ("shop/compose.yaml", "include: [other.yaml]\n" + SOUND, "compose.yaml uses `include`"),
        ("shop/compose.yaml", "services: {a: {image: x, volumes: ['../../x:/x']}}\n", "leads out of the repository"),
    ],
    ids=["a misspelt key", "no stack", "an include", "a path that leads out"],
)
def test_what_a_deploy_would_refuse_is_refused(place: Place, file: str, text: str, message: str) -> None:
    place.file("hosts/prod.yml", "connection: local\nstack: {name: shop, directory: shop}\n")
    place.file("shop/compose.yaml", SOUND)
    place.file(file, text)
    code, out, err = place.lint("--host", "prod")
    assert (code, out) == (10, "")
    assert message in err


FOUND_ON_PURPOSE = {
    # Port 3000 goes past the proxy, and so the network that it shares with the database is public.
    "taskflow": {"port-on-all-addresses", "database-on-public-network"},
    "oneglanse": {"unpinned-image"},
    "relay": set(),
    "viraclip": set(),
}


@pytest.mark.parametrize("example", FOUND_ON_PURPOSE)
def test_the_examples_have_no_errors_in_production_and_the_warnings_they_are_known_for(
    place: Place, example: str
) -> None:
    folder = ROOT / "examples" / example
    shutil.copytree(folder, place.root / "examples" / example)
    (text,) = re.findall(r"```yaml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    place.file("hosts/prod.yml", text)
    code, out, err = place.lint("--host", "prod", "--json")
    assert code == 0, err
    found = json.loads(out)["findings"]
    assert {one["rule"] for one in found if one["severity"] != "info"} == FOUND_ON_PURPOSE[example]


DEVELOPMENT = {"not-back-after-reboot", "secret-in-environment", "secret-in-arguments", "no-limits"}


def test_the_traps_of_taskflows_development_file_are_found(place: Place) -> None:
    place.file("compose.yaml", (ROOT / "examples/taskflow/compose.yaml").read_text())
    place.file(".env", (ROOT / "examples/taskflow/.env.example").read_text())
    code, out, err = place.lint("compose.yaml", "--json")
    assert code == 0, err
    assert {one["rule"] for one in json.loads(out)["findings"]} >= DEVELOPMENT | FOUND_ON_PURPOSE["taskflow"]
    assert "change-me" not in out


def test_an_installed_compose_gives_the_same_and_needs_no_engine(place: Place) -> None:
    place.file("compose.yaml", 'services: {api: {image: "acme/api:${IMAGE_TAG:-1}", ports: ["3000:3000"]}}\n')
    code, contained, err = place.lint("compose.yaml", "--json")
    assert code == 0, err
    engine, programs = Engine(), place.root / "programs"
    programs.mkdir()
    made = engine.run("create", Pictures(engine, Silent()).recipe("compose", "trixie"), "true").text.strip()
    engine.run("cp", f"{made}:/usr/libexec/docker/cli-plugins/docker-compose", str(programs / "docker-compose"))
    engine.run("rm", made)
    alone = Place(place.root, path=str(programs))
    assert alone.lint("compose.yaml", "--json") == (0, contained, "")
    assert Place(place.root, path="/nowhere").lint("compose.yaml")[0] == 16
