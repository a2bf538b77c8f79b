"""Starting an application: its log, and settings that are wrong told in one line."""

import logging
import os
import sys
from collections.abc import Callable, Mapping

from standin.settings import BadSettings

Role = Callable[[Mapping[str, str]], object]


def start(roles: Mapping[str, Role]) -> int:
    """Run the role that the first argument names; return the exit code."""
    level = os.environ.get("LOG_LEVEL", "info").upper()
    logging.basicConfig(stream=sys.stdout, level=level, format="%(levelname)s %(message)s")
    role = roles.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if role is None:
        logging.critical("name what to run: %s", ", ".join(roles))
        return 2
    try:
        role(os.environ)
    except BadSettings as error:
        logging.critical("%s", error)
        return 1
    return 0
