"""Backup: inputs become one snapshot, on a host that can neither read nor delete what it wrote before.

The order is the protocol: packs first, each remembered once it is stored; the manifest last. Whatever stops a backup
in between leaves packs that nothing refers to and that the next run uses, and every earlier snapshot as it was.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit.crypto.age import check_recipient
from toolkit.crypto.signing import SigningKey
from toolkit.repository import layout, manifest, memory
from toolkit.repository.capture import Reader
from toolkit.repository.epochs import Decision, Listed, Terms, decide
from toolkit.repository.epochs import Remembered as Past
from toolkit.repository.inputs import Input, ordered
from toolkit.repository.layout import SnapshotName
from toolkit.repository.lines import Lines
from toolkit.repository.listing import Ref
from toolkit.repository.manifest import Manifest, SourceInfo
from toolkit.repository.pipeline import Pipeline
from toolkit.repository.record import Recorder, Tally
from toolkit.repository.remembered import Remembered
from toolkit.repository.state import Connect, EpochFacts, Head, State, connect
from toolkit.repository.upload import Destination, Uploader
from toolkit.store import ObjectStore
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import ConfigError, Exists, Locked, RepositoryError
from toolkit.words.report import Listener, Silent
from toolkit.words.values import Size

WORKERS = max(os.cpu_count() or 1, 2)
PUBLIC_KEY = "signing.pub"
"""The file of a host's state with the public half of its key, for whoever comes to pin it."""

_REPORT_EVERY = 0.2


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The host's side of a repository: what it needs to write, and nothing that would let it read."""

    host: str
    store: ObjectStore
    state: Path
    recipients: Sequence[str]
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        layout.check_host(self.host)
        for recipient in self.recipients:
            check_recipient(recipient)
        if len(set(self.recipients)) < 2:
            hint = "name the operator and an escrow key: with one key lost, everything is lost"
            raise ConfigError("backups need two recipients at least", hint=hint)

    def signing_key(self) -> SigningKey:
        """The host's own key, drawn when it is first asked for. The control side pins its public half."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        key, public = SigningKey.keep(self.state / "signing.key"), self.state / PUBLIC_KEY
        if not public.exists() or public.read_text() != f"{key.verify_key}\n":
            public.write_text(f"{key.verify_key}\n")
        return key


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a backup did. `outcome` is complete, or incomplete where something could not be read."""

    snapshot: str
    sequence: int
    digest: str
    epoch: str
    fresh_epoch: bool
    reasons: tuple[str, ...]
    outcome: str
    entries: int
    bytes: int
    stored: int
    unread: tuple[tuple[str, str], ...]
    changed: tuple[str, ...]
    sources: tuple[SourceInfo, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a caller may add: facts for the manifest, and how long a file must have rested to be taken as unchanged."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    settle_within: float = 2.0
    workers: int = WORKERS
    connect: Connect = connect


def backup(
    origin: Origin,
    inputs: Sequence[Input],
    *,
    options: Options | None = None,
    listener: Listener | None = None,
    clock: Clock | None = None,
) -> Report:
    """Write one snapshot. Raises Locked if another backup of this host is at work, StoreError, RepositoryError."""
    memory.settle()
    run = _Run(origin, options or Options(), listener or Silent(), clock or SystemClock())
    with _alone(origin.state):
        return run.perform(ordered(inputs))


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked("another backup of this host is at work", hint="wait for it to end") from error
        yield


class _Run:
    """One backup, from asking the store to the report."""

    def __init__(self, origin: Origin, options: Options, listener: Listener, clock: Clock) -> None:
        self._origin = origin
        self._options = options
        self._listener = listener
        self._clock = clock
        self._begun = clock.now()
        self._started = datetime.fromtimestamp(clock.wall(), UTC)
        self._read = 0
        self._reported = 0.0
        self._expected = 0

    def perform(self, inputs: Sequence[Input]) -> Report:
        key = self._origin.signing_key()
        with ExitStack() as stack:
            state, damage = State.open(self._origin.state, self._options.connect)
            stack.callback(state.close)
            decision = self._decide(state, damage, key)
            remembered = Remembered.open(self._origin.state, decision.epoch.name, self._options.connect)
            stack.callback(remembered.close)
            head = state.head()
            self._expected = head.bytes if head else 0
            uploader = Uploader(self._destination(decision.epoch), state, decision.epoch.chunk_key.reveal())
            stack.callback(uploader.close)
            pipeline = Pipeline(uploader, workers=self._options.workers)
            stack.callback(pipeline.close)
            self._listener.step(f"back up {self._origin.host}")
            listing, sources, tally = self._record(inputs, pipeline, remembered, decision.epoch.seed)
            uploader.finish()
            document = self._manifest(decision, state, listing, sources, tally)
            digest = self._publish(document, key, state)
            remembered.commit()
            self._listener.done()
            return self._report(decision, document, digest, uploader.stored, tally)

    def _decide(self, state: State, damage: str, key: SigningKey) -> Decision:
        host = self._origin.host
        listed = Listed.of(host, self._origin.store.list(layout.epochs_prefix(host)))
        past = Past(state.epoch(), state.head(), state.intent(), state.packs(), damage)
        recipients, terms = self._origin.recipients, self._origin.terms
        decision = decide(past, listed, recipients=recipients, now=self._started, terms=terms)
        for reason in decision.reasons:
            self._listener.warn(f"a new epoch begins: {reason}")
        if decision.fresh:
            self._announce(decision.epoch, key)
            state.begin(decision.epoch)
        return decision

    def _announce(self, epoch: EpochFacts, key: SigningKey) -> None:
        """Write the public documents of a new epoch."""
        host, store = self._origin.host, self._origin.store
        retain = _moment(epoch.kept_until)
        recipients = list(epoch.recipients)
        about_host = {"format": "toolkit/host 1", "host": host, "signing_key": str(key.verify_key)}
        with suppress(Exists):
            store.put_new(
                layout.host_key(host), layout.document({**about_host, "recipients": recipients}), retain_until=retain
            )
        about_epoch = {
            "format": "toolkit/epoch 1",
            "epoch": epoch.name,
            "created": epoch.created,
            "kept_until": epoch.kept_until,
            "previous": epoch.previous,
            "recipients": recipients,
        }
        store.put_new(layout.epoch_key(host, epoch.name), layout.document(about_epoch), retain_until=retain)

    def _destination(self, epoch: EpochFacts) -> Destination:
        origin = self._origin
        return Destination(origin.store, origin.host, epoch.name, epoch.recipients, _moment(epoch.kept_until))

    def _record(
        self, inputs: Sequence[Input], pipeline: Pipeline, remembered: Remembered, seed: int
    ) -> tuple[list[Ref], list[SourceInfo], Tally]:
        lines = Lines(pipeline, seed)
        settle = self._options.settle_within
        recorder = Recorder(lines, Reader(pipeline, seed), remembered, self._heard, settle_within=settle)
        sources = [recorder.record(given) for given in inputs]
        return lines.finish(), sources, recorder.tally

    def _manifest(
        self, decision: Decision, state: State, listing: list[Ref], sources: list[SourceInfo], tally: Tally
    ) -> Manifest:
        problems = tally.unread + [(path, "changed while it was read") for path in tally.changed]
        return Manifest(
            host=self._origin.host,
            epoch=decision.epoch.name,
            sequence=decision.sequence,
            previous=decision.previous,
            started=layout.iso(self._started),
            finished=layout.iso(datetime.fromtimestamp(self._clock.wall(), UTC)),
            outcome=manifest.INCOMPLETE if tally.unread else manifest.COMPLETE,
            chunk_key=decision.epoch.chunk_key,
            seed=decision.epoch.seed,
            packs=state.packs(),
            listing=listing,
            entries=tally.entries,
            bytes=tally.bytes,
            sources=sources,
            facts=self._options.facts,
            problems=problems[: layout.PROBLEM_LIMIT],
        )

    def _publish(self, document: Manifest, key: SigningKey, state: State) -> str:
        """Store the manifest, which makes the snapshot exist, and remember it as the head."""
        name = SnapshotName(document.sequence, document.epoch, layout.stamp(self._started))
        sealed = manifest.seal(document, key, self._origin.recipients)
        digest = hashlib.sha256(sealed)
        head = Head(document.sequence, digest.hexdigest(), name.key(document.host), len(sealed), document.bytes)
        epoch = state.epoch()
        retain = _moment(epoch.kept_until) if epoch else None
        # If this run dies between the two, the next one finds the intent and knows the snapshot for its own.
        state.intend(head)
        try:
            self._origin.store.put_new(head.key, sealed, retain_until=retain, content_sha256=digest.digest())
        except Exists as error:
            hint = "make sure that only one machine writes as this host"
            raise RepositoryError(f"{head.key} exists already", hint=hint) from error
        state.settle(head)
        return head.digest

    def _heard(self, size: int, path: str) -> None:
        self._read += size
        now = self._clock.now()
        if now - self._reported >= _REPORT_EVERY:
            self._reported = now
            expected = max(self._expected, self._read) if self._expected else 0
            self._listener.progress(Size(self._read), Size(expected), path)

    def _report(self, decision: Decision, document: Manifest, digest: str, stored: int, tally: Tally) -> Report:
        return Report(
            snapshot=str(SnapshotName(document.sequence, document.epoch, layout.stamp(self._started))),
            sequence=document.sequence,
            digest=digest,
            epoch=document.epoch,
            fresh_epoch=decision.fresh,
            reasons=decision.reasons,
            outcome=document.outcome,
            entries=tally.entries,
            bytes=tally.bytes,
            stored=stored,
            unread=tuple(tally.unread),
            changed=tuple(tally.changed),
            sources=tuple(document.sources),
            seconds=self._clock.now() - self._begun,
        )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
