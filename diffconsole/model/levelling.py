"""The loudness at which vocals are encoded, and the gain that brings a take there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..audio.take import Take, take_of
from ..errors import AudioError
from ..strip.parameters import BY_KEY

__all__ = ["REFERENCE_LUFS", "as_array", "gain_of", "level_gain_db"]

REFERENCE_LUFS = -18.0
"""Loudness at which every vocal is encoded."""

# Beyond this no file holds a recording: wrong bytes were taken for samples.
LOUDEST_LUFS = 100.0
# Below it lies nothing that a converter of 24 bits holds.
SILENT_LUFS = -130.0


def as_array(samples: Any) -> Any:
    """Return the samples of a tensor as a NumPy array in float32, anything else as it is."""
    # Only tensors have it; PyTorch need not be loaded to find out.
    if hasattr(samples, "requires_grad"):
        return samples.detach().cpu().float().numpy()
    return samples


def level_gain_db(samples: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Return the gain that brings a vocal to −18 LUFS, and its loudness.

    Raises
    ------
    AudioError
        The vocal is silent, not finite, or further from −18 LUFS than the input gain reaches.
    """
    take = take_of(samples, sample_rate)
    return gain_of(take), take.loudness_lufs


def gain_of(take: Take) -> float:
    """Return the gain in dB that brings the channels that carry the voice to −18 LUFS.

    Raises
    ------
    AudioError
        The vocal is silent, or further from −18 LUFS than the input gain reaches.
    """
    gain = BY_KEY["input_gain.gain_db"]
    if take.level_lufs > LOUDEST_LUFS:
        raise AudioError(
            f"the vocal is {take.level_lufs:+.1f} LUFS, far above full scale: its samples are "
            "damaged or of another scale; export it again"
        )
    if take.level_lufs < REFERENCE_LUFS - gain.high - 12.0:
        level = "silent" if take.level_lufs < SILENT_LUFS else f"{take.level_lufs:.1f} LUFS"
        raise AudioError(f"the vocal is {level}: nothing to predict settings from")
    return gain.clip(REFERENCE_LUFS - take.level_lufs)
