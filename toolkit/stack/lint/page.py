"""The page of rules, `docs/lint.md`, of which the sections are written from the rules themselves.

`python -m toolkit.stack.lint.page` writes them anew; a test says when that was forgotten.
"""

from collections.abc import Sequence
from pathlib import Path

from toolkit.stack.lint.rule import Rule
from toolkit.stack.lint.rules import RULES
from toolkit.stack.lint.suppress import STALE

MARK = "<!-- From here on written by `python -m toolkit.stack.lint.page`. -->\n"


def sections(rules: Sequence[Rule] = RULES) -> str:
    """Return a table of all rules, and a section for each with its id as heading."""
    rows = [f"| [`{rule.id}`](#{rule.id}) | {rule.severity} |" for rule in rules]
    table = "\n".join(["| rule | severity |", "|---|---|", *rows])
    return f"{table}\n\n" + "\n".join(_section(rule) for rule in rules)


def _section(rule: Rule) -> str:
    about = "" if rule.whole else " service: NAME,"
    accepted = "it cannot be accepted." if rule is STALE else f"`- {{rule: {rule.id},{about} reason: …}}`"
    return f"## {rule.id}\n\n*{rule.severity}*. {rule.reason}\n\n**Instead:** {rule.fix}\n\n**Accept it:** {accepted}\n"


def write(page: Path) -> None:
    """Write the sections into the page, below what people wrote."""
    head = page.read_text().partition(MARK)[0]
    page.write_text(f"{head}{MARK}\n{sections()}")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[3] / "docs" / "lint.md")
