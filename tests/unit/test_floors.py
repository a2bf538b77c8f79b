"""The floors: modules import downwards only, and each foreign library has one home."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = (
    {"words"},
    {"config", "crypto", "store", "faces"},
    {"host", "vault", "repository", "lab"},
    {"converge", "sources", "stack"},
    {"machine", "drill"},
    {"workflows"},
    {"agent", "verbs"},
)
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}

HOMES = {
    "yaml": {"toolkit.config"},
    "pydantic": {"toolkit.config"},
    "pydantic_core": {"toolkit.config"},
    "pyrage": {"toolkit.crypto"},
    "cryptography": {"toolkit.crypto"},
    "blake3": {"toolkit.crypto"},
    "boto3": {"toolkit.store.s3"},
    "botocore": {"toolkit.store.s3"},
    "rich": {"toolkit.faces"},
    "fabric": {"toolkit.host.ssh"},
    "paramiko": {"toolkit.host.ssh", "toolkit.host.keys"},
    "pyfastcdc": {"toolkit.repository.chunking"},
    "backports": {"toolkit.repository.compression"},
    "compression": {"toolkit.repository.compression"},
    "invoke": {"tasks", "toolkit.verbs"},
    "apprise": {"toolkit.agent.notify.ways"},
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted([ROOT / "tasks.py", *(ROOT / "toolkit").rglob("*.py")]):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports name their module in full"
            yield node.lineno, node.module or ""
            # `from toolkit import x` names a package too.
            if node.module == "toolkit":
                yield from ((node.lineno, f"toolkit.{alias.name}") for alias in node.names)


def package(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "toolkit" and len(parts) > 1 else None


def faults(module: str, path: Path) -> Iterator[str]:
    own = package(module)
    for line, name in imports(path):
        other = package(name)
        if own and other in FLOOR and other != own and FLOOR[other] >= FLOOR[own]:
            yield f"{path.name}:{line}: {own} (floor {FLOOR[own]}) imports {other} (floor {FLOOR[other]})"
        top = name.split(".")[0]
        homes = HOMES.get(top)
        if top == "toolkit" or (homes is None and top in sys.stdlib_module_names):
            continue
        if homes is None or not any(module == home or module.startswith(home + ".") for home in homes):
            yield f"{path.name}:{line}: {name} has its home in {sorted(homes or ['no module yet'])}, not in {module}"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_down_and_libraries_stay_home(module: str, path: Path) -> None:
    assert list(faults(module, path)) == []


def test_a_host_needs_little_to_back_up() -> None:
    """The engine travels to hosts: it must not drag the control side's libraries along."""
    every = ", ".join(name for name, _ in modules() if name.startswith(("toolkit.repository", "toolkit.store")))
    program = f"import sys, {every}; print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    assert not {"pydantic", "yaml", "fabric", "paramiko", "rich", "invoke"} & set(told.stdout.split())


def test_every_package_has_a_floor() -> None:
    found = {path.name for path in (ROOT / "toolkit").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert found <= FLOOR.keys()


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "bad.py"
    planted.write_text("from toolkit.workflows import deploy\nimport boto3\nfrom toolkit import verbs\n")
    assert len(list(faults("toolkit.words.bad", planted))) == 3


def test_the_folder_of_secrets_does_not_shadow_the_standard_library() -> None:
    assert not list((ROOT / "secrets").glob("*.py"))


def test_files_and_functions_hold_one_idea_each() -> None:
    for _, path in modules():
        text = path.read_text()
        assert text.count("\n") <= 400, f"{path} is longer than 400 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{path}:{node.lineno} {node.name} is {length} lines long"
