"""Which agent this is: what the control side wrote into the release when it built it."""

import json
import platform
from pathlib import Path
from typing import Any

FORMAT = "toolkit agent 1"
NOTE = "release.json"


def about() -> dict[str, Any]:
    """Return name, version and interpreter; the name is empty for an agent that runs from its sources."""
    note = Path(__file__).with_name(NOTE)
    built = json.loads(note.read_text()) if note.exists() else {"release": "", "version": ""}
    return {"format": FORMAT, "python": ".".join(platform.python_version_tuple()[:2]), **built}
