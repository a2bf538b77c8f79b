"""Settings from the environment. What is secret stands in the file that `NAME_FILE` names, and never in a message."""

from collections.abc import Mapping
from pathlib import Path


class BadSettings(Exception):
    """The environment lacks something; the message names it and never a value."""


def value(environment: Mapping[str, str], name: str, default: str | None = None) -> str:
    """Return what the file that `NAME_FILE` names holds, or `NAME`, or the default. Raises BadSettings."""
    if path := environment.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().rstrip("\n")
        except OSError as error:
            raise BadSettings(f"{name}_FILE cannot be read: {error.strerror}: {path}") from error
    found = environment.get(name) or default
    if found is None:
        raise BadSettings(f"neither {name}_FILE nor {name} is set")
    return found


def number(environment: Mapping[str, str], name: str, default: float) -> float:
    """Return a setting that is a number. Raises BadSettings."""
    try:
        return float(environment.get(name) or default)
    except ValueError as error:
        raise BadSettings(f"{name} is no number") from error
