"""Alignment: by how much the mix lies later, how fast it runs, its polarity, and how sure it is.

In two steps. The energies of four bands, every 10 ms, say where the mix lies and whether it is the
same performance at all. Around that the waveforms say the rest, to a fraction of a sample, if many
short windows agree on it; else the energies decide, and the lag is called uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .coarse import LOWEST_CORRELATION, Line, locate
from .features import PAIR_RATE
from .fine import by_energies, by_phase, phase_lag

__all__ = ["Alignment", "align", "at_speed", "measure"]

LEAST_DRIFT_SECONDS = 0.0003
"""Over the whole of a pair: less is left as it is."""

PULL_SLOPES = (0.001, -1.0 / 1001.0)
"""Film pull-down and pull-up."""

POLARITY_WINDOW, POLARITY_REACH, MOST_POLARITY_WINDOWS = 1102, 441, 300
POLARITY_HZ, WHITENING = (100.0, 8000.0), 0.85
CLEAR_POLARITY = 0.7
"""Of 1 where every stretch says the same. Steep filters turn the phases of a vocal's loudest band
and reach 0.7 the wrong way; mixes that were only tuned or moved stay above."""


@dataclass(frozen=True)
class Alignment:
    """Where a mix lies against its raw vocal.

    Attributes
    ----------
    lag : float
        Samples, positive where the mix is later; of the mix at the raw's speed.
    polarity : int
        1 or −1.
    correlation : float
        Of the bands' log-energies at the best lag, where both files lie, 1 at most. Where that is
        low, but the waveforms agree, the share of half seconds in which they do.
    slope : float
        By how much the mix takes longer, a share of its time: 0.0001 where it runs 100 ppm slow.
    error_seconds : float
        0 where the waveforms agree on the lag, else how far it may be off.
    polarity_clear : bool
        Whether there is evidence for the polarity; else it is 1.
    spread_seconds : float
        How far the lags of single syllables lie apart, where the waveforms do not agree.
    """

    lag: float
    polarity: int
    correlation: float
    slope: float = 0.0
    error_seconds: float = 0.0
    polarity_clear: bool = True
    spread_seconds: float = 0.0


def align(raw: np.ndarray, mixed: np.ndarray) -> tuple[float, int, float]:
    """Find how much later the mix lies, its polarity, and whether it is the same performance.

    Parameters
    ----------
    raw, mixed : ndarray
        ``(samples,)`` at 44.1 kHz.

    Returns
    -------
    lag : float
        Samples, positive where the mix is later.
    polarity : int
        1 or −1.
    correlation : float
        Of the bands' log-energies at the best lag, where both files lie, 1 at most; less where
        the overlap falls short of 80 % of the shorter file and of ten seconds. Where that is low,
        but the waveforms agree, the share of half seconds in which they do.
    """
    found = measure(raw, mixed)
    return found.lag, found.polarity, found.correlation


def measure(raw: np.ndarray, mixed: np.ndarray) -> Alignment:
    """Find all of :class:`Alignment` for two ``(samples,)`` at 44.1 kHz."""
    coarse = locate(raw, mixed)
    slope, line = 0.0, coarse.lag
    voted = by_phase(raw, mixed, line)
    if voted is None and coarse.correlation >= LOWEST_CORRELATION:
        # Half a second at another speed has no lag that all of its phases agree on.
        for tried in filter(None, (coarse.lag.slope, *PULL_SLOPES)):
            moved = at_speed(mixed[None], tried)[0]
            voted = by_phase(raw, moved, _seen_at(coarse.lag, tried))
            if voted is not None:
                slope = tried
                break
    if voted is None:
        # An echo, a rhythm beside the voice or an effect may hide the syllables' energies.
        tried_lags = (by_phase(raw, mixed, other) for other in coarse.others)
        voted = next((other for other in tried_lags if other is not None and other.sure), None)
    correlation = coarse.correlation
    if correlation < LOWEST_CORRELATION and voted is not None and voted.sure:
        correlation = voted.agreeing
    line = line if voted is None else voted.lag
    original = mixed
    if slope:
        mixed = at_speed(original[None], slope)[0]
    for _ in range(2):
        if abs(line.slope) * _overlap(raw, mixed, line) <= LEAST_DRIFT_SECONDS:
            break
        slope = (1.0 + slope) * (1.0 + line.slope) - 1.0
        mixed = at_speed(original[None], slope)[0]
        line = Line(line.start / (1.0 + line.slope))
        # The windows agree better at the raw's speed, and show what is left.
        again = by_phase(raw, mixed, line) if voted is not None else None
        line = line if again is None else again.lag
    start = line.at(0.5 * len(raw) / PAIR_RATE)
    if voted is not None:
        lag, polarity = phase_lag(raw, mixed, start * PAIR_RATE)
        return Alignment(lag, polarity, correlation, slope)
    if coarse.correlation < LOWEST_CORRELATION:
        return Alignment(start * PAIR_RATE, 1, coarse.correlation, slope)
    found = by_energies(raw, mixed, start)
    lag = found.seconds * PAIR_RATE
    sign = _local_polarity(raw, mixed, round(lag))
    polarity = -1 if sign < -CLEAR_POLARITY else 1
    clear = abs(sign) > CLEAR_POLARITY
    return Alignment(
        lag, polarity, coarse.correlation, slope, found.error_seconds, clear, found.spread_seconds
    )


def at_speed(mixed: np.ndarray, slope: float) -> np.ndarray:
    """Return ``(channels, samples)`` of a mix that takes longer by `slope` at the raw's speed."""
    import soxr

    moved = soxr.resample(mixed.T, PAIR_RATE * (1.0 + slope), PAIR_RATE, quality="VHQ")
    return np.ascontiguousarray(moved.T, np.float32)


def _seen_at(lag: Line, slope: float) -> Line:
    """The lag of a mix after it was brought to another speed."""
    return Line(lag.start / (1.0 + slope), (1.0 + lag.slope) / (1.0 + slope) - 1.0)


def _overlap(raw: np.ndarray, mixed: np.ndarray, lag: Line) -> float:
    first = max(0.0, -lag.start)
    last = min(len(raw) / PAIR_RATE, len(mixed) / PAIR_RATE - lag.start)
    return max(last - first, 0.0)


def _local_polarity(raw: np.ndarray, mixed: np.ndarray, lag: int) -> float:
    """−1…1, negative where stretches of 25 ms fit better upside down, each at its own lag."""
    size, reach = POLARITY_WINDOW, POLARITY_REACH
    starts = np.arange(max(0, reach - lag), min(len(raw), len(mixed) - lag - reach) - size, size)
    energy = np.array([np.sum(raw[s : s + size] ** 2) for s in starts])
    length = 1 << (2 * size + 2 * reach).bit_length()
    freq_hz = np.fft.rfftfreq(length, 1.0 / PAIR_RATE)
    band = (freq_hz > POLARITY_HZ[0]) & (freq_hz < POLARITY_HZ[1])
    window = np.hanning(size)
    signs = []
    for start in starts[np.argsort(-energy)[:MOST_POLARITY_WINDOWS]]:
        part = mixed[start + lag - reach : start + lag + size + reach]
        cross = np.conj(np.fft.rfft(raw[start : start + size] * window, length))
        cross *= np.fft.rfft(part, length) * band
        # Most of the way to the phases alone: an EQ turns the phases of what it makes loud.
        curve = np.fft.irfft(cross / (np.abs(cross) ** WHITENING + 1e-12), length)[: 2 * reach + 1]
        high, low = float(curve.max()), float(-curve.min())
        signs.append((high - low) / max(high, low, 1e-20))
    return float(sum(signs) / max(sum(map(abs, signs)), 1e-20))
