"""Registries as a real host's engine sees them: ghcr.io with tokens, Docker Hub through a mirror, nobody at all."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from toolkit.config.load import load
from toolkit.config.models import Docker, HostFile, Machine
from toolkit.converge import Facts, apply
from toolkit.host import Host
from toolkit.host.connect import connect
from toolkit.lab import Lab
from toolkit.machine import docker
from toolkit.machine.registry import Image, Login, logged_in, look_up, resolve
from toolkit.words.command import command, script
from toolkit.words.errors import RegistryError
from toolkit.words.report import Silent
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab

HERE, MISSING, HUBS = "ghcr.io/acme/tiny:1", "ghcr.io/acme/tiny:2", "docker.io/library/tiny:1"
PUSH = """
apt-get install --quiet=2 --yes --no-install-recommends busybox-static >/dev/null 2>&1 || exit 1
mkdir -p /tmp/root/bin && cp /bin/busybox /tmp/root/bin/ || exit 1
tar -C /tmp/root -c . | docker import - "$2" >/dev/null || exit 1
docker --config "$1" push --quiet "$2" >/dev/null
"""


def token(lab: Lab, user: str) -> Login:
    name = "ghcr-token" if user == "acme" else f"ghcr-token-{user}"
    return Login("ghcr.io", user, lab.home.secret(name))


@pytest.fixture(scope="module")
def engine(lab: Lab, registry: str) -> Iterator[Host]:
    """A host with Docker, and an image of its own in the registry."""
    vps = lab.host("puller", stocked=True)
    file: HostFile = load(lab.host_file(vps.name))
    mirror = {"registry-mirrors": [f"http://{registry}:5000"]}
    host_file = replace(file, machine=Machine(docker=Docker(source="distro", daemon=mirror)))
    with closing(connect(host_file)) as host:
        apply(Facts(host), docker.operations(host_file), Silent())
        with logged_in(host, [token(lab, "acme")]) as store:
            for reference in (HERE, "ghcr.io/library/tiny:1"):
                host.run(script(PUSH, store, reference))
        yield host
    lab.remove(vps.name)


def refused(host: Host, reference: str, *logins: Login) -> str:
    with pytest.raises(RegistryError) as caught:
        resolve(host, [reference], logins)
    assert caught.value.exit_code == 17
    assert caught.value.hint
    return caught.value.message


def test_a_name_becomes_a_digest_with_the_right_token(lab: Lab, engine: Host) -> None:
    image = resolve(engine, [HERE], [token(lab, "acme")])[HERE]
    assert image.digest.startswith("sha256:")
    assert image.platforms == ("linux/amd64",)
    with logged_in(engine, [token(lab, "acme")]) as store:
        assert engine.run(command("docker", "--config", store, "pull", "--quiet", image.pinned)).ok


def test_docker_hub_is_asked_through_the_engines_mirror(engine: Host) -> None:
    assert resolve(engine, [HUBS])[HUBS].digest.startswith("sha256:")


def test_each_refusal_is_told_apart(lab: Lab, engine: Host) -> None:
    wrong = Login("ghcr.io", "acme", Secret.of("ghp_wrong"))
    assert refused(engine, HERE, wrong) == f"ghcr.io refuses the token of acme, for {HERE}"
    assert refused(engine, HERE) == f"ghcr.io wants a login for {HERE}"
    assert refused(engine, HERE, token(lab, "noscope")).startswith(f"ghcr.io denies noscope access to {HERE}")
    assert refused(engine, MISSING, token(lab, "acme")) == f"ghcr.io has no {MISSING}"
    assert "gets no answer from nowhere.invalid" in refused(engine, "nowhere.invalid/tiny:1")


def test_many_images_are_one_round_trip_with_an_answer_each(lab: Lab, engine: Host) -> None:
    answers = look_up(engine, [HERE, MISSING, HUBS], [token(lab, "acme")])
    assert [isinstance(answer, Image) for answer in answers.values()] == [True, False, True]


def test_a_registry_that_is_down_is_told_as_such(lab: Lab, engine: Host) -> None:
    lab.stop_service("registry")
    try:
        assert "gets no answer from ghcr.io" in refused(engine, HERE, token(lab, "acme"))
    finally:
        lab.start_service("registry")


def test_a_login_leaves_no_trace_on_the_host(lab: Lab, engine: Host) -> None:
    login = token(lab, "acme")
    with logged_in(engine, [login]) as store:
        config = json.loads(engine.fetch(f"{store}/config.json"))
        assert list(config["auths"]) == ["ghcr.io"]
        assert engine.run(command("stat", "--format", "%a %U", store)).text == "700 root\n"
        assert engine.run(command("stat", "--file-system", "--format", "%T", store)).text == "tmpfs\n"
    assert not engine.run(command("ls", "/run/toolkit/registry")).text
    assert "toolkit-registry" not in engine.run(command("systemctl", "list-timers", "--all")).text
    assert not engine.run(command("test", "-e", "/root/.docker/config.json"), check=False).ok
    secret = login.token.reveal().decode()
    assert secret not in engine.run(command("journalctl", "--no-pager", "--output", "cat")).text


def test_a_wrong_token_at_login_leaves_no_trace_either(engine: Host) -> None:
    with (
        pytest.raises(RegistryError, match="refuses the token of acme"),
        logged_in(engine, [Login("ghcr.io", "acme", Secret.of("ghp_wrong"))]),
    ):
        pass
    assert not engine.run(command("ls", "/run/toolkit/registry")).text
