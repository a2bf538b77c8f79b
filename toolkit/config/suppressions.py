"""Suppressions in a Compose file, as `x-lint` at its top level: the list that a host file has as `stack.lint`."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolkit.config.faults import dotted
from toolkit.config.models import Suppression
from toolkit.words.errors import ConfigError

KEY = "x-lint"


def read(file: str, document: Mapping[str, Any]) -> tuple[Suppression, ...]:
    """Return what a Compose file suppresses. Raises ConfigError with everything that is wrong in it."""
    written = document.get(KEY)
    if written is None:
        return ()
    try:
        entries = tuple(written) if isinstance(written, list) else written
        return TypeAdapter(tuple[Suppression, ...]).validate_python(entries)
    except ValidationError as error:
        told = [f"{file}: {dotted((KEY, *one['loc']))}: {one['msg'].lower()}" for one in error.errors()]
        raise ConfigError("\n".join(told), hint="write a list of {rule: ID, service: NAME, reason: …}") from error
