"""Registries: which digest a name stands for, and a login that leaves nothing behind.

The host's own engine is asked, so that its mirrors, certificates and proxies count. Tokens travel by standard input.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import Any
from urllib.parse import quote

from toolkit.host import Host
from toolkit.machine.registry_errors import refusal
from toolkit.words.command import command, script
from toolkit.words.errors import Error, RegistryError
from toolkit.words.values import Secret

HUB = "docker.io"
HUB_ACCOUNT = "https://index.docker.io/v1/"
FOLDER = "/run/toolkit/registry"

# The host sweeps up by itself when nobody comes back to do it. /run is a tmpfs: nothing of this reaches a disk.
OPEN_STORE = f"""
umask 077
mkdir --parents {FOLDER} && store=$(mktemp --directory {FOLDER}/XXXXXXXX) || exit 1
systemd-run --quiet --collect --unit="toolkit-registry-${{store##*/}}" --on-active=2h rm -rf -- "$store" || {{
  rm -rf -- "$store"; exit 1; }}
echo "$store"
"""

CLOSE_STORE = """
rm -rf -- "$1"
systemctl stop "toolkit-registry-${1##*/}.timer" 2>/dev/null
[ ! -e "$1" ]
"""


@dataclass(frozen=True)
class Login:
    """Who logs in to a registry."""

    registry: str
    user: str
    token: Secret

    @property
    def server(self) -> str:
        return HUB_ACCOUNT if self.registry == HUB else self.registry


@dataclass(frozen=True)
class Image:
    """An image as its registry has it now."""

    reference: str
    digest: str
    platforms: tuple[str, ...]

    @property
    def pinned(self) -> str:
        """The reference that stands for these bytes and no others."""
        return f"{name_of(self.reference)}@{self.digest}"


def registry_of(reference: str) -> str:
    """Return the registry a reference points to: `ghcr.io` for `ghcr.io/acme/api:1`, `docker.io` for `postgres:17`."""
    first, slash, _ = reference.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else HUB


def name_of(reference: str) -> str:
    """Return a reference without its tag and digest."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    # A colon before a slash belongs to the registry's port.
    return head if colon and "/" not in tag else name


def resolve(host: Host, references: Iterable[str], logins: Iterable[Login] = ()) -> dict[str, Image]:
    """Return each image with its digest. Raises RegistryError that tells all refusals."""
    answers = look_up(host, references, logins)
    refused = [answer for answer in answers.values() if isinstance(answer, RegistryError)]
    if refused:
        raise RegistryError("\n".join(error.message for error in refused), hint=refused[0].hint)
    return {reference: answer for reference, answer in answers.items() if isinstance(answer, Image)}


def look_up(host: Host, references: Iterable[str], logins: Iterable[Login] = ()) -> dict[str, Image | RegistryError]:
    """Return for each reference what its registry says: the image, or why there is none. One round trip for all."""
    accounts = {login.registry: login for login in logins}
    wanted = [(reference, accounts.get(registry_of(reference))) for reference in dict.fromkeys(references)]
    if not wanted:
        return {}
    program = resources("toolkit.machine").joinpath("registry_ask.py").read_text()
    # Isolated and without site packages: it starts in half the time, and nothing of the host's can get in its way.
    result = host.run(command("python3", "-I", "-S", "-c", program, stdin=_question(wanted)))
    answers = zip(wanted, json.loads(result.text), strict=True)
    return {reference: _answer(host, reference, login, *answer) for (reference, login), answer in answers}


def _question(wanted: Iterable[tuple[str, Login | None]]) -> Secret:
    return Secret.of(json.dumps([(quote(reference, safe="/:@"), _account(login)) for reference, login in wanted]))


def _account(login: Login | None) -> dict[str, str] | None:
    if login is None:
        return None
    return {"username": login.user, "password": login.token.reveal().decode(), "serveraddress": login.server}


def _answer(
    host: Host, reference: str, login: Login | None, status: int, body: Mapping[str, Any]
) -> Image | RegistryError:
    if status != 200:
        user = login.user if login else None
        return refusal(host.name, reference, registry_of(reference), user, status, str(body.get("message", "")))
    platforms = (_platform(entry) for entry in body.get("Platforms") or ())
    return Image(reference, body["Descriptor"]["digest"], tuple(dict.fromkeys(platforms)))


def _platform(entry: Mapping[str, str]) -> str:
    parts = (entry.get("os"), entry.get("architecture"), entry.get("variant"))
    return "/".join(part for part in parts if part)


@contextmanager
def logged_in(host: Host, logins: Iterable[Login]) -> Iterator[str]:
    """Log in to registries and give the `DOCKER_CONFIG` folder that holds the logins; it is gone at the end.

    Raises RegistryError where a registry refuses.
    """
    store = host.run(script(OPEN_STORE)).text.strip()
    try:
        for login in logins:
            _log_in(host, store, login)
        yield store
    finally:
        # A connection that was lost must not hide why; then the host's timer removes the store.
        with suppress(Error):
            host.run(script(CLOSE_STORE, store))


def _log_in(host: Host, store: str, login: Login) -> None:
    words = ("login", login.server, "--username", login.user, "--password-stdin")
    result = host.run(command("docker", "--config", store, *words, stdin=login.token), check=False)
    if not result.ok:
        raise refusal(host.name, "", login.registry, login.user, 0, result.complaint)
