"""ffmpeg and SoX run on what is exported for them, for the tests and for benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from diffconsole.export import Strip, find_format

SECONDS = 300


def bundled_ffmpeg() -> str | None:
    """The program that the package ``imageio-ffmpeg`` brings: years younger than a system's."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


def system_ffmpeg() -> str | None:
    """The ffmpeg in PATH."""
    return shutil.which("ffmpeg")


def run_ffmpeg(
    strip: Strip, audio: np.ndarray, program: str | None = None, folder: Path | None = None
) -> np.ndarray:
    """Export a strip, run its own script on ``(channels, samples)``, return float64.

    Without a program the one in PATH, else the bundled one; without a folder a temporary one.
    """
    program = program or system_ffmpeg() or bundled_ffmpeg()
    if program is None:
        raise FileNotFoundError("no ffmpeg")
    files = find_format("ffmpeg").write(strip)
    options = ("-c:a", "pcm_f64le")
    return _run(files, "run.sh", strip, audio, folder, options, {"FFMPEG": program})


def run_sox(
    strip: Strip, audio: np.ndarray, folder: Path | None = None, bits: int = 32
) -> np.ndarray:
    """As :func:`run_ffmpeg`, with SoX; its samples end at full scale, in and out.

    Its 32-bit files, which are what people get, are on a grid of 2^-24; 64 bits show the effects.
    """
    files = {"strip.sh": find_format("sox").write(strip)[""]}
    return _run(files, "strip.sh", strip, audio, folder, (), {"BITS": str(bits)})


def _run(
    files: dict[str, bytes],
    script: str,
    strip: Strip,
    audio: np.ndarray,
    folder: Path | None,
    options: tuple[str, ...],
    environment: dict[str, str],
) -> np.ndarray:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) if folder is None else folder
        for name, content in files.items():
            (place / name).write_bytes(content)
        soundfile.write(place / "in.wav", audio.T, strip.sample_rate, subtype="FLOAT")
        # From elsewhere, with names that look like options: the script finds its files itself.
        shutil.move(place / "in.wav", place / "-in 1.wav")
        (place / "-out 1.wav").unlink(missing_ok=True)
        done = subprocess.run(
            ["sh", str(place / script), "-in 1.wav", "-out 1.wav", *options],
            cwd=place, env={**os.environ, **environment}, capture_output=True, text=True,
            timeout=SECONDS,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{script}: {done.returncode}: {done.stderr}{done.stdout}")
        return soundfile.read(place / "-out 1.wav", dtype="float64", always_2d=True)[0].T
