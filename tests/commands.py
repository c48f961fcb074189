"""Run commands as a person does, and look at what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import soundfile

from diffconsole.cli import main

from .synthetic import RATE, small_model, voice

QUIETER = {"output_gain": {"gain_db": -6.0}}
"""A strip that costs nothing and is easy to check: every sample times 0.5012."""

STRIP = {
    "input_gain": {"gain_db": 6.0},
    "eq": {"peak_2": {"gain_db": 5.0}},
    "compressor": {"threshold_db": -30.0, "ratio": 4.0},
    "reverb": {"decay_s": 0.3, "wet_db": -15.0},
}
PROGRAM = (sys.executable, "-m", "diffconsole")


def call(*args: object) -> click.testing.Result:
    """Run a command in this process; an exception that is no exit shows as itself."""
    return click.testing.CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=False)


def done(*args: object) -> click.testing.Result:
    """Run a command that must succeed."""
    result = call(*args)
    assert result.exit_code == 0, result.stderr
    return result


def refused(*args: object, code: int = 1) -> str:
    """Run a command that must be refused: its one line, without ``Error: `` and line break."""
    result = call(*args)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return one_error(result.stderr)


def one_error(stderr: str) -> str:
    """The one line of an error, without ``Error: `` and the line break."""
    assert stderr.startswith("Error: ")
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1
    return stderr.removeprefix("Error: ").rstrip("\n")


def run_program(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program as its own process, where streams or signals matter."""
    return subprocess.run(
        [*PROGRAM, *(str(a) for a in args)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def call_in_child(
    commands: Sequence[Sequence[object]], before: Callable[[], None] | None
) -> list[tuple[int, str]]:
    """Run commands in one new process, where `before` was called first: exit codes and stderr.

    One process for all: starting it takes longer than the commands.
    """
    code = "from tests.commands import serve; serve()"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        preexec_fn=before,
        input=json.dumps([[str(a) for a in command] for command in commands]),
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=300,
    )
    assert finished.stderr == ""
    return [(code, stderr) for code, stderr in json.loads(finished.stdout)]


def serve() -> None:
    """Do what :func:`call_in_child` asks for on stdin."""
    results = [call(*command) for command in json.load(sys.stdin)]
    json.dump([(result.exit_code, result.stderr) for result in results], sys.stdout)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes (hidden ones too), and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def write_preset(path: Path, strip: Mapping[str, Any], **others: Any) -> Path:
    """Write a preset file as a person might, valid or not."""
    data = {"format": "diffconsole.channel-strip", "version": "1.0", **strip, **others}
    path.write_text(json.dumps(data))
    return path


def write_take(path: Path, seconds: float = 0.6, seed: int = 0, channels: int = 1) -> Path:
    """Write a synthetic voice as 24-bit WAV."""
    samples = np.stack([voice(seconds, seed + c) for c in range(channels)], axis=1)
    soundfile.write(path, samples, RATE, subtype="PCM_24")
    return path


def write_model(folder: Path, seed: int = 0) -> Path:
    """Write a small untrained model."""
    small_model(seed).save(folder, {"note": "untrained"})
    return folder


def samples_of(path: Path) -> np.ndarray:
    """``(channels, samples)`` float32."""
    # Bytes: a name need not be valid UTF-8.
    return soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)[0].T


def as_ordinary_user() -> Callable[[], None] | None:
    """What to run in a child process so that permissions hold for it; skips where they cannot."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are tested on POSIX systems")
    if os.geteuid() != 0:
        return None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "prctl"):
        pytest.skip("root may write everywhere, and cannot give that up on this system")
    drop, override, read_search = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, …_READ_SEARCH

    def give_up() -> None:
        for capability in (override, read_search):
            if libc.prctl(drop, capability, 0, 0, 0) != 0:
                raise PermissionError("cannot drop root's right to write everywhere")

    return give_up
