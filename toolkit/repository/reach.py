"""Reach: all that somebody needs to read a host's backups, as one value that travels over a connection.

A restore runs on the host, which itself can read nothing: for its time the operator lends it an identity, credentials
of the store and the pin. The secrets are bytes of their own, so that nothing which prints a header prints them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from toolkit.repository.fetch import Told, ignore
from toolkit.repository.pins import Pin
from toolkit.repository.read import Repository
from toolkit.store import Credentials, open_store
from toolkit.words import atomic
from toolkit.words.errors import Error, HostError
from toolkit.words.values import Secret


@dataclass(frozen=True)
class Reach:
    """`ca` is the text of the certificate that the store's URL names, which is a file of the control side."""

    url: str
    host: str
    pin: Pin
    identities: tuple[Secret, ...] = field(repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    ca: str = ""

    @classmethod
    def of(
        cls, url: str, root: Path, host: str, pin: Pin, identities: tuple[Secret, ...], credentials: Credentials | None
    ) -> Self:
        """Pack what one side knows. Raises HostError where the URL's certificate cannot be read."""
        named = dict(parse_qsl(urlsplit(url).query)).get("ca", "")
        try:
            ca = (root / named).read_text() if named else ""
        except OSError as error:
            raise HostError(f"{root / named}: {error.strerror}", hint="the store's URL names it as `ca`") from error
        return cls(url, host, pin, identities, credentials, ca)

    def header(self) -> dict[str, Any]:
        """What is no secret."""
        return {"url": self.url, "host": self.host, "pin": self.pin.dumps(), "ca": self.ca}

    def body(self) -> Secret:
        """What is."""
        known: dict[str, Any] = {"identities": [one.reveal().decode() for one in self.identities]}
        if self.credentials:
            token = self.credentials.session_token
            known["access_key"] = self.credentials.access_key
            known["secret_key"] = self.credentials.secret_key.reveal().decode()
            known["session_token"] = token.reveal().decode() if token else None
        return Secret(json.dumps(known).encode())

    @classmethod
    def parse(cls, header: Mapping[str, Any], body: Secret) -> Self:
        """Read the two. Raises HostError, without a word of what was in them."""
        try:
            known = json.loads(body.reveal())
            identities = tuple(Secret.of(text) for text in known["identities"])
            pin = Pin.parse(header["pin"])
            return cls(str(header["url"]), str(header["host"]), pin, identities, _user(known), str(header["ca"]))
        except (ValueError, KeyError, TypeError, AttributeError, Error):
            # Not `from` the cause: its words may quote what was sent.
            raise HostError(
                "a way to the backups that makes no sense", hint="provision with the toolkit that restores"
            ) from None

    def repository(self, memory: Path, told: Told = ignore) -> Repository:
        """Open the repository. `memory` is a folder where the store's certificate, which is public, may lie."""
        store = open_store(self._local_url(memory), self.credentials)
        return Repository(store, self.host, self.identities, self.pin, told)

    def _local_url(self, memory: Path) -> str:
        if not self.ca:
            return self.url
        path = memory / f"store-{hashlib.sha256(self.ca.encode()).hexdigest()[:16]}.pem"
        atomic.replace(path, self.ca.encode(), mode=0o644)
        parts = urlsplit(self.url)
        query = urlencode({**dict(parse_qsl(parts.query)), "ca": str(path)}, quote_via=quote)
        return urlunsplit(parts._replace(query=query))


def _user(known: Mapping[str, Any]) -> Credentials | None:
    if not known.get("access_key"):
        return None
    token = Secret.of(known["session_token"]) if known.get("session_token") else None
    return Credentials(known["access_key"], Secret.of(known["secret_key"]), token)
