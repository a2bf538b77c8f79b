"""The files that all contenders back up: 2 GiB in 20,024 of them, the same bytes for the same seed.

Twenty thousand small files, as of an application and its uploads, and twenty-four large ones, as of databases and logs.
Half of the bytes are prose and logs, the rest does not compress; one small file in twenty is a copy.
"""

import random
import sys
from pathlib import Path

SMALL, LARGE = 20_000, 24
_MIB = 1 << 20


def plant(root: Path, *, small: int = SMALL, large: int = LARGE, size: int = 2048 * _MIB, seed: int = 1) -> None:
    """Write the tree. Half of the bytes go to the small files, half to the large ones."""
    source = _Source(seed)
    sizes = _sizes(source.random, small, size // 2 if large else size)
    for number, length in enumerate(sizes):
        folder = root / f"small/{number % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:07}").write_bytes(source.content(length, number))
    (root / "large").mkdir(parents=True, exist_ok=True)
    for number in range(large):
        with (root / "large" / f"{number:03}").open("wb") as file:
            for piece in range(size // 2 // large // _MIB):
                is_log = (number + piece // 8) % 2 == 0
                file.write(source.log(_MIB) if is_log else source.random.randbytes(_MIB))


def change(root: Path, seed: int, share: float = 0.02) -> None:
    """Change a share of the bytes: some small files anew, and one run somewhere inside every large file."""
    source = _Source(seed)
    files = sorted(path for path in (root / "small").rglob("*") if path.is_file())
    for path in source.random.sample(files, max(1, round(len(files) * share))):
        path.write_bytes(source.prose(path.stat().st_size))
    for path in sorted((root / "large").iterdir()):
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(source.random.randrange(int(size * (1 - share)) or 1))
            file.write(source.log(int(size * share)))


def look(root: Path) -> dict[str, int]:
    """Return every file with its size, to see that a restore brought all of them."""
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


class _Source:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._phrases = _phrases(random.Random(0))
        self._last = b""

    def content(self, size: int, number: int) -> bytes:
        """Return what a small file holds: text or something compressed already, now and then the same as before."""
        if number % 20 == 19:
            return self._last
        self._last = self.prose(size) if number % 2 == 0 else self.random.randbytes(size)
        return self._last

    def prose(self, size: int) -> bytes:
        return b" ".join(self.random.choices(self._phrases, k=size // 16 + 2))[:size]

    def log(self, size: int) -> bytes:
        """Return lines as web servers and workers write them."""
        second = self.random.randrange(10**8)
        lines, length = [], 0
        while length < size:
            a, b, c, d, e, f, g, h, *rest = self.random.randbytes(16)
            second += a >> 6
            line = (
                f"10.{b & 3}.{c}.{d} - [{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}] "
                f'"GET /api/{_NAMES[e & 7]}/{f}{g} HTTP/1.1" {200 if h < 220 else 404} {rest[0] * 256 + rest[1]} '
                f'"{_AGENTS[rest[2] & 3]}" id={bytes(rest[3:]).hex()}\n'
            )
            lines.append(line)
            length += len(line)
        return "".join(lines).encode()[:size]


_NAMES = ("users", "orders", "items", "search", "login", "files", "health", "reports")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Firefox/145.0",
    "curl/8.14.1",
)


def _phrases(source: random.Random) -> list[bytes]:
    words = ["".join(source.choices("etaoinshrdlucmfwypvbgkjqxz", k=source.randint(2, 10))) for _ in range(3000)]
    return [" ".join(source.choices(words, k=source.randint(1, 4))).encode() for _ in range(100_000)]


def _sizes(source: random.Random, count: int, total: int) -> list[int]:
    # Real trees have many small files and few larger ones.
    weights = [source.lognormvariate(0, 1.2) for _ in range(count)]
    scale = total / (sum(weights) or 1)
    return [int(weight * scale) for weight in weights]


if __name__ == "__main__":
    # A process of its own: memory that the benchmark had used would count as its children's.
    task, root, number = sys.argv[1:]
    if task == "plant":
        plant(Path(root), size=int(number))
    else:
        change(Path(root), seed=int(number))
