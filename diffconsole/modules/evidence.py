"""What a mix shows of a module, before any gradient is taken: what the evidence is read from.

A module's own ``starts(signals)`` reads a pair's :class:`Signals` and returns settings from which a
search for it begins, or none where the mix shows nothing of it. It may be wrong in both directions:
what is found is searched, and kept only if the distance to the mix falls by enough. Fine-tuning
asks it also of the strip's own result with the module in it: where even this shows nothing, the mix
says nothing for or against the module (:mod:`diffconsole.training.finetuning.module_evidence`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Settings", "Signals", "frame_levels_db", "tilt_by_level"]

Settings = dict[str, float]
"""Physical settings by short name: ``{"threshold_db": -40.0}``; the others keep their defaults."""

FLOOR = 1e-10


class Signals(NamedTuple):
    """A pair, and what the strip that was found so far makes of it.

    Attributes
    ----------
    sample_rate : float
        Hz.
    raw : ndarray
        ``(channels, samples)``, the raw vocal at the level at which it enters the strip.
    mixed : ndarray
        ``(2, samples)``, the mix at the strip's level.
    rendered : ndarray
        ``(2, samples)``, the strip's result.
    dry : ndarray
        ``(2, samples)``, the same without its sends: what feeds a send, and what comes out of the
        inserts.
    key : str
        Of the module that is asked: several modules can have one code.
    settings : dict of str to float
        The module's own in that strip, by short name.
    """

    sample_rate: float
    raw: np.ndarray
    mixed: np.ndarray
    rendered: np.ndarray
    dry: np.ndarray
    key: str
    settings: Settings


def frame_levels_db(audio: np.ndarray, sample_rate: float, frame_ms: float) -> np.ndarray:
    """Return the level of each frame over all channels, in dB of the mean square.

    Parameters
    ----------
    audio : ndarray
        ``(channels, samples)``.
    sample_rate : float
        Hz.
    frame_ms : float
        Length of a frame; they lie side by side, and an incomplete last one is left out.
    """
    length = max(1, round(frame_ms * sample_rate / 1000.0))
    count = audio.shape[-1] // length
    frames = audio[:, : count * length].reshape(len(audio), count, length).astype(np.float64)
    power = np.square(frames).mean(axis=(0, 2))
    return np.asarray(10.0 * np.log10(power + FLOOR))


def tilt_by_level(
    level_db: np.ndarray, change_db: np.ndarray, least_db: float
) -> tuple[float, float]:
    """Return how a change depends on the level: dB per dB, and what this line leaves, in dB rms.

    Parameters
    ----------
    level_db, change_db : ndarray
        ``(frames,)``.
    least_db : float
        Frames at lower levels do not count.
    """
    loud = level_db > least_db
    if loud.sum() < 3:
        return 0.0, 0.0
    level, change = level_db[loud], change_db[loud]
    away = level - level.mean()
    slope = float((away * change).sum() / max(float((away * away).sum()), FLOOR))
    left = change - change.mean() - slope * away
    return slope, float(np.sqrt(np.mean(left * left)))
