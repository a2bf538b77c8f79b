"""`secrets/recipients.txt`: who can open the secrets. It is the file that `age -R` takes, comments and all."""

from pathlib import Path

from toolkit.crypto import age
from toolkit.words.errors import SecretError

FILE = "secrets/recipients.txt"
_PRIVATE = ("age-secret-key-", "private key")

_HEADER = """# Who can open the secrets of this repository: one age recipient a line. `age -R` takes this file as it is.
# After a change: invoke secrets.reencrypt. Whoever is removed has seen the old values: rotate them.
"""


def text(operator: str, escrow: str) -> str:
    """Return the file's first text."""
    return f"{_HEADER}\n# operator\n{operator}\n# escrow: kept offline, for the day the others are lost\n{escrow}\n"


def read(root: Path) -> tuple[str, ...]:
    """Return the recipients, each once. Raises SecretError with the line at fault."""
    try:
        written = (root / FILE).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SecretError(f"no {FILE}", hint="invoke secrets.init makes it") from error
    except UnicodeDecodeError as error:
        raise SecretError(f"{FILE} is not UTF-8 text", hint="save it as plain UTF-8") from error
    found = parse(written)
    if not found:
        raise SecretError(f"{FILE} names nobody", hint="put one age1… or ssh-… public key on a line")
    return found


def parse(written: str) -> tuple[str, ...]:
    """Return the recipients in the text of such a file. Raises SecretError with the line at fault."""
    lines = ((number, line.strip()) for number, line in enumerate(written.splitlines(), start=1))
    kept = [(number, line) for number, line in lines if line and not line.startswith("#")]
    for number, line in kept:
        check(line, f"{FILE}:{number}")
    return tuple(dict.fromkeys(line for _, line in kept))


def check(line: str, at: str) -> None:
    """Raise SecretError, naming `at` and never the line, for anything that is not one recipient."""
    if any(mark in line.lower() for mark in _PRIVATE):
        hint = "remove it, replace the key, and put the public half here"
        raise SecretError(f"{at}: this is a private key", hint=hint)
    try:
        age.check_recipient(line)
        return
    except SecretError:
        # That error repeats what it was given, which may be anything.
        pass
    hint = "give a whole age1… public key, or an ssh-ed25519 or ssh-rsa one"
    raise SecretError(f"{at}: not a recipient", hint=hint)
