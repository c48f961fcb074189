"""What commands load: PyTorch only where a network runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from diffconsole.jobs.warmup import warm_up

from ..commands import PROGRAM, done, run_program, write_take

pytest.importorskip("numba", reason="loops are compiled by numba")

RAW = object()


def loaded(*args: object) -> set[str]:
    """Run a command in a process of its own; the names of all modules that it imports."""
    program = [sys.executable, "-X", "importtime", *PROGRAM[1:], *(str(a) for a in args)]
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    "command",
    [
        ("apply", RAW, "lead_vocal_pop", "-o", "out.wav"),
        ("apply", RAW, "telephone", "-o", "out.wav", "--bypass", "eq"),
        ("export", "lead_vocal_pop", "--to", "ffmpeg", "-o", "folder"),
        ("export", "lead_vocal_pop", "--to", "reaper", "-o", "folder"),
        ("predict", RAW, "-o", "out.json", "--full"),
        ("predict", RAW, "-o", "folder", "--full", "--jobs", 1),
        ("predict", RAW, "-o", "out.json"),
        ("process", RAW, "-o", "folder"),
        ("process", RAW, "-o", "folder", "--full"),
        ("plot", "lead_vocal_pop", "-o", "out.png"),
        ("plot", "lead_vocal_pop", "rap", "--raw", RAW, "-o", "out.png"),
        ("presets", "list"),
        ("presets", "show", "rap"),
    ],
    ids=lambda command: " ".join(str(word) for word in command if word is not RAW),
)
def test_no_pytorch(tmp_path, command):
    take = write_take(tmp_path / "take.wav", 0.5)
    words = [take if word is RAW else word for word in command]
    words = [tmp_path / w if str(w).startswith(("out.", "folder")) else w for w in words]
    names = loaded(*words)
    assert "diffconsole.cli.main" in names
    assert not {"torch", "torchaudio", "dasp_pytorch"} & names
    if command[0] in ("predict", "process"):
        assert not {"scipy.signal", "scipy.stats", "scipy.optimize"} & names


def test_listing_and_help_load_no_compiler():
    assert not {"numba", "matplotlib", "soundfile"} & loaded("presets", "list")
    assert not {"numpy", "numba", "jsonschema"} & loaded("--help")


def test_warm_up_compiles_once_and_nothing_is_left_for_apply(tmp_path):
    # Processes of their own: this one may have loaded loops for other tests.
    json.loads(run_program("warmup", "--json").stdout)
    again = json.loads(run_program("warmup", "--json").stdout)
    assert again["found"] > 20
    assert again["folders"]
    code = (
        "import sys, json; from diffconsole.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "from diffconsole.jobs.warmup import _loops\n"
        "print(json.dumps([[sum(x.stats.cache_misses.values()), sum(x.stats.cache_hits.values())] "
        "for x in _loops()]))"
    )
    for channels in (1, 2):
        take = write_take(tmp_path / f"take{channels}.wav", 0.5, channels=channels)
        words = ["apply", take, "dream_wash", "-o", tmp_path / f"out{channels}.wav", "-q"]
        run = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        counts = json.loads(run.stdout.splitlines()[-1])
        assert sum(missed for missed, _ in counts) == 0
        assert sum(found for _, found in counts) > 3


def test_a_warm_up_says_what_it_found():
    warm_up()
    found = warm_up()
    assert found.seconds > 0.0 and found.found > 0
    said = done("warmup").stderr
    assert "loops" in said
    assert all(folder in said for folder in found.folders)
