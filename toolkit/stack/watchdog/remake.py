"""Remaking: the release's own Compose call, as a deploy makes it, for services whose containers are gone."""

from collections.abc import Sequence

from toolkit.host import Host
from toolkit.stack.manifest import Manifest
from toolkit.stack.moves import Move
from toolkit.stack.place import Place
from toolkit.stack.rollout import Rollout
from toolkit.stack.site import Site
from toolkit.words.clock import Clock
from toolkit.words.report import Silent


def remake(host: Host, place: Place, clock: Clock, manifest: Manifest, moves: Sequence[Move]) -> None:
    """Carry out moves of the current release. Raises DeployFailed, HostError."""
    up = Rollout(Site(host, place, clock, Silent()), manifest, moves, manifest.terms.within)
    up.stateful()
    up.stateless()
