"""Presets of EasyEffects and of PulseEffects as people have them, read into a strip.

Releases differ: plug-ins are called ``equalizer`` or ``equalizer#0``; values are numbers or text;
what is off has ``bypass`` true or ``state`` false; a preset is for ``output`` or for ``input``, a
microphone. All equalizers and filters that are on make one curve, of which the strip takes what it
has bands for; the first compressor that turns down is the strip's; other plug-ins are named as left
out. Filters of mode "RLC" have another Q than the Audio EQ Cookbook's: with ``g`` the gain of each
of `n` stages a bell's is ``√g·(1 + 2q/n) / (2·√(1 + g²))``, that of a shelf or a cut ``(1 + q)/2``.
Source: EasyEffects' and PulseEffects' settings schemas; the Q by measurement of LSP 1.2.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ExportError
from ..strip.parameters import BY_KEY
from .fit import Filter, fit_bands
from .lsp import time_constant

__all__ = ["Found", "is_on", "plugins", "read_chain"]

Values = Mapping[str, Any]

KINDS = {
    "bell": "bell", "peak": "bell", "peaking": "bell", "hi-pass": "high_pass",
    "high-pass": "high_pass", "lo-pass": "low_pass", "low-pass": "low_pass",
    "hi-shelf": "high_shelf", "high-shelf": "high_shelf", "lo-shelf": "low_shelf",
    "low-shelf": "low_shelf",
}  # fmt: skip
WITHOUT_EFFECT = ("off", "allpass", "")
MOST_BANDS = 64
SILENT_DB = -80.0
NARROWEST_Q, WIDEST_Q = 1e-3, 1e3
COMPRESSOR_DEFAULTS = {
    "threshold": -12.0, "ratio": 4.0, "attack": 20.0, "release": 100.0, "knee": -6.0, "makeup": 0.0,
}  # fmt: skip


@dataclass
class Found:
    """What a chain of plug-ins holds for a strip.

    Attributes
    ----------
    settings : dict of str to float
        By key, within the ranges.
    off : set of str
        Modules and bands that are there but switched off.
    notes : list of str
        What is left out or taken with another value, one line each.
    equalizers, compressors : int
        How many there are of each, on or off; filters count as equalizers.
    """

    settings: dict[str, float] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    equalizers: int = 0
    compressors: int = 0

    def take(self, key: str, value: float, what: str) -> None:
        """Keep a setting, as near as its range allows."""
        parameter = BY_KEY[key]
        self.settings[key] = parameter.clip(value)
        if not math.isclose(self.settings[key], value, rel_tol=1e-6, abs_tol=1e-6):
            self.notes.append(
                f"{what} of {value:.4g} {parameter.unit} is taken as {self.settings[key]:.4g}"
            )


def plugins(part: Values) -> list[tuple[str, Values]]:
    """Return the plug-ins of ``output`` or ``input`` in their order: names without number, values.

    Without an order they stand as in the file.
    """
    order = part.get("plugins_order")
    names = [str(name) for name in order] if isinstance(order, list) else list(part)
    return [
        (name.partition("#")[0], part[name])
        for name in dict.fromkeys(names)
        if isinstance(part.get(name), dict)
    ]


def is_on(values: Values) -> bool:
    """Whether a plug-in acts, by the words of every release."""
    return not _flag(values.get("bypass", False)) and _flag(values.get("state", True))


def read_chain(chain: list[tuple[str, Values]]) -> Found:
    """Read the plug-ins of a chain into the settings of a strip.

    Raises
    ------
    ExportError
        A value that is no number.
    """
    found = Found()
    before_db, after_db = 0.0, 0.0
    filters: list[Filter] = []
    compressor: Values | None = None
    equalizer_on = False
    for name, values in chain:
        if name == "compressor":
            found.compressors += 1
            if compressor is None and _turns_down(values):
                compressor = values
            elif is_on(values):
                mode = str(values.get("mode", "Downward")).lower()
                found.notes.append(f"left out: a compressor of mode {mode}")
        elif name in ("equalizer", "filter"):
            found.equalizers += 1
            if not is_on(values):
                continue
            equalizer_on = True
            filters += _bands(values, found) if name == "equalizer" else _filter(values, found)
            gain_db = _number(values, "input-gain", 0.0) + _number(values, "output-gain", 0.0)
            before_db += gain_db if compressor is None else 0.0
            after_db += gain_db if compressor is not None else 0.0
        elif is_on(values) and name not in ("spectrum", "level_meter"):
            found.notes.append(f"left out: {name.replace('_', ' ')[:40]}")
    if equalizer_on:
        fitted = fit_bands(filters)
        found.settings |= fitted.settings
        found.off |= fitted.off
        found.notes += fitted.notes
    if compressor is not None:
        after_db += _compressor(compressor, found)
    if before_db != 0.0:
        found.take("input_gain.gain_db", before_db, "input gain")
    if after_db != 0.0:
        found.take("output_gain.gain_db", after_db, "output gain")
    return found


def _turns_down(values: Values) -> bool:
    return str(values.get("mode", "Downward")).lower() == "downward"


def _compressor(values: Values, found: Found) -> float:
    """Take a compressor's settings; return the gain after it in dB."""
    knob = {name: _number(values, name, default) for name, default in COMPRESSOR_DEFAULTS.items()}
    # PulseEffects' knee is the whole width, LSP's the half below the threshold.
    knee_db = knob["knee"] if "stereo-link" in values else -2.0 * knob["knee"]
    input_db = _number(values, "input-gain", 0.0)
    sidechain = values.get("sidechain")
    sidechain = sidechain if isinstance(sidechain, dict) else {}
    preamp_db = _number(sidechain, "preamp", 0.0)
    threshold_db = knob["threshold"] - input_db - preamp_db
    found.take("compressor.threshold_db", threshold_db, "threshold")
    found.take("compressor.ratio", max(knob["ratio"], 1.0), "ratio")
    for name in ("attack", "release"):
        # Of 0 ms the shortest that a strip has.
        time_ms = max(time_constant(knob[name]), BY_KEY[f"compressor.{name}_ms"].low)
        found.take(f"compressor.{name}_ms", time_ms, name)
    found.settings["compressor.knee_db"] = BY_KEY["compressor.knee_db"].clip(max(knee_db, 0.0))
    found.take("compressor.makeup_db", knob["makeup"] + input_db, "makeup")
    dry_db, wet_db = _number(values, "dry", -100.0), _number(values, "wet", 0.0)
    if not is_on(values) or wet_db <= SILENT_DB < dry_db:
        found.off.add("compressor")
        # Gains around a compressor of which only the dry signal passes act all the same.
        return _number(values, "output-gain", 0.0) + dry_db + input_db if is_on(values) else 0.0
    if dry_db > SILENT_DB:
        found.notes.append("left out: the compressor's dry signal")
    if str(sidechain.get("mode", "Peak")) != "Peak":
        found.notes.append(f"the compressor's detector is {str(sidechain['mode'])[:20]}, ours peak")
    return _number(values, "output-gain", 0.0) + wet_db


def _bands(values: Values, found: Found) -> Iterator[Filter]:
    """Yield the filters of an equalizer, the left side's where the sides differ."""
    sides = [values[side] for side in ("left", "right") if isinstance(values.get(side), dict)]
    bands = sides[0] if sides else values
    if len(sides) == 2 and _flag(values.get("split-channels", False)) and sides[0] != sides[1]:
        found.notes.append("left out: the equalizer's right side, which differs from the left")
    count = min(max(int(_number(values, "num-bands", MOST_BANDS)), 0), MOST_BANDS)
    places = (bands.get(f"band{place}") for place in range(count))
    held = [band for band in places if isinstance(band, dict)]
    solo = any(_flag(band.get("solo", False)) for band in held)
    for band in held:
        if _flag(band.get("mute", False)) or (solo and not _flag(band.get("solo", False))):
            continue
        kind = str(band.get("type", "Bell"))
        ours = KINDS.get(kind.lower())
        if ours is not None:
            yield _band(ours, band, found)
        elif kind.lower() not in WITHOUT_EFFECT:
            found.notes.append(f"left out: a filter of type {kind[:20]}, which a strip lacks")


def _band(kind: str, band: Values, found: Found) -> Filter:
    freq_hz = _number(band, "frequency", 1000.0)
    gain_db = 0.0 if kind.endswith("pass") else _number(band, "gain", 0.0)
    slope = str(band.get("slope", "x1")).lstrip("x")
    stages = int(slope) if slope.isascii() and slope.isdigit() and len(slope) < 3 else 1
    if stages > 1 and kind.endswith("pass"):
        found.notes.append(f"a {kind.replace('_', '-')} of slope x{stages} is taken with x1")
    if "q" not in band and "width" in band:
        # PulseEffects' bandwidth in Hz; what a shelf has of it is no Q.
        width_hz = _number(band, "width", 0.0)
        q = freq_hz / width_hz if width_hz > 0.0 and kind == "bell" else 0.71
    else:
        q = _cookbook_q(kind, str(band.get("mode", "")), _number(band, "q", 0.71), gain_db, stages)
    if not 0.0 < freq_hz < 1e6:
        raise ExportError(f"a frequency of {freq_hz:g} Hz is none that a filter has")
    return Filter(kind, freq_hz, gain_db, min(max(q, NARROWEST_Q), WIDEST_Q))


def _cookbook_q(kind: str, mode: str, q: float, gain_db: float, stages: int) -> float:
    """Return the Q of the cookbook's filter that is as wide as LSP's of some mode."""
    if mode.startswith("APO") or not mode:
        return q
    if kind.endswith("pass") and not mode.startswith("RLC"):
        # Butterworth's, raised by the knob.
        return math.sqrt(0.5) + 0.45 * q
    if kind != "bell":
        return (1.0 + q) / 2.0
    gain = 10.0 ** (min(abs(gain_db), 100.0) / 20.0 / max(stages, 1))
    return math.sqrt(gain) * (1.0 + 2.0 * q / max(stages, 1)) / (2.0 * math.sqrt(1.0 + gain**2))


def _filter(values: Values, found: Found) -> Iterator[Filter]:
    """Yield the cut of the plug-in "filter"; other kinds of it are left out."""
    mode = str(values.get("mode", "")) if "type" not in values else str(values["type"])
    words = mode.lower().replace("-", "")
    kind = next((k for k in ("high_pass", "low_pass") if k.replace("_", "") in words), None)
    if kind is None:
        found.notes.append("left out: filter")
        return
    freq_hz = _number(values, "frequency", 2000.0)
    band = {**values, "frequency": freq_hz, "q": _number(values, "quality", 0.42)}
    # PulseEffects' has a slope in its mode, and the resonance of a Butterworth filter.
    yield _band(kind, band if "type" in values else {"frequency": freq_hz, "q": 0.71}, found)


def _flag(value: Any) -> bool:
    return value.lower() == "true" if isinstance(value, str) else bool(value)


def _number(values: Values, name: str, default: float) -> float:
    """Return a number, which old releases wrote as text."""
    value = values.get(name, default)
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ExportError(f"{name} is {str(value)[:40]!r}, which is no number; correct it")
    return number
