"""redis-cli inside the container: one command at a time, its answer as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.sources.docker import Docker
from toolkit.sources.login import Login
from toolkit.sources.process import PATIENCE, way_out
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.command import script
from toolkit.words.errors import HostError

# Valkey keeps the old names beside its own, or does not.
_CLI = 'exec "$(command -v redis-cli || command -v valkey-cli)" -p "$1"'
_TICK = 0.2


@dataclass(frozen=True)
class RedisClient:
    """One server. Without a login, redis-cli uses what the container's environment gives it."""

    docker: Docker
    container: str
    login: Login | None = None
    port: int = 6379
    patience: float = PATIENCE
    clock: Clock = SystemClock()  # noqa: RUF009

    def ask(self, *words: str) -> str:
        """Run one command and return its answer. Raises HostError where the server refuses."""
        line = " ".join(f'"{_escape(word)}"' for word in words)
        wanted = script(_CLI, self.port, stdin=f"{line}\n".encode())
        answer = self.docker.inside(self.container, wanted, login=self.login).decode(errors="replace")
        if self.login:
            greeting, _, answer = answer.partition("\n")
            _refuse(self.container, "AUTH", greeting)
        answer = answer.removesuffix("\n")
        _refuse(self.container, words[0], answer)
        return answer

    def info(self, section: str) -> Mapping[str, str]:
        """Return one section of INFO."""
        lines = self.ask("INFO", section).splitlines()
        return dict(line.rstrip("\r").partition(":")[::2] for line in lines if line and not line.startswith("#"))

    def setting(self, name: str) -> str:
        """Return one setting; empty where this server has none of this name."""
        return self.ask("CONFIG", "GET", name).partition("\n")[2]

    def keys(self) -> int:
        """How many keys there are in all databases."""
        return self.bounds()[1]

    def bounds(self) -> list[int]:
        """How many keys there are: without those that may expire, and with them."""
        found = [keyspace(text) for name, text in self.info("keyspace").items() if name.startswith("db")]
        keys = sum(each["keys"] for each in found)
        return [keys - sum(each["expires"] for each in found), keys]

    def until(self, what: str, reached: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
        """Wait until INFO persistence is as wanted. Raises HostError when nothing moves for too long."""
        before: Mapping[str, str] = {}
        since = self.clock.now()
        while not reached(found := self.info("persistence")):
            if any(found.get(name) != before.get(name) for name in _PROGRESS):
                before, since = found, self.clock.now()
            if self.clock.now() - since > self.patience:
                raise HostError(f"redis in {self.container[:12]}: {what} does not end", hint="look at its log")
            self.clock.sleep(_TICK)
        return found


_PROGRESS = (
    "loading_loaded_bytes", "current_save_keys_processed", "rdb_bgsave_in_progress", "aof_rewrite_in_progress",
    "rdb_current_bgsave_time_sec_started",
)  # fmt: skip


def keyspace(text: str) -> dict[str, int]:
    """Read `keys=2,expires=1,…`."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name: int(value) for name, _, value in pairs if value.isdigit()}


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"')


def _refuse(container: str, what: str, answer: str) -> None:
    first = answer.split("\n", 1)[0]
    name = first.partition(" ")[0]
    if " " in first and name.isupper() and name.isalpha() and len(name) > 2:
        raise HostError(f"redis in {container[:12]} refuses {what}: {first}", hint=way_out(first))
