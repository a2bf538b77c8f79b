"""Where the driver works: the host it runs on, a stack's place there, and who follows."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from toolkit.host import Host
from toolkit.stack import containers
from toolkit.stack.compose import Invocation
from toolkit.stack.containers import Container
from toolkit.stack.manifest import ENV, OVERRIDE, Manifest, secret_paths
from toolkit.stack.place import Place
from toolkit.words.clock import Clock
from toolkit.words.report import Listener


@dataclass(frozen=True)
class Site:
    """What every phase works with.

    `pause` raises Stopped once somebody asked for it; inside of `interruptible` it is raised wherever the work is.
    """

    host: Host
    place: Place
    clock: Clock
    listener: Listener
    pause: Callable[[], None] = lambda: None
    interruptible: Callable[[], AbstractContextManager[object]] = nullcontext
    returning: bool = False
    """On the way back, where there is nothing to go back to."""

    @property
    def stack(self) -> str:
        return self.place.stack

    def unstoppable(self) -> "Site":
        """Return the same site for the way back, which is not stopped."""
        return replace(self, pause=lambda: None, interruptible=nullcontext, returning=True)

    def compose(self, manifest: Manifest) -> Invocation:
        """Return how Compose is called for a release."""
        env = secret_paths(self.stack, manifest.secrets).get(ENV, "/dev/null")
        folder = f"/opt/{self.stack}/releases/{manifest.id}"
        return Invocation(self.stack, folder, (*manifest.terms.files, OVERRIDE), manifest.terms.profiles, env=env)

    def containers(self) -> Sequence[Container]:
        """Return every container of the stack as it is now."""
        return containers.parse(self.host.run(containers.read(self.stack)).text)
