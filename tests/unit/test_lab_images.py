"""What images.yml may say."""

from pathlib import Path

import pytest

from toolkit.lab.images import read
from toolkit.words.errors import ConfigError


def example(folder: Path, text: str) -> Path:
    context = folder / "images" / "postgres"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (folder / "images" / "images.yml").write_text(text)
    return folder


def test_each_reference_names_its_context_and_base(tmp_path: Path) -> None:
    (picture,) = read(example(tmp_path, "docker.io/library/postgres:17: {context: postgres, base: trixie}\n"))
    assert picture.path == "library/postgres:17"
    assert picture.context == tmp_path / "images" / "postgres"
    assert picture.base == "trixie"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("docker.io/library/postgres:17: postgres\n", "expected a context and a base"),
        ("docker.io/library/postgres:17: {context: postgres}\n", "expected a context and a base"),
        ("quay.io/library/postgres:17: {context: postgres, base: trixie}\n", "expected docker.io/"),
        ("docker.io/library/postgres: {context: postgres, base: trixie}\n", "with a tag"),
        ("docker.io/library/postgres:17: {context: postgres, base: noble}\n", "no base noble"),
        ("docker.io/library/postgres:17: {context: mysql, base: trixie}\n", "holds no Dockerfile"),
        ("- docker.io/library/postgres:17\n", "not a mapping"),
        ("{", "images.yml"),
    ],
)
def test_a_fault_in_images_yml_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read(example(tmp_path, text))


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        read(tmp_path)


def test_the_examples_of_this_repository_can_be_read() -> None:
    files = sorted((Path(__file__).parents[2] / "examples").glob("*/images/images.yml"))
    assert files
    assert all(read(file.parents[1]) for file in files)
