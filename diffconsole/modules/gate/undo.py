"""Noise between the phrases of simulated raw vocals: what a gate turns down."""

from __future__ import annotations

import numpy as np
import scipy.signal

from ...kernels.envelope import envelope
from .process import gate_settings

__all__ = ["settings_for", "undo"]

NOISE_DBFS = (-110.0, -45.0)
"""Of the noise that is added, the root mean square; the voice is at −18 LUFS."""

TILTS_DB = (-9.0, 3.0)
"""Per octave, from a room's hum to a hissing preamplifier."""

RATIO, ATTACK_MS, HOLD_MS, RELEASE_MS = 4.0, 1.0, 60.0, 150.0
QUIET_DBFS = -74.0
"""What the noise is turned down to, its root mean square."""

LEAST_DB, MOST_DB = 3.0, 15.0
PEAKS_DB = 10.5
"""By what the detector's level of noise lies above its root mean square."""

ABOVE_NOISE_DB, BELOW_VOICE_DB = 5.0, 8.0
VOICE_PERCENT, SUNG_DB = 20.0, 24.0
FRAME_SECONDS, PAUSE_FRAMES, STEADY_DB, PAUSE_BELOW_DB = 0.02, 10, 1.5, 20.0
"""A pause is a fifth of a second of frames whose levels differ by no more, as steady noise's, and
lie so far below the loud ones: a held tone is steady too."""

RUMBLE_HZ, MOST_RUMBLE_DB = 200.0, 6.0
POINTS = 32


def undo(
    voice: np.ndarray, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Add noise of a drawn level and colour; the settings turn it down between phrases.

    Parameters
    ----------
    voice : ndarray
        ``(samples,)`` float32 at −18 LUFS.
    sample_rate : int
        Hz.
    rng : Generator
        The source of every random choice.

    Returns
    -------
    voice : ndarray
        ``(samples,)`` float32.
    settings : dict of str to float
        The gate's, by short name; its range is 0 where there is nothing to turn down.
    """
    level_dbfs, tilt_db = rng.uniform(*NOISE_DBFS), rng.uniform(*TILTS_DB)
    octaves = np.log2(np.geomspace(40.0, 0.45 * sample_rate, POINTS) / 1000.0)
    gain = np.concatenate(([0.0], 10.0 ** (tilt_db * octaves / 20.0), [0.0]))
    points_hz = np.concatenate(([0.0], 1000.0 * 2.0**octaves, [sample_rate / 2.0]))
    shape = scipy.signal.firwin2(1025, points_hz, gain, fs=sample_rate)
    noise = scipy.signal.oaconvolve(rng.standard_normal(len(voice)), shape, mode="same")
    noise *= 10.0 ** (level_dbfs / 20.0) / (np.std(noise) + 1e-12)
    noisy = (voice + noise).astype(np.float32)
    return noisy, settings_for(noisy, sample_rate, level_dbfs)


def settings_for(voice: np.ndarray, sample_rate: int, noise_dbfs: float) -> dict[str, float]:
    """Return what an engineer sets who sees the levels of a vocal.

    The threshold lies 5 dB above the peaks of the noise and at least 8 dB below the quiet part of
    what is sung; the range brings the noise to −74 dBFS, by 15 dB at most. Where the noise is lower
    than that, reaches up to the voice, or is rumble below 200 Hz, which the high-pass takes away,
    the range is 0.

    Parameters
    ----------
    voice : ndarray
        ``(samples,)`` float32 at −18 LUFS, with its noise.
    sample_rate : int
        Hz.
    noise_dbfs : float
        Root mean square of its noise, for a passage without a pause in which it could be measured.
    """
    frame = round(FRAME_SECONDS * sample_rate)
    frames_db = _levels_db(voice, frame)
    above = scipy.signal.butter(2, RUMBLE_HZ, "highpass", fs=sample_rate, output="sos")
    above_db = _levels_db(scipy.signal.sosfilt(above, voice), frame)
    all_dbfs = noise_dbfs
    if len(frames_db) >= PAUSE_FRAMES:
        windows = np.lib.stride_tricks.sliding_window_view(frames_db, PAUSE_FRAMES)
        highest_db = np.percentile(frames_db, 95.0) - PAUSE_BELOW_DB
        is_pause = (windows.std(axis=1) < STEADY_DB) & (windows.mean(axis=1) < highest_db)
        steady = np.flatnonzero(is_pause)
        if len(steady):
            at = int(steady[np.argmin(windows.mean(axis=1)[steady])])
            all_dbfs = float(windows[at].mean())
            noise_dbfs = float(above_db[at : at + PAUSE_FRAMES].mean())
    times = (np.array([t]) for t in (ATTACK_MS, HOLD_MS, RELEASE_MS))
    attack, release, hold = gate_settings(sample_rate, *times)
    level = np.abs(voice, dtype=np.float32)[None]
    levels_db = 20.0 * np.log10(envelope(level, attack, release, hold)[0] + 1e-9)
    sung_db = levels_db[levels_db > np.percentile(levels_db, 95.0) - SUNG_DB]
    quiet_db = float(np.percentile(sung_db, VOICE_PERCENT))
    peaks_db = all_dbfs + PEAKS_DB
    threshold_db = min(peaks_db + ABOVE_NOISE_DB, quiet_db - BELOW_VOICE_DB)
    range_db = min(noise_dbfs - QUIET_DBFS, MOST_DB)
    is_rumble = all_dbfs - noise_dbfs > MOST_RUMBLE_DB
    if range_db < LEAST_DB or threshold_db < peaks_db or is_rumble:
        range_db = 0.0
    return {
        "threshold_db": min(max(threshold_db, -80.0), -10.0),
        "ratio": RATIO,
        "range_db": range_db,
        "attack_ms": ATTACK_MS,
        "hold_ms": HOLD_MS,
        "release_ms": RELEASE_MS,
    }


def _levels_db(voice: np.ndarray, frame: int) -> np.ndarray:
    frames = voice[: len(voice) // frame * frame].reshape(-1, frame).astype(np.float64)
    return np.asarray(10.0 * np.log10(np.square(frames).mean(axis=1) + 1e-12))
