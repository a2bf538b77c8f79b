"""Draw what `make demo` printed as docs/demo.svg: `make demo 2>&1 | tee demo.log`, then `scripts/picture.py demo.log`.

Of each verb its command is kept, its last steps, and the last lines that it said.
"""

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parents[1] / "docs/demo.svg"
WIDTH, STEPS, SAID = 110, 3, 7
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_STEP = re.compile(r"^\[ *[\d.]+ s\] +(✓|→|\S)")


def main() -> None:
    lines = [_ESCAPE.sub("", line.rstrip()) for line in Path(sys.argv[1]).read_text().splitlines()]
    console = Console(record=True, width=WIDTH, file=StringIO())
    for line in kept(lines):
        style = "bold cyan" if line.startswith("$ ") else "green" if "✓" in line else ""
        console.print(Text(line[:WIDTH], style=style))
    PICTURE.write_text(console.export_svg(title="make demo"))


def kept(lines: list[str]) -> list[str]:
    """Leave out what a step says of itself, and all but the end of each verb."""
    found: list[str] = []
    steps: list[str] = []
    said: list[str] = []
    for line in [*lines, "$ "]:
        if line.startswith("$ "):
            found += [*steps[-STEPS:], *said[-SAID:], "", line]
            steps, said = [], []
        elif match := _STEP.match(line):
            steps += [line] if match[1] == "✓" else []
        elif line:
            said.append(line)
    # Before the first verb the environment was made.
    return found[found.index(next(line for line in found if line.startswith("$ "))) : -1]


if __name__ == "__main__":
    main()
