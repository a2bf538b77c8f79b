"""The page of rules, `docs/doctor.md`, of which the table is written from the rules themselves.

`python -m toolkit.stack.doctor.page` writes it anew; a test says when that was forgotten.
"""

from collections.abc import Sequence
from pathlib import Path

from toolkit.stack.doctor.rule import Rule
from toolkit.stack.doctor.rules import RULES

MARK = "<!-- From here on written by `python -m toolkit.stack.doctor.page`. -->\n"


def table(rules: Sequence[Rule] = RULES) -> str:
    """Return one row for each rule."""
    rows = [
        f"| `{rule.id}` | {rule.severity} | {', '.join(rule.symptoms)} | {rule.cause} | {rule.fix} |" for rule in rules
    ]
    return "\n".join(["| rule | severity | symptoms | cause | what mends it |", "|---|---|---|---|---|", *rows, ""])


def write(page: Path) -> None:
    """Write the table into the page, below what people wrote."""
    head = page.read_text().partition(MARK)[0]
    page.write_text(f"{head}{MARK}\n{table()}")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[3] / "docs" / "doctor.md")
