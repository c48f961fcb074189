"""What the formats' tests share: real voices, the strip in float64, names that try to break out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from diffconsole import Preset
from diffconsole.audio import resample
from diffconsole.export import Strip
from diffconsole.export.base import Format
from diffconsole.strip.parameters import BY_KEY, MODULES
from tests import reference
from tests.programs import needs, needs_module

__all__ = [
    "HOSTILE_NAMES", "Voice", "carried", "hostile", "in_float64", "needs",
    "needs_module", "no_file_escaped", "same", "take",
]  # fmt: skip

Voice = tuple[str, np.ndarray, int]

HOSTILE_NAMES = (
    "said \"loud\" and 'soft'",
    "two\nlines\r\nand\ttab",
    "a;b; rm -rf /tmp/nothing; echo",
    "</script><Track name='x'>&amp;]]>",
    "$(touch broken-out) `touch broken-out` ${HOME} %PATH%",
    "back\\slash \\n \\u0000 {brace} [bracket] <angle> | pipe & and # hash",
    "ünïcödé 声 🎤 \u202e right to left",
    "'''\"\"\"; import os; os.abort() #",
    "x" * 300,
    "",
    "../../broken-out",
    "lone \ud800 surrogate",
)


def hostile(preset: Preset, name: str) -> Preset:
    """The preset under another name."""
    return Preset(preset.strip, name)


def take(voice: Voice, rate: int, channels: int = 1, seconds: float = 3.0) -> np.ndarray:
    """``(channels, samples)`` of a real voice at a rate; the second side is later and softer."""
    _, samples, own = voice
    mono = resample(samples[None], own, rate)[:, : int(seconds * rate)]
    if channels == 1:
        return mono
    return np.concatenate((mono, 0.7 * np.roll(mono, 37, axis=1))).astype(np.float32)


def in_float64(strip: Strip, audio: np.ndarray, *, tail: int = 0) -> np.ndarray:
    """The whole strip in float64, apart from the console: ``(channels or 2, samples + tail)``."""
    off = {*strip.off, "output_gain"}
    padded = np.pad(audio.astype(np.float64), ((0, 0), (0, tail)))
    compressed = reference.strip(padded, strip.sample_rate, strip.settings, off)
    result = compressed
    if strip.on("pan") or strip.on("delay") or strip.on("reverb"):
        result = np.repeat(result, 2, axis=0) if len(result) == 1 else result
    if strip.on("pan"):
        angle = np.pi / 4.0 * (1.0 + strip["pan.position"])
        result = result * (np.sqrt(2.0) * np.array([np.cos(angle), np.sin(angle)]))[:, None]
    send = compressed.mean(axis=0)
    if strip.on("delay"):
        echoes = reference.echo(send, strip.sample_rate, strip.of("delay"))
        result = result + echoes
        if strip["delay.reverb_send_db"] > -60.0:
            send = send + 10.0 ** (strip["delay.reverb_send_db"] / 20.0) * echoes.mean(axis=0)
    if strip.on("reverb"):
        wet = 10.0 ** (strip["reverb.wet_db"] / 20.0)
        returned = [
            scipy.signal.oaconvolve(send, side)[: len(send)] for side in strip.impulse_response()
        ]
        result = result + wet * np.stack(returned)
    return result * 10.0 ** (strip.gain_db("output_gain") / 20.0)


def carried(preset: Preset, form: Format) -> Preset:
    """Return the preset without the modules that a format leaves out."""
    known = {BY_KEY[entry.key].module for entry in form.mapped}
    return preset.without([module for module in MODULES if module not in known])


def same(written: Preset, back: Preset, keys: tuple[str, ...], tolerance: float = 1e-6) -> None:
    """Assert that the settings of some keys are the same after a round trip."""
    before, after = written.settings(), back.settings()
    for key in keys:
        assert after[key] == pytest.approx(before[key], rel=tolerance, abs=tolerance), key


def no_file_escaped(folder: Path) -> None:
    """Assert that no name was run as a command, nor written as a path."""
    for place in (folder, folder.parent, folder.parent.parent):
        assert not list(place.glob("*broken-out*"))
