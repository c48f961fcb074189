"""A module that the chain does not have, put into the chain of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

TILT = '''\
"""A tilt filter: highs against lows around a pivot, a first-order shelf each way."""

from __future__ import annotations

import math

import numpy as np

from diffconsole.modules.curve import Curve
from diffconsole.strip.module import Module
from diffconsole.strip.parameter import Parameter

KEY = "tilt"


def sentence(settings, _):
    return [f"tilted by {settings['gain_db']:+.1f} dB around {settings['freq_hz']:.0f} Hz"]


TILT = Module(
    key=KEY,
    title="Tilt",
    place="insert",
    parameters=(
        Parameter(KEY, "freq_hz", "Hz", 100.0, 5000.0, "log", 800.0, "Pivot of the tilt"),
        Parameter(KEY, "gain_db", "dB", -12.0, 12.0, "linear", 0.0,
                  "Gain of the high end against the low end", 0.0, 0.02, amount="gain"),
    ),
    implementation="tilt",
    since=1,
    sentence=sentence,
)


def process(audio, sample_rate, freq_hz, gain_db):
    import torch

    high = 10.0 ** (gain_db / 40.0)
    freq = torch.fft.rfftfreq(2 * audio.shape[-1], 1.0 / sample_rate)
    s = 1j * freq / freq_hz[:, None]
    gain = (1.0 / high[:, None] + s * high[:, None]) / (1.0 + s)
    spectrum = torch.fft.rfft(audio, n=2 * audio.shape[-1])
    return torch.fft.irfft(spectrum * gain[:, None])[..., : audio.shape[-1]].to(audio.dtype)


def curve(sample_rate, settings, off_bands):
    freq_hz = np.geomspace(20.0, min(20000.0, 0.5 * sample_rate), 200)
    s = 1j * freq_hz / settings["freq_hz"]
    high = 10.0 ** (settings["gain_db"] / 40.0)
    gain_db = 20.0 * np.log10(np.abs((1.0 / high + s * high) / (1.0 + s)))
    return Curve("Hz", "dB", freq_hz, {"tilt": gain_db}, is_log=True)
'''

START = """\
import json, sys
from dataclasses import replace
import tilt
from diffconsole.strip import chain
chain.insert({row}, after="eq")
import torch
torch.set_num_threads(1)
"""


def run_with_tilt(folder: Path, script: str, *, row: str = "tilt.TILT") -> Any:
    """Run Python in a process whose chain has a tilt after the EQ; return the JSON it prints.

    Parameters
    ----------
    folder : Path
        Where the module's file is written, and where the script runs.
    script : str
        Its last line of output is the result.
    row : str
        The module's row, in terms of ``tilt``.
    """
    (folder / "tilt.py").write_text(TILT, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", START.format(row=row) + script],
        cwd=folder, env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"},
        capture_output=True, text=True, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
