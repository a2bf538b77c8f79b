"""`invoke secrets.…`: values sealed in this repository. They come from a hidden prompt, standard input or a file."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs.face import HELP, verb
from toolkit.words.errors import SecretError
from toolkit.words.report import Table

if TYPE_CHECKING:
    from toolkit.vault.identity import Keyring
    from toolkit.words.values import Secret
    from toolkit.workflows.secrets import Entry, Review, Start

UNFIT = 1
PENDING = 2
_NAME = {"name": "the secret's name: lower-case letters, digits, _, - and dots"}
_HOST = _NAME | {"host": "keep it for this host only; without it, for all hosts (secrets/common)"}


def _root() -> Path:
    from toolkit.config.load import find_root

    return find_root(Path.cwd())


def _keyring() -> "Keyring":
    from toolkit.vault.identity import Keyring

    return Keyring(os.environ)


@verb(
    help={
        "escrow": "public key of an identity that is kept offline; without it one is made and shown once",
        "passphrase": "protect a new identity with a passphrase, asked for on the terminal",
    }
)
def init(_: Context, escrow: str = "", passphrase: bool = False, json: bool = False) -> None:
    """Make your identity, and the list of who can open the secrets here. Overwrites nothing."""
    from toolkit.faces import data, render
    from toolkit.vault import recipients, terminal
    from toolkit.workflows import secrets as workflow

    root, keyring = _root(), _keyring()
    shown_once = not escrow and not (root / recipients.FILE).exists()
    if shown_once and (json or not sys.stdout.isatty()):
        hint = "run it on a terminal, or make one elsewhere and give --escrow age1…"
        raise SecretError("an escrow identity is shown once, and only on a terminal", hint=hint)
    wanted = passphrase and not keyring.path.exists()
    protection = terminal.hidden_twice("passphrase for your identity") if wanted else None
    made = workflow.init(root, keyring, escrow=escrow, protection=protection)
    if json:
        render.say(data.dumps(made))
    else:
        _tell_start(made, _is_listed(root, made.recipient))


def _is_listed(root: Path, recipient: str) -> bool:
    from toolkit.vault import recipients

    return recipient in recipients.read(root)


def _tell_start(made: "Start", listed: bool) -> None:
    from toolkit.faces import render

    render.say(f"your identity{' is now' if made.new_identity else ', as before:'} {made.identity}")
    render.say(f"your recipient: {made.recipient}")
    if made.new_recipients:
        render.say("secrets/recipients.txt names you and the escrow: commit it")
    elif not listed:
        render.say("it is not in secrets/recipients.txt: add it there, and have somebody who is run secrets.reencrypt")
    if made.escrow_identity:
        render.say(
            "\nThe escrow identity opens every secret when yours is lost. It is shown this once and kept nowhere:\n\n"
            f"  {made.escrow_identity.reveal().decode()}\n\n"
            "Print it or write it down, put it where a fire or a thief of your laptop does not reach it, and clear\n"
            "this terminal."
        )


@verb(name="set", help=_HOST | {"from_file": "take the value from this file, byte for byte"})
def put(_: Context, name: str, host: str = "", from_file: str = "") -> None:
    """Keep a value, from a hidden prompt or from standard input (less one line end at its end)."""
    from toolkit.faces import render
    from toolkit.vault.files import check_name
    from toolkit.workflows import secrets as workflow

    root = _root()
    workflow.place(root, host)
    check_name(name)
    render.say(f"sealed: {workflow.put(root, host, name, _given(name, from_file))}")


def _given(name: str, from_file: str) -> "Secret":
    from toolkit.vault import terminal
    from toolkit.vault.files import LARGEST
    from toolkit.words.values import Secret

    if from_file:
        try:
            with Path(from_file).open("rb") as stream:
                return Secret(stream.read(LARGEST + 1))
        except OSError as error:
            raise SecretError(f"{from_file} cannot be read: {error.strerror}", hint="name another file") from error
    if sys.stdin.isatty():
        return terminal.hidden_twice(name)
    return Secret(sys.stdin.buffer.read(LARGEST + 2).removesuffix(b"\n").removesuffix(b"\r"))


@verb(
    help=_HOST
    | {"length": "how many characters", "alphabet": "letters (and digits), lower, hex, digits, urlsafe or symbols"}
)
def generate(_: Context, name: str, host: str = "", length: int = 32, alphabet: str = "letters") -> None:
    """Draw a new secret. Refuses a name that is taken."""
    from toolkit.faces import render
    from toolkit.workflows import secrets as workflow

    render.say(f"sealed: {workflow.generate(_root(), host, name, length=length, alphabet=alphabet)}")


@verb(help=_HOST)
def edit(_: Context, name: str, host: str = "") -> None:
    """Change a value in $EDITOR, on a file in memory that is removed afterwards."""
    from toolkit.faces import render
    from toolkit.vault import editor
    from toolkit.workflows import secrets as workflow

    file = workflow.edit(_root(), host, name, _keyring(), lambda value: editor.edit(value, os.environ))
    render.say(f"sealed: {file}" if file else "nothing changed")


@verb(help=_NAME | {"host": "what this host gets, templates and providers included", "yes": "do not ask"})
def show(_: Context, name: str, host: str = "", yes: bool = False) -> None:
    """Print a value on standard output, after asking."""
    from toolkit.workflows import secrets as workflow

    if not yes:
        _agree(name)
    value = workflow.value(_root(), host, name, _keyring()).reveal()
    sys.stdout.buffer.write(value)
    if sys.stdout.isatty() and not value.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()


def _agree(name: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SecretError(f"{name} is not shown without asking, and nobody is there to ask", hint="add --yes")
    if input(f"show {name} on this terminal? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise SecretError(f"{name} is not shown", hint="answer y, or add --yes")


@verb(name="list", help={"host": "only what this host can have"})
def listing(_: Context, host: str = "", json: bool = False) -> None:
    """Show which secrets there are, who uses them and when they last changed. Never values."""
    from toolkit.faces import data, render
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import secrets as workflow

    entries = workflow.listing(_root(), host)
    if json:
        render.say(data.dumps(entries))
        return
    rows = [_row(entry, SystemClock().wall()) for entry in entries]
    render.table(Table(("secret", "kept in", "used by", "age", "last change"), rows))


def _row(entry: "Entry", now: float) -> tuple[str, ...]:
    from toolkit.vault.history import day

    users = ", ".join(entry.users) or "nobody"
    if entry.changed is None:
        return entry.name, entry.where, users, "-", "-"
    days = max(0, int((now - entry.changed) // 86400))
    who = entry.who or "not committed"
    return entry.name, entry.where, users, f"{days} d", f"{day(entry.changed)} {who}"


@verb(
    help=_NAME
    | {"host": "the host whose secret it is; without it, the common one", "note": "why, for secrets/rotations.txt"}
)
def rotate(_: Context, name: str, host: str = "", note: str = "") -> None:
    """Replace a secret by a newly drawn one of the same length and alphabet. A deploy brings it to its users."""
    from toolkit.faces import render
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import origin
    from toolkit.workflows import secrets as workflow

    file = workflow.rotate(_root(), host, name, _keyring(), note=note, who=origin.who(), clock=SystemClock())
    render.say(f"sealed: {file}, noted in {workflow.NOTES}; deploy to bring it to its users")


@verb()
def reencrypt(_: Context, json: bool = False) -> None:
    """Seal every secret again, for those who are in secrets/recipients.txt now. All of them, or none."""
    from toolkit.faces import data, render
    from toolkit.workflows import secrets as workflow

    files = workflow.reencrypt(_root(), _keyring())
    if json:
        render.say(data.dumps({"sealed": files}))
        return
    for file in files:
        render.say(f"sealed: {file}")
    render.say(f"{_count(len(files), 'secret')} sealed for the recipients of now; commit them")


@verb(help={"host": HELP["host"]})
def check(_: Context, host: str = "", json: bool = False) -> int:
    """Look whether every secret that a host needs is there, opens and is fit. Exit code 1 when one is not."""
    from toolkit.faces import data, render
    from toolkit.verbs.face import host_file
    from toolkit.workflows import secrets as workflow

    described = host_file(host)
    review = workflow.check(described.root, described.name, _keyring())
    if json:
        render.say(data.dumps(review))
    else:
        _tell_review(review)
    return UNFIT if review.findings else 0


def _tell_review(review: "Review") -> None:
    from toolkit.faces import render

    if review.findings:
        rows = [(finding.name, finding.problem, finding.hint) for finding in review.findings]
        render.table(Table(("secret", "problem", "what to do"), rows))
    render.say(f"{review.host}: {_count(review.checked, 'secret')} checked, {_count(len(review.findings), 'problem')}")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


@verb(help={"host": HELP["host"]})
def diff(_: Context, host: str = "", json: bool = False) -> int:
    """Show which secrets differ from what a host runs, by their tags. Exit code 2 when a deploy would change one."""
    from toolkit.faces import data, render
    from toolkit.verbs.face import connected
    from toolkit.workflows import secret_diff as workflow

    with connected(host) as (described, machine):
        found = workflow.diff(described, machine)
    if json:
        render.say(data.dumps(found))
    else:
        render.table(Table(("secret", "compared with the host"), [(one.name, one.state) for one in found]))
    return PENDING if any(one.state != "same" for one in found) else 0
