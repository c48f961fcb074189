"""A tilt filter: the high end up and the low end down by half the gain each, or the reverse.

``H(s) = (r·s + 1)/(s + r)`` at ``s = j·f/freq_hz`` with ``r = 10^(gain_db/40)``: 1/r at 0 Hz, 1 in
magnitude at `freq_hz`, r at the top; by the bilinear transform with ``k = tan(π·freq_hz/fs)`` one
pole, ``b0 = (r + k)/(1 + r·k)``, ``b1 = (k − r)/(1 + r·k)``, ``a1 = (r·k − 1)/(1 + r·k)``. Its
twins are ``tilt.js`` and ``tilt.jsfx`` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from diffconsole.strip.module import Module
from diffconsole.strip.parameter import Parameter

if TYPE_CHECKING:
    from torch import Tensor

    from diffconsole.modules.curve import Curve

__all__ = ["TILT", "curve", "process"]

KEY = "tilt"
LOWEST_HZ, HIGHEST_HZ, POINTS = 20.0, 20000.0, 200


def _sentence(settings: Mapping[str, float], off_bands: Collection[str]) -> list[str]:
    return [f"tilted by {settings['gain_db']:+.1f} dB around {settings['freq_hz']:.0f} Hz"]


TILT = Module(
    key=KEY,
    title="Tilt",
    place="insert",
    parameters=(
        Parameter(KEY, "freq_hz", "Hz", 100.0, 5000.0, "log", 800.0, "Pivot of the tilt"),
        Parameter(
            KEY, "gain_db", "dB", -12.0, 12.0, "linear", 0.0,
            "Gain of the high end against the low end", 0.0, 0.02, amount="gain",
        ),
    ),
    implementation=__name__,
    since=3,
    sentence=_sentence,
    script="tilt.js",
    effect="tilt.jsfx",
)  # fmt: skip


def process(audio: Tensor, sample_rate: float, freq_hz: Tensor, gain_db: Tensor) -> Tensor:
    """Tilt audio ``(batch, channels, samples)``; settings ``(batch,)`` in Hz and dB."""
    import torch

    from diffconsole.modules.equalizer.sections_operator import sections

    r = 10.0 ** (gain_db.to(torch.float64) / 40.0)
    k = torch.tan(math.pi * freq_hz.to(torch.float64) / sample_rate)
    none = torch.zeros_like(r)
    rows = torch.stack((r + k, k - r, none, r * k - 1.0, none), dim=-1)
    section = rows / (1.0 + r * k).unsqueeze(-1)
    return sections(audio, section.unsqueeze(1).to(audio.device))


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return its gain over frequency."""
    import numpy as np

    from diffconsole.modules.curve import Curve

    freq_hz = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.499 * sample_rate), POINTS)
    r = 10.0 ** (settings["gain_db"] / 40.0)
    s = 1j * np.tan(np.pi * freq_hz / sample_rate)
    s = s / math.tan(math.pi * settings["freq_hz"] / sample_rate)
    gain_db = 20.0 * np.log10(np.abs((r * s + 1.0) / (s + r)))
    return Curve("Hz", "dB", freq_hz, {"tilt": gain_db}, is_log=True)
