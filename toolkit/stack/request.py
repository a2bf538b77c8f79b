"""A request: what the control side asks the host's driver to do, as one value that travels in a frame.

Secrets are not in it: values of secrets and tokens of registries follow as bytes, in the order named here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from toolkit.words.errors import HostError, SecretError
from toolkit.words.values import Secret

DEPLOY, ROLLBACK = "deploy", "rollback"


@dataclass(frozen=True)
class Account:
    """A login to a registry; the token's bytes follow the values of the secrets."""

    registry: str
    user: str
    size: int


@dataclass(frozen=True)
class Request:
    """Bring up this release of this stack. `secrets` are (name, size); a rollback has none: the host has them."""

    action: str
    stack: str
    release: str
    who: str
    secrets: Mapping[str, int] = field(default_factory=dict)
    accounts: tuple[Account, ...] = ()
    refill: Mapping[str, Any] = field(default_factory=dict)
    """Where the data of a recovered stack comes from; its `size` bytes of secrets are the last of the body."""

    def __post_init__(self) -> None:
        # These become parts of paths and unit names.
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,127}", self.stack):
            raise HostError(
                f"{self.stack!r} is no name for a stack", hint="use lower-case letters, digits, '_' and '-'"
            )
        if not re.fullmatch(r"[0-9A-Za-z]+(-[0-9A-Za-z]+)*", self.release):
            raise HostError(f"{self.release!r} is no name of a release", hint="`invoke releases` lists those there are")
        if self.action not in (DEPLOY, ROLLBACK):
            raise HostError(f"{self.action!r} is nothing to ask for", hint="provision with the toolkit that deploys")

    def header(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, header: Mapping[str, Any]) -> Self:
        """Read a header. Raises HostError."""
        try:
            accounts = tuple(Account(**one) for one in header["accounts"])
            secrets = {str(name): int(size) for name, size in header["secrets"].items()}
            return cls(**{**header, "accounts": accounts, "secrets": secrets})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            hint = "provision with the toolkit that deploys"
            raise HostError("a request that this agent does not understand", hint=hint) from error

    def cut(self, body: bytes) -> tuple[dict[str, bytes], list[Secret]]:
        """Return the values of the secrets by name, and the tokens; what a refill needs comes after the last token.

        Raises SecretError where sizes do not add up.
        """
        last = (int(self.refill["size"]),) if self.refill else ()
        sizes: Sequence[int] = (*self.secrets.values(), *(one.size for one in self.accounts), *last)
        if sum(sizes) != len(body) or min(sizes, default=0) < 0:
            raise SecretError(f"{len(body)} bytes for secrets of {sum(sizes)} bytes", hint="run the same again")
        pieces, start = [], 0
        for size in sizes:
            pieces.append(body[start : start + size])
            start += size
        count = len(self.secrets)
        return dict(zip(self.secrets, pieces[:count], strict=True)), [Secret(piece) for piece in pieces[count:]]
