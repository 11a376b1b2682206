"""The house rules: the public face, docstrings, who may import whom, and what an import must not load."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import batchup
from batchup.errors import MissingExtraError

ROOT = Path(batchup.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# from the ground up; a room imports lower floors only, and none beside it. `_` stands for the private
# modules of the root
FLOORS = [
    {"errors"},
    {"_"},
    {"config"},
    {"remote"},
    {"columns", "sampling"},
    {"data_source"},
    {"work_pool"},
    {"loaders"},
    {"hypersequence", "sequences", "typed_files", "adapters"},
    {"formats"},
    {"pipeline"},
    {"datasets", "demo"},
    {"cli"},
    {"__main__"},
]


def name_of(path: Path) -> str:
    return ".".join(("batchup", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def room_of(module: str) -> str:
    room = module.split(".")[1]
    return "_" if room.startswith("_") and room != "__main__" else room


def floor_of(module: str) -> int:
    floors = [number for number, rooms in enumerate(FLOORS) if room_of(module) in rooms]
    assert floors, f"{module} stands on no floor: add its room to FLOORS, and to the picture in the docs"
    return floors[0]


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when a module is imported: not function bodies, nor what is for type checkers."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from statements(getattr(node, field, []))


def imports(module: str) -> Iterator[str]:
    """Yield the modules that importing a module imports."""
    for node in statements(MODULES[module].body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports within batchup name the whole path"
            base = str(node.module)
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base


ARROWS = {module: {t for t in imports(module) if t in MODULES} - {module} for module in MODULES}


@pytest.mark.parametrize("module", [module for module in MODULES if module != "batchup"])
def test_rooms_import_lower_floors_only(module: str) -> None:
    """A module imports its own room and lower floors: neither higher ones, nor a room beside it."""
    here = floor_of(module)
    for target in ARROWS[module] - {"batchup"}:
        assert room_of(target) == room_of(module) or floor_of(target) < here, f"{module} imports {target}"


def test_only_the_top_imports_the_face() -> None:
    """Within the package, nobody but the command line imports `batchup` itself; the face imports no room at once."""
    assert {module for module, targets in ARROWS.items() if "batchup" in targets} <= {
        "batchup.cli.commands",
        "batchup.__main__",
    }
    assert ARROWS["batchup"] == set()


def test_no_circles() -> None:
    """No module imports itself by way of others."""
    for module in MODULES:
        seen: set[str] = set()
        todo = list(ARROWS[module])
        while todo:
            target = todo.pop()
            if target not in seen:
                seen.add(target)
                todo += ARROWS[target]
        assert module not in seen


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    """Every module begins with a docstring whose first line is a sentence on one line."""
    line = (ast.get_docstring(MODULES[module]) or "").split("\n")[0]
    assert line.endswith((".", "::", ":", "?"))
    assert 10 < len(line) < 120


def load(module: str) -> ModuleType | None:
    """Import a module; None if it needs a framework that is not installed, where not all have to be."""
    try:
        return importlib.import_module(module)
    except MissingExtraError:
        assert os.environ.get("BATCHUP_TEST_ALL") != "1"
        return None


def fetched(module: ModuleType, name: str) -> Any:
    """Return what a module has under a name; None if that needs a framework that is not installed."""
    try:
        return getattr(module, name)
    except MissingExtraError:
        assert os.environ.get("BATCHUP_TEST_ALL") != "1"
        return None


@pytest.mark.parametrize("module", MODULES)
def test_all_is_sorted_and_true(module: str) -> None:
    """An `__all__` is sorted, has no name twice, and every name in it exists."""
    if module == "batchup.__main__":
        return
    if not (loaded := load(module)):
        return
    names = getattr(loaded, "__all__", [])
    assert list(names) == sorted(set(names))
    for name in names:
        fetched(loaded, name)


def test_the_face() -> None:
    """Every name of `batchup.__all__` loads, is the room's own, and is public there."""
    for name in batchup.__all__:
        value = getattr(batchup, name)
        room = importlib.import_module(".".join(value.__module__.split(".")[:2]))
        assert getattr(room, name) is value
        assert name in room.__all__
    assert set(batchup.__all__) <= set(dir(batchup))
    with pytest.raises(AttributeError, match="no_such_name"):
        batchup.no_such_name  # noqa: B018
    assert batchup.__version__.count(".") >= 2


@pytest.mark.parametrize("room", ["data_source", "sampling"])
def test_the_face_has_all_of_the_rooms(room: str) -> None:
    """What these rooms make public is in the face too."""
    names = importlib.import_module(f"batchup.{room}").__all__
    assert set(names) <= set(batchup.__all__)


def rooms() -> list[ModuleType]:
    """Return the modules whose names users import: those of the first floor of the package."""
    names = [module for module in MODULES if module.count(".") == 1 and not room_of(module).startswith("_")]
    return [importlib.import_module(name) for name in names]


def public_objects() -> dict[str, Any]:
    """Return all public classes and functions, and the public methods of the classes."""
    found: dict[str, Any] = {}
    for room in [batchup, *rooms()]:
        for name in getattr(room, "__all__", []):
            value = fetched(room, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            found[f"{room.__name__}.{name}"] = value
            if not inspect.isclass(value) or issubclass(value, (tuple, BaseException)):
                continue
            texts = "\n".join(inspect.cleandoc(base.__doc__) for base in value.__mro__ if base.__doc__)
            for method, _ in inspect.getmembers(value):
                owner = next(base for base in value.__mro__ if method in vars(base))
                if not owner.__module__.startswith("batchup"):
                    continue
                if not method.startswith("_") and f"\n{method} : " not in texts:
                    found[f"{room.__name__}.{name}.{method}"] = inspect.getattr_static(value, method)
    return found


def test_everything_public_has_a_docstring() -> None:
    """Every public class, method and function has a docstring, its own or an inherited one, that is a sentence."""
    objects = public_objects()
    assert len(objects) > 100
    missing = [name for name, value in objects.items() if not inspect.getdoc(_documented(name, value))]
    assert missing == []
    first_lines = {name: str(inspect.getdoc(_documented(name, v))).split("\n")[0] for name, v in objects.items()}
    assert [name for name, line in first_lines.items() if not line.endswith((".", "::", ":"))] == []


def _documented(name: str, value: Any) -> Any:
    """Return the object whose docstring counts: for a method, as it is found on its class."""
    if isinstance(value, (classmethod, staticmethod)):
        return value.__func__
    if inspect.isfunction(value) and "." in value.__qualname__:
        owner: Any = importlib.import_module(value.__module__)
        for part in value.__qualname__.split("."):
            owner = getattr(owner, part)
        return owner
    return value


def run_python(code: str) -> str:
    """Return what a program prints in a fresh interpreter that sees this package."""
    path = f"import sys; sys.path.insert(0, {str(ROOT.parent)!r}); "
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    return done.stdout


HEAVY = [
    "crc32c",
    "fsspec",
    "h5py",
    "jax",
    "keras",
    "pandas",
    "pooch",
    "pyarrow",
    "ray",
    "requests",
    "scipy",
    "six",
    "sklearn",
    "tensorflow",
    "torch",
    "tqdm",
    "urllib3",
]


def test_importing_batchup_loads_nothing_heavy() -> None:
    """`import batchup` loads neither NumPy nor a room; the core loads no framework, SciPy or tqdm."""
    loaded = run_python("import batchup; print(*[m for m in sys.modules if m.split('.')[0] in ('batchup', 'numpy')])")
    assert loaded.split() == ["batchup"]
    code = f"import batchup; [getattr(batchup, n) for n in batchup.__all__]; print(*set({HEAVY}) & set(sys.modules))"
    assert run_python(code).split() == []


def test_rooms_are_reached_from_the_face() -> None:
    """`import batchup` is enough to name its rooms, and each can be imported on its own."""
    assert run_python("import batchup; print(batchup.data_source.ArrayDataSource.__name__)").split() == [
        "ArrayDataSource"
    ]
    assert run_python("import batchup; print(batchup.sampling.num_batches(5, 2))").split() == ["3"]
    for module in ("batchup.columns", "batchup.sampling", "batchup.data_source", "batchup.errors"):
        assert run_python(f"import {module}; print('fine')").split() == ["fine"]


def test_importing_leaves_the_global_generator_alone() -> None:
    """Neither importing batchup nor iterating with a seed touches NumPy's global generator."""
    code = (
        "import numpy as np; np.random.seed(3); from batchup import *; "
        "list(ArrayDataSource([np.arange(9)]).batch_iterator(2, 1)); "
        "list(zip(range(3), ArrayDataSource([np.arange(2)], sampler=WeightedSampler([1, 2])).batch_iterator(2, 1))); "
        "print(np.random.randint(10**6)); np.random.seed(3); print(np.random.randint(10**6))"
    )
    drawn, expected = run_python(code).split()
    assert drawn == expected


def test_no_assert_print_or_bare_except() -> None:
    """Nothing in the package prints (but the command line and the demo), or swallows whatever comes."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            bare = isinstance(node, ast.ExceptHandler) and node.type is None
            assert not bare, f"{module}:{node.lineno}"  # type: ignore[attr-defined]
            prints = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
            assert not prints or room_of(module) in ("cli", "demo"), f"{module}:{node.lineno}"  # type: ignore[attr-defined]
