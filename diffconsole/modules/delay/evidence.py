"""What a mix shows of a delay: what the strip leaves of it repeats the dry vocal, later."""

from __future__ import annotations

import numpy as np
import scipy.fft

from ..evidence import Settings, Signals

__all__ = ["echoes_in_mix", "starts"]

EARLIEST_MS, LATEST_MS = 25.0, 1200.0
LOWEST_HZ, HIGHEST_HZ = 200.0, 8000.0
"""Band in which the phases are compared: echoes are seldom brighter."""

BRIGHT_HZ = 800.0

PEAKS, APART_MS, DISTINCT = 4, 4.0, 7.0
"""So many lags, so far apart, that stand out by so many times the usual height."""

AROUND_MS, SHARE_AROUND, LEAST_SHARE = 15.0, 0.2, 0.04
"""The vocal's own periods lie around a higher peak: so near, below this share of its height, and
below the second share anywhere."""

REPEAT_MS, MOST_REPEATS = 0.5, 4
"""So near to a multiple of another lag, up to this one, lies a repeat of its echo."""

QUIETEST_DB = -45.0
"""Echoes below that level against the vocal are inaudible beside it."""

WIDE = 1.5
"""An echo that is louder on one side by this factor lies on that side."""


def echoes_in_mix(signals: Signals) -> list[tuple[float, float]]:
    """Return the lags in ms at which echoes stand out, with their height, the highest first.

    The phases of the dry vocal are looked for in the mix (the phase transform of Knapp and Carter
    1976), once in what the strip leaves of it and once in what the strip's dry signal leaves. What
    stands out in only one of them is the noise of a reverb: of the strip's own, which the mix need
    not have, or of the mix's, which the strip explains. The height counts in units of the usual
    deviation.
    """
    rate = signals.sample_rate
    first, last = (round(t * rate / 1000.0) for t in (EARLIEST_MS, LATEST_MS))
    heights = np.minimum(
        *(_heights(signals, own)[: last + 1] for own in (signals.rendered, signals.dry))
    )
    heights[:first] = 0.0
    found: list[tuple[float, float]] = []
    apart = round(APART_MS * rate / 1000.0)
    while len(found) < PEAKS:
        peak = int(heights.argmax())
        if heights[peak] < DISTINCT:
            break
        one = (peak + _between(heights, peak)) * 1000.0 / rate, float(heights[peak])
        heights[max(0, peak - apart) : peak + apart] = 0.0
        if not any(_belongs_to(one, higher) for higher in found):
            found.append(one)
    return found


def _belongs_to(one: tuple[float, float], higher: tuple[float, float]) -> bool:
    """Whether a lag, with its height, is a repeat of another one or lies around it."""
    lag_ms, height = one
    times = round(lag_ms / higher[0])
    if 1 < times <= MOST_REPEATS and abs(lag_ms - times * higher[0]) < REPEAT_MS:
        return True
    share = SHARE_AROUND if abs(lag_ms - higher[0]) < AROUND_MS else LEAST_SHARE
    return height < share * higher[1]


def _between(heights: np.ndarray, peak: int) -> float:
    """Where the top lies between samples, by a parabola through three of them."""
    if not 0 < peak < len(heights) - 1:
        return 0.0
    before, top, after = heights[peak - 1 : peak + 2]
    bend = before - 2.0 * top + after
    return float(0.5 * (before - after) / bend) if bend < 0.0 else 0.0


def _heights(signals: Signals, own: np.ndarray) -> np.ndarray:
    """The whitened cross-correlation of the louder side, from lag 0 on, by its usual deviation."""
    left = signals.mixed - own
    send = signals.dry.mean(axis=0, keepdims=True)
    length = scipy.fft.next_fast_len(2 * left.shape[-1], real=True)
    cross = np.conj(np.fft.rfft(send, length)) * np.fft.rfft(left, length)
    size = np.abs(cross)
    freq_hz = np.fft.rfftfreq(length, 1.0 / signals.sample_rate)
    inside = (freq_hz > LOWEST_HZ) & (freq_hz < HIGHEST_HZ)
    # Bins in which nobody sings say nothing.
    floor = 0.1 * size[:, inside].mean(axis=-1, keepdims=True) + 1e-20
    response = np.abs(np.fft.irfft(inside * cross / (size + floor), length))
    return np.asarray(response.max(axis=0) / (np.median(response) / 0.6745 + 1e-20))


def starts(signals: Signals) -> list[Settings]:
    """Return delays to begin from; none where no echo stands out.

    Each lag that stands out is tried as the time; the level of what repeats there, against the
    vocal that lies so much earlier, is that of the first echo. The feedback follows from the level
    at twice the lag.
    """
    rate = signals.sample_rate
    left = signals.mixed - signals.rendered
    send = signals.dry.mean(axis=0)
    found = []
    for time_ms, _ in echoes_in_mix(signals):
        lag = round(time_ms * rate / 1000.0)
        once, twice = (_shares(send, left, count * lag) for count in (1, 2))
        level = float(np.abs(once).mean())
        if level < 10.0 ** (QUIETEST_DB / 20.0):
            # The low cut may leave nothing of where the voice has most of its energy.
            bright = _bright(send, rate), _bright(left, rate)
            once, twice = (_shares(*bright, count * lag) for count in (1, 2))
            level = float(np.abs(once).mean())
        feedback = float(np.abs(twice).mean()) / max(level, 1e-6)
        sides = np.sort(np.abs(once))
        widths = (0.0, 0.8) if sides[1] > WIDE * sides[0] else (0.0,)
        level_db = 20.0 * np.log10(max(level, 1e-6))
        if level_db < QUIETEST_DB:
            continue
        found += [
            {
                "time_ms": time_ms,
                "feedback": share,
                "width": width,
                "wet_db": float(level_db) + more_db,
            }
            for share in (min(max(feedback, 0.05), 0.7),)
            for width in widths
            for more_db in (0.0, 6.0)
        ]
    return found


def _bright(audio: np.ndarray, sample_rate: float) -> np.ndarray:
    """What lies in the upper part of the band in which echoes are looked for."""
    length = scipy.fft.next_fast_len(audio.shape[-1], real=True)
    freq_hz = np.fft.rfftfreq(length, 1.0 / sample_rate)
    inside = (freq_hz > BRIGHT_HZ) & (freq_hz < HIGHEST_HZ)
    return np.asarray(np.fft.irfft(inside * np.fft.rfft(audio, length), length))[
        ..., : audio.shape[-1]
    ]


def _shares(send: np.ndarray, left: np.ndarray, lag: int) -> np.ndarray:
    """By how much of the send, `lag` samples later, both sides are explained, ``(2,)``."""
    if lag >= len(send):
        return np.zeros(len(left))
    early = send[: len(send) - lag].astype(np.float64)
    energy = float((early * early).sum()) + 1e-12
    return np.asarray(left[:, lag:] @ early / energy)
