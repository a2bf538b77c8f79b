"""Where values come from: the vault, providers and templates, in a small repository."""

import sys
from pathlib import Path

import pytest

from toolkit.config.load import named
from toolkit.crypto import age
from toolkit.vault import recipients, sources, usage
from toolkit.vault.files import Vault
from toolkit.vault.identity import Keyring
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

COMPOSE = """
services:
  db: {image: db, secrets: [password, {source: tls, target: key}]}
  api: {image: api, secrets: [url]}
  debug: {image: debug, secrets: [unused], profiles: [debug]}
secrets: {password: {environment: P}, tls: {environment: T}, url: {environment: U}, unused: {environment: N}}
"""


class Repository:
    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.vault = root, Vault(root)
        identity = age.new_identity()
        (home / "identity").write_bytes(identity.reveal())
        (home / "identity").chmod(0o600)
        self.environ = {"TOOLKIT_IDENTITY": str(home / "identity"), "PATH": "/usr/bin:/bin", "FROM_CI": "ci value"}
        for folder in ("hosts", "secrets", "shop"):
            (root / folder).mkdir(parents=True)
        (root / "shop" / "compose.yaml").write_text(COMPOSE)
        text = recipients.text(age.recipient_of(identity), age.recipient_of(age.new_identity()))
        (root / recipients.FILE).write_text(text)

    def host(self, *lines: str) -> None:
        stack = ["connection: local", "stack:", "  name: shop", "  directory: shop", *(f"  {line}" for line in lines)]
        (self.root / "hosts" / "prod.yml").write_text("\n".join(stack) + "\n")

    def secrets(self, *lines: str) -> None:
        self.host("secrets:", *(f"  {line}" for line in lines))

    def value(self, name: str) -> bytes:
        return sources.resolve(named(self.root, "prod"), [name], environ=self.environ)[name].reveal()

    def refusal(self, name: str) -> SecretError:
        with pytest.raises(SecretError) as caught:
            self.value(name)
        assert caught.value.exit_code == 11
        assert caught.value.hint
        assert "c4n4ry" not in f"{caught.value} {caught.value.hint}"
        return caught.value


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository", tmp_path)


def test_what_the_host_file_does_not_list_comes_from_the_vault(repository: Repository) -> None:
    repository.host()
    repository.vault.write("common", "password", Secret(b"kept"))
    assert repository.value("password") == b"kept"


def test_providers_templates_and_references_give_values(repository: Repository) -> None:
    repository.secrets(
        "ci: env:FROM_CI",
        "printed: \"command:printf 'a b'\"",
        'url: "db://{{ password | urlencode }}@{{ ci }}/{{ printed }}"',
        'deeper: "<{{ url }}>"',
        "other: secret:deeper",
        "password: {value: secret:password, owner: 999}",
        'tls: {mode: "0440"}',
    )
    repository.vault.write("prod", "password", Secret(b"p@ss"))
    repository.vault.write("prod", "tls", Secret(bytes([0, 255])))
    assert repository.value("other") == b"<db://p%40ss@ci value/a b>"
    assert repository.value("tls") == bytes([0, 255])


def test_without_need_for_the_vault_no_identity_is_read(repository: Repository) -> None:
    repository.secrets("ci: env:FROM_CI")
    del repository.environ["TOOLKIT_IDENTITY"]
    assert repository.value("ci") == b"ci value"


def test_the_vault_is_given_to_variables_as_a_provider(repository: Repository) -> None:
    from toolkit.config import providers

    repository.secrets('url: "x{{ password }}"')
    repository.vault.write("common", "password", Secret(b"y"))
    described = named(repository.root, "prod")
    values = sources.Sources(described, repository.environ, Keyring(repository.environ))
    found = providers.resolve("secret:url", root=repository.root, environ={}, vault=values.value)
    assert found.reveal() == b"xy"


@pytest.mark.parametrize(
    ("lines", "name", "message"),
    [
        (['a: "{{ b }}"', 'b: "{{ a }}"'], "a", "hosts/prod.yml: stack.secrets.a: made of itself: a → b → a"),
        (['a: "x{{ a }}"'], "a", "hosts/prod.yml: stack.secrets.a: made of itself: a → a"),
        (["a: secret:b", "b: secret:a"], "a", "hosts/prod.yml: stack.secrets.a: made of itself: a → b → a"),
        (['a: "{{ nope }}"'], "a", "hosts/prod.yml: stack.secrets.a: unknown variable nope"),
        (
            ['a: "{{ binary }}"'],
            "a",
            "hosts/prod.yml: stack.secrets.a: binary is binary, which does not go into a template",
        ),
        (["a: env:UNSET"], "a", "hosts/prod.yml: stack.secrets.a: env:UNSET is not set"),
        (["a: command:false"], "a", "hosts/prod.yml: stack.secrets.a: command:false failed with exit code 1"),
        (["a: secret:nope"], "a", "no secret nope in secrets/prod/nope.age or secrets/common/nope.age"),
    ],
)
def test_what_gives_no_value_is_named_with_file_and_key(
    repository: Repository, lines: list[str], name: str, message: str
) -> None:
    repository.vault.write("prod", "binary", Secret(b"c4n4ry\xff\0"))
    repository.secrets(*lines)
    assert repository.refusal(name).message == message


def test_a_provider_that_hangs_is_told_with_its_key(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.config import providers

    original = providers.resolve
    monkeypatch.setattr(providers, "resolve", lambda text, **given: original(text, within=0.3, **given))
    repository.secrets(f"a: command:{sys.executable} -c 'import time; time.sleep(30)'")
    assert repository.refusal("a").message.startswith("hosts/prod.yml: stack.secrets.a: command:")
    assert "did not end within 0.3 s" in repository.refusal("a").message


def test_the_users_of_each_secret_are_known(repository: Repository) -> None:
    repository.host(
        "variables: {P: secret:password, LEVEL: info}",
        "secrets:",
        '  url: "{{ password }}{{ ci }}"',
        "  ci: env:FROM_CI",
        "  alias: secret:tls",
    )
    assert usage.of(named(repository.root, "prod")) == {
        "ci": ("secret url",),
        "password": ("variable P", "service db", "secret url"),
        "tls": ("service db", "secret alias"),
        "url": ("service api",),
    }


def test_a_service_of_a_profile_that_is_off_needs_nothing(repository: Repository) -> None:
    repository.host("profiles: [debug]")
    assert "unused" in usage.of(named(repository.root, "prod"))
    repository.host()
    assert "unused" not in usage.of(named(repository.root, "prod"))
