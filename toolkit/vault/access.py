"""A host's access to its backup store: how it travels, and how both sides know it to be the same.

Control side and agent share this. What is sealed on the host is one JSON object: the keys of the bucket's user, and
the address that is told of runs.
"""

import json
from collections.abc import Mapping

from toolkit.words.values import Secret

FORMAT = "toolkit backup access 1"
NAMES = ("access_key", "secret_key", "session_token", "ping")


def pack(values: Mapping[str, Secret]) -> bytes:
    """Return what is delivered: each value by its name, those that there are."""
    return json.dumps({name: values[name].reveal().decode() for name in NAMES if name in values}).encode()
