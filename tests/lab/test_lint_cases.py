"""The cases of lint's rules through the real `docker compose config`: what is recorded of them is current."""

import pytest

from tests import lint_cases

pytestmark = pytest.mark.lab


def test_what_is_recorded_of_the_cases_is_what_compose_says() -> None:
    paths = lint_cases.files()
    recorded = {path: path.with_suffix(".json").read_text() for path in paths}
    now = dict(zip(paths, lint_cases.resolve(paths), strict=True))
    assert [path for path in paths if now[path] != recorded[path]] == [], "run python -m tests.lint_cases"
