"""Deploys that must be refused: each says what is wrong, exits with its code, and leaves everything as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trial import Trial
from toolkit.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.some(4, "faults of a deploy")]

Content = dict[str, Any]


def state(trial: Trial) -> tuple[dict[str, str], str]:
    """Return what must not change when a deploy is refused: containers, releases, and files of ours in memory.

    But for those in which the watchdog says every few seconds what it sees.
    """
    return trial.repo.containers(), trial.repo.on_host(
        "ls -A /opt/trial/releases; readlink /opt/trial/current; ls -AR /run/toolkit /run/secrets | grep -v watchdog"
    )


def compose(trial: Trial, change: Callable[[Content], None]) -> None:
    path = trial.repo.stack / "compose.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def image(name: str) -> Callable[[Content], None]:
    return lambda content: content["services"]["web"].update(image=name)


def registry_of(**registry: str) -> Callable[[Content], None]:
    return lambda content: content["registries"][0].update(registry)


@pytest.mark.parametrize(
    "name",
    ["ghcr.io/acme/trial:no-such-tag", "ghcr.io/acme/trial@sha256:" + "0" * 64, "ghcr.io/nobody/here:1"],
    ids=["tag", "digest", "name"],
)
def test_a_missing_image_is_told_before_anything_is_touched(whole: Trial, name: str) -> None:
    before = whole.repo.containers()
    compose(whole, image(name))
    said = whole.repo.invoke("deploy", "--host", "box")
    # A digest needs no looking up: it is missed when it is pulled.
    assert said.code == (12 if "@" in name else 17), said
    assert name.rpartition("/")[2].partition("@")[0] in said.err
    assert "hint:" in said.err
    assert whole.repo.containers() == before


def test_a_wrong_token_is_told_and_never_shown(whole: Trial) -> None:
    before = state(whole)
    (whole.repo.root / "token").write_text("wrong-token-quokka")
    whole.repo.change(registry_of(token="command:cat token"))
    compose(whole, image("ghcr.io/acme/trial:2"))
    said = whole.repo.invoke("deploy", "--host", "box")
    assert said.code == 17, said
    assert "ghcr.io" in said.err
    assert "quokka" not in said.out + said.err
    assert state(whole) == before


def test_a_registry_that_is_away_is_told(whole: Trial, lab: Lab) -> None:
    before = state(whole)
    compose(whole, image("ghcr.io/acme/trial:2"))
    lab.stop_service("registry")
    try:
        said = whole.repo.invoke("deploy", "--host", "box")
    finally:
        lab.start_service("registry")
    assert said.code == 17, said
    assert state(whole) == before


def test_a_provider_that_fails_is_told_before_the_host_is_asked(whole: Trial) -> None:
    before = state(whole)
    whole.repo.change(registry_of(token="command:cat no-such-file"))
    compose(whole, image("ghcr.io/acme/trial:2"))
    said = whole.repo.invoke("deploy", "--host", "box")
    assert said.code == 11, said
    assert state(whole) == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda content: content["services"]["web"]["environment"].update(EXTRA="${NEVER_SET}"), "NEVER_SET"),
        (lambda content: content["services"]["web"].update(depends_on=["nothing"]), "nothing"),
    ],
    ids=["unset variable", "unknown service"],
)
def test_compose_files_that_cannot_be_are_told_in_composes_words(
    whole: Trial, change: Callable[[Content], None], word: str
) -> None:
    before = state(whole)
    compose(whole, change)
    said = whole.repo.invoke("deploy", "--host", "box")
    assert said.code == 10, said
    assert word in said.err
    assert state(whole) == before


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("ready_within", "3s", "the health checks may take"),
        ("exclusive", ["nobody"], "stack.exclusive names nobody"),
        ("scale", {"nobody": 2}, "stack.scale names nobody"),
    ],
    ids=["deadline", "exclusive", "scale"],
)
def test_a_host_file_that_contradicts_the_stack_is_told(whole: Trial, key: str, value: object, word: str) -> None:
    before = state(whole)
    whole.repo.change(lambda content: content["stack"].update({key: value}))
    said = whole.repo.invoke("deploy", "--host", "box")
    assert said.code == 10, said
    assert word in said.err
    assert state(whole) == before


def test_a_port_that_somebody_else_has_is_told_by_name(whole: Trial) -> None:
    before = whole.repo.containers()
    whole.repo.on_host("systemd-run --quiet --unit=squatter python3 -m http.server 8999 --bind 127.0.0.1; sleep 1")
    try:
        compose(whole, lambda content: content["services"]["fixed"].update(ports=["8999:8000"]))
        said = whole.repo.invoke("deploy", "--host", "box")
    finally:
        whole.repo.on_host("systemctl stop squatter")
    assert said.code == 12, said
    assert "port 8999/tcp, which fixed publishes, is taken by python3" in said.err
    assert "nothing was touched" in said.err
    assert whole.repo.containers() == before


def test_a_hold_refuses_and_says_why_and_ends(whole: Trial) -> None:
    whole.repo.done("hold", "--host", "box", "--reason", "the books are being closed", "--for", "2h")
    refused = whole.deploy(whole.runs_whole() + 1)
    assert refused.code == 24, refused
    assert "the books are being closed" in refused.err
    assert "on hold" in whole.repo.done("releases", "--host", "box").out
    assert whole.repo.invoke("hold", "--host", "box").code == 10
    whole.repo.done("release-hold", "--host", "box")
    assert whole.repo.invoke("plan", "--host", "box", "--stack").code == 2


def test_a_variable_exported_in_the_shell_changes_nothing(whole: Trial) -> None:
    release = whole.runs_whole()
    whole.want(release)
    whole.repo.env["RELEASE"] = "999"
    try:
        assert whole.repo.invoke("deploy", "--host", "box").code == 0
    finally:
        del whole.repo.env["RELEASE"]
    assert whole.runs_whole() == release


def test_hooks_of_the_repository_run_before_and_after(whole: Trial) -> None:
    hooks = whole.repo.root / "hooks"
    hooks.mkdir(exist_ok=True)
    for name, body in (
        ("before_deploy", "echo before $TOOLKIT_STACK"),
        ("after_deploy", "echo after $TOOLKIT_RELEASE"),
    ):
        (hooks / name).write_text(f"#!/bin/sh\n{body}\n")
        (hooks / name).chmod(0o755)
    said = whole.deploy(whole.runs_whole() + 1)
    assert said.code == 0, said
    assert "before trial" in said.err
    assert f"after {whole.state()['current']}" in said.err
    before = state(whole)
    (hooks / "before_deploy").write_text("#!/bin/sh\necho the build is red; exit 3\n")
    said = whole.deploy(whole.runs_whole() + 1)
    assert said.code == 10, said
    assert "the build is red" in said.err
    assert state(whole) == before
    for path in hooks.iterdir():
        Path(path).unlink()
