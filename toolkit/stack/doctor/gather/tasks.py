"""Tasks: many questions at once, each on its own, and a time by which everybody has answered or is told to be late."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.words.errors import Error

Task = Callable[[], Any]


def answers(tasks: Mapping[str, Task], within: float) -> dict[str, dict[str, Any]]:
    """Return `{"value": …}` or `{"fault": "…"}` for each task, and the seconds that it took."""
    begun, found = time.monotonic(), dict[str, dict[str, Any]]()
    threads = {
        name: threading.Thread(target=_work, args=(name, task, found), daemon=True) for name, task in tasks.items()
    }
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, begun + within - time.monotonic()))
    late = {"fault": f"no answer within {within:g} s"}
    # A late one may still write: what is returned does not change any more.
    return {name: found.get(name, late) for name in tasks}


def _work(name: str, task: Task, found: dict[str, dict[str, Any]]) -> None:
    begun = time.monotonic()
    try:
        answer = {"value": task()}
    except Error as error:
        answer = {"fault": error.message}
    except Exception as error:
        # Whatever one question runs into, the others are answered.
        answer = {"fault": f"{type(error).__name__}: {error}"}
    found[name] = answer | {"took": round(time.monotonic() - begun, 3)}
