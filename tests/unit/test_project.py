"""A project: what of the repository travels, under which name, and what is refused before anything does."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.config.models import Stack
from toolkit.stack import project
from toolkit.stack.project import Project
from toolkit.words.errors import ConfigError
from toolkit.words.values import Size

ROOT = Path(__file__).parents[2]
FOLDER = re.compile(r"/opt/shop/files/[0-9a-f]{24}/")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with a stack in `shop/`."""
    (tmp_path / "shop" / "conf.d").mkdir(parents=True)
    (tmp_path / "hosts").mkdir()
    (tmp_path / "shop" / "app.conf").write_text("port = 1\n")
    (tmp_path / "shop" / "conf.d" / "a.conf").write_text("a\n")
    (tmp_path / "shop" / "conf.d" / "deep").mkdir()
    (tmp_path / "shop" / "conf.d" / "deep" / "b.conf").write_text("b\n")
    return tmp_path


def read(root: Path, *documents: str) -> Project:
    """Read a project made of these Compose files."""
    names = [f"compose{number}.yaml" for number in range(len(documents))]
    for name, text in zip(names, documents, strict=True):
        (root / "shop" / name).write_text(text)
    return project.read(root, Stack(name="shop", directory="shop", files=tuple(names)))


def service(*lines: str) -> str:
    return "services:\n  web:\n    image: web:1\n" + "".join(f"    {line}\n" for line in lines)


def volumes(*written: str) -> str:
    return service("volumes:", *(f"  - {one}" for one in written))


def paths(found: Project) -> list[str]:
    return sorted(FOLDER.sub("", file.path) for file in found.host_files())


BINDS = {
    "./app.conf:/etc/app.conf": {"type": "bind", "target": "/etc/app.conf"},
    "./app.conf:/etc/app.conf:ro": {"type": "bind", "target": "/etc/app.conf", "read_only": True},
    "./app.conf:/etc/app.conf:z,ro": {"type": "bind", "target": "/etc/app.conf", "read_only": True},
    "./app.conf:/etc/app.conf:rw": {"type": "bind", "target": "/etc/app.conf"},
    "../shop/app.conf:/etc/app.conf": {"type": "bind", "target": "/etc/app.conf"},
    "{type: bind, source: ./app.conf, target: /x, read_only: no}": {"type": "bind", "target": "/x", "read_only": False},
    "{type: bind, source: app.conf, target: /x}": {"type": "bind", "target": "/x"},
}  # fmt: skip


@pytest.mark.parametrize(("written", "options"), BINDS.items())
def test_a_mounted_file_travels_with_its_options(root: Path, written: str, options: dict[str, object]) -> None:
    found = read(root, volumes(written))
    assert [(mount.source.name, mount.service, dict(mount.options)) for mount in found.mounts] == [
        ("app.conf", "web", options)
    ]
    assert paths(found) == ["app.conf"]


@pytest.mark.parametrize(
    "written",
    [
        "data:/var/lib/data",
        "/etc/localtime:/etc/localtime:ro",
        "~/.cache:/cache",
        "/anonymous",
        "{type: bind, source: /srv/data, target: /data}",
        "{type: volume, source: data, target: /data}",
        "{type: tmpfs, target: /tmp}",
    ],
)
def test_what_is_not_of_the_repository_does_not_travel(root: Path, written: str) -> None:
    found = read(root, volumes(written) + "volumes: {data: }\n")
    assert (found.mounts, paths(found)) == ((), [])


def test_a_mounted_folder_travels_whole(root: Path) -> None:
    assert paths(read(root, volumes("./conf.d:/etc/conf.d"))) == ["conf.d/a.conf", "conf.d/deep/b.conf"]


def test_a_file_that_two_services_mount_travels_once(root: Path) -> None:
    both = volumes("./app.conf:/a") + "  api:\n    image: api:1\n    volumes: ['./app.conf:/b']\n"
    found = read(root, both)
    assert [mount.service for mount in found.mounts] == ["web", "api"]
    assert paths(found) == ["app.conf"]


def test_files_of_configs_travel_and_files_of_secrets_never_do(root: Path) -> None:
    found = read(root, service() + "configs: {c: {file: ./app.conf}}\nsecrets: {s: {file: conf.d/a.conf}}\n")
    assert [(mount.section, mount.service, mount.source.name) for mount in found.mounts] == [
        ("configs", "c", "app.conf")
    ]
    assert paths(found) == ["app.conf"]


@pytest.mark.parametrize("body", ["{external: true}", "{environment: TOKEN}", "{file: /etc/hostname}", ""])
def test_configs_from_elsewhere_do_not_travel(root: Path, body: str) -> None:
    assert read(root, service() + f"configs:\n  s: {body}\n").mounts == ()


def test_content_and_mode_are_what_they_are_here(root: Path) -> None:
    (root / "shop" / "run.sh").write_bytes(b"#!\0\xff\n")
    (root / "shop" / "run.sh").chmod(0o700)
    found = {Path(file.path).name: file for file in read(root, volumes("./run.sh:/r", "./app.conf:/a")).host_files()}
    assert (found["run.sh"].body, found["run.sh"].mode) == (b"#!\0\xff\n", 0o755)
    assert (found["app.conf"].body, found["app.conf"].mode) == (b"port = 1\n", 0o644)


def test_a_mount_is_found_where_its_files_go(root: Path) -> None:
    found = read(root, volumes("./app.conf:/a", "./conf.d:/c"))
    sent = {file.path for file in found.host_files()}
    file, folder = (found.directory_of(mount) for mount in found.mounts)
    assert file in sent
    assert f"{folder}/deep/b.conf" in sent
    assert FOLDER.match(file)
    assert FOLDER.match(folder)


def the_path(root: Path) -> str:
    found = read(root, volumes("./conf.d:/c"))
    return found.directory_of(found.mounts[0])


def test_the_same_content_has_the_same_path_wherever_the_repository_is(root: Path, tmp_path_factory: object) -> None:
    other = tmp_path_factory.mktemp("elsewhere")  # type: ignore[attr-defined]
    (other / "shop").mkdir()
    root.joinpath("shop", "conf.d").rename(other / "shop" / "conf.d")
    there = the_path(other)
    (other / "shop" / "conf.d").rename(root / "shop" / "conf.d")
    assert the_path(root) == there == the_path(root)


@pytest.mark.parametrize("change", ["content", "mode", "name", "one more", "one less"])
def test_whatever_changes_below_a_mount_changes_its_path(root: Path, change: str) -> None:
    before, file = the_path(root), root / "shop" / "conf.d" / "a.conf"
    match change:
        case "content":
            file.write_text("A\n")
        case "mode":
            file.chmod(0o755)
        case "name":
            file.rename(file.with_name("a.conf2"))
        case "one more":
            file.with_name("c.conf").touch()
        case "one less":
            file.unlink()
    assert the_path(root) != before


def test_touching_a_file_changes_nothing(root: Path) -> None:
    before = the_path(root)
    (root / "shop" / "conf.d" / "a.conf").touch()
    (root / "shop" / "conf.d" / "a.conf").chmod(0o600)
    assert the_path(root) == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=3)), min_size=2, max_size=2, unique=True))
def test_bytes_that_move_from_one_file_to_the_next_change_the_path(
    root: Path, pairs: list[tuple[bytes, bytes]]
) -> None:
    seen = set()
    for one, other in pairs:
        (root / "shop" / "conf.d" / "a.conf").write_bytes(one)
        (root / "shop" / "conf.d" / "b.conf").write_bytes(other)
        seen.add(the_path(root))
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (volumes("../../etc:/x"), "service web names ../../etc, which leads out of the repository", "this repository"),
        (volumes("./../../x:/x"), "leads out of the repository", ""),
        (volumes("./gone.conf:/x"), "service web mounts ./gone.conf, which is not in the repository", "named volume"),
        (volumes("./data:/x"), "which is not in the repository", "named volume"),
        (service() + "configs: {c: {file: ../../x}}\n", "configs c names ../../x, which leads out", ""),
        (service() + "configs: {c: {file: gone}}\n", "configs c mounts gone, which is not", ""),
        (service("env_file: gone.env"), "gone.env, which is not in the repository", ""),
        (service("env_file: ../../../etc/passwd"), "leads out of shop", "inside of stack.directory"),
        (service("env_file: ../common.env"), "leads out of shop", "inside of stack.directory"),
        (service("env_file: /etc/passwd"), "leads out of shop", "inside of stack.directory"),
        ("include: [other.yaml]\n" + service(), "compose0.yaml uses `include`", "stack.files"),
        (service("extends: {file: base.yaml, service: web}"), "service web extends another file", "stack.files"),
        ("- a\n", "holds no mapping", ""),
    ],
)
def test_what_cannot_travel_is_refused_with_a_way_out(root: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(root, text)
    assert hint in caught.value.hint


def test_a_service_may_extend_one_of_the_same_file(root: Path) -> None:
    assert read(root, service() + "  other:\n    extends: {service: web}\n    image: x\n").mounts == ()


def test_a_missing_compose_file_is_told_with_its_path(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"no Compose file .*shop/nothing.yaml"):
        project.read(root, Stack(name="shop", directory="shop", files=("nothing.yaml",)))


def test_a_link_that_leaves_the_repository_is_refused(root: Path, tmp_path_factory: object) -> None:
    outside = tmp_path_factory.mktemp("outside") / "key"  # type: ignore[attr-defined]
    outside.write_text("private")
    (root / "shop" / "link").symlink_to(outside)
    with pytest.raises(ConfigError, match="leads out of the repository"):
        read(root, volumes("./link:/x"))


@pytest.mark.parametrize("target", ["../app.conf", "/etc/hostname"])
def test_a_link_inside_a_mounted_folder_is_refused(root: Path, target: str) -> None:
    (root / "shop" / "conf.d" / "link").symlink_to(target)
    with pytest.raises(ConfigError, match=r"conf.d/link is a symbolic link"):
        read(root, volumes("./conf.d:/x"))


def test_a_mounted_link_to_a_file_of_the_repository_travels_as_that_file(root: Path) -> None:
    (root / "shop" / "link").symlink_to("app.conf")
    (file,) = read(root, volumes("./link:/x")).host_files()
    assert (Path(file.path).name, file.body) == ("app.conf", b"port = 1\n")


def test_data_in_place_of_configuration_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "LARGEST", Size(1000))
    (root / "shop" / "dump.sql").write_bytes(bytes(999))
    assert paths(read(root, volumes("./dump.sql:/x"))) == ["dump.sql"]
    with pytest.raises(ConfigError, match=r"mounts 1.0 KiB of files|mounts \d+ B of files"):
        read(root, volumes("./dump.sql:/x", "./app.conf:/y"))


def test_compose_files_keep_their_order_and_their_bytes(root: Path) -> None:
    found = read(root, service(), service("restart: always"))
    assert list(found.files) == ["0-compose0.yaml", "1-compose1.yaml"]
    assert b"restart: always" in found.files["1-compose1.yaml"]


def test_every_form_of_env_file_travels_by_its_path_in_the_project(root: Path) -> None:
    for name in ("a.env", "conf.d/b.env", "c.env"):
        (root / "shop" / name).write_text(f"NAME={name}\n")
    found = read(
        root,
        service("env_file: a.env"),
        service("env_file: [./conf.d/b.env, {path: c.env, required: true}]"),
    )
    assert dict(found.env_files) == {
        "a.env": b"NAME=a.env\n", "conf.d/b.env": b"NAME=conf.d/b.env\n", "c.env": b"NAME=c.env\n",
    }  # fmt: skip


def test_an_env_file_that_need_not_be_there_is_skipped_when_it_is_not(root: Path) -> None:
    assert read(root, service("env_file: [{path: gone.env, required: false}]")).env_files == {}


@pytest.mark.parametrize("fault", ["empty", "link to a folder", "dangling link"])
def test_a_mounted_folder_that_would_not_arrive_whole_is_refused(root: Path, fault: str) -> None:
    folder = root / "shop" / "site"
    folder.mkdir()
    if fault != "empty":
        (folder / "page").write_text("x")
        (folder / "link").symlink_to(root if fault == "link to a folder" else root / "gone")
    with pytest.raises(ConfigError, match="holds no file" if fault == "empty" else "is a symbolic link"):
        read(root, service("volumes: ['./site:/site']"))


@pytest.mark.parametrize("written", [".env", "./.env", "[.env]", "{path: .env}", "conf.d/../.env"])
def test_the_working_copys_own_env_never_leaves_it(root: Path, written: str) -> None:
    (root / "shop" / ".env").write_text("PASSWORD=private\n")
    assert read(root, service(f"env_file: {written}")).env_files == {}


def test_composes_own_merge_tags_are_read_as_what_they_hold(root: Path) -> None:
    found = read(root, service("ports: !reset []", "volumes: !override ['./app.conf:/a']"))
    assert [mount.source.name for mount in found.mounts] == ["app.conf"]


def test_the_example_ships_its_schema_and_its_proxy() -> None:
    files = ("compose.yaml", "compose.prod.yaml")
    found = project.read(ROOT, Stack(name="shop", directory="examples/taskflow", files=files))
    assert paths(found) == ["schema.sql", "start.sh", "taskflow.conf"]
    assert {mount.service for mount in found.mounts} == {"db", "proxy"}
