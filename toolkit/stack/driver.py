"""The driver: one deploy from its release folder to a proven stack, on the host, whoever is connected.

    preflight → pull → secrets → one-shots → stateful → stateless → gate → switch → prune

Up to the secrets nothing that runs is touched. The mark of the transaction is on disk before the first container is,
and what fails, or is stopped, after that goes back: the release before comes up again and is proven.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from toolkit.stack import deadline, gate, images, moves, preflight, probes, prune, record, room, stopping, transaction
from toolkit.stack.containers import Container, Verdict, judge
from toolkit.stack.gate import Passed, Patience
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import Move
from toolkit.stack.outcome import DEPLOYED, FAILED, MIXED, ROLLED_BACK, Outcome, explain
from toolkit.stack.rollout import Rollout, prove
from toolkit.stack.site import Site
from toolkit.stack.transaction import Transaction
from toolkit.words.errors import DeployFailed, Error, HostError


def no_data(_manifest: Manifest) -> None:
    """What brings data for a deploy that brings none."""


# Going back is tried this often, with pauses between (seconds): a daemon that restarts is back by then.
PAUSES = (2.0, 10.0)


@dataclass(frozen=True)
class Work:
    """What a driver is given beside the site: phases that are not the stack's own business, and who hears of phases.

    `login` gives a folder with registry logins for a while; `deliver` brings the secrets of a release, and `fill` the
    data of one that comes up on another host, before anything of it runs.
    """

    login: Callable[[], AbstractContextManager[str]] = field(repr=False)
    deliver: Callable[[Manifest], None] = field(repr=False)
    phase: Callable[[str], None] = field(repr=False)
    one_shots: bool = True
    fill: Callable[[Manifest], None] = field(default=no_data, repr=False)


@dataclass(frozen=True)
class Driver:
    """Carries out one deploy; its caller holds the stack's lock."""

    site: Site
    work: Work

    def deploy(self, target: str) -> Outcome:
        """Bring up a release that lies on the host. Whatever goes wrong there is told in the outcome."""
        place = self.site.place
        try:
            unfinished = transaction.read(place)
            previous = unfinished.previous if unfinished else place.current_name()
            manifest = place.manifest(target)
            self._make_ready(manifest, previous)
            before = self.site.containers()
            mark = Transaction(target, previous, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
            transaction.begin(place, mark)
        except Exception as error:
            # Whatever it was, nothing that runs is touched yet.
            room.give_back(self.site)
            return explain(FAILED, place.current_name(), error)
        try:
            self.work.fill(manifest)
            changes = self._advance(manifest)
            mark = transaction.passed(place, mark)
        except Exception as error:
            # Whatever it was, the way is back.
            return self._back(mark, error)
        return self._finish(mark, manifest, changes, before)

    def again(self, release: str) -> Sequence[Verdict]:
        """Bring up the current release once more, through its gate, after something below it changed.

        Its caller has the way back. Raises DeployFailed, HostError.
        """
        manifest = self.site.place.manifest(release)
        self._advance(manifest)
        return self._settle_on(release, manifest)

    def settle(self) -> Outcome | None:
        """End what a crash or a reboot left half-way; None where there is nothing."""
        mark = transaction.read(self.site.place)
        if mark is None:
            return None
        if mark.passed:
            return self._finish(mark, self.site.place.manifest(mark.target), (), self.site.containers())
        cause = HostError("the deploy was cut off on the host", hint="`invoke attach` shows how far it came")
        return self._back(mark, cause)

    def _make_ready(self, manifest: Manifest, previous: str) -> None:
        """Look for what cannot work, and have images and secrets on the host."""
        site = self.site
        self._begin("preflight")
        lost = preflight.way_back(site, previous)
        missing = preflight.lacking(site, manifest.images)
        with self.work.login() if missing or lost else nullcontext("") as login:
            preflight.check(site, manifest, missing, login=login)
            site.pause()
            self._done(f"{len(manifest.services)} services")
            self._begin("pull")
            images.pull(site, missing, login)
            self._pull_lost(lost, login)
            self._done(f"{len(missing)} images")
        site.pause()
        self._begin("secrets")
        self.work.deliver(manifest)
        self._done(f"{len(manifest.secrets)} files")
        site.pause()
        room.keep_back(site)

    def _pull_lost(self, lost: Sequence[str], login: str) -> None:
        """Bring back images of the release before that somebody removed: without them there is no way back."""
        try:
            images.pull(self.site, lost, login)
        except HostError as error:
            self.site.listener.warn(f"no way back without {', '.join(lost)}: {error.message}")

    def _advance(self, manifest: Manifest) -> Sequence[Move]:
        """Bring a release up and through its gate. Raises DeployFailed."""
        up = self._rollout(manifest)
        preflight.healthy_commands(self.site, manifest, up.moves)
        self._bring_up(up)
        passed = self._gate(up)
        if not passed.good:
            raise _unhealthy(self.site, passed, up.within)
        self._done(f"{len(passed.verdicts)} services")
        up.remove()
        return up.moves

    def _rollout(self, manifest: Manifest) -> Rollout:
        site = self.site
        changes = moves.plan(manifest, site.containers(), record.read(site.place), one_shots=self.work.one_shots)
        least = deadline.needed(manifest.services, images.checks_of(site, manifest))
        return Rollout(site, manifest, changes, max(manifest.terms.within, least + deadline.SLACK))

    def _bring_up(self, up: Rollout) -> None:
        for phase, bring in (("one-shots", up.one_shots), ("stateful", up.stateful), ("stateless", up.stateless)):
            self.site.pause()
            self._begin(phase)
            self._done(", ".join(bring()) or "nothing to do")

    def _gate(self, up: Rollout) -> Passed:
        site, manifest = self.site, up.manifest
        self._begin("gate")
        return gate.wait(
            lambda: gate.look(site.host, site.stack, manifest.services, self._finished(manifest)),
            Patience(up.within, manifest.terms.steady),
            clock=site.clock,
            listener=site.listener,
            ask=lambda verdicts: tuple(probes.complaints(site.host, manifest.terms, verdicts)),
            pause=site.pause,
        )

    def _finished(self, manifest: Manifest) -> tuple[str, ...]:
        """Return one-shots that need no container: going back, their work is not done again."""
        return () if self.work.one_shots else tuple(n for n, one in manifest.services.items() if one.one_shot)

    def _finish(
        self, mark: Transaction, manifest: Manifest, changes: Sequence[Move], before: Sequence[Container]
    ) -> Outcome:
        """Call a release that passed its gate the current one. From here on there is only forward."""
        site, old = self.site.unstoppable(), {one.id for one in before}
        self._begin("switch")
        verdicts = self._settle_on(mark.target, manifest)
        self._done()
        self._begin("prune")
        try:
            prune.prune(site, mark.previous)
        except (Error, OSError) as error:
            site.listener.warn(f"old releases were not pruned: {error}")
        self._done()
        fresh = {verdict.service for verdict in verdicts for one in verdict.containers if one.id not in old}
        return Outcome(DEPLOYED, mark.target, verdicts, tuple(sorted(fresh)), tuple(changes))

    def _settle_on(self, release: str, manifest: Manifest) -> Sequence[Verdict]:
        """Let a release be the current one, and end the transaction."""
        site, finished = self.site, self._finished(manifest)
        room.give_back(site)
        found = site.containers()
        switch(site, release)
        with suppress(OSError):
            (site.place.release(release) / prune.PASSED).touch()
            record.write(site.place, release, found, finished)
        transaction.end(site.place)
        return judge(manifest.services, found, finished=finished)

    def _back(self, mark: Transaction, cause: Exception) -> Outcome:
        """Bring the release before back, and prove it; tried again where that fails."""
        self._begin("rollback")
        back = Driver(self.site.unstoppable(), replace(self.work, one_shots=False))
        self.site.listener.warn(f"going back to {mark.previous or 'nothing'}: {_first_line(cause)}")
        room.give_back(self.site)
        failure: Exception = cause
        for pause in (0.0, *PAUSES):
            self.site.clock.sleep(pause)
            try:
                verdicts = back._return_to(mark)
            except Exception as error:
                failure = error
                self.site.listener.warn(f"going back failed: {_first_line(error)}")
            else:
                return replace(explain(ROLLED_BACK, mark.previous, cause), services=verdicts)
        return explain(MIXED, mark.previous, failure, first=cause)

    def _return_to(self, mark: Transaction) -> Sequence[Verdict]:
        """Go to the release before; without one, to no containers at all. Raises HostError where it is not there."""
        site = self.site
        if not mark.previous:
            self._take_down(mark.target)
            return ()
        manifest = site.place.manifest(mark.previous)
        up = self._rollout(manifest)
        complaint = self._complaint(up)
        try:
            up.remove()
            prove(site, manifest, self._finished(manifest))
        except HostError as error:
            raise HostError("\n".join(filter(None, (error.message, complaint))), hint=error.hint) from error
        if complaint:
            # It may have been unhealthy before, too. What counts is that it, and nothing else, is what runs.
            site.listener.warn(f"the release before is back, and not healthy: {complaint}")
        return self._settle_on(mark.previous, manifest)

    def _complaint(self, up: Rollout) -> str:
        """Bring a release up as far as it goes; return what is wrong with it, or nothing."""
        try:
            self._bring_up(up)
            passed = self._gate(up)
        except DeployFailed as error:
            return error.message
        return "" if passed.good else _unhealthy(self.site, passed, up.within).message

    def _take_down(self, target: str) -> None:
        site = self.site
        stopping.remove(site, site.containers())
        with suppress(Error):
            site.host.run(site.compose(site.place.manifest(target))("down", "--remove-orphans"), check=False)
        transaction.end(site.place)

    def _begin(self, phase: str) -> None:
        self.work.phase(phase)
        self.site.listener.step(phase)

    def _done(self, note: str = "") -> None:
        self.site.listener.done(note)


def switch(site: Site, release: str) -> None:
    """Let `current` name a release, at once."""
    fresh = site.place.folder / "current.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(f"releases/{release}")
    fresh.replace(site.place.current)


def _unhealthy(site: Site, passed: Passed, within: float) -> DeployFailed:
    told = [*map(str, gate.diagnose(site.host, passed.verdicts)), *passed.complaints]
    return DeployFailed(f"{site.stack} did not become healthy within {within:.0f} s:\n" + "\n".join(told))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
