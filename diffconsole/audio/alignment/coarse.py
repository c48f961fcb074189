"""Where the mix lies, to a hundredth of a second, how fast it runs, and whether it is the same.

All by the energies of bands every 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..windows import spread_evenly
from .features import FRAME_SECONDS, band_energies, band_powers, long_runs

__all__ = [
    "LOWEST_CORRELATION",
    "Coarse",
    "Line",
    "fit_line",
    "locate",
    "suspected_speed",
    "vertex",
]

# Nine real mixes, and far heavier ones made by the console, lie above 0.6; other performances
# of five seconds below 0.45, longer ones lower.
LOWEST_CORRELATION = 0.5
LEAST_SHARE, LEAST_SECONDS = 0.8, 10.0
"""Of the shorter file, or in all: less overlap lowers the correlation in proportion."""

DEAD, DEAD_SECONDS = 1e-8, 1.0
"""Frames this far below the loudest, for so long, hold nothing that could be compared."""

MOST_OTHERS, APART_FRAMES = 4, 5
"""Where the waveforms may lie if the energies say little, and the distance between two of them."""

WINDOW_SECONDS, SEARCH_SECONDS, MOST_WINDOWS = 8.0, 0.6, 48
AGREEING = 0.6
"""Share of the windows that lie on a line for it to be believed."""

SCANNED_PPM = 5000.0
SCAN_GAIN = 0.08
"""By how much the correlation must rise for another speed to be taken."""

KNOWN_SPEEDS = {
    "film pull-down (24 frames as 23.976)": 1001.0 / 1000.0,
    "film pull-up (23.976 frames as 24)": 1000.0 / 1001.0,
    "24 frames played as 25": 24.0 / 25.0,
    "25 frames played as 24": 25.0 / 24.0,
    "48 kHz played as 44.1 kHz": 48000.0 / 44100.0,
    "44.1 kHz played as 48 kHz": 44100.0 / 48000.0,
}


@dataclass(frozen=True)
class Line:
    """A lag that changes steadily: ``start + slope · t``.

    Attributes
    ----------
    start : float
        Seconds, at the raw's beginning.
    slope : float
        Seconds a second.
    """

    start: float
    slope: float = 0.0

    def at(self, seconds: float) -> float:
        """Return the lag at this moment of the raw."""
        return self.start + self.slope * seconds


@dataclass(frozen=True)
class Coarse:
    """What the bands' energies say.

    Attributes
    ----------
    lag : Line
        Seconds, positive where the mix is later.
    correlation : float
        1 at most.
    others : tuple of Line
        Where else the files may lie, given only if they do not correlate.
    """

    lag: Line
    correlation: float
    others: tuple[Line, ...] = ()


def locate(raw: np.ndarray, mixed: np.ndarray) -> Coarse:
    """Find lag, speed and correlation of two ``(samples,)`` at 44.1 kHz."""
    powers = band_powers(raw), band_powers(mixed)
    a, b = (band_energies(power) for power in powers)
    alive = tuple(~_dead(power) for power in powers)
    frames = _best_lag(a, b)
    plain = Coarse(Line(frames * FRAME_SECONDS), _correlation(a, b, alive, frames))
    found = _along_windows(a, b, alive, frames, 0.0)
    if found is None or found.correlation < LOWEST_CORRELATION:
        scanned = _scan(a, b, alive, _speeds(min(a.shape[1], b.shape[1])))
        other = _along_windows(a, b, alive, *scanned)
        if other is not None and other.correlation > plain.correlation + SCAN_GAIN:
            found = other
    best = found if found is not None and found.correlation > plain.correlation else plain
    if best.correlation >= LOWEST_CORRELATION:
        return best
    others = tuple(Line(frames * FRAME_SECONDS) for frames in _best_lags(a, b, MOST_OTHERS + 1))
    return replace(best, others=others[1:])


def suspected_speed(raw: np.ndarray, mixed: np.ndarray) -> str:
    """Name the known change of speed that two files of no agreement suggest, or nothing."""
    powers = band_powers(raw), band_powers(mixed)
    a, b = (band_energies(power) for power in powers)
    alive = tuple(~_dead(power) for power in powers)
    names = dict(zip(KNOWN_SPEEDS.values(), KNOWN_SPEEDS, strict=True))
    before = _correlation(a, b, alive, _best_lag(a, b))
    frames, slope = _scan(a, b, alive, [speed - 1.0 for speed in names])
    after = _correlation(a, _at_speed(b, slope), (alive[0], _mask_at(alive[1], slope)), frames)
    if after < max(LOWEST_CORRELATION, before + SCAN_GAIN):
        return ""
    return names.get(slope + 1.0, "")


def _dead(powers: np.ndarray) -> np.ndarray:
    level = powers.sum(axis=0)
    return long_runs(level <= DEAD * level.max(), round(DEAD_SECONDS / FRAME_SECONDS))


def _best_lag(a: np.ndarray, b: np.ndarray) -> int:
    return _best_lags(a, b, 1)[0]


def _best_lags(a: np.ndarray, b: np.ndarray, count: int) -> list[int]:
    """Lags in frames of the highest correlation, each well apart from the others."""
    length = 1 << (a.shape[1] + b.shape[1]).bit_length()
    product = np.conj(np.fft.rfft(a, length)) * np.fft.rfft(b, length)
    curve = np.fft.irfft(product.sum(axis=0), length)
    lags = []
    for _ in range(count):
        best = int(np.argmax(curve))
        lags.append(best if best < length // 2 else best - length)
        curve[np.arange(best - APART_FRAMES, best + APART_FRAMES + 1) % length] = -np.inf
    return lags


def _correlation(a: np.ndarray, b: np.ndarray, alive: tuple[np.ndarray, ...], frames: int) -> float:
    """Correlation of `a` with `b` `frames` later, over what both files hold."""
    x, y = a[:, max(-frames, 0) :], b[:, max(frames, 0) :]
    shared = min(x.shape[1], y.shape[1])
    both = alive[0][max(-frames, 0) :][:shared] & alive[1][max(frames, 0) :][:shared]
    x, y = x[:, :shared][:, both], y[:, :shared][:, both]
    shorter = min(int(alive[0].sum()), int(alive[1].sum()))
    needed = min(LEAST_SHARE * shorter, LEAST_SECONDS / FRAME_SECONDS)
    similar = float(np.sum(x * y) / (np.sqrt(np.sum(x**2) * np.sum(y**2)) + 1e-12))
    return min(int(both.sum()) / max(needed, 1.0), 1.0) * min(similar, 1.0)


def _at_speed(b: np.ndarray, slope: float) -> np.ndarray:
    """The bands of the mix as if it ran at the raw's speed."""
    if not slope:
        return b
    places = np.arange(int(b.shape[1] / (1.0 + slope))) * (1.0 + slope)
    return np.array([np.interp(places, np.arange(b.shape[1]), row) for row in b])


def _mask_at(alive: np.ndarray, slope: float) -> np.ndarray:
    return _at_speed(alive[None].astype(float), slope)[0] > 0.5


def _speeds(frames: int) -> list[float]:
    """Slopes so dense that at the best of them no syllable lies 30 ms off."""
    step = max(0.06 / (frames * FRAME_SECONDS), 1e-4)
    count = int(SCANNED_PPM * 1e-6 / step)
    return [number * step for number in range(-count, count + 1)]


def _scan(
    a: np.ndarray, b: np.ndarray, alive: tuple[np.ndarray, ...], slopes: Iterable[float]
) -> tuple[int, float]:
    """The lag in frames and the slope with the highest correlation."""
    best = (-1.0, 0, 0.0)
    for slope in slopes:
        moved = _at_speed(b, slope)
        frames = _best_lag(a, moved)
        found = _correlation(a, moved, (alive[0], _mask_at(alive[1], slope)), frames)
        best = max(best, (found, frames, slope))
    return best[1], best[2]


def _along_windows(
    a: np.ndarray, b: np.ndarray, alive: tuple[np.ndarray, ...], frames: int, slope: float
) -> Coarse | None:
    """Refine a lag and a speed by lags of single windows; None where these do not agree."""
    moved = _at_speed(b, slope)
    both = alive[0], _mask_at(alive[1], slope)
    size, search = (round(s / FRAME_SECONDS) for s in (WINDOW_SECONDS, SEARCH_SECONDS))
    first = max(-frames, 0)
    last = min(a.shape[1], moved.shape[1] - frames)
    starts = np.arange(first, last - size + 1, size)
    starts = starts[spread_evenly(len(starts), MOST_WINDOWS)]
    points = []
    for start in starts:
        ours = a[:, start : start + size]
        begin = start + frames - search
        theirs = moved[:, max(begin, 0) : max(begin + size + 2 * search, 0)]
        theirs = np.pad(theirs, ((0, 0), (max(-begin, 0), 0)))
        length = 1 << (size + 2 * search).bit_length()
        product = np.conj(np.fft.rfft(ours, length)) * np.fft.rfft(theirs, length)
        curve = np.fft.irfft(product.sum(axis=0), length)[: 2 * search + 1]
        peak = int(np.argmax(curve))
        if curve[peak] > 0.0:
            points.append((start + size / 2, frames - search + peak + vertex(curve, peak)))
    if len(points) < 4:
        return None
    at, lags = np.array(points).T
    line, inside = fit_line(at * FRAME_SECONDS, lags * FRAME_SECONDS, 0.015)
    if inside.sum() < AGREEING * len(points) or inside.sum() < 4:
        return None
    # The lag of the mix as it lies, from that of the mix at the raw's speed.
    whole = Line(line.start * (1.0 + slope), (1.0 + line.slope) * (1.0 + slope) - 1.0)
    span = float(np.ptp(at[inside])) * FRAME_SECONDS
    if abs(whole.slope) * span < 0.015:
        middle = 0.5 * a.shape[1] * FRAME_SECONDS
        whole = Line(whole.at(middle))
    steady = _at_speed(b, whole.slope)
    start = round(whole.start / (1.0 + whole.slope) / FRAME_SECONDS)
    both = alive[0], _mask_at(alive[1], whole.slope)
    return Coarse(whole, max(_correlation(a, steady, both, start + k) for k in (-1, 0, 1)))


def fit_line(at: np.ndarray, lags: np.ndarray, tolerance: float) -> tuple[Line, np.ndarray]:
    """Fit the line on which most points lie, a flat one where another gains little.

    Parameters
    ----------
    at, lags : ndarray
        Seconds.
    tolerance : float
        Seconds that a point may lie off.

    Returns
    -------
    line : Line
        By least squares of the points on it.
    inside : ndarray
        Which these are.
    """
    flat = np.abs(lags[:, None] - lags[None, :]) < tolerance
    level = int(np.argmax(flat.sum(axis=0)))
    best, most = flat[:, level], int(flat[:, level].sum())
    some = spread_evenly(len(at), 60)
    needed = most + max(1, round(0.1 * len(at)))
    for place, i in enumerate(some):
        for j in some[place + 1 :]:
            if at[j] - at[i] < 1.0:
                continue
            slope = (lags[j] - lags[i]) / (at[j] - at[i])
            near = np.abs(lags - lags[i] - slope * (at - at[i])) < tolerance
            if near.sum() >= needed and near.sum() > most:
                best, most = near, int(near.sum())
    for _ in range(3):
        if best.sum() < 3 or np.ptp(at[best]) < 2.0:
            return Line(float(np.median(lags[best]))), best
        slope, start = np.polyfit(at[best], lags[best], 1)
        near = np.abs(lags - start - slope * at) < tolerance
        if near.sum() < best.sum():
            break
        best = near
    slope, start = np.polyfit(at[best], lags[best], 1)
    off = lags[best] - start - slope * at[best]
    spread = np.sqrt(np.sum((at[best] - at[best].mean()) ** 2))
    error = np.sqrt(np.mean(off**2) * len(off) / max(len(off) - 2, 1)) / spread
    if abs(slope) < 4.0 * error:
        return Line(float(np.median(lags[best]))), best
    return Line(float(start), float(slope)), best


def vertex(values: np.ndarray, peak: int) -> float:
    """Offset of a parabola's top from its highest sample, −0.5…0.5."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    left, top, right = values[peak - 1 : peak + 2]
    bend = left - 2.0 * top + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
