"""Secrets from the control side: made, changed, listed, sealed anew and checked. No host is asked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.config import load, providers
from toolkit.config.models import HostFile
from toolkit.crypto import age
from toolkit.vault import draw, fitness, history, identity, recipients, sources, usage
from toolkit.vault.files import COMMON, Vault, check_name
from toolkit.vault.identity import Keyring
from toolkit.words.clock import Clock
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

NOTES = "secrets/rotations.txt"


@dataclass(frozen=True)
class Start:
    """What `init` made, and what was there."""

    identity: Path
    recipient: str
    new_identity: bool
    new_recipients: bool
    escrow: str = ""
    escrow_identity: Secret | None = field(default=None, repr=False)
    """Only where it was drawn here: it is shown once and kept nowhere."""


def init(root: Path, keyring: Keyring, *, escrow: str = "", protection: Secret | None = None) -> Start:
    """Make what is missing of the operator's identity and `secrets/recipients.txt`; overwrite neither."""
    listed = root / recipients.FILE
    new_identity, new_recipients = not keyring.path.exists(), not listed.exists()
    _refuse_start(root, keyring.path, new_identity, new_recipients, escrow)
    drawn = age.new_identity() if new_recipients and not escrow else None
    escrow = age.recipient_of(drawn) if drawn else escrow
    own = identity.make(keyring.path, protection) if new_identity else _own_recipient(keyring)
    if new_recipients:
        listed.parent.mkdir(exist_ok=True)
        Vault(root).put(listed, recipients.text(own, escrow).encode())
    return Start(keyring.path, own, new_identity, new_recipients, escrow, drawn)


def _refuse_start(root: Path, path: Path, new_identity: bool, new_recipients: bool, escrow: str) -> None:
    if not new_identity and not new_recipients:
        hint = "nothing is overwritten; invoke secrets.check says whether they fit"
        raise SecretError(f"{path} and {recipients.FILE} are there already", hint=hint)
    if escrow and not new_recipients:
        raise SecretError(f"{recipients.FILE} is there already", hint="add the escrow recipient to it by hand")
    if escrow:
        recipients.check(escrow, "--escrow")
    if path.resolve().is_relative_to(root.resolve()):
        hint = f"set ${identity.VARIABLE} to a file outside of it"
        raise SecretError(f"the identity {path} would be inside the repository", hint=hint)


def _own_recipient(keyring: Keyring) -> str:
    first = keyring.identities()[0]
    if first.reveal().startswith(b"-----BEGIN"):
        hint = f"write {recipients.FILE} yourself, with the key's public half and an escrow recipient"
        raise SecretError(f"{keyring.path} is an SSH key", hint=hint)
    return age.recipient_of(first)


def place(root: Path, host: str) -> str:
    """Return where a secret belongs: a host that has a file, or `common`. Raises SecretError."""
    if host and host not in load.names(root):
        raise SecretError(f"there is no hosts/{host}.yml", hint=f"there are: {', '.join(load.names(root)) or 'none'}")
    return host or COMMON


def put(root: Path, host: str, name: str, value: Secret) -> str:
    """Seal a value and keep it; return its file. Raises SecretError."""
    vault = Vault(root)
    return vault.shown(vault.write(place(root, host), check_name(name), value))


def generate(root: Path, host: str, name: str, *, length: int, alphabet: str) -> str:
    """Draw a value for a name that is not taken; return its file. Raises SecretError."""
    vault, where = Vault(root), place(root, host)
    if vault.path(where, name).exists():
        option = f" --host {host}" if host else ""
        hint = f"invoke secrets.rotate {name}{option} draws a new one"
        raise SecretError(f"{vault.shown(vault.path(where, name))} is there already", hint=hint)
    return put(root, host, name, draw.draw(length, alphabet))


def value(root: Path, host: str, name: str, keyring: Keyring) -> Secret:
    """Return what a host gets for a name; without a host, the common secret. Raises SecretError."""
    if not host:
        return Vault(root).open(Vault(root).place_of(COMMON, name), name, keyring)
    described = load.named(root, host)
    return sources.resolve(described, [check_name(name)], environ=keyring.environ, keyring=keyring)[name]


def edit(root: Path, host: str, name: str, keyring: Keyring, change: Callable[[Secret], Secret]) -> str:
    """Give a value to `change` and keep what comes back; return the file, empty where nothing changed."""
    vault, where = Vault(root), place(root, host)
    before = vault.open(where, name, keyring) if vault.path(where, name).exists() else Secret(b"")
    after = change(before)
    return "" if after == before else put(root, host, name, after)


def rotate(root: Path, host: str, name: str, keyring: Keyring, *, note: str, who: str, clock: Clock) -> str:
    """Draw a new value in the shape of the old one, at its place, with a line in the notes; return the file."""
    vault = Vault(root)
    where = vault.place_of(place(root, host), name)
    file = vault.shown(vault.path(where, name))
    try:
        fresh = draw.again(vault.open(where, name, keyring))
    except SecretError as error:
        raise SecretError(
            error.message if file in error.message else f"{file}: {error.message}", hint=error.hint
        ) from error
    vault.write(where, name, fresh)
    _note(root, f"{history.day(clock.wall())} {where}/{name} by {who}{f': {note}' if note else ''}")
    return file


def _note(root: Path, line: str) -> None:
    path = root / NOTES
    before = path.read_bytes() if path.exists() else b"# When which secret was rotated, by whom and why. No values.\n"
    printable = "".join(letter if letter.isprintable() else " " for letter in line)
    Vault(root).put(path, before + printable.encode() + b"\n")


def reencrypt(root: Path, keyring: Keyring) -> tuple[str, ...]:
    """Seal every secret for the recipients of now; return their files. All of them, or none where one does not open."""
    vault = Vault(root)
    fresh = {vault.path(where, name): vault.seal(name, vault.open(where, name, keyring)) for where, name in _all(vault)}
    old = {path: path.read_bytes() for path in fresh}
    try:
        for path, sealed in fresh.items():
            vault.put(path, sealed)
    except BaseException:
        # A full disk or an impatient person: the old files come back, so that one set of recipients opens them all.
        for path, sealed in old.items():
            vault.put(path, sealed)
        raise
    return tuple(vault.shown(path) for path in fresh)


def _all(vault: Vault) -> Iterator[tuple[str, str]]:
    for where in vault.places():
        yield from ((where, name) for name in vault.kept(where))


@dataclass(frozen=True)
class Entry:
    """One secret as `list` shows it. Never its value."""

    name: str
    where: str
    users: tuple[str, ...]
    changed: float | None
    who: str


def listing(root: Path, host: str) -> list[Entry]:
    """Return the secrets of one host, or of all, with who uses them and when they last changed."""
    vault, past = Vault(root), history.read(root)
    described = [load.named(root, name) for name in ([host] if host else load.names(root))]
    used = {one.name: usage.of(one) for one in described}
    entries = [
        _kept(vault, where, name, past, used) for where, name in _all(vault) if not host or where in (host, COMMON)
    ]
    return entries + [entry for one in described for entry in _declared(one, used[one.name])]


def _kept(
    vault: Vault, where: str, name: str, past: Mapping[str, history.Edit], used: Mapping[str, usage.Users]
) -> Entry:
    path = vault.path(where, name)
    users = [
        f"{host}: {user}"
        for host, names in used.items()
        if where in (host, COMMON) and vault.names(host).get(name) == where
        for user in names.get(name, ())
    ]
    known = past.get(vault.shown(path))
    return Entry(name, where, tuple(users), known.time if known else path.stat().st_mtime, known.who if known else "")


def _declared(described: HostFile, used: usage.Users) -> Iterator[Entry]:
    for name, entry in sources.declared(described).items():
        if entry.value is None or providers.kept_name(entry.value) == name:
            continue
        kind = entry.value.partition(":")[0] if providers.is_provider(entry.value) else "template"
        users = tuple(f"{described.name}: {user}" for user in used.get(name, ()))
        yield Entry(name, f"hosts/{described.name}.yml ({kind})", users, None, "")


@dataclass(frozen=True)
class Finding:
    """What `check` found wrong with one secret, and the way out."""

    name: str
    problem: str
    hint: str


@dataclass(frozen=True)
class Review:
    """The outcome of `check`: good when there are no findings."""

    host: str
    checked: int
    findings: Sequence[Finding]


def check(root: Path, host: str, keyring: Keyring) -> Review:
    """Look at every secret that a host needs, and at who can open what is kept."""
    described, vault = load.named(root, host), Vault(root)
    names = sorted({*usage.of(described), *sources.declared(described)})
    found = [*_recipient_findings(vault, described), *_value_findings(described, names, keyring)]
    return Review(host, len(names), tuple(dict.fromkeys(found)))


def _value_findings(described: HostFile, names: Sequence[str], keyring: Keyring) -> Iterator[Finding]:
    values = sources.Sources(described, keyring.environ, keyring)
    for name in names:
        try:
            problems = list(fitness.faults(values.value(check_name(name))))
        except SecretError as error:
            yield Finding(name, error.message, error.hint)
            continue
        for problem in problems:
            yield Finding(name, problem, f"invoke secrets.set {name} --host {described.name}, or correct its source")


def _recipient_findings(vault: Vault, described: HostFile) -> Iterator[Finding]:
    kept = vault.names(described.name)
    if not kept:
        return
    try:
        count = len(vault.recipients())
    except SecretError as error:
        yield Finding("recipients", error.message, error.hint)
        return
    if count < 2:
        yield Finding("recipients", f"{recipients.FILE} names one recipient", "add an escrow recipient, kept offline")
    for name, where in kept.items():
        try:
            sealed = age.sealed_for(vault.sealed(where, name))
        except SecretError as error:
            yield Finding(name, error.message, error.hint)
            continue
        if sealed is not None and sealed != count:
            told = f"sealed for {sealed} recipients, {recipients.FILE} names {count}"
            yield Finding(name, told, "invoke secrets.reencrypt")
