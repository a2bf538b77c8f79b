"""Asking a person for what must not be seen on the screen. The terminal is asked, whatever the standard input is."""

import getpass
import os
import warnings

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret


def hidden(prompt: str) -> Secret:
    """Return what was typed, unseen. Raises SecretError where there is no terminal."""
    if not _there():
        raise SecretError(f"no terminal to ask for {prompt}", hint="run it on a terminal")
    with warnings.catch_warnings():
        # getpass would go on with the echo on, after a warning.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return Secret.of(getpass.getpass(f"{prompt}: "))
        except (EOFError, getpass.GetPassWarning):
            pass
    raise SecretError(f"no answer to {prompt}", hint="run it on a terminal")


def hidden_twice(prompt: str) -> Secret:
    """Return what was typed twice alike. Raises SecretError."""
    first = hidden(prompt)
    if first != hidden(f"{prompt}, again"):
        raise SecretError("the two entries differ", hint="nothing was changed; try again")
    return first


def _there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
