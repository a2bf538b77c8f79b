"""Deploy: ship a stack as a release, hand it to the host's driver, and follow that to the end.

Up to the hand-over nothing that runs is touched, and the control side may go away at any time. From then on the driver
on the host carries it out, gates it, and goes back where it fails, whoever is still connected.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from toolkit.config.models import HostFile
from toolkit.host import File, Host
from toolkit.stack import containers, record
from toolkit.stack.containers import Verdict
from toolkit.stack.manifest import Manifest, parse_manifest
from toolkit.stack.moves import Move
from toolkit.stack.record import Record
from toolkit.stack.request import DEPLOY, Account, Request
from toolkit.words.clock import Clock
from toolkit.words.command import script
from toolkit.words.errors import Error, HostError
from toolkit.words.report import Listener
from toolkit.words.values import Secret
from toolkit.workflows import delivery, origin, steering
from toolkit.workflows.attempt import Attempt, begin, digests, inputs, logins
from toolkit.workflows.prepare import Prepared, prepare

KEY = "/var/lib/toolkit/key"

LOOK = f"""
one() {{ cat "$1" 2>/dev/null | tr -d '\\n'; echo; }}
one {KEY}
one "/opt/$1/current/release.json"
one "/var/lib/toolkit/deploys/$1/record.json"
if [ -e "/var/lib/toolkit/deploys/$1/transaction.json" ]; then echo unfinished; else echo; fi
if systemctl is-failed --quiet toolkit-secrets.service; then echo holes; else echo; fi
"""


@dataclass(frozen=True)
class Deployed:
    """What a deploy did."""

    host: str
    stack: str
    release: str
    changed: bool
    services: Sequence[Verdict]
    recreated: tuple[str, ...] = ()
    moves: Sequence[Move] = ()
    took: float = 0.0
    """Seconds from the hand-over to the end."""


@dataclass(frozen=True)
class Seen:
    """What was there before."""

    key: bytes
    manifest: Manifest | None
    record: Record
    unfinished: bool
    running: tuple[containers.Container, ...]


def deploy(host_file: HostFile, host: Host, *, listener: Listener, clock: Clock, wait: bool = False) -> Deployed:
    """Bring the host file's stack up on its host.

    Raises ConfigError, SecretError, RegistryError or HostError with nothing touched, Locked where somebody else deploys
    and `wait` is not set, DeployFailed when the stack did not become healthy and the release before is back, and
    Mixed when that could not be brought back.
    """
    attempt = begin(host_file, host, listener=listener, clock=clock)
    seen = look(attempt)
    if unchanged := _unchanged(attempt, seen):
        return unchanged
    prepared = prepare(attempt, key_of(attempt, seen))
    return _hand_over(attempt, prepared, wait=wait)


def look(attempt: Attempt) -> Seen:
    """Read the current release and what runs. A host whose secrets did not come back from a boot is helped first."""
    both = script(f"{script(LOOK, attempt.stack.name).line()}\n{containers.read(attempt.stack.name).line()}")
    result = attempt.host.run(both, check=False)
    key, manifest, found, unfinished, holes, rest = result.text.split("\n", 5)
    if holes:
        # Docker is down on purpose: it waits for secrets that did not come back.
        from toolkit.workflows.heal import heal

        heal(attempt, key.encode())
    if holes or not result.ok:
        key, manifest, found, unfinished, _, rest = attempt.host.run(both).text.split("\n", 5)
    current = _current(attempt, manifest)
    return Seen(key.encode(), current, record.parse(found), bool(unfinished), containers.parse(rest))


def _current(attempt: Attempt, written: str) -> Manifest | None:
    """Return the current release. One that cannot be read is replaced, not obeyed: it must not end all deploys."""
    try:
        return parse_manifest(written)
    except HostError as error:
        attempt.listener.warn(f"{error.message}: deploying as if there were none")
        return None


def _unchanged(attempt: Attempt, seen: Seen) -> Deployed | None:
    """Return the result when everything is as it should be: same content, same digests, all healthy, nothing edited."""
    manifest = seen.manifest
    if manifest is None or seen.unfinished or not seen.key or manifest.inputs != inputs(attempt, seen.key):
        return None
    values = delivery.values(attempt, manifest.services)
    if delivery.tags(values, seen.key) != dict(manifest.secrets):
        return None
    verdicts = containers.judge(manifest.services, seen.running, finished=seen.record.finished)
    if not all(verdict.good and _as_made(verdict, manifest, seen.record) for verdict in verdicts):
        return None
    if digests(attempt, manifest.services) != manifest.digests:
        return None
    return Deployed(attempt.host.name, attempt.stack.name, manifest.id, False, verdicts)


def _as_made(verdict: Verdict, manifest: Manifest, known: Record) -> bool:
    wanted, image = dict(manifest.marks.get(verdict.service, {})), manifest.pinned(verdict.service)
    return all(one.image == image and dict(one.marks) == wanted and not known.edited(one) for one in verdict.containers)


def key_of(attempt: Attempt, seen: Seen) -> bytes:
    """Return the host's own key for tags; one is made on the first deploy."""
    if seen.key:
        return seen.key
    key = secrets.token_hex(32).encode()
    attempt.host.send([File(KEY, Secret(key), 0o600)])
    return key


def _hand_over(attempt: Attempt, prepared: Prepared, *, wait: bool) -> Deployed:
    """Let the host's driver bring a prepared release up, and follow it."""
    outcome, took = start(attempt, prepared, wait=wait).finish()
    return Deployed(
        attempt.host.name,
        attempt.stack.name,
        outcome.release,
        True,
        outcome.services,
        outcome.recreated,
        [move for move in outcome.moves if move.touches],
        took,
    )


def start(
    attempt: Attempt,
    prepared: Prepared,
    *,
    wait: bool,
    refill: Mapping[str, Any] | None = None,
    secret: Secret | None = None,
) -> steering.Following:
    """Hand a prepared release over, with the way to its data where it is recovered. What is refused is removed."""
    manifest, accounts = prepared.manifest, logins(attempt)
    body = [*prepared.values.values(), *(one.token for one in accounts), *([secret] if secret else [])]
    request = Request(
        action=DEPLOY,
        stack=attempt.stack.name,
        release=manifest.id,
        who=origin.who(),
        secrets={name: len(value.reveal()) for name, value in prepared.values.items()},
        accounts=tuple(Account(one.server, one.user, len(one.token.reveal())) for one in accounts),
        refill={**(refill or {}), "size": len(secret.reveal())} if secret else {},
    )
    try:
        return steering.start(attempt.host, request, body, listener=attempt.listener, clock=attempt.clock, wait=wait)
    except Error:
        with suppress(Error):
            attempt.host.run(script('rm -rf -- "$1"', attempt.folder(manifest.id)), check=False)
        raise
