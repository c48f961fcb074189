"""The table of parameters: every name, unit, range, scale, default and meaning, in chain order.

The predictor's outputs, the console's arguments, the preset, its schema, the plots and the
documentation read this table; none repeats it. A parameter's key is its path in a preset:
``"eq.peak_1.freq_hz"``. This module imports nothing of the package, and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = [
    "BY_KEY",
    "EQ_BANDS",
    "MODULES",
    "PARAMETERS",
    "SWITCHES",
    "Parameter",
    "default_settings",
    "denormalize",
    "normalize",
    "without_inaudible",
    "section_name",
]

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Parameter:
    """One setting of the channel strip.

    Attributes
    ----------
    section : str
        The module or EQ band it belongs to: ``"compressor"``, ``"eq.peak_1"``.
    name : str
        Its name with the unit: ``"threshold_db"``.
    unit : str
        ``"dB"``, ``"dBFS"``, ``"Hz"``, ``"ms"``, ``"s"``, ``":1"`` or ``""``.
    low, high : float
        The ends of the range, both allowed.
    scale : {"linear", "log"}
        How 0…1 spreads over the range.
    default : float
        The value of a key that is missing in a present module.
    meaning : str
        One line for people.
    idle : float, optional
        The value at which the setting does nothing, where there is one.
    inaudible : float
        Values that are no further from it make no difference that anybody hears.
    """

    section: str
    name: str
    unit: str
    low: float
    high: float
    scale: Scale
    default: float
    meaning: str
    idle: float | None = None
    inaudible: float = 0.0

    @property
    def key(self) -> str:
        """Path in a preset, such as ``"eq.peak_1.freq_hz"``."""
        return f"{self.section}.{self.name}"

    @property
    def is_decibel(self) -> bool:
        """Whether the value is a level in dB (written to 0.001 dB)."""
        return self.unit in ("dB", "dBFS")

    def to_physical(self, normalised: Any) -> Any:
        """Map 0…1 to the physical range (floats, arrays and tensors)."""
        if self.scale == "log":
            return self.low * (self.high / self.low) ** normalised
        return self.low + (self.high - self.low) * normalised

    def to_normalised(self, physical: Any) -> Any:
        """Map a physical value to 0…1 (floats, arrays and tensors)."""
        if self.scale == "log":
            return _log(physical / self.low) / math.log(self.high / self.low)
        return (physical - self.low) / (self.high - self.low)

    def clip(self, value: float) -> float:
        """Return the nearest value that the range allows."""
        return min(max(value, self.low), self.high)


def _log(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return math.log(value)
    return np.log(value) if isinstance(value, (np.ndarray, np.generic)) else value.log()


NO_GAIN, NO_RATIO, CENTRE = (0.0, 0.02), (1.0, 0.002), (0.0, 0.005)
"""Idle values and what is inaudible around them: 0.02 dB; with this ratio 0.02 dB at 10 dB above
the threshold; at this place 0.07 dB between the sides."""

EQ_BANDS = (
    "high_pass",
    "low_shelf",
    "peak_1",
    "peak_2",
    "peak_3",
    "peak_4",
    "high_shelf",
    "low_pass",
)
"""The EQ's sections in chain order."""

MODULES = ("input_gain", "eq", "compressor", "pan", "reverb", "output_gain")
"""The modules of the strip, in the order of a preset's keys."""

SWITCHES = (
    "input_gain",
    "eq",
    *(f"eq.{band}" for band in EQ_BANDS),
    "compressor",
    "pan",
    "reverb",
    "output_gain",
)
"""Everything that has an ``enabled`` in a preset and can be bypassed in the console."""


def _band(band: str, low_hz: float, high_hz: float, freq_hz: float, what: str) -> list[Parameter]:
    section = f"eq.{band}"
    cut = band.endswith("pass")
    peak = band.startswith("peak")
    q_low, q_high = (0.3, 6.0) if cut else (0.2, 20.0) if peak else (0.3, 3.0)
    corner = "Centre" if peak else "Corner"
    rows = [
        Parameter(section, "freq_hz", "Hz", low_hz, high_hz, "log", freq_hz, f"{corner} of {what}")
    ]
    if not cut:
        rows.append(
            Parameter(
                section, "gain_db", "dB", -15.0, 15.0, "linear", 0.0, f"Gain of {what}",
                *NO_GAIN,
            )
        )  # fmt: skip
    q = 1.0 if peak else 0.71
    rows.append(Parameter(section, "q", "", q_low, q_high, "log", q, f"Q of {what}"))
    return rows


def _table() -> tuple[Parameter, ...]:
    compressor, reverb = "compressor", "reverb"
    return (
        Parameter(
            "input_gain", "gain_db", "dB", -48.0, 48.0, "linear", 0.0, "Gain before everything",
            *NO_GAIN,
        ),
        *_band("high_pass", 16.0, 1000.0, 90.0, "the high-pass, 12 dB/oct"),
        *_band("low_shelf", 30.0, 450.0, 180.0, "the low shelf"),
        *_band("peak_1", 60.0, 1000.0, 320.0, "peak 1, low mids"),
        *_band("peak_2", 200.0, 3000.0, 900.0, "peak 2, mids"),
        *_band("peak_3", 800.0, 8000.0, 3000.0, "peak 3, presence"),
        *_band("peak_4", 2000.0, 18000.0, 7500.0, "peak 4, sibilance and air"),
        *_band("high_shelf", 750.0, 16000.0, 10000.0, "the high shelf"),
        *_band("low_pass", 4000.0, 20000.0, 18000.0, "the low-pass, 12 dB/oct"),
        Parameter(
            compressor, "threshold_db", "dBFS", -60.0, 0.0, "linear", -22.0,
            "Level above which the compressor turns down",
        ),
        Parameter(
            compressor, "ratio", ":1", 1.0, 20.0, "log", 3.3,
            "dB of input for one dB of output above the threshold", *NO_RATIO,
        ),
        Parameter(
            compressor, "attack_ms", "ms", 0.05, 150.0, "log", 3.0,
            "Time to 63 % of a rise in level",
        ),
        Parameter(
            compressor, "release_ms", "ms", 3.0, 2000.0, "log", 120.0,
            "Time to 63 % of a fall in level",
        ),
        Parameter(
            compressor, "knee_db", "dB", 0.0, 24.0, "linear", 6.0,
            "Width of the bend around the threshold",
        ),
        Parameter(
            compressor, "makeup_db", "dB", -12.0, 24.0, "linear", 2.0,
            "Gain after the compression", *NO_GAIN,
        ),
        Parameter(
            "pan", "position", "", -1.0, 1.0, "linear", 0.0,
            "Place of the dry signal: -1 left, 0 centre, 1 right", *CENTRE,
        ),
        Parameter(
            reverb, "pre_delay_ms", "ms", 0.0, 120.0, "linear", 20.0,
            "Time before the reverb starts",
        ),
        Parameter(reverb, "decay_s", "s", 0.1, 8.0, "log", 1.8, "T60 at 1 kHz"),
        Parameter(
            reverb, "low_ratio", "", 0.1, 4.0, "log", 0.9,
            "T60 at 250 Hz and below, as a share of decay_s",
        ),
        Parameter(
            reverb, "high_ratio", "", 0.05, 1.5, "log", 0.6,
            "T60 at 8 kHz and above, as a share of decay_s",
        ),
        Parameter(
            reverb, "low_cut_hz", "Hz", 20.0, 1000.0, "log", 200.0, "High-pass on the send, Q 0.71"
        ),
        Parameter(
            reverb, "high_cut_hz", "Hz", 1000.0, 20000.0, "log", 9000.0,
            "Low-pass on the send, Q 0.71",
        ),
        Parameter(
            reverb, "width", "", 0.0, 1.0, "linear", 1.0, "0 mono, 1 two independent sides"
        ),
        Parameter(
            reverb, "wet_db", "dB", -60.0, 6.0, "linear", -18.0,
            "Level of a side of the return against one side of the dry signal",
        ),
        Parameter(
            "output_gain", "gain_db", "dB", -48.0, 24.0, "linear", 0.0, "Gain after everything",
            *NO_GAIN,
        ),
    )  # fmt: skip


PARAMETERS = _table()
"""Every parameter, in the order of a preset's keys: the order of the predictor's outputs too."""

BY_KEY = {parameter.key: parameter for parameter in PARAMETERS}
"""The table by key."""


def section_name(section: str) -> str:
    """Return what a module or an EQ band is called everywhere: ``"Compressor"``, ``"Peak 1"``."""
    last = section.rpartition(".")[2]
    return "EQ" if last == "eq" else last.replace("_", " ").capitalize()


def default_settings() -> dict[str, float]:
    """Return the default of every parameter by key."""
    return {parameter.key: parameter.default for parameter in PARAMETERS}


def denormalize(normalised: Any) -> dict[str, Any]:
    """Map a ``(…, parameters)`` array or tensor in 0…1 to physical settings by key."""
    return {p.key: p.to_physical(normalised[..., i]) for i, p in enumerate(PARAMETERS)}


def normalize(settings: dict[str, Any]) -> dict[str, Any]:
    """Map physical settings to 0…1, key by key."""
    return {key: BY_KEY[key].to_normalised(value) for key, value in settings.items()}


def without_inaudible(settings: Mapping[str, float]) -> dict[str, float]:
    """Return settings in which a value that does nothing is exactly the one that does nothing.

    For what was predicted or found by a search; what people write stays as they wrote it.

    Parameters
    ----------
    settings : mapping of str to float
        Physical, by key.
    """
    found = dict(settings)
    for key, value in settings.items():
        idle = BY_KEY[key].idle
        if idle is not None and abs(value - idle) <= BY_KEY[key].inaudible:
            found[key] = idle
    return found
