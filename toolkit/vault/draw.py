"""Drawing secrets: from an alphabet, or in the shape of the one before."""

import re
import secrets
import string

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

# What no shell, URL, YAML or .env file reads as its own is in `letters`; the rest is for those who ask for it.
ALPHABETS = {
    "letters": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase + string.digits,
    "hex": "0123456789abcdef",
    "digits": string.digits,
    "urlsafe": string.ascii_letters + string.digits + "-_",
    "symbols": string.ascii_letters + string.digits + "-_.,:;+*=!?@%^~",
}
SHORTEST, LONGEST = 8, 4096


def draw(length: int, alphabet: str) -> Secret:
    """Return a random secret. Raises SecretError for an alphabet or a length that makes none."""
    if alphabet not in ALPHABETS:
        raise SecretError(f"there is no alphabet {alphabet!r}", hint=f"there are {', '.join(ALPHABETS)}")
    if not SHORTEST <= length <= LONGEST:
        raise SecretError(f"{length} is not a length for a secret", hint=f"give {SHORTEST} to {LONGEST}")
    return Secret.of("".join(secrets.choice(ALPHABETS[alphabet]) for _ in range(length)))


def again(value: Secret) -> Secret:
    """Return a new secret of the same length and alphabet. Raises SecretError for what was never drawn like that."""
    text = value.reveal().decode(errors="replace")
    shapes = ("digits", "hex", "lower", "letters", "urlsafe", "symbols")
    for name in shapes:
        if re.fullmatch(f"[{re.escape(ALPHABETS[name])}]{{{SHORTEST},{LONGEST}}}", text):
            return draw(len(text), name)
    raise SecretError(
        "its shape is not one that can be drawn", hint="get a new value from where it comes, and set that"
    )
