"""Where each secret of a stack comes from: a provider or a template in the host file, or else the vault.

Every value has one source. What the host file does not list is the vault's secret of that name.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from toolkit.config import providers
from toolkit.config.models import HostFile, StackSecret
from toolkit.vault import templates
from toolkit.vault.files import Vault
from toolkit.vault.identity import Keyring
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret


def resolve(
    host_file: HostFile, names: Iterable[str], *, environ: Mapping[str, str], keyring: Keyring | None = None
) -> dict[str, Secret]:
    """Return the value of each named secret. Raises SecretError that names the file and the key.

    The identity is read only where the vault is needed; give the run's keyring, so that a passphrase is asked once.
    """
    sources = Sources(host_file, environ, keyring or Keyring(environ))
    return {name: sources.value(name) for name in names}


def declared(host_file: HostFile) -> Mapping[str, StackSecret]:
    """Return what the host file says of secrets."""
    return host_file.stack.secrets if host_file.stack else {}


def made_of(host_file: HostFile) -> dict[str, str]:
    """Return the declared secrets that are templates, with their texts."""
    texts = {name: entry.value or "" for name, entry in declared(host_file).items()}
    return {
        name: text for name, text in texts.items() if not providers.is_provider(text) and templates.is_template(text)
    }


class Sources:
    """One run's values of one host, each looked up once. `value` also serves `providers.resolve` as its vault."""

    def __init__(self, host_file: HostFile, environ: Mapping[str, str], keyring: Keyring) -> None:
        self._host_file = host_file
        self._environ = environ
        self._keyring = keyring
        self._vault = Vault(host_file.root)
        self._values: dict[str, Secret] = {}
        self._asked: list[str] = []

    def value(self, name: str) -> Secret:
        """Return the value of a secret. Raises SecretError."""
        if name in self._asked:
            circle = " → ".join((*self._asked[self._asked.index(name) :], name))
            raise SecretError(f"{self._at(name)}: made of itself: {circle}", hint="take one of these references out")
        if name not in self._values:
            self._asked.append(name)
            try:
                self._values[name] = self._found(name)
            finally:
                self._asked.pop()
        return self._values[name]

    def _found(self, name: str) -> Secret:
        entry = declared(self._host_file).get(name)
        # `db: secret:db` cannot mean itself: it is the vault's.
        if entry is None or entry.value is None or providers.kept_name(entry.value) == name:
            return self._vault.read(self._host_file.name, name, self._keyring)
        if providers.is_provider(entry.value):
            return self._provided(name, entry.value)
        return templates.render(entry.value, lambda inner: self._variable(name, inner), self._at(name))

    def _provided(self, name: str, text: str) -> Secret:
        try:
            return providers.resolve(text, root=self._root, environ=self._environ, vault=self.value)
        except SecretError as error:
            # What is said about another secret names its own place.
            told = error.message if providers.kept_name(text) else f"{self._at(name)}: {error.message}"
            raise SecretError(told, hint=error.hint) from error

    def _variable(self, template: str, name: str) -> Secret:
        if name not in declared(self._host_file) and name not in self._vault.names(self._host_file.name):
            known = sorted({*declared(self._host_file), *self._vault.names(self._host_file.name)} - {template})
            hint = f"invoke secrets.set {name}, or use one of these: {', '.join(known) or 'none yet'}"
            raise SecretError(f"{self._at(template)}: unknown variable {name}", hint=hint)
        return self.value(name)

    @property
    def _root(self) -> Path:
        return self._host_file.root

    def _at(self, name: str) -> str:
        return f"hosts/{self._host_file.name}.yml: stack.secrets.{name}"
