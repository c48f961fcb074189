"""Imports run downward only: a room of the package uses what lies in the rooms below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import diffconsole

PACKAGE = Path(diffconsole.__file__).parent

# From the ground up; rooms that share a line may use each other.
ROOMS = (
    ("errors", "files", "progress"),
    ("strip",), ("audio",), ("encoders",), ("kernels",), ("modules",), ("console",), ("losses",),
    ("simplify",), ("model",), ("pairs",), ("training",), ("export",), ("plots",), ("audition",),
    ("jobs",), ("cli",), ("docs",),
)  # fmt: skip

# The row of a module in the chain's table is part of the strip, with the words that it names; both
# lie with their module.
ROWS = {("modules", "row.py"), ("modules", "words.py")}

# Within training: the search serves both kinds of training, fine-tuning starts from pretraining.
TRAINING = (
    ("by_key", "checkpoint", "distributed", "global_batch", "interrupts", "log"),
    ("matching",), ("pretraining",), ("finetuning",),
)  # fmt: skip


def imported(path: Path, package: Path) -> Iterator[tuple[str, ...]]:
    """Names below the package that a file imports, wherever in it, each as its parts."""
    place = path.relative_to(package).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = tuple(alias.name.split("."))
                if parts[0] == package.name and len(parts) > 1:
                    yield parts[1:]
        elif isinstance(node, ast.ImportFrom):
            parts = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                parts = (*place[: len(place) - node.level + 1], *parts)
            elif parts[:1] == (package.name,):
                parts = parts[1:]
            else:
                continue
            for alias in node.names:
                yield (*parts, alias.name)


def file_of(parts: Sequence[str], package: Path) -> Path | None:
    """The file that ``package.a.b.name`` comes from, if `name` or what holds it is a module."""
    for count in range(len(parts), 0, -1):
        place = package.joinpath(*parts[:count])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def _room_of(inside: Path) -> str:
    first = inside.parts[0].removesuffix(".py")
    return "strip" if (first, inside.name) in ROWS else first


def upward_imports(package: Path, rooms: Sequence[Sequence[str]], within: str = "") -> list[str]:
    """What imports from a higher room, or lies in none, one line each with both files.

    The package's own ``__init__`` and ``__main__`` stand above all rooms. Of the package itself
    a room imports ``__version__`` alone.
    """
    ground = package / within
    height = {room: level for level, line in enumerate(rooms) for room in line}
    found = []
    for path in sorted(ground.rglob("*.py")):
        inside = path.relative_to(ground)
        room = _room_of(inside)
        name = path.relative_to(package.parent).as_posix()
        if inside.name in ("__init__.py", "__main__.py") and len(inside.parts) == 1:
            continue
        if room not in height:
            found.append(f"{name}: lies in no room")
            continue
        for parts in imported(path, package):
            target = file_of(parts, package)
            if target is None:
                if parts != ("__version__",):
                    found.append(f"{name}: imports {'.'.join(parts)} from the package itself")
            elif target.is_relative_to(ground):
                other = _room_of(target.relative_to(ground))
                if height.get(other, -1) > height[room]:
                    theirs = target.relative_to(package.parent).as_posix()
                    found.append(f"{name}: imports from {theirs}, a higher room")
    return sorted(set(found))


def test_imports_run_downward_only():
    assert upward_imports(PACKAGE, ROOMS) == []


def test_within_training_too():
    assert upward_imports(PACKAGE, TRAINING, "training") == []


def test_the_package_has_no_more_rooms_and_few_files_of_its_own():
    # Presets of the factory are put into the package when it is built.
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir()} - {"__pycache__", "factory"}
    assert folders | {"errors", "progress"} == {room for line in ROOMS for room in line}
    files = sorted(p.name for p in PACKAGE.iterdir() if p.is_file())
    assert len(files) <= 6, files
    assert "py.typed" in files


@pytest.mark.parametrize(
    "text, theirs",
    [
        ("from ..attic import box", "attic/__init__.py"),
        ("from ..attic.box import lid", "attic/box.py"),
        ("from .. import attic", "attic/__init__.py"),
        ("import house.attic.box", "attic/box.py"),
        ("from house.attic import box", "attic/box.py"),
        ("def f():\n    from ..attic import roof", "attic/__init__.py"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..attic import roof",
         "attic/__init__.py"),
    ],
)  # fmt: skip
def test_a_higher_room_is_found_wherever_it_is_imported(tmp_path, text, theirs):
    house = tmp_path / "house"
    for room, files in {"cellar": ("wine", "shelf"), "attic": ("box",)}.items():
        (house / room).mkdir(parents=True)
        for name in ("__init__", *files):
            (house / room / f"{name}.py").write_text("")
    (house / "__init__.py").write_text("from .attic import box\n")
    (house / "attic" / "box.py").write_text("from .. import __version__\nfrom ..cellar import wine")
    (house / "cellar" / "shelf.py").write_text("from . import wine\nimport os\nimport attic")
    rooms = (("cellar",), ("attic",))
    assert upward_imports(house, rooms) == []
    (house / "cellar" / "wine.py").write_text(text)
    found = upward_imports(house, rooms)
    theirs = theirs if "box" not in text else "attic/box.py"
    assert found == [f"house/cellar/wine.py: imports from house/{theirs}, a higher room"]
    (house / "cellar" / "wine.py").write_text("from .. import Console")
    assert "imports Console from the package itself" in upward_imports(house, rooms)[0]
    (house / "cellar" / "wine.py").write_text("")
    assert "lies in no room" in upward_imports(house, rooms[:1])[0]
