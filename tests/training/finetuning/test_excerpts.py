"""Parts of a pair that are asked for modules: levels of all kinds, and where the modules act."""

from __future__ import annotations

import numpy as np

from diffconsole.pairs import PAIR_RATE, Pair, loudest_start
from diffconsole.training.finetuning.excerpts import FRAME, STEP, acting_start, varied_start

SECOND = PAIR_RATE


def song(*levels_db: float) -> np.ndarray:
    """Noise whose level changes each half second, ``(1, samples)``."""
    rng = np.random.default_rng(3)
    gain = np.repeat(10.0 ** (np.array(levels_db) / 20.0), STEP * FRAME)
    return (gain * rng.standard_normal(len(gain)))[None].astype(np.float32)


def pair_of(raw: np.ndarray, mixed: np.ndarray | None = None) -> Pair:
    return Pair("song", raw, np.repeat(raw if mixed is None else mixed, 2, axis=0), 0.0, 1, 1.0)


def test_steps_are_half_seconds() -> None:
    assert STEP * FRAME == PAIR_RATE // 2


def test_gaps_are_taken_along() -> None:
    """Two seconds with gaps, and not the louder ones without."""
    raw = song(-20, -20, -20, -20, -20, -60, -26, -50, -32, -32)
    assert loudest_start(raw, 2 * SECOND) == 0
    assert varied_start(pair_of(raw), 2 * SECOND) == 2 * SECOND


def test_silence_has_no_levels() -> None:
    raw = song(-20, -20, -20, -26, -20, -120, -120, -20)
    assert varied_start(pair_of(raw), 2 * SECOND) <= SECOND // 2


def test_what_the_mix_lacks_does_not_count() -> None:
    raw = song(-20, -20, -20, -20, -20, -40, -30, -25, -20, -20)
    mixed = raw.copy()
    mixed[:, 2 * SECOND : 4 * SECOND] = 0.0
    assert varied_start(pair_of(raw), 2 * SECOND) >= 2 * SECOND
    assert varied_start(pair_of(raw, mixed), 2 * SECOND) <= SECOND


def test_the_loudest_part_in_which_all_act() -> None:
    raw = song(-10, -10, -20, -20, -15, -15, -20, -20)
    frames = raw.shape[1] // FRAME
    gate, other = np.zeros(frames), np.full(frames, -3.0)
    assert acting_start(raw, [], SECOND) == 0
    # A plain gain acts everywhere alike.
    assert acting_start(raw, [other], SECOND) == 0
    gate[2 * STEP : 3 * STEP] = -20.0
    gate[5 * STEP : 6 * STEP] = -12.0
    assert acting_start(raw, [gate, other], SECOND) == SECOND // 2
    other[6 * STEP : 7 * STEP] = 6.0
    assert acting_start(raw, [gate, other], SECOND) == 5 * SECOND // 2
    other[6 * STEP : 7 * STEP], other[7 * STEP :] = -3.0, 6.0
    # Nowhere both: the loudest part again.
    assert acting_start(raw, [gate, other], SECOND) == 0


def test_a_short_pair_is_whole() -> None:
    raw = song(-20, -40)
    assert varied_start(pair_of(raw), 2 * SECOND) == 0
    assert acting_start(raw, [np.zeros(50)], 2 * SECOND) == 0
