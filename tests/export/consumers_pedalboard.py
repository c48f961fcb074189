"""Runs what ``pedalboard`` exports: the script as a module, in pedalboard itself."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from diffconsole.export import Strip
from diffconsole.export.pedalboard import FORMAT
from tests import reference
from tests.export.helpers import needs_module


def write(strip: Strip, folder: Path) -> Path:
    """Write the export into a folder; return the script."""
    for name, content in FORMAT.write(strip).items():
        (folder / name).write_bytes(content)
    return folder / "strip.py"


def load(script: Path) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("strip", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_pedalboard(strip: Strip, audio: np.ndarray) -> np.ndarray:
    """What the exported script makes of ``(channels, samples)``."""
    needs_module("pedalboard")
    with tempfile.TemporaryDirectory() as folder:
        return load(write(strip, Path(folder))).process(audio, strip.sample_rate)


def run_in_phase(strip: Strip, audio: np.ndarray) -> np.ndarray:
    """The same through the filters of the strip's saturation, whose phase the script lacks.

    What comes behind a saturation is linear, so that the filters may as well stand there.
    """
    output = run_pedalboard(strip, audio)
    if not strip.on("saturation"):
        return output
    return reference.between(output.astype(np.float64), strip.sample_rate)
