"""Images of the lab: built once, whoever needs them at the same time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from toolkit.lab.engine import Engine
from toolkit.lab.pictures import Pictures
from toolkit.words.command import Result, command
from toolkit.words.report import Silent


class Shared(Engine):
    """One Engine that several labs use; to build takes as long as it takes until everybody has asked."""

    def __init__(self, askers: int) -> None:
        self.images: set[str] = set()
        self.builds: list[str] = []
        self._asked = threading.Barrier(askers)
        self._first = threading.local()

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        found = {} if name in self.images else None
        if not getattr(self._first, "over", False):
            self._first.over = True
            # Nobody builds before everybody has seen that the image is missing.
            self._asked.wait(30)
        return found

    def run(self, *arguments: Any, **_: Any) -> Result:
        name = str(arguments[arguments.index("--tag") + 1])
        self.builds.append(name)
        # Long enough for whoever does not wait.
        time.sleep(0.3)
        self.images.add(name)
        return Result(command("docker", *arguments), 0)


def test_two_labs_that_need_an_image_at_the_same_time_build_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    engine = Shared(3)
    with ThreadPoolExecutor(3) as pool:
        labs = [Pictures(engine, Silent()) for _ in range(3)]
        names = list(pool.map(lambda lab: lab.over("base:1", tmp_path, "trixie", "toolkit-standin-x"), labs))
    assert len(set(names)) == 1
    assert engine.builds == names[:1]
