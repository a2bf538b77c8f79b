"""What the environment says, read once.

A password may stand in its URL, in `DATABASE_PASSWORD` or `REDIS_PASSWORD`, or in the file that
`DATABASE_PASSWORD_FILE` or `REDIS_PASSWORD_FILE` names; the file wins, the URL comes last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class BadSettings(Exception):
    """The environment lacks something; the message names it and never a value."""


@dataclass(frozen=True)
class Settings:
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    database_password: str | None = field(repr=False)
    redis_password: str | None = field(repr=False)
    log_level: str


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raises BadSettings."""
    return Settings(
        database_url=_required(environment, "DATABASE_URL"),
        redis_url=_required(environment, "REDIS_URL"),
        database_password=_password(environment, "DATABASE_PASSWORD"),
        redis_password=_password(environment, "REDIS_PASSWORD"),
        log_level=environment.get("LOG_LEVEL", "info").upper(),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name):
        return value
    raise BadSettings(f"{name} is not set")


def _password(environment: Mapping[str, str], name: str) -> str | None:
    if not (path := environment.get(f"{name}_FILE")):
        return environment.get(name) or None
    try:
        return Path(path).read_text().rstrip("\n")
    except OSError as error:
        raise BadSettings(f"{name}_FILE cannot be read: {error.strerror}: {path}") from error
