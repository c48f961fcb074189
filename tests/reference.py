"""An independent console in float64 NumPy, by equation: all inserts and the gains.

Nothing here comes from ``diffconsole.console``; the coefficients are written from the analogue
prototypes of the Audio EQ Cookbook by the bilinear transform, not from its closed forms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from scipy import signal

BANDS = ("high_pass", "low_shelf", "peak_1", "peak_2", "peak_3", "peak_4", "high_shelf", "low_pass")


def decibels(power_ratio: float) -> float:
    """10·log10, with −400 dB for nothing at all."""
    return 10.0 * np.log10(max(float(power_ratio), 1e-40))


def error_db(output: np.ndarray, expected: np.ndarray) -> float:
    """Energy of the error over the energy of what was expected, in dB."""
    output, expected = np.asarray(output, np.float64), np.asarray(expected, np.float64)
    return decibels(np.sum((output - expected) ** 2) / np.sum(expected**2))


def section(kind: str, rate: float, freq_hz: float, q: float, gain_db: float = 0.0) -> np.ndarray:
    """One second-order section ``b0 b1 b2 1 a1 a2`` for a band or kind of filter.

    The prototypes H(s), s normalised to the corner: low-pass ``1/(s² + s/Q + 1)``, high-pass
    ``s²/(…)``, peak ``(s² + s·A/Q + 1)/(s² + s/(A·Q) + 1)``, low shelf
    ``A·(s² + s·√A/Q + A)/(A·s² + s·√A/Q + 1)``, high shelf its mirror; A = 10^(dB/40).
    """
    amplitude = 10.0 ** (gain_db / 40.0)
    root = np.sqrt(amplitude)
    # numerator and denominator: coefficients of s², s, 1
    if kind == "low_pass":
        top, bottom = (0.0, 0.0, 1.0), (1.0, 1.0 / q, 1.0)
    elif kind == "high_pass":
        top, bottom = (1.0, 0.0, 0.0), (1.0, 1.0 / q, 1.0)
    elif kind == "low_shelf":
        top = (amplitude, amplitude * root / q, amplitude**2)
        bottom = (amplitude, root / q, 1.0)
    elif kind == "high_shelf":
        top = (amplitude**2, amplitude * root / q, amplitude)
        bottom = (1.0, root / q, amplitude)
    else:
        top, bottom = (1.0, amplitude / q, 1.0), (1.0, 1.0 / (amplitude * q), 1.0)
    corner = min(freq_hz, 0.49 * rate)
    k = 1.0 / np.tan(np.pi * corner / rate)  # s = k·(1 − z⁻¹)/(1 + z⁻¹)

    def transformed(c2: float, c1: float, c0: float) -> np.ndarray:
        square, linear = c2 * k * k, c1 * k
        return np.array([square + linear + c0, 2.0 * (c0 - square), square - linear + c0])

    b, a = transformed(*top), transformed(*bottom)
    return np.concatenate((b, a)) / a[0]


def sections(rate: float, settings: Mapping[str, float], off: Collection[str] = ()) -> np.ndarray:
    """The EQ's active sections, ``(sections, 6)``."""
    rows = [
        section(
            band,
            rate,
            settings[f"eq.{band}.freq_hz"],
            settings[f"eq.{band}.q"],
            settings.get(f"eq.{band}.gain_db", 0.0),
        )
        for band in BANDS
        if f"eq.{band}" not in off
    ]
    return np.array(rows).reshape(-1, 6)


def detect(level: np.ndarray, rate: float, attack_ms: float, release_ms: float) -> np.ndarray:
    """The branching one-pole on a level ``(samples,)``, sample by sample."""
    attack = float(np.exp(-1.0 / (attack_ms * 1e-3 * rate)))
    release = float(np.exp(-1.0 / (release_ms * 1e-3 * rate)))
    state = 0.0
    smoothed = np.empty(len(level))
    for n, v in enumerate(np.asarray(level, np.float64).tolist()):
        a = attack if v > state else release
        state = a * state + (1.0 - a) * v
        smoothed[n] = state
    return smoothed


def curve_db(level_db: np.ndarray, threshold: float, ratio: float, knee: float) -> np.ndarray:
    """The static curve: output level for an input level, dBFS."""
    output = np.array(level_db, np.float64)
    above = output >= threshold + knee / 2
    within = (output > threshold - knee / 2) & ~above
    bent = output[within]
    output[within] = bent + (1 / ratio - 1) * (bent - threshold + knee / 2) ** 2 / (2 * knee)
    output[above] = threshold + (output[above] - threshold) / ratio
    return output


def compress(audio: np.ndarray, rate: float, settings: Mapping[str, float]) -> np.ndarray:
    """A compressor on ``(channels, samples)``; settings by name, without the module.

    The dry signal is mixed in sample by sample where there is a ``mix``.
    """
    smoothed = detect(
        np.abs(audio).max(axis=0), rate, settings["attack_ms"], settings["release_ms"]
    )
    level = 20.0 * np.log10(np.maximum(smoothed, 1e-6))
    curve = curve_db(level, settings["threshold_db"], settings["ratio"], settings["knee_db"])
    compressed = audio * 10.0 ** ((curve - level + settings["makeup_db"]) / 20.0)
    share = settings.get("mix", 100.0) / 100.0
    return audio * (1.0 - share) + compressed * share


def expand(audio: np.ndarray, rate: float, settings: Mapping[str, float]) -> np.ndarray:
    """The gate on ``(channels, samples)``, sample by sample; settings by name."""
    attack, release = (
        float(np.exp(-1000.0 / (settings[k] * rate))) for k in ("attack_ms", "release_ms")
    )
    hold, level, left = settings["hold_ms"] * rate / 1000.0, 0.0, 0.0
    y = np.empty_like(audio)
    for n, v in enumerate(np.abs(audio).max(axis=0).tolist()):
        if v > level:
            level, left = attack * level + (1 - attack) * v, hold
        elif left >= 1.0:
            left -= 1.0
        else:
            share = release ** (1.0 - left) if left > 0.0 else release
            level, left = share * level + (1 - share) * v, 0.0
        under = max(settings["threshold_db"] - 20.0 * np.log10(max(level, 1e-6)), 0.0)
        change = -min((settings["ratio"] - 1.0) * under, settings["range_db"])
        y[:, n] = audio[:, n] * 10.0 ** (change / 20.0)
    return y


def deess(audio: np.ndarray, rate: float, settings: Mapping[str, float]) -> np.ndarray:
    """The de-esser on ``(channels, samples)``: two filters, two detectors, one curve."""
    tangent = float(np.tan(np.pi * min(settings["freq_hz"], 0.49 * rate) / rate))
    high = np.array([1.0, -1.0]) / (1.0 + tangent), np.array([1.0, (tangent - 1) / (1 + tangent)])
    once = signal.lfilter(*high, audio)
    twice = signal.lfilter(*high, once)
    level = np.abs(twice).max(axis=0)
    upper = detect(level, rate, settings["attack_ms"], settings["release_ms"])
    whole = detect(np.abs(audio).max(axis=0), rate, 10.0, 1000.0)
    against_db = 20.0 * np.log10(np.maximum(upper, 1e-6) / np.maximum(whole, 1e-6))
    over = against_db - settings["threshold_db"]
    root = 10.0 ** (-np.clip(over, 0.0, settings["range_db"]) / 40.0)
    return audio + (root - 1.0) * (2.0 * once + (root - 1.0) * twice)


def echo(send: np.ndarray, rate: float, settings: Mapping[str, float]) -> np.ndarray:
    """The delay on ``(samples,)``, sample by sample: two lines that feed each other, ``(2, …)``."""
    late = settings["time_ms"] * rate / 1000.0
    whole = int(np.floor(late))
    place = np.arange(-15, 17) - (late - whole)
    turn = np.pi * place / 16.0
    # From the newest sample that is read to the oldest, as they lie in a line.
    taps = (np.sinc(place) * (0.42 + 0.5 * np.cos(turn) + 0.08 * np.cos(2.0 * turn)))[::-1]
    cuts = np.array([
        section("high_pass", rate, settings["low_cut_hz"], 0.71),
        section("low_pass", rate, settings["high_cut_hz"], 0.71),
    ])  # fmt: skip
    past, feedback = whole + 16, settings["feedback"]
    lines = np.zeros((2, past + len(send)))
    odd_even = np.zeros((2, len(send)))
    state = np.zeros((2, 2, 2))
    # As many samples at a time as are known before any of them goes in.
    for first in range(0, len(send), whole - 15):
        last = min(first + whole - 15, len(send))
        for n in range(first, last):
            odd_even[:, n] = lines[:, n : n + 32] @ taps
        odd, even = odd_even[:, first:last]
        ins = np.stack((send[first:last] + feedback * even, feedback * odd))
        outs, state = signal.sosfilt(cuts, ins, zi=state)
        lines[:, past + first : past + last] = outs
    angle = np.pi / 4.0 * (1.0 - settings["width"])
    near, far = np.sqrt(2.0) * np.array([np.cos(angle), np.sin(angle)])
    level = 10.0 ** (settings["wet_db"] / 20.0) if settings["wet_db"] > -60.0 else 0.0
    return level * np.array([[near, far], [far, near]]) @ odd_even


SHIFTS = """
    0.004816232 0.177794998 0.519870508 0.787009350 0.934107999
    0.012310050 0.215901653 0.561276172 0.810078197 0.948966548
    0.022420798 0.257728884 0.599709517 0.832435139 0.961208224
    0.036336796 0.301433753 0.636018747 0.853291171 0.971417540
    0.054701157 0.346120042 0.670311639 0.872448297 0.979930435
    0.078086981 0.391017629 0.702517040 0.889980324 0.986934982
    0.107130448 0.435186591 0.732683363 0.906014214 0.992551931
    0.142556490 0.477413478 0.761166448 0.920440790 0.997012843
"""
"""The saturation's filters: of each place between samples five allpass coefficients."""


def shifted(audio: np.ndarray, place: int) -> np.ndarray:
    """Through the saturation's filter of one place between samples."""
    for a in np.array(SHIFTS.split(), float).reshape(8, 5)[place]:
        audio = signal.lfilter([a, 1.0], [1.0, a], audio)
    return audio


def bent(u: np.ndarray, settings: Mapping[str, float]) -> np.ndarray:
    """The saturation's curve, as a tanh around the operating point that the bias sets."""
    steepness = 10.0 ** (settings["drive_db"] / 20.0) - 1.0
    point = np.arctanh(settings["bias"])
    slope = steepness / np.cosh(point) ** 2

    def curve(v: np.ndarray) -> np.ndarray:
        return (np.tanh(steepness * v + point) - np.tanh(point)) / slope

    level = 10.0 ** (-18.0 / 20.0)
    sine = curve(np.sqrt(2.0) * level * np.cos(np.pi * (np.arange(8) + 0.5) / 8))
    share = settings["mix"] / 100.0
    return (1.0 - share) * u + share * curve(u) * level / np.std(sine)


def saturate(audio: np.ndarray, rate: float, settings: Mapping[str, float]) -> np.ndarray:
    """The saturation on ``(channels, samples)``."""
    return between(audio, rate, lambda u: bent(u, settings))


def between(
    audio: np.ndarray, rate: float, curve: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> np.ndarray:
    """Through a curve at eight places between samples; without one, what its filters do."""
    y = sum(shifted(curve(shifted(audio, k)), 7 - k) for k in range(8)) / 8.0
    b, a = signal.butter(1, 5.0, "high", fs=rate)
    return signal.lfilter([0.98, 0.98], [1.0, 0.96], signal.lfilter(b, a, y))


def part(settings: Mapping[str, float], module: str) -> dict[str, float]:
    """The settings of a module by name."""
    return {k.split(".", 1)[1]: v for k, v in settings.items() if k.startswith(f"{module}.")}


def strip(
    audio: np.ndarray, rate: float, settings: Mapping[str, float], off: Collection[str] = ()
) -> np.ndarray:
    """Input gain → gate → EQ → compressors → de-esser → saturation → output gain.

    On ``(channels, samples)``. Gate, second compressor, de-esser and saturation are off where there
    are no settings of them.
    """
    y = np.asarray(audio, np.float64)
    if "input_gain" not in off:
        y = y * 10.0 ** (settings["input_gain.gain_db"] / 20.0)
    if "gate" not in off and part(settings, "gate"):
        y = expand(y, rate, part(settings, "gate"))
    if "eq" not in off:
        rows = sections(rate, settings, off)
        y = signal.sosfilt(rows, y) if len(rows) else y
    if "compressor" not in off:
        y = compress(y, rate, part(settings, "compressor"))
    if "compressor_2" not in off and part(settings, "compressor_2"):
        y = compress(y, rate, part(settings, "compressor_2"))
    if "deesser" not in off and part(settings, "deesser"):
        y = deess(y, rate, part(settings, "deesser"))
    if "saturation" not in off and part(settings, "saturation"):
        y = saturate(y, rate, part(settings, "saturation"))
    if "output_gain" not in off:
        y = y * 10.0 ** (settings["output_gain.gain_db"] / 20.0)
    return y
