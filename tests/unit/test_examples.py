"""What every example has: files that agree with each other, and a host file in its README that loads."""

import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from toolkit.config import compose
from toolkit.config.document import parse
from toolkit.config.load import load
from toolkit.lab.images import read

EXAMPLES = Path(__file__).parents[2] / "examples"
EVERY = pytest.mark.parametrize(
    "example", sorted(path.parent for path in EXAMPLES.glob("*/host.yml")), ids=lambda one: one.name
)


def stack(example: Path) -> dict[str, Any]:
    value = parse((example / "host.yml").read_text())[0].value
    assert isinstance(value, dict)
    assert isinstance(value["stack"], dict)
    return value["stack"]


def services(example: Path) -> dict[str, dict[str, Any]]:
    """Return every service with its files merged, as far as these tests look."""
    merged: dict[str, dict[str, Any]] = {}
    for name in stack(example)["files"]:
        for service, body in compose.read(example / name)["services"].items():
            of_all = merged.setdefault(service, {})
            of_all.update(body, deploy=of_all.get("deploy", {}) | _limited(body))
    return merged


def _limited(body: dict[str, Any]) -> dict[str, Any]:
    deploy: dict[str, Any] = body.get("deploy", {})
    return deploy if "limits" in deploy.get("resources", {}) else {}


def reference(image: str) -> str:
    """Return an image as Docker resolves it, with the lab's user and every other variable at its default."""
    plain = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", image).replace("${GHCR_USERNAME}", "acme")
    first = plain.split("/")[0]
    if "." in first:
        return plain
    return f"docker.io/{plain}" if "/" in plain else f"docker.io/library/{plain}"


def test_the_four_stacks_are_there() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/host.yml")} == {"oneglanse", "relay", "taskflow", "viraclip"}


@EVERY
def test_every_image_of_a_stack_has_a_stand_in(example: Path) -> None:
    wanted = {reference(body["image"]) for body in services(example).values()}
    assert wanted == {picture.reference for picture in read(example)}


@EVERY
def test_production_limits_checks_and_brings_back_every_service(example: Path) -> None:
    for name, body in services(example).items():
        assert body["deploy"]["resources"]["limits"]["memory"], name
        assert body["cpu_quota"], name
        if body["restart"] != "no":
            assert body["healthcheck"]["test"], name
            assert body["restart"] == "unless-stopped", name


@EVERY
def test_the_host_file_in_the_readme_loads_and_is_the_labs_too(example: Path, tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (example / "README.md").read_text(), re.DOTALL)
    shutil.copytree(example, tmp_path / "examples" / example.name)
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "prod.yml").write_text(text)
    found = load(tmp_path / "hosts" / "prod.yml").stack
    assert found is not None
    wanted = stack(example)
    assert (found.name, found.directory) == (wanted["name"], wanted["directory"])
    # The lab's machine may be smaller than a server, and lay a file more on top.
    assert wanted["files"][: len(found.files)] == found.files


@EVERY
def test_the_backup_policy_speaks_of_services_and_volumes_that_are_there(example: Path) -> None:
    policy = parse((example / "backup.yml").read_text())[0].value
    assert isinstance(policy, dict)
    known, volumes = set(services(example)), set[str]()
    for name in stack(example)["files"]:
        volumes |= set(compose.read(example / name).get("volumes") or {})
    drill: Any = policy["drill"]
    sources = [*drill["queries"], *([drill["canary"]] if "canary" in drill else [])]
    assert {one["source"].partition("/")[2] for one in sources} <= known
    assert {urlsplit(one["url"]).hostname for one in drill["probes"]} <= known
    assert {one.partition("/")[2] for one in policy.get("leave", ())} <= volumes
    corrected: Any = policy.get("sources", ())
    assert {one["service"] for one in corrected if "service" in one} <= known
    assert {one["volume"] for one in corrected if "volume" in one} <= volumes
    paused: Any = policy.get("pause", {"services": ()})
    assert set(paused["services"]) <= known
    for file in ("backup.yml", "work.sh"):
        assert f"`{file}`" in (example / "README.md").read_text()


@EVERY
def test_no_secret_is_kept_in_git(example: Path) -> None:
    ignored = (example / ".gitignore").read_text().split()
    declared = [
        body["file"]
        for name in stack(example)["files"]
        for body in (compose.read(example / name).get("secrets") or {}).values()
    ]
    assert declared
    assert all(path.startswith("./secrets/") for path in declared)
    assert "secrets/" in ignored
    # The file that Compose reads by itself.
    assert ".env" in ignored or not (example / ".env.example").exists()


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("images/*/entrypoint.sh")), ids=lambda path: path.parent.name)
def test_entrypoints_are_executable_because_the_builder_copies_their_mode(script: Path) -> None:
    assert os.access(script, os.X_OK)
