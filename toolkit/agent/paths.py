"""Where everything of the agent is on a host; under another root in tests."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """All paths hang from one root."""

    root: Path = Path("/")

    @property
    def real(self) -> bool:
        """Whether this is the machine itself: only there is something mounted."""
        return self.root == Path("/")

    @property
    def memory(self) -> Path:
        """The tmpfs that services read their secrets from."""
        return self.root / "run/secrets"

    @property
    def sealed(self) -> Path:
        """The copies that outlive a reboot."""
        return self.root / "var/lib/toolkit/secrets"

    @property
    def key(self) -> Path:
        """The key of tags."""
        return self.root / "var/lib/toolkit/key"

    @property
    def identity(self) -> Path:
        """What opens the sealed copies; it never leaves the host."""
        return self.root / "etc/toolkit/identity"

    @property
    def audit(self) -> Path:
        return self.root / "var/log/toolkit/audit.jsonl"

    @property
    def requests(self) -> Path:
        """Requests under way, with their secrets: on the tmpfs of secrets, which keeps out of swap."""
        return self.memory / ".requests"

    @property
    def notify(self) -> Path:
        """Who is told of what happens, sealed, and how that went."""
        return self.root / "var/lib/toolkit/notify"

    @property
    def queue(self) -> Path:
        """Messages that are on their way."""
        return self.notify / "queue"

    @property
    def metrics(self) -> Path:
        """Text files for whoever scrapes: `node_exporter --collector.textfile.directory` takes the folder."""
        return self.root / "var/lib/toolkit/metrics"

    @property
    def backup(self) -> Path:
        """The host's side of its backups: the engine's state, sealed access, and what runs left behind."""
        return self.root / "var/lib/toolkit/backup"

    @property
    def duty(self) -> Path:
        """What is backed up and when; nobody backs up where it is missing."""
        return self.root / "etc/toolkit/backup.json"

    @property
    def paused(self) -> Path:
        """Notes of services that are paused for a backup: `toolkit.sources.pause`."""
        return self.root / "var/lib/toolkit/paused"

    @property
    def policy(self) -> Path:
        """How the watchdog works; nobody watches where it is missing."""
        return self.root / "etc/toolkit/watchdog.json"
