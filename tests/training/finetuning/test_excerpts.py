"""Parts of a pair that are asked for modules: levels of all kinds, and where the modules act."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.pairs import PAIR_RATE, Pair, loudest_start
from diffconsole.training.finetuning.excerpts import FRAME, acting_start, varied_start

SECOND = PAIR_RATE
HALF = SECOND // 2 // FRAME


def song(*levels_db: float) -> np.ndarray:
    """Noise whose level changes each half second, ``(1, samples)``."""
    rng = np.random.default_rng(3)
    gain = np.repeat(10.0 ** (np.array(levels_db) / 20.0), SECOND // 2)
    return (gain * rng.standard_normal(len(gain)))[None].astype(np.float32)


def pair_of(raw: np.ndarray, mixed: np.ndarray | None = None) -> Pair:
    return Pair("song", raw, np.repeat(raw if mixed is None else mixed, 2, axis=0), 0.0, 1, 1.0)


def test_gaps_are_taken_along() -> None:
    """Two seconds with gaps, and not the louder ones without."""
    raw = song(-20, -20, -20, -20, -20, -60, -26, -50, -32, -32)
    assert loudest_start(raw, 2 * SECOND) == 0
    assert varied_start(pair_of(raw), 2 * SECOND) == pytest.approx(2.1 * SECOND)


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
    assert acting_start(raw, raw, [], SECOND) == 0
    # A plain gain acts everywhere alike.
    assert acting_start(raw, raw, [other], SECOND) == 0
    gate[2 * HALF : 3 * HALF] = -20.0
    gate[5 * HALF : 6 * HALF] = -12.0
    assert acting_start(raw, raw, [gate, other], SECOND) == pytest.approx(0.3 * SECOND)
    other[6 * HALF : 7 * HALF] = 6.0
    assert acting_start(raw, raw, [gate, other], SECOND) == pytest.approx(2.3 * SECOND)
    other[6 * HALF : 7 * HALF], other[7 * HALF :] = -3.0, 6.0
    # Nowhere half of both: where the one that acts less acts most.
    assert acting_start(raw, raw, [gate, other], SECOND) == pytest.approx(2.7 * SECOND)


def test_a_part_begins_where_no_echo_is_audible() -> None:
    """Not in a gap that the mix fills."""
    gap, echo = song(-50, -10, -10, -50), song(-30, -30, -30, -30)
    act = np.zeros(gap.shape[1] // FRAME)
    act[:5] = 3.0
    assert acting_start(gap, gap, [act], SECOND) == 0
    assert acting_start(gap, gap + echo, [act], SECOND) == SECOND // 2


def test_a_short_pair_is_whole() -> None:
    raw = song(-20, -40)
    assert varied_start(pair_of(raw), 2 * SECOND) == 0
    assert acting_start(raw, raw, [np.zeros(50)], 2 * SECOND) == 0
