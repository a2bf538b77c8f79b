"""Backup files: read once into values that cannot be wrong, or refused with everything that is wrong in them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.config.backup_files import load, names
from toolkit.config.backups import BackupDocument, BackupFile, Keep
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "tests" / "cases" / "backups").glob("*.yml"))
LEAST = "repository: {url: file:///srv/backups}\n"


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """The folder of a small installation with one host, `web`."""
    for folder in ("hosts", "backups"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hosts" / "web.yml").write_text("connection: local\n")
    return tmp_path / "backups"


def loaded(backups: Path, text: str) -> BackupFile:
    (backups / "web.yml").write_text(text)
    return load(backups / "web.yml")


@pytest.mark.parametrize("path", sorted((ROOT / "backups").glob("example*.yml")), ids=lambda path: path.stem)
def test_the_example_is_sound_and_names_the_schema(path: Path) -> None:
    assert load(path).name == path.stem
    assert path.read_text().startswith("# yaml-language-server: $schema=../docs/backup.schema.json\n")


def test_the_example_shows_every_key_of_every_part() -> None:
    found = load(ROOT / "backups" / "example.yml")
    where = found.repository
    assert where.operator is not None
    assert where.host is not None
    assert found.price is not None
    parts = [where, where.operator, found.keep, found.price, found.paths[1]]
    hidden = {f"{type(part).__name__}.{key}" for part in parts for key in set(vars(part)) - part.model_fields_set}
    assert hidden == set()
    written = (ROOT / "backups" / "example.yml").read_text().splitlines()
    assert {line.partition(":")[0] for line in written if line[:1].isalpha()} == set(vars(found)) - {"name", "root"}


def test_the_least_file_keeps_to_safe_defaults(backups: Path) -> None:
    found = loaded(backups, LEAST)
    assert (found.name, found.root) == ("web", backups.parent.resolve())
    assert (found.epoch, found.lock, found.keep) == (Duration.parse("30d"), Duration.parse("30d"), Keep())
    assert (found.recipients, found.paths, found.price) == ((), (), None)


def test_the_lock_can_be_turned_off(backups: Path) -> None:
    assert loaded(backups, f"{LEAST}lock: false\n").lock is None


def test_a_path_may_be_a_line_or_a_mapping_and_is_called_by_its_name(backups: Path) -> None:
    found = loaded(backups, LEAST + "paths:\n  - /srv/files\n  - {path: /var/lib/app, name: app, exclude: ['*.tmp']}\n")
    assert [(tree.path, tree.called, tree.exclude) for tree in found.paths] == [
        ("/srv/files", "srv/files", ()),
        ("/var/lib/app", "app", ("*.tmp",)),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_faulty_file_is_refused_with_every_fault_in_it(case: Path, backups: Path) -> None:
    name = "web" if case.stem != "no-such-host" else "wbe"
    shutil.copy(case, backups / f"{name}.yml")
    with pytest.raises(ConfigError) as caught:
        load(backups / f"{name}.yml")
    assert f"{caught.value.message}\nhint: {caught.value.hint}\n" == case.with_suffix(".txt").read_text()
    assert caught.value.exit_code == 10


def test_no_message_repeats_a_secret_that_stands_in_the_wrong_place(backups: Path) -> None:
    shutil.copy(next(case for case in CASES if case.stem == "literal-secrets"), backups / "web.yml")
    with pytest.raises(ConfigError) as caught:
        load(backups / "web.yml")
    told = f"{caught.value} {caught.value.hint}"
    assert not [secret for secret in ("hunter2", "AKIA", "12345678") if secret in told]


def test_a_missing_file_is_named_with_what_is_there(backups: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no backups/web\.yml") as caught:
        load(backups / "web.yml")
    assert "backups/example.yml" in caught.value.hint
    (backups / "prod.yml").touch()
    with pytest.raises(ConfigError) as caught:
        load(backups / "prdo.yml")
    assert caught.value.hint == "did you mean prod? there are: prod"
    assert names(backups.parent) == ["prod"]


def test_loading_runs_no_provider(backups: Path) -> None:
    users = "{access_key: 'command:touch ran', secret_key: 'env:B'}"
    other = users.replace("touch ran", "touch run")
    loaded(backups, f"repository: {{url: s3://acme, operator: {users}, host: {other}}}\n")
    assert not list(backups.parent.rglob("ran"))


KEYS = list(BackupDocument.model_fields)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
PLACES = st.sampled_from([*KEYS, "repository.url", "repository.operator", "repository.host.access_key", "keep.daily"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=PLACES, value=TREES)
def test_any_value_in_any_place_is_loaded_or_refused(backups: Path, place: str, value: object) -> None:
    whole: dict[str, object] = {"repository": {"url": "file:///srv"}}
    *outer, last = place.split(".")
    inside: dict[str, object] = whole
    for key in outer:
        inside = inside.setdefault(key, {})  # type: ignore[assignment]
    inside[last] = value
    (backups / "web.yml").write_text(json.dumps(whole, ensure_ascii=False))
    try:
        load(backups / "web.yml")
    except ConfigError as error:
        assert error.message.startswith("backups/web.yml:")


def test_a_sound_file_is_loaded_without_the_machinery_of_json_schema() -> None:
    program = "import sys; from toolkit.config.backup_files import load; print('toolkit.config.schema' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "False"
