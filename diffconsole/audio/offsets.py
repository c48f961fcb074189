"""Offsets: the mean of a recording, which is inaudible and counts in every measure."""

from __future__ import annotations

import math

import numpy as np

from .silence import SILENCE_SECONDS, between, runs_of
from .windows import whole_windows

__all__ = ["offset_messages", "without_dc"]

LEAST_DC, REPORTED_DC = 1e-3, 3e-3
"""A DC offset is removed from this share of the RMS on, and reported from this share of full
scale on."""

LEAST_DRIFT, DRIFT_SECONDS, DRIFT_HZ, LEAST_SECONDS = 0.03, 1.0, 8.0, 3
"""An offset that moves by this share of the RMS is filtered away, by a high-pass without phase."""


def without_dc(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, list[str]]:
    """Remove the offset of each channel, also one that drifts; all of what stands still."""
    offsets = []
    channels, changed = list(samples), False
    for number, channel in enumerate(channels):
        still = runs_of(channel, sample_rate, 0.0)
        moving = between(still, len(channel))
        # The mean of a click or a word is none of its file's.
        if sum(b - a for a, b in moving) < SILENCE_SECONDS * sample_rate:
            moving = []
        count = sum(b - a for a, b in moving)
        has_still = any(channel[a] != 0.0 for a, _ in still)
        mean = sum(float(np.sum(channel[a:b], dtype=np.float64)) for a, b in moving) / max(count, 1)
        power = sum(float(np.dot(channel[a:b], channel[a:b])) for a, b in moving) / max(count, 1)
        rms = math.sqrt(max(power, 0.0))
        has_offset = abs(mean) > LEAST_DC * rms
        drift = _drift(channel, moving, sample_rate)
        drifts = drift > LEAST_DRIFT * math.sqrt(max(power - mean * mean, 0.0))
        if has_offset or has_still or drifts:
            channels[number] = channel - np.float32(mean if has_offset else 0.0)
            changed = True
            for a, b in still:
                channels[number][a:b] = 0.0
        if drifts:
            for a, b in moving:
                channels[number][a:b] = _without_drift(channels[number][a:b], sample_rate)
        if drifts and drift > REPORTED_DC:
            offsets.append(f"{mean:.3g} that drifts by {drift:.2g}")
        elif has_offset and abs(mean) > max(REPORTED_DC, 0.01 * rms):
            offsets.append(f"{mean:.3g}")
    return (np.stack(channels) if changed else samples), list(dict.fromkeys(offsets))


def offset_messages(offsets: list[str]) -> tuple[str, ...]:
    """Say which offsets there were, in one line; nothing where there were none."""
    if not offsets:
        return ()
    return (f"the file has a DC offset of {' and '.join(offsets)}; the settings ignore it",)


def _drift(channel: np.ndarray, moving: list[tuple[int, int]], sample_rate: int) -> float:
    """How far the mean of a second moves: half of what most of them span."""
    size = round(DRIFT_SECONDS * sample_rate)
    means = [whole_windows(channel[a:b], size).mean(axis=1, dtype=np.float64) for a, b in moving]
    every = np.concatenate(means) if means else np.zeros(0)
    if len(every) < LEAST_SECONDS:
        return 0.0
    # A plosive or a gust of wind moves one of them.
    low, high = np.percentile(every, (10, 90))
    return float(high - low) / 2.0


def _without_drift(part: np.ndarray, sample_rate: int) -> np.ndarray:
    from scipy.signal import butter, sosfiltfilt

    part = part - np.median(part)
    if len(part) < SILENCE_SECONDS * sample_rate:
        return np.asarray(part, np.float32)
    sections = butter(2, DRIFT_HZ, "highpass", fs=sample_rate, output="sos")
    return np.asarray(sosfiltfilt(sections, part), np.float32)
