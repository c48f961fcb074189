"""Compiled loops on disk: no folder for them, a full disk, damaged files."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="loops are compiled by numba")

from numba.core import caching

from diffconsole.kernels import cache
from diffconsole.kernels.installed import was_compiled
from diffconsole.kernels.jit import compiled

from ..commands import QUIETER, done, write_preset, write_take

SOURCE = """
from diffconsole.kernels.jit import compiled

@compiled
def double(value):
    return 2.0 * value
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with one compiled function, its cache beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "doubling.py").write_text(SOURCE)
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))

    def load():
        import importlib

        sys.modules.pop("doubling", None)
        return importlib.import_module("doubling")

    yield load
    sys.modules.pop("doubling", None)


def _files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*.{ending}"))


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
def test_a_damaged_file_is_compiled_again(tmp_path, module, ending, share):
    assert module().double(2.0) == 4.0
    (path,) = _files(tmp_path / "cache", ending)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert module().double(2.0) == 4.0
    # The damaged file is whole again, and serves the next start.
    again = module()
    assert again.double(2.0) == 4.0
    assert sum(again.double.stats.cache_hits.values()) == 1


def test_a_whole_file_is_not_compiled_again(module):
    module().double(2.0)
    again = module()
    again.double(2.0)
    assert sum(again.double.stats.cache_hits.values()) == 1


def test_a_full_disk_under_the_cache_only_costs_the_time(module, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._open_for_write", full)
    assert module().double(2.0) == 4.0


@pytest.fixture
def nothing_writable(monkeypatch):
    """As a package and a home that cannot be written: the superuser writes anywhere."""

    def refuse(*_args, **_kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refuse)


@pytest.fixture
def no_folder(nothing_writable, monkeypatch):
    """The same, and nothing was compiled when the package was installed."""
    monkeypatch.setattr(cache, "_installed", lambda _: None)
    monkeypatch.setattr(cache, "has_installed_loops", lambda: False)


@pytest.mark.usefixtures("no_folder")
def test_without_a_folder_functions_are_compiled_all_the_same():
    @compiled
    def triple(value):
        return 3.0 * value

    assert triple(2.0) == 6.0
    line = cache.explain_missing()
    assert line is not None
    assert "NUMBA_CACHE_DIR" in line
    assert "\n" not in line


@pytest.mark.usefixtures("no_folder")
def test_the_command_says_so_once(tmp_path):
    take = write_take(tmp_path / "take.wav", seconds=0.3)
    preset = write_preset(tmp_path / "p.json", QUIETER)
    result = done("apply", take, preset, "-o", tmp_path / "x.wav")
    assert result.stderr.count("NUMBA_CACHE_DIR") == 1
    assert all(line.startswith(("→ ", "Note: ")) for line in result.stderr.splitlines())
    assert done("apply", take, preset, "-o", tmp_path / "y.wav", "--quiet").stderr == ""


@pytest.fixture
def installed(module, tmp_path, monkeypatch):
    """The module's loop compiled beside it, where nothing can be written any more."""
    # Python knows a changed source by size and second, and these are written within one.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    assert module().double(2.0) == 4.0
    assert _files(tmp_path / "__pycache__", "nbc")
    ensure = caching._CacheLocator.ensure_cache_path

    def refuse(locator):
        if locator.get_cache_path() == str(tmp_path / "__pycache__"):
            raise OSError(30, "Read-only file system")
        ensure(locator)

    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refuse)
    return module


def test_what_was_compiled_at_installation_is_read_where_nothing_can_be_written(
    installed, tmp_path, nothing_writable
):
    before = {path: path.read_bytes() for path in (tmp_path / "__pycache__").iterdir()}
    again = installed()
    assert again.double(2.0) == 4.0
    assert sum(again.double.stats.cache_hits.values()) == 1
    # Another type is compiled, and kept nowhere.
    assert again.double(2) == 4.0
    assert sum(again.double.stats.cache_misses.values()) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "__pycache__").iterdir()} == before


def test_what_had_to_be_compiled_beside_it_is_said(nothing_writable, monkeypatch):
    monkeypatch.setattr(cache, "has_installed_loops", lambda: True)
    monkeypatch.setattr(cache, "was_compiled", lambda _: False)
    assert cache.explain_missing() is None
    monkeypatch.setattr(cache, "was_compiled", was_compiled)
    from diffconsole.kernels import bits

    @compiled
    def triple(value):
        return 3.0 * value

    monkeypatch.setattr(bits, "triple", triple, raising=False)
    assert triple(2.0) == 6.0
    assert "NUMBA_CACHE_DIR" in cache.explain_missing()


def test_what_was_compiled_at_installation_is_read_before_the_users_own(
    installed, tmp_path, monkeypatch
):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    again = installed()
    assert again.double(2.0) == 4.0
    assert sum(again.double.stats.cache_hits.values()) == 1
    assert again.double(2) == 4.0
    assert _files(tmp_path / "cache", "nbc"), "the user's own are kept"
    third = installed()
    assert third.double(2) == third.double(2.0) == 4.0
    assert sum(third.double.stats.cache_hits.values()) == 2
    # A module that was changed since is compiled again.
    (tmp_path / "doubling.py").write_text(SOURCE.replace("2.0 *", "2.5 *"))
    assert installed().double(2.0) == 5.0


def test_nothing_is_said_where_it_can_be_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    assert cache.explain_missing() is None
    assert os.path.isdir(tmp_path / "cache")


def test_what_is_compiled_is_loaded_before_the_compiler_is_set_up(tmp_path, monkeypatch):
    """Loading alone registers nothing of numba's; compiling another function afterwards does."""
    (tmp_path / "filling.py").write_text(
        "import numpy as np\n"
        "from diffconsole.kernels.jit import compiled\n"
        "@compiled\n"
        "def filled(count):\n"
        "    found = np.empty(count)\n"
        "    for n in range(count):\n"
        "        found[n] = np.cos(n)\n"
        "    return found\n"
        "@compiled\n"
        "def other(values):\n"
        "    return np.sort(values).sum()\n"
    )
    code = (
        "import sys, numpy as np, filling\n"
        "print(float(filling.filled(3).sum()), sum(filling.filled.stats.cache_hits.values()))\n"
        "print('numba.np.arraymath' in sys.modules)\n"
        "if len(sys.argv) > 1: print(filling.other(np.array([2.0, 1.0])))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])

    def lines(*words: str) -> list[str]:
        run = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True, text=True, env=environment, check=True,
        )  # fmt: skip
        return run.stdout.splitlines()

    wanted = f"{1.0 + math.cos(1.0) + math.cos(2.0)}"
    assert lines() == [f"{wanted} 0", "True"]
    assert lines() == [f"{wanted} 1", "False"]
    assert lines("more") == [f"{wanted} 1", "False", "3.0"]
