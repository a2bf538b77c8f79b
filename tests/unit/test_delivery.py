"""Delivery: who may read a secret is decided from what its services run as, and doubt is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.config.models import HostFile, Stack, StackSecret
from toolkit.host.fake import FakeHost
from toolkit.stack import readers
from toolkit.stack.manifest import Manifest, Reader, Terms
from toolkit.stack.project import Project
from toolkit.stack.service import Grant, Service
from toolkit.words.clock import FakeClock
from toolkit.words.errors import HostError, SecretError
from toolkit.words.report import Silent
from toolkit.words.values import Secret
from toolkit.workflows import delivery
from toolkit.workflows.attempt import Attempt, Values

KEY = b"ab" * 32


class Given(Values):
    """Values that a test hands out."""

    def __init__(self, **values: str) -> None:
        self._given = values

    def secret(self, name: str) -> Secret:
        if name not in self._given:
            raise SecretError(f"no secret {name}")
        return Secret.of(self._given[name])


def attempt(host: FakeHost | None = None, env: dict[str, bytes] | None = None, **values: str) -> Attempt:
    stack = Stack(name="shop", directory="shop")
    host_file = HostFile(name="box", root=Path("/nowhere"), connection="local", stack=stack)
    files = {path: Secret(content) for path, content in ({".env": b""} | (env or {})).items()}
    project = Project("shop", {}, (), {}, {})
    return Attempt(host_file, stack, project, Given(**values), files, host or FakeHost(), Silent(), FakeClock())


def using(user: str = "", **grant: str) -> Service:
    return Service("shop:1", secrets=(Grant("token", **grant),), user=user)


def tags(run: Attempt, services: dict[str, Service]) -> dict[str, str]:
    return delivery.tags(delivery.values(run, services), KEY)


def test_a_tag_changes_with_the_value_and_with_nothing_else() -> None:
    services = {"api": using()}
    one, same, other = (tags(attempt(token=value), services) for value in ("a", "a", "b"))
    assert one == same != other
    assert list(one) == ["_env", "token"]
    assert "hunter2" not in str(tags(attempt(token="hunter2"), services))


def test_a_secret_that_nobody_uses_is_not_asked_for() -> None:
    assert list(delivery.values(attempt(), {"api": Service("shop:1")})) == ["_env"]


def test_every_env_file_is_delivered_under_a_name_that_no_secret_can_have() -> None:
    run = attempt(env={".env": b"A=1\n", "agent/.env": b"B=2\n"})
    values = delivery.values(run, {})
    assert {name: value.reveal() for name, value in values.items()} == {"_env": b"A=1\n", "_env.1": b"B=2\n"}
    assert run.env_names == {".env": "_env", "agent/.env": "_env.1"}


@pytest.mark.parametrize(
    ("values", "message"), [({}, "no secret token"), ({"token": ""}, "token: the secret is empty")]
)
def test_a_missing_or_empty_secret_is_told_before_the_host_is_asked(values: dict[str, str], message: str) -> None:
    run = attempt(**values)
    with pytest.raises(SecretError, match=message):
        delivery.values(run, {"api": using()})
    assert isinstance(run.host, FakeHost)
    assert run.host.ran == []


def entry(
    services: dict[str, Service], images: str = "", stated: dict[str, Reader] | None = None
) -> tuple[int, int, int]:
    host = FakeHost()
    host.answer("sh", images)
    host.answer("getent passwd shopper", "shopper:x:1234:1235::/:/bin/sh\n")
    host.answer("getent", code=2)
    manifest = Manifest(
        "id",
        "now",
        "",
        services,
        {one.image: "sha256:0" for one in services.values()},
        terms=Terms(files=(), readers=stated or {}),
        secrets={"token": "0" * 16},
    )
    (made,) = readers.entries(host, manifest, {"token": 7})
    return made.uid, made.gid, made.mode


@pytest.mark.parametrize(
    ("services", "images", "stated", "expected"),
    [
        ({"api": using()}, "1000:1000\n", {}, (1000, 0, 0o400)),
        ({"api": using("1001")}, "", {}, (1001, 0, 0o400)),
        ({"api": using(), "db": using()}, "1000\n\n", {}, (1000, 0, 0o400)),
        ({"db": using()}, "root\n", {}, (0, 0, 0o400)),
        ({"api": using(uid="70", gid="80", mode="0440")}, "1000\n", {}, (70, 80, 0o440)),
        ({"api": using()}, "node\n", {"token": Reader("1000", "999", "0440")}, (1000, 999, 0o440)),
        ({"api": using()}, "1000\n", {"token": Reader("shopper")}, (1234, 0, 0o400)),
    ],
    ids=["image", "compose", "root-does-not-count", "root", "long-syntax", "host-file", "by-name"],
)
def test_the_reader_is_who_the_services_run_as(
    services: dict[str, Service], images: str, stated: dict[str, Reader], expected: tuple[int, int, int]
) -> None:
    assert entry(services, images, stated) == expected


@pytest.mark.parametrize(
    ("services", "images", "stated", "error", "message"),
    [
        ({"api": using()}, "node\n", {}, SecretError, "api runs as node"),
        ({"api": using("1"), "web": using("2")}, "", {}, SecretError, "different readers: 1, 2"),
        ({"api": using()}, "1000\n", {"token": Reader("nobody-here")}, HostError, "nobody is called"),
    ],
)
def test_doubt_about_the_reader_is_told_with_the_key_to_set(
    services: dict[str, Service], images: str, stated: dict[str, Reader], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        entry(services, images, stated)
    assert "stack.secrets" in getattr(caught.value, "hint", "")


def test_env_files_are_for_root_alone() -> None:
    manifest = Manifest("id", "now", "", {}, {}, secrets={"_env": "0" * 16})
    (made,) = readers.entries(FakeHost(), manifest, {"_env": 3})
    assert (made.uid, made.gid, made.mode) == (0, 0, 0o600)


def test_the_host_file_decides_over_readers_only_where_it_speaks() -> None:
    run = attempt()
    stack = Stack(name="shop", directory="shop", secrets={"token": StackSecret(owner="70")})
    assert delivery.readers(replace(run, stack=stack)) == {"token": Reader("70", "", "0400")}
    assert delivery.readers(run) == {}
