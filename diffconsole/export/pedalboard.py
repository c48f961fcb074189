"""A Python script for Spotify's pedalboard, and the impulse response beside it.

pedalboard's processors are JUCE's. Its shelves and bells are the Audio EQ Cookbook's. Its passes
are of first order; two of them are ``1/(s + 1)²``, of which a bell at the same frequency,
``(s² + s·A/q + 1)/(s² + s/(A·q) + 1)`` with ``A/q = 2`` and ``A·q = Q``, makes
``1/(s² + s/Q + 1)``: ``q = √(Q/2)``, gain
``40·log10 A = 20·log10(2Q)``; all are warped alike, so it holds up to the highest frequency. Its
compressor's times are ``2π`` time constants; it has no knee: the nearest curve with a corner is
taken, over levels that a voice passes. Its gate follows the root mean square and has no range: the
dry signal beside it makes one. Its ``Distortion`` is a tanh; moved by its bias point it is the
strip's saturation, but for the filters against aliasing. Its convolution scales the response to an
energy of 1/64, for the louder side; a gain takes that back. Source: JUCE's and pedalboard's
documentation, and measurement with pedalboard 0.9.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError
from ..strip.numbers import decibels
from ..strip.parameters import CHAIN, EQ_BANDS, PARAMETERS
from ..strip.preset import Preset
from .base import Figure, Files, Format, Mapped, Strip
from .ir import wav_bytes
from .lsp import read_text
from .pedalboard_script import SATURATED, TEMPLATE
from .sends import CUT, SEND_KEYS, delay_notes, sends_response

__all__ = ["FORMAT", "corner_curve"]

SCRIPT = "strip.py"
RESPONSE = "impulse_response.wav"
JUCE_TIME_PER_TAU = 2.0 * math.pi
JUCE_NORM = 0.125
# Python's whole numbers may be too long for a float.
LARGEST_WHOLE = 10**9
# Detector levels of a voice in its loud moments, which are where a compressor is audible.
VOICE_DBFS, VOICE_SPREAD_DB = -20.0, 6.0
COMPRESSORS = ("compressor", "compressor_2")
# Its gate follows the root mean square, which falls by itself before the release: closest for
# voices with pauses.
GATE_HIGHER_DB, GATE_LATER_MS = 3.0, 10.0
# Of a smaller range next to nothing is left beside the dry signal, and its ratio has no end.
LEAST_RANGE_DB = 1e-6
LONGEST_S = 60.0
FILTERS = {"low_shelf": "LowShelfFilter", "high_shelf": "HighShelfFilter"}
PASSES = {"high_pass": "HighpassFilter", "low_pass": "LowpassFilter"}

MAPPED = (
    Mapped("input_gain.gain_db", "Gain.gain_db", "dB"),
    *(
        Mapped(f"eq.{band}.{ours}", f"{FILTERS.get(band, 'PeakFilter')}.{theirs}", unit)
        for band in EQ_BANDS
        if band not in PASSES
        for ours, theirs, unit in (
            ("freq_hz", "cutoff_frequency_hz", "Hz"),
            ("gain_db", "gain_db", "dB"),
            ("q", "q", ""),
        )
    ),
    *(
        mapped
        for band, name in PASSES.items()
        for mapped in (
            Mapped(f"eq.{band}.freq_hz", f"{name}.cutoff_frequency_hz", "Hz"),
            Mapped(
                f"eq.{band}.q",
                "PeakFilter.q",
                "",
                lambda q: math.sqrt(q / 2.0),
                lambda q: 2.0 * q * q,
            ),
        )
    ),
    *(
        mapped
        for key in COMPRESSORS
        for mapped in (
            Mapped(f"{key}.threshold_db", "Compressor.threshold_db", "dBFS"),
            Mapped(f"{key}.ratio", "Compressor.ratio"),
            *(
                Mapped(
                    f"{key}.{name}",
                    f"Compressor.{name}",
                    "ms",
                    lambda tau_ms: JUCE_TIME_PER_TAU * tau_ms,
                    lambda time_ms: time_ms / JUCE_TIME_PER_TAU,
                )
                for name in ("attack_ms", "release_ms")
            ),
            Mapped(f"{key}.makeup_db", "Gain.gain_db", "dB"),
            Mapped(f"{key}.mix", "Mix", "%"),
        )
    ),
    *(
        Mapped(f"gate.{name}", theirs, unit)
        for name, theirs, unit in (
            ("threshold_db", "NoiseGate.threshold_db", "dBFS"),
            ("ratio", "NoiseGate.ratio", ""),
            ("range_db", "Mix", ""),
            ("attack_ms", "NoiseGate.attack_ms", "ms"),
            ("release_ms", "NoiseGate.release_ms", "ms"),
        )
    ),
    *(Mapped(f"saturation.{name}", "SATURATION") for name in ("drive_db", "bias", "mix")),
    Mapped("pan.position", "PAN"),
    *(Mapped(key, "samples") for key in SEND_KEYS if key != "reverb.wet_db"),
    Mapped("reverb.wet_db", "WET_DB", "dB"),
    Mapped("output_gain.gain_db", "Gain.gain_db", "dB"),
)
THEIRS = {mapped.key: mapped for mapped in MAPPED}


def corner_curve(threshold_db: float, ratio: float, knee_db: float) -> tuple[float, float, float]:
    """Return threshold, ratio and make-up of the curve without a knee that is nearest to one with.

    Least squares in dB over the levels that a voice passes. For a threshold the gain
    ``−slope·max(L − T, 0) + makeup`` is linear in the other two, so only thresholds are tried.

    Parameters
    ----------
    threshold_db, ratio, knee_db : float
        The curve with a knee: dBFS, :1, dB.

    Returns
    -------
    tuple of float
        dBFS, :1 and dB; what was given, and 0, for a knee of 0.
    """
    if knee_db == 0.0 or ratio == 1.0:
        return threshold_db, ratio, 0.0
    level = np.arange(-60.0, 6.0, 0.125)
    weight = np.exp(-0.5 * ((level - VOICE_DBFS) / VOICE_SPREAD_DB) ** 2)
    over = np.clip(level - threshold_db + knee_db / 2.0, 0.0, knee_db)
    above = np.maximum(level - threshold_db - knee_db / 2.0, 0.0)
    slope = 1.0 - 1.0 / ratio
    gain = -slope * (over**2 / (2.0 * knee_db) + above)

    best = (math.inf, threshold_db, slope, 0.0)
    for corner in threshold_db + knee_db * np.linspace(-0.5, 0.5, 401):
        bent = -np.maximum(level - corner, 0.0)
        mean_bent, mean_gain = np.average([bent, gain], axis=1, weights=weight)
        spread = np.average((bent - mean_bent) ** 2, weights=weight)
        if spread < 1e-9:
            continue
        fit = np.average((bent - mean_bent) * (gain - mean_gain), weights=weight) / spread
        fit = min(max(float(fit), 0.0), slope)
        makeup = float(mean_gain - fit * mean_bent)
        error = float(np.average((fit * bent + makeup - gain) ** 2, weights=weight))
        best = min(best, (error, float(corner), fit, makeup))
    _, corner, fit, makeup = best
    return corner, 1.0 / (1.0 - fit), makeup


def _write(strip: Strip) -> Files:
    files = {}
    wet_db = 0.0
    tail_s = 0.0
    if strip.on("delay") or strip.on("reverb"):
        # The response of the delay holds both levels.
        with_levels = strip.on("delay")
        response = sends_response(strip, LONGEST_S) if with_levels else strip.impulse_response()
        files[RESPONSE] = wav_bytes(response, strip.sample_rate)
        wet_db = (0.0 if with_levels else strip["reverb.wet_db"]) - _scaling_db(response)
        tail_s = response.shape[1] / strip.sample_rate
    pan = None
    if strip.on("pan"):
        angle = math.pi / 4.0 * (1.0 + strip["pan.position"])
        pan = (math.sqrt(2.0) * math.cos(angle), math.sqrt(2.0) * math.sin(angle))
    values = {
        "name": ascii(strip.title),
        "sample_rate": strip.sample_rate,
        "settings": _dictionary(strip),
        "board": "\n".join(f"        pedalboard.{call}," for call in _board(strip)),
        "pan": pan,
        "response": ascii(RESPONSE) if files else None,
        "sends": "the delay's and reverb's" if strip.on("delay") else "the reverb's",
        "wet_db": repr(wet_db),
        "tail_s": repr(round(tail_s, 3)),
        "output_db": repr(strip.gain_db("output_gain")),
        "saturation": "",
        "played": "board(samples, sample_rate)",
    }
    if strip.on("saturation"):
        values["saturation"] = SATURATED % {"numbers": _saturation(strip.of("saturation"))}
        values["played"] = f"saturated({values['played']}, sample_rate)"
    return {SCRIPT: (TEMPLATE % values).encode("ascii"), **files}


def _saturation(own: Mapping[str, float]) -> tuple[float, ...]:
    """Return the drive in dB, the bias point, and the gains of the dry and the bent signal."""
    from ..modules.saturation.process import curve_settings

    given = (np.array([own[name]]) for name in ("drive_db", "bias", "mix"))
    steepness, bias, dry, wet = curve_settings(*given)[0].tolist()
    # A tanh around its point has the slope 1 − bias² there, and the drive is its steepness.
    wet /= steepness * (1.0 - bias * bias)
    return 20.0 * math.log10(steepness), math.atanh(bias), dry, wet


def _scaling_db(response: np.ndarray) -> float:
    """Return by how much JUCE's convolution scales a response, which it sums up in float32."""
    side = response.astype(np.float32)
    energy = np.add.accumulate(side * side, axis=1, dtype=np.float32)[:, -1].max()
    return 20.0 * math.log10(JUCE_NORM / math.sqrt(float(energy)))


def _dictionary(strip: Strip) -> str:
    settings, bypass = strip.preset.settings(), strip.preset.bypass()
    # What is off and came with a later version is left out, as in a preset: earlier ones read it.
    later = {switch for m in CHAIN if m.since and m.key in bypass for switch in m.switches}
    lines = [
        f"    {p.key!r}: {settings[p.key]!r},"
        for p in PARAMETERS
        if p.section not in later and not (p.since and settings[p.key] == p.default)
    ]
    off = ", ".join(map(repr, sorted(bypass - later)))
    return "\n".join(["{", *lines, f'    "bypass": [{off}],', "}"])


def _board(strip: Strip) -> list[str]:
    calls = []
    if strip.gain_db("input_gain"):
        calls.append(_call("Gain", gain_db=strip.gain_db("input_gain")))
    calls += _gate(strip)
    for band in strip.bands():
        values = strip.of(f"eq.{band}")
        freq_hz, q = values["freq_hz"], THEIRS[f"eq.{band}.q"].to_theirs(values["q"])
        if band in PASSES:
            calls += 2 * [_call(PASSES[band], cutoff_frequency_hz=freq_hz)]
            gain_db = 20.0 * math.log10(2.0 * values["q"])
        else:
            gain_db = values["gain_db"]
        name = FILTERS.get(band, "PeakFilter")
        calls.append(_call(name, cutoff_frequency_hz=freq_hz, gain_db=gain_db, q=q))
    for key in COMPRESSORS:
        calls += _compressor(strip, key)
    return calls


def _gate(strip: Strip) -> list[str]:
    ours = strip.of("gate")
    if not strip.on("gate") or ours["range_db"] < LEAST_RANGE_DB:
        return []
    closed = 10.0 ** (-ours["range_db"] / 20.0)
    gate = _call(
        "NoiseGate",
        threshold_db=ours["threshold_db"] + GATE_HIGHER_DB,
        # With the dry signal beside it, that of the range, its slope is less.
        ratio=1.0 + (ours["ratio"] - 1.0) / (1.0 - closed),
        attack_ms=JUCE_TIME_PER_TAU * ours["attack_ms"],
        release_ms=JUCE_TIME_PER_TAU * max(ours["release_ms"] - GATE_LATER_MS, 1.0),
    )
    gains = (20.0 * math.log10(1.0 - closed), -ours["range_db"])
    opened, dry = (f"pedalboard.{_call('Gain', gain_db=gain)}" for gain in gains)
    return [f"Mix([pedalboard.Chain([pedalboard.{gate}, {opened}]), {dry}])"]


def _compressor(strip: Strip, key: str) -> list[str]:
    if not strip.on(key):
        return []
    ours = strip.of(key)
    threshold_db, ratio, makeup_db = corner_curve(
        ours["threshold_db"], ours["ratio"], ours["knee_db"]
    )
    times = {n: THEIRS[f"{key}.{n}"].to_theirs(ours[n]) for n in ("attack_ms", "release_ms")}
    compressor = _call("Compressor", threshold_db=threshold_db, ratio=ratio, **times)
    makeup_db += ours["makeup_db"]
    wet = ours["mix"] / 100.0
    if wet == 1.0:
        return [compressor, _call("Gain", gain_db=makeup_db)]
    # Its processors have no dry signal; Mix adds what passes beside each other.
    gains = [makeup_db + 20.0 * math.log10(wet), 20.0 * math.log10(1.0 - wet)]
    louder, dry = (f"pedalboard.{_call('Gain', gain_db=gain)}" for gain in gains)
    return [f"Mix([pedalboard.Chain([pedalboard.{compressor}, {louder}]), {dry}])"]


def _call(name: str, **arguments: float) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _read(path: Path) -> Preset:
    script = path / SCRIPT if path.is_dir() else path
    text = read_text(script)
    try:
        found = _constants(ast.parse(text))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise ExportError(
            f"{script}: NAME and SETTINGS cannot be read ({reason}); give it as diffconsole wrote "
            "it, in which numbers alone may be edited"
        ) from None
    if "SETTINGS" not in found:
        raise ExportError(f"{script}: holds no SETTINGS; only what diffconsole wrote is read back")
    if not isinstance(found["SETTINGS"], dict):
        raise ExportError(f"{script}: SETTINGS is not a dictionary, as diffconsole writes it")
    settings = dict(found["SETTINGS"])
    bypass = settings.pop("bypass", [])
    for key, value in settings.items():
        if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
            raise ExportError(f"{script}: {key} is far beyond any range; write a smaller number")
    return Preset.from_settings(settings, bypass=bypass, name=str(found.get("NAME", "")))


def _constants(tree: ast.Module) -> dict[str, Any]:
    """Return the values of NAME and SETTINGS; nothing of the script is run."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("NAME", "SETTINGS"):
                found[name] = ast.literal_eval(node.value)
    return found


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = []
    for key in COMPRESSORS:
        if not strip.on(key):
            continue
        ours = tuple(strip[f"{key}.{n}"] for n in ("threshold_db", "ratio", "knee_db"))
        threshold_db, ratio, makeup_db = corner_curve(*ours)
        if (threshold_db, ratio, makeup_db) != (*ours[:2], 0.0):
            lines.append(
                f"{key}.{KNEE}; it has threshold {decibels(threshold_db)}, ratio {ratio:.2f}, "
                f"{decibels(makeup_db)} of make-up"
            )
    lines += [f"{key}: {RESPONSE_RATE.format(strip.sample_rate)}" for key in SENDS if strip.on(key)]
    return (*lines, *delay_notes(strip, LONGEST_S))


KNEE = "knee_db: pedalboard's compressor has no knee; the nearest curve without one is written"

SENDS = ("reverb", "delay")
RESPONSE_RATE = "its response is made for {} Hz"
ALONE = "pedalboard's detects each channel alone; ours turns both sides down alike"

FORMAT = Format(
    key="pedalboard",
    title="Python script for pedalboard, with the reverb's impulse response",
    ending="",
    write=_write,
    mapped=MAPPED,
    lost={
        "gate": f"{ALONE}; its detector is a root mean square",
        "gate.hold_ms": "pedalboard's has none; its detector falls later by itself",
        **dict.fromkeys(COMPRESSORS, ALONE),
        "saturation": "the curve carries over, without the filters against aliasing and their "
        "phase",
    },
    notes=_notes,
    conditions=(
        f"compressor.{KNEE}, where the knee is over 0 and the ratio over 1",
        *(f"{key}: its response is made for one sample rate" for key in SENDS),
        CUT.format(LONGEST_S),
    ),
    figures=(
        Figure("EQ", -70.0),
        Figure("compressor without knee, mono", -91.0),
        Figure("compressor with knee, mono", -28.0),
        Figure("whole chain, mono", -28.0),
        # A voice on the left and another on the right.
        Figure("compressor, stereo, another voice on each side", -9.0),
        Figure("gate, mono", -40.0),
        Figure("saturation, but for the filters' phase", -45.0),
    ),
    consumer="pedalboard 0.9",
    read=_read,
)
