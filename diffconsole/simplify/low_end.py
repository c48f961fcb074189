"""The low end of an EQ: what lies below the voice is not lifted.

A low shelf that warms a voice lifts rumble, pops and hum below its lowest partial as well, and a
resonant high-pass does it at its corner. Where a predicted curve is above 0 dB below the lowest
partial, the bands that reach there are moved until it is not, with as little change as possible
to the curve where the voice is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..strip.parameters import BY_KEY, EQ_BANDS

__all__ = ["LowEnd", "below_of", "hold_low_end", "low_end_of"]

RATE = 8000
FRAME_SECONDS, HOP_SECONDS, MOST_FRAMES = 0.1, 0.05, 1200
# A frame, and the longest lag behind it.
FFT_SIZE = 1024
GATE_DB = 25.0
PITCH_HZ = (50.0, 1200.0)
LEAST_PERIODICITY, FIRST_PEAK = 0.7, 0.85
LOWEST_SHARE, LEAST_VOICED = 0.03, 8
NEXT_SHARE, NEXT_RATIO = 0.1, 0.93
MOST_MULTIPLES, PARTIAL_DB = 4, -45.0
WITHOUT_PITCH_DB = 25.0

STEP = 2.0 ** (1.0 / 12.0)
LOWEST_HZ, HIGHEST_HZ, CURVE_RATE = 8.0, 3500.0, 48000.0
WEIGHED_DB = 40.0
ALLOWED_DB, AIM_DB = 0.1, -0.05
STRENGTH, STAY, SLOPE_STEP, INNER = 10.0, 1.0, 1e-6, 0.01

MOVED = (
    "eq.high_pass.freq_hz", "eq.high_pass.q", "eq.peak_1.freq_hz", "eq.peak_1.gain_db",
    "eq.peak_1.q", "eq.peak_2.gain_db",
)  # fmt: skip
SHELF = ("eq.low_shelf.freq_hz", "eq.low_shelf.gain_db", "eq.low_shelf.q")
FLAT_Q, WHOLE_DB, INSIDE_OCTAVES, FAR_DB = 0.71, 1.0, (-0.25, 0.25), 1.0
"""A high-pass has no resonance up to this Q; a boost below the voice from so many decibels on is
held by all means; a low shelf between these distances from the lowest partial begins to act on
the voice."""
GAINS = tuple(f"eq.{band}.gain_db" for band in EQ_BANDS if f"eq.{band}.gain_db" in BY_KEY)


@dataclass(frozen=True)
class LowEnd:
    """Where a voice begins, and where its energy lies.

    Attributes
    ----------
    lowest_hz : float
        Of its lowest partial.
    freq_hz : ndarray
        Points from there to 3.5 kHz, a twelfth of an octave apart.
    weights : ndarray
        0…1, how much the curve counts at each of them.
    """

    lowest_hz: float
    freq_hz: np.ndarray
    weights: np.ndarray


def low_end_of(mono: np.ndarray, sample_rate: int) -> LowEnd | None:
    """Find the lowest partial of a voice.

    Parameters
    ----------
    mono : ndarray
        ``(samples,)``, as :attr:`diffconsole.audio.take.Take.mono` has it.
    sample_rate : int
        Hz.

    Returns
    -------
    LowEnd or None
        None where there is too little to say.
    """
    import soxr

    length = round(FRAME_SECONDS * RATE)
    audio = soxr.resample(np.ascontiguousarray(mono, np.float32), sample_rate, RATE, quality="MQ")
    if len(audio) < 2 * length:
        return None
    hop = max(round(HOP_SECONDS * RATE), -(-len(audio) // MOST_FRAMES))
    frames = np.lib.stride_tricks.sliding_window_view(audio, length)[::hop]
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", frames, frames)
    loud = power > np.percentile(power, 95) * 10.0 ** (-GATE_DB / 10.0)
    if not loud.any() or not power.any():
        return None
    window = np.hanning(length).astype(np.float32)
    spectra = np.square(np.abs(np.fft.rfft(frames[loud] * window, FFT_SIZE))).astype(np.float32)
    bins_hz = np.arange(spectra.shape[1]) * RATE / FFT_SIZE
    spectra[:, bins_hz < 0.8 * PITCH_HZ[0]] = 0.0
    grid_hz = LOWEST_HZ * STEP ** np.arange(round(math.log(HIGHEST_HZ / LOWEST_HZ, STEP)) + 1)
    # The mean of levels, not of energies: one pop among many frames counts as one.
    level_db = np.interp(grid_hz, bins_hz, 10.0 * np.log10(spectra + 1e-20).mean(axis=0))
    level_db -= level_db.max()
    lowest_hz = _lowest_pitch(spectra, window)
    if lowest_hz is None:
        lowest_hz = float(grid_hz[np.argmax(level_db > -WITHOUT_PITCH_DB)])
    inside = grid_hz >= lowest_hz
    weights = np.clip(1.0 + level_db[inside] / WEIGHED_DB, 0.01, 1.0)
    return LowEnd(lowest_hz, grid_hz[inside], weights)


def _lowest_pitch(spectra: np.ndarray, window: np.ndarray) -> float | None:
    """The frequency that only a few percent of the voice begins below, in Hz."""
    shape = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, FFT_SIZE))))
    low, high = math.floor(RATE / PITCH_HZ[1]), math.ceil(RATE / PITCH_HZ[0])
    # Divided by the window's own, so that long lags count as much as short ones.
    found = np.fft.irfft(spectra, axis=1)[:, : high + 2]
    found = found / (found[:, :1] + 1e-20) / (shape[: high + 2] / shape[0])
    inner = found[:, low : high + 1]
    is_peak = (inner >= found[:, low - 1 : high]) & (inner > found[:, low + 1 : high + 2])
    height = np.where(is_peak, inner, 0.0)
    best = height.max(axis=1)
    voiced = best > LEAST_PERIODICITY
    if int(voiced.sum()) < LEAST_VOICED:
        return None
    # Whole multiples of a period are peaks as well; the shortest lag of a high one is the period.
    first = np.argmax(height >= FIRST_PEAK * best[:, None], axis=1)[voiced] + low
    before, at, after = (found[voiced, first + step] for step in (-1, 0, 1))
    lag = first + 0.5 * (before - after) / np.minimum(before - 2.0 * at + after, -1e-9)
    pitch_hz = RATE / lag
    partial_hz = pitch_hz * _first_partial(spectra[voiced], pitch_hz)
    # Loud frames count more: hum between the words has a pitch as well.
    order = np.argsort(partial_hz)
    weight = np.sqrt(spectra[voiced].sum(axis=1, dtype=np.float64))[order]
    weight = np.minimum(weight, np.median(weight))
    share = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    lowest_hz, next_hz = np.interp((LOWEST_SHARE, NEXT_SHARE), share, partial_hz[order])
    # A few frames of hum far below all others are no voice.
    return float(max(lowest_hz, NEXT_RATIO * next_hz))


def _first_partial(spectra: np.ndarray, pitch_hz: np.ndarray) -> np.ndarray:
    """Number of the lowest partial with energy: two notes in a frame share a lower period."""
    rows = np.arange(len(spectra))
    strongest = spectra.max(axis=1)
    first = np.ones(len(spectra))
    for number in range(MOST_MULTIPLES, 0, -1):
        bins = np.rint(number * pitch_hz * FFT_SIZE / RATE).astype(int)
        power = np.max(
            [spectra[rows, np.minimum(bins + d, FFT_SIZE // 2)] for d in (-1, 0, 1)], axis=0
        )
        first[power > strongest * 10.0 ** (PARTIAL_DB / 10.0)] = number
    return first


def hold_low_end(settings: Mapping[str, float], low_end: LowEnd) -> dict[str, float]:
    """Return settings whose EQ lifts nothing below the voice's lowest partial.

    Parameters
    ----------
    settings : mapping of str to float
        Every parameter by key, physical units.
    low_end : LowEnd
        Of the voice.

    Returns
    -------
    dict of str to float
        The same where the curve is at 0 dB or below already, to 0.1 dB.
    """
    below_hz = below_of(low_end.lowest_hz)
    found = dict(settings)
    above_db = float(curve_db(found, below_hz).max()) - ALLOWED_DB
    if above_db <= 0.0:
        return found
    octaves = math.log2(found["eq.low_shelf.freq_hz"] / low_end.lowest_hz)
    share = min(above_db / WHOLE_DB, 1.0) * float(np.interp(octaves, INSIDE_OCTAVES, (1.0, 0.0)))
    found = _under(settings, low_end, below_hz, share)
    if share == 1.0 or _beside_db(found, settings, low_end) <= FAR_DB:
        return found
    plain = _under(settings, low_end, below_hz, 1.0)
    return min(found, plain, key=lambda fitted: _beside_db(fitted, settings, low_end))


def _under(
    settings: Mapping[str, float], low_end: LowEnd, below_hz: np.ndarray, share: float
) -> dict[str, float]:
    found = _nearest(settings, low_end, below_hz, share)
    return found if curve_db(found, below_hz).max() <= ALLOWED_DB else _lower(found, below_hz)


def _beside_db(found: Mapping[str, float], wanted: Mapping[str, float], low_end: LowEnd) -> float:
    """RMS of the change of the curve where the voice is."""
    change_db = curve_db(found, low_end.freq_hz) - curve_db(wanted, low_end.freq_hz)
    return math.sqrt(float(np.average(np.square(change_db), weights=low_end.weights)))


def below_of(lowest_hz: float) -> np.ndarray:
    """Return the frequencies at which nothing may be lifted: the lowest partial, down to 8 Hz."""
    count = math.ceil(math.log(lowest_hz / LOWEST_HZ, STEP))
    return lowest_hz * STEP ** -np.arange(count + 1.0)


def _nearest(
    settings: Mapping[str, float], low_end: LowEnd, below_hz: np.ndarray, share: float
) -> dict[str, float]:
    """The settings with the nearest curve where the voice is, by least squares.

    The low shelf's boost is taken away by `share`, and so is the high-pass's resonance: both lift
    what lies below, and to cut it again would take bands that work against each other.
    """
    from scipy.optimize import least_squares

    keys, lowest, highest = _bounds(settings, share)
    plain = {**settings, "eq.low_shelf.gain_db": min(settings["eq.low_shelf.gain_db"], 0.0)}
    points_hz, below = np.concatenate((below_hz, low_end.freq_hz)), len(below_hz)
    wanted_db = curve_db(settings, low_end.freq_hz)
    bands = [key.split(".")[1] for key in keys]
    still_db = curve_db(plain, points_hz, [b for b in EQ_BANDS if b not in bands])
    weights = np.concatenate(
        (
            np.full(below, STRENGTH / math.sqrt(below)),
            np.sqrt(low_end.weights / low_end.weights.sum()),
        )
    )
    start = np.array([BY_KEY[key].to_normalised(settings[key]) for key in keys])

    def physical(point: np.ndarray) -> dict[str, float]:
        moved = {
            key: BY_KEY[key].clip(float(BY_KEY[key].to_physical(float(value))))
            for key, value in zip(keys, point, strict=True)
        }
        return {**plain, **moved}

    def beside_db(point: np.ndarray) -> np.ndarray:
        """Above what is allowed below the voice, and beside what is wanted where it is."""
        found_db = still_db + curve_db(physical(point), points_hz, dict.fromkeys(bands))
        found_db[:below] = np.maximum(found_db[:below] - AIM_DB, 0.0)
        found_db[below:] -= wanted_db
        return found_db

    def residuals(point: np.ndarray) -> np.ndarray:
        return np.concatenate((weights * beside_db(point), STAY * (point - start)))

    def slopes(point: np.ndarray) -> np.ndarray:
        """Of the residuals; a setting moves the curve of its own band alone."""
        here = physical(point)
        own_db = {band: curve_db(here, points_hz, [band]) for band in dict.fromkeys(bands)}
        counts = weights * np.concatenate((beside_db(point)[:below] > 0.0, np.ones(len(wanted_db))))
        columns = []
        for place, band in enumerate(bands):
            step = SLOPE_STEP if point[place] < 0.5 else -SLOPE_STEP
            moved = point.copy()
            moved[place] += step
            moved_db = curve_db(physical(moved), points_hz, [band])
            columns.append(counts * (moved_db - own_db[band]) / step)
        return np.concatenate((np.stack(columns, axis=1), STAY * np.eye(len(point))))

    # One start and a pull towards it: the same voice in another file ends at the same settings.
    edge = np.minimum(INNER, 0.5 * (highest - lowest))
    begin = np.clip(start, lowest + edge, highest - edge)
    return physical(
        least_squares(residuals, begin, slopes, bounds=(lowest, highest), max_nfev=60).x
    )


def _bounds(
    settings: Mapping[str, float], share: float
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Which settings are moved, and between which normalised values."""
    keys = MOVED if share == 1.0 else MOVED + SHELF
    lowest, highest = np.zeros(len(keys)), np.ones(len(keys))
    q = BY_KEY["eq.high_pass.q"].to_normalised(FLAT_Q)
    highest[keys.index("eq.high_pass.q")] -= share * (1.0 - q)
    if share < 1.0:
        place, p = keys.index("eq.low_shelf.gain_db"), BY_KEY["eq.low_shelf.gain_db"]
        kept = p.to_normalised(min(settings[p.key], 0.0))
        lowest[place], highest[place] = share * kept, 1.0 - share * (1.0 - kept)
    return keys, lowest, highest


def _lower(settings: Mapping[str, float], below_hz: np.ndarray) -> dict[str, float]:
    """The same with smaller boosts, and without the high-pass's resonance if it must be."""
    flat = dict(settings)
    flat["eq.high_pass.q"] = min(flat["eq.high_pass.q"], 0.7)

    def scaled(share: float) -> dict[str, float]:
        return {k: v * share if k in GAINS and v > 0.0 else v for k, v in flat.items()}

    low, high = 0.0, 1.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        fits = curve_db(scaled(middle), below_hz).max() <= ALLOWED_DB
        low, high = (middle, high) if fits else (low, middle)
    return scaled(low)


def curve_db(
    settings: Mapping[str, float], freq_hz: np.ndarray, bands: Collection[str] = EQ_BANDS
) -> np.ndarray:
    """Return the gain of the EQ, or of some of its bands, in dB at these frequencies."""
    z1 = np.exp(-2j * np.pi / CURVE_RATE * freq_hz)
    z2 = z1 * z1
    gain = np.ones(len(freq_hz))
    for band in bands:
        b, a = _section(band, settings)
        above, under = b[0] + b[1] * z1 + b[2] * z2, a[0] + a[1] * z1 + a[2] * z2
        gain = gain * np.abs(above / under)
    return np.asarray(20.0 * np.log10(gain + 1e-12))


def _section(
    band: str, settings: Mapping[str, float]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Audio EQ Cookbook, as :mod:`diffconsole.modules.equalizer.process` has it, without torch."""
    freq_hz, q = settings[f"eq.{band}.freq_hz"], settings[f"eq.{band}.q"]
    w = 2.0 * math.pi * min(freq_hz, 0.49 * CURVE_RATE) / CURVE_RATE
    c, alpha = math.cos(w), math.sin(w) / (2.0 * q)
    if band == "high_pass":
        return (0.5 * (1 + c), -(1 + c), 0.5 * (1 + c)), (1 + alpha, -2 * c, 1 - alpha)
    if band == "low_pass":
        return (0.5 * (1 - c), 1 - c, 0.5 * (1 - c)), (1 + alpha, -2 * c, 1 - alpha)
    amp = 10.0 ** (settings[f"eq.{band}.gain_db"] / 40.0)
    if band.startswith("peak"):
        return (
            (1 + alpha * amp, -2 * c, 1 - alpha * amp),
            (1 + alpha / amp, -2 * c, 1 - alpha / amp),
        )
    s = 1.0 if band == "low_shelf" else -1.0
    root = 2.0 * math.sqrt(amp) * alpha
    plus, minus = amp + 1.0, amp - 1.0
    return (
        (
            amp * (plus - s * minus * c + root),
            s * 2 * amp * (minus - s * plus * c),
            amp * (plus - s * minus * c - root),
        ),
        (plus + s * minus * c + root, -s * 2 * (minus + s * plus * c), plus + s * minus * c - root),
    )
