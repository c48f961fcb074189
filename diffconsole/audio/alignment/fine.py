"""Lag to a fraction of a sample, and polarity, with evidence from many short windows.

Where a mix keeps the raw vocal's waveform, whatever EQ, compressor, reverb, noise or a second
voice do to it, the phases alone give the same lag in nearly every half second. Where the pitch was
corrected or syllables were moved, each window gives another one; the phases of the whole then have
a highest peak all the same, tens of milliseconds off. There only energies in bands say something,
to a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from ..windows import spread_evenly
from .coarse import Line, fit_line, vertex
from .features import FINE_HOP, FINE_LEAD, PAIR_RATE, energy_changes

__all__ = ["ByEnergies", "ByPhase", "by_energies", "by_phase", "phase_lag"]

LOWEST_HZ, HIGHEST_HZ = 100.0, 8000.0
BLOCK, SPECTRUM = 1 << 16, 1 << 17

WINDOW, SEARCH = 22050, 1764
MOST_WINDOWS = 240
EDGE_SAMPLES = 88
QUIETEST = 1e-3
DISTINCT, PEAK_SAMPLES = 1.4, 10
"""A window's lag counts if it stands out so much from all that is farther away than its peak."""

TOLERANCE_SECONDS = 0.0004
LEAST_AGREEING, LEAST_WINDOWS, SURE_WINDOWS = 0.5, 3, 6
EARLIER_SHARE = 0.5
"""A copy always comes later: an earlier lag counts if half as many windows have it."""

NEAR_SAMPLES, ECHO_SAMPLES = 44, 26460

CHUNK_SECONDS, MOST_CHUNKS, REACH_SECONDS = 2.5, 16, 0.06
CHANGE_SECONDS, LEAST_SIMILAR, FEWEST = 0.35, 0.3, 4
"""Length of a window, the correlation from which it counts, and how many must."""

CLEAR = 1.5
"""Standard errors by which a lag must differ from 0."""

LEAST_ERROR_SECONDS, FAR_SECONDS = 0.004, 0.02
"""With phase vocoders, compressors and reverbs in between it is seldom less; without windows that
count it may be all."""


@dataclass(frozen=True)
class ByPhase:
    """The lag on which windows agree.

    Attributes
    ----------
    lag : Line
        Seconds.
    agreeing : float
        Share of the windows that have it.
    windows : int
        How many have it.
    """

    lag: Line
    agreeing: float
    windows: int

    @property
    def sure(self) -> bool:
        """Whether so many windows have it that it is no chance, whatever else is said."""
        return self.windows >= SURE_WINDOWS


@dataclass(frozen=True)
class ByEnergies:
    """The lag that the energies in bands suggest.

    Attributes
    ----------
    seconds : float
        0 where another lag is not clearly better.
    error_seconds : float
        Two standard errors by the lags of single windows, 4 ms at least, plus the distance from
        what fits best.
    spread_seconds : float
        How far the lags of single windows lie apart.
    """

    seconds: float
    error_seconds: float
    spread_seconds: float = 0.0


def by_phase(raw: np.ndarray, mixed: np.ndarray, coarse: Line) -> ByPhase | None:
    """Let half seconds vote on the lag around a coarse one; None where they do not agree.

    Parameters
    ----------
    raw, mixed : ndarray
        ``(samples,)`` at 44.1 kHz.
    coarse : Line
        Seconds, at most 30 ms off.
    """
    at, lags, windows = _votes(raw, mixed, coarse)
    needed = max(LEAST_AGREEING * windows, min(LEAST_WINDOWS, windows))
    if len(at) < max(needed, 1):
        return None
    line, inside = fit_line(at, lags, TOLERANCE_SECONDS)
    if inside.sum() < needed:
        return None
    others = ~inside
    if others.sum() >= EARLIER_SHARE * inside.sum():
        earlier, also = fit_line(at[others], lags[others], TOLERANCE_SECONDS)
        middle = 0.5 * len(raw) / PAIR_RATE
        if also.sum() >= EARLIER_SHARE * inside.sum() and earlier.at(middle) < line.at(middle):
            line = earlier
    return ByPhase(line, float(inside.sum()) / windows, int(inside.sum()))


def _votes(raw: np.ndarray, mixed: np.ndarray, coarse: Line) -> tuple[np.ndarray, np.ndarray, int]:
    """Middles and lags of the windows that have a distinct one, and how many were asked."""
    first = max(0, round(-coarse.start * PAIR_RATE))
    last = min(len(raw), round((len(mixed) / PAIR_RATE - coarse.start) * PAIR_RATE))
    window = int(min(WINDOW, max((last - first) // 4, 4410)))
    starts = np.arange(first, max(last - window, first) + 1, window)
    energy = np.array([np.mean(raw[s : s + window].astype(np.float64) ** 2) for s in starts])
    starts = starts[energy > QUIETEST * energy.max()] if len(starts) else starts
    chosen = spread_evenly(len(starts), MOST_WINDOWS)
    length = 1 << (window + 2 * SEARCH - 1).bit_length()
    freq_hz = np.fft.rfftfreq(length, 1.0 / PAIR_RATE)
    band = (freq_hz > LOWEST_HZ) & (freq_hz < HIGHEST_HZ)
    place = np.arange(2 * SEARCH + 1)
    found = []
    asked = 0
    for start in starts[chosen]:
        middle = (start + window / 2) / PAIR_RATE
        begin = start + round(coarse.at(middle) * PAIR_RATE) - SEARCH
        theirs = _part(mixed, begin, window + 2 * SEARCH)
        if not theirs.any():
            continue
        asked += 1
        cross = np.conj(scipy.fft.rfft(raw[start : start + window], length))
        cross *= scipy.fft.rfft(theirs, length) * band
        size = np.abs(cross)
        cross /= np.maximum(size, 1e-9 * size.max() + 1e-30)
        curve = np.abs(scipy.fft.irfft(cross, length)[: 2 * SEARCH + 1])
        # Where the longer part begins and ends, its edges meet those of the window.
        curve[:EDGE_SAMPLES] = curve[-EDGE_SAMPLES:] = 0.0
        peak = int(np.argmax(curve))
        rest = curve[np.abs(place - peak) > PEAK_SAMPLES].max()
        if curve[peak] >= DISTINCT * rest and curve[peak] > 0.0:
            found.append((middle, (begin + peak + vertex(curve, peak) - start) / PAIR_RATE))
    at, lags = np.array(found).reshape(-1, 2).T
    return at, lags, asked


def _part(samples: np.ndarray, begin: int, length: int) -> np.ndarray:
    """Samples from `begin` on, with silence where there are none."""
    part = samples[max(begin, 0) : max(begin + length, 0)]
    return np.pad(part, (max(-begin, 0), 0))[:length] if begin < 0 else part


def phase_lag(raw: np.ndarray, mixed: np.ndarray, around: float) -> tuple[float, int]:
    """Lag in samples and polarity by the phases of the whole, within 1 ms of a lag in samples.

    Or clearly before it, where that is an echo's.
    The phases alone say it best, whatever the mix did to the tone: an EQ can move the ordinary
    cross-correlation by a period of a formant, and invert it.
    """
    coarse, reach = round(around), ECHO_SAMPLES
    cross = _cross_spectrum(raw, mixed, coarse, reach)
    freq_hz = np.fft.rfftfreq(SPECTRUM, 1.0 / PAIR_RATE)
    cross *= (freq_hz > LOWEST_HZ) & (freq_hz < HIGHEST_HZ)
    size = np.abs(cross)
    curve = scipy.fft.irfft(cross / np.maximum(size, 1e-12 * size.max() + 1e-30), SPECTRUM)
    curve = curve[: 2 * reach + 1]
    strength = np.abs(curve)
    first = reach - NEAR_SAMPLES
    peak = first + int(np.argmax(strength[first : reach + NEAR_SAMPLES + 1]))
    before = int(np.argmax(strength[EDGE_SAMPLES : reach - SEARCH])) + EDGE_SAMPLES
    if strength[before] > EARLIER_SHARE * strength[peak]:
        peak = before
    return float(coarse - reach + peak + vertex(strength, peak)), 1 if curve[peak] >= 0 else -1


def _cross_spectrum(raw: np.ndarray, mixed: np.ndarray, coarse: int, reach: int) -> np.ndarray:
    """Sum over blocks; its transform holds the lags from `coarse` − reach to + reach."""
    total = np.zeros(SPECTRUM // 2 + 1, complex)
    for start in range(0, len(raw), BLOCK):
        ours = raw[start : start + BLOCK]
        theirs = _part(mixed, start + coarse - reach, len(ours) + 2 * reach)
        if len(theirs):
            total += np.conj(scipy.fft.rfft(ours, SPECTRUM)) * scipy.fft.rfft(theirs, SPECTRUM)
    return total


def by_energies(raw: np.ndarray, mixed: np.ndarray, coarse: float) -> ByEnergies:
    """Find the lag around a coarse one, in seconds, by when bands become louder and quieter.

    Every third of a second has a lag of its own; those in the middle, half of the evidence, give
    the mean. Files that were exported together begin together: a lag that could be 0 is 0.
    """
    curves, step = _change_curves(raw, mixed, coarse)
    reach = curves.shape[1] // 2
    tops = curves.max(axis=1, initial=0.0)
    peaks = curves.argmax(axis=1) if len(curves) else np.zeros(0, int)
    clear = (tops > LEAST_SIMILAR) & (peaks > 0) & (peaks < 2 * reach)
    if clear.sum() < FEWEST:
        return ByEnergies(0.0 if abs(coarse) < FAR_SECONDS else coarse, FAR_SECONDS)
    places = [peak + vertex(curve, peak) for curve, peak in zip(curves, peaks, strict=True)]
    lags = coarse + (np.array(places)[clear] - reach) * step
    # The likelihood of Gaussian signals: a window that follows closely counts far more.
    evidence = -np.log(1.0 - np.minimum(tops[clear], 0.99) ** 2)
    order = np.argsort(lags)
    until = np.cumsum(evidence[order])
    until = (until - 0.5 * evidence[order]) / until[-1]
    inner = lags[order][(until > 0.25) & (until < 0.75)]
    seconds = float(inner.mean() if len(inner) else np.interp(0.5, until, lags[order]))
    spread = 1.48 * float(np.median(np.abs(lags - np.median(lags))))
    # Neighbours overlap by half.
    doubt = 1.2 * spread / np.sqrt(0.5 * len(lags))
    error = max(2.0 * doubt, LEAST_ERROR_SECONDS)
    if abs(seconds) < max(CLEAR * doubt, LEAST_ERROR_SECONDS):
        return ByEnergies(0.0, error + abs(seconds), spread)
    return ByEnergies(seconds, error, spread)


def _change_curves(raw: np.ndarray, mixed: np.ndarray, coarse: float) -> tuple[np.ndarray, float]:
    """Correlation of the changes of energy by lag, ± 60 ms, one row a window; seconds a step."""
    step = FINE_HOP / PAIR_RATE
    reach = round(REACH_SECONDS / step)
    size = int(CHUNK_SECONDS * PAIR_RATE)
    lag = round(coarse * PAIR_RATE)
    first, last = max(0, -lag), min(len(raw), len(mixed) - lag)
    size = min(size, max(last - first, 1))
    count = -(-(last - first) // size)
    starts = np.linspace(first, max(last - size, first), max(count, 1)).astype(int)
    energy = np.array([np.mean(raw[s : s + size].astype(np.float64) ** 2) for s in starts])
    starts = np.sort(starts[np.argsort(-energy)[:MOST_CHUNKS]])
    margin, around = reach * FINE_HOP, size + 2 * FINE_LEAD
    rows = []
    for start in starts:
        ours = energy_changes(_whole_part(raw, start - FINE_LEAD, around))
        theirs = energy_changes(
            _whole_part(mixed, start + lag - FINE_LEAD - margin, around + 2 * margin)
        )
        rows += _windows(ours, theirs, reach)
    return np.array(rows).reshape(-1, 2 * reach + 1), step


def _windows(ours: np.ndarray, theirs: np.ndarray, reach: int) -> list[np.ndarray]:
    """Correlation by lag of each window; `theirs` begins `reach` frames earlier."""
    frames = round(CHANGE_SECONDS * PAIR_RATE / FINE_HOP)
    length = 1 << (2 * frames + 2 * reach).bit_length()
    before = np.concatenate(([0.0], np.cumsum(np.sum(theirs**2, axis=0))))
    rows = []
    for start in range(0, ours.shape[1] - frames + 1, frames // 2):
        x = ours[:, start : start + frames]
        y = theirs[:, start : start + frames + 2 * reach]
        product = np.conj(scipy.fft.rfft(x, length)) * scipy.fft.rfft(y, length)
        curve = scipy.fft.irfft(product.sum(axis=0), length)[: 2 * reach + 1]
        power = before[start + frames :][: 2 * reach + 1] - before[start:][: 2 * reach + 1]
        rows.append(curve / np.sqrt(np.sum(x**2) * np.maximum(power, 0.0) + 1e-12))
    return rows


def _whole_part(samples: np.ndarray, begin: int, length: int) -> np.ndarray:
    part = _part(samples, begin, length)
    return np.pad(part, (0, length - len(part)))
