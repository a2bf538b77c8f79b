from pathlib import Path

import pytest

from toolkit.verbs.pages import FOLDER, guide_of, pages, verbs

ROOT = Path(__file__).parents[2]
VERBS = sorted(verbs())


def test_the_pages_in_the_documentation_are_current() -> None:
    found = {path.name: path.read_text() for path in (ROOT / FOLDER).glob("*.md")}
    assert found == pages(), "run python -m toolkit.verbs.pages"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_what_its_options_mean(verb: str) -> None:
    task = verbs()[verb]
    assert task.__doc__
    assert not [one.name for one in task.get_arguments() if not one.help]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_explained_somewhere(verb: str) -> None:
    guide = (ROOT / "docs" / guide_of(verb)).read_text()
    assert verb.rpartition(".")[2] in guide


def test_the_readme_names_every_verb() -> None:
    text = (ROOT / "README.md").read_text()
    assert not [verb for verb in VERBS if verb not in text and f".{verb.rpartition('.')[2]}`" not in text]
