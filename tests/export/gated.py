"""What the tests of gates share: a voice with pauses, and what is left of it in them."""

from __future__ import annotations

import numpy as np

from tests.export.helpers import Voice, take

__all__ = ["GATES", "frame_levels_db", "gated_error_db", "with_pauses"]

GATES = {
    "podcast": {
        "threshold_db": -36.0, "ratio": 2.5, "range_db": 12.0, "attack_ms": 1.0, "hold_ms": 100.0,
        "release_ms": 120.0,
    },
    "gentle": {
        "threshold_db": -42.0, "ratio": 2.0, "range_db": 15.0, "attack_ms": 1.0, "hold_ms": 40.0,
        "release_ms": 150.0,
    },
    "steep": {
        "threshold_db": -40.0, "ratio": 10.0, "range_db": 40.0, "attack_ms": 0.5, "hold_ms": 0.0,
        "release_ms": 80.0,
    },
}  # fmt: skip


def with_pauses(
    voices: list[Voice], rate: int, channels: int = 1, seconds: float = 2.8
) -> np.ndarray:
    """A voice with noise in pauses, into which it falls by 50 dB."""
    audio = take(voices[2], rate, channels, seconds=seconds)
    within = np.arange(audio.shape[1]) / rate % 0.7
    audio = audio * 10.0 ** (-50.0 / 20.0 * np.clip(within / 0.3 - 1.0, 0.0, 1.0))
    noise = np.random.default_rng(1).standard_normal(audio.shape)
    return (0.3 * audio / np.abs(audio).max() + 1e-3 * noise).astype(np.float32)


def frame_levels_db(audio: np.ndarray, rate: int) -> np.ndarray:
    """Levels of frames of 20 ms, dB."""
    frame = rate // 50
    whole = audio[:, : audio.shape[1] // frame * frame].astype(np.float64)
    frames = whole.reshape(len(audio), -1, frame)
    return 10.0 * np.log10(np.square(frames).mean(axis=(0, 2)) + 1e-12)


def gated_error_db(output: np.ndarray, expected: np.ndarray, dry: np.ndarray, rate: int) -> float:
    """By how many dB the level is off in the mean of the frames that are turned down."""
    found, wanted, before = (frame_levels_db(audio, rate) for audio in (output, expected, dry))
    is_down = before - wanted > 1.0
    assert 0.15 < is_down.mean() < 0.8, "it turns down something, not everything"
    return float(np.abs(found - wanted)[is_down].mean())
