"""The distance of arrays against the one that is reported, and its averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.losses import MixTarget
from diffconsole.losses.array_target import ArrayTarget
from diffconsole.losses.kernels.cpu_energies import averages_of, times_of
from diffconsole.losses.kernels.cpu_strided import STRIDE, strided_averages_of

from ..synthetic import RATE, voice


def stereo(seed: int, seconds: float = 4.0) -> np.ndarray:
    own, other = voice(seconds, seed), voice(seconds, seed + 100)
    return np.stack((own + 0.1 * other, own - 0.1 * other))


def filtered(audio: np.ndarray) -> np.ndarray:
    """Duller by some 1 dB, and the sides further apart."""
    dull = audio + 0.06 * np.roll(audio, 2, axis=1)
    return np.ascontiguousarray(dull + 0.05 * (dull - dull[::-1]))


def reported(target: np.ndarray, audio: np.ndarray) -> float:
    mix = MixTarget(torch.from_numpy(target)[None], RATE, bounded=True)
    return float(mix.distance(torch.from_numpy(audio)[None]))


@pytest.mark.parametrize(
    "change", [lambda x: 1.05 * x, filtered, lambda x: np.tanh(4.0 * x) / 4.0, lambda x: x[::-1]]
)
def test_half_the_frames_say_what_all_of_them_say(change):
    mix = stereo(1)
    changed = np.ascontiguousarray(change(mix), np.float32)
    expected = reported(mix, changed)
    assert ArrayTarget(mix, RATE).distance(changed) == pytest.approx(expected, rel=0.02)


def test_a_gain_lies_three_times_its_nepers_away():
    # Of all bins: in a pause nothing is above the floor.
    mix = 0.1 * np.random.default_rng(0).standard_normal((2, 2 * RATE)).astype(np.float32)
    nepers = np.log(10.0) / 20.0 * 0.1
    found = ArrayTarget(mix, RATE).distance(mix * np.float32(10.0**0.005))
    assert found == pytest.approx(3.0 * nepers, rel=0.03)


def test_nothing_is_left_behind_by_another_sound():
    mix, others = stereo(3), [filtered(stereo(3)), 0.5 * stereo(3)]
    target = ArrayTarget(mix, RATE)
    first = [target.distance(audio) for audio in others]
    assert target.distance(mix) == 0.0
    assert [target.distance(audio) for audio in others] == first
    assert [ArrayTarget(mix, RATE).distance(audio) for audio in others] == first


def test_a_side_far_below_the_mid_does_not_count():
    mono = np.stack([voice(2.0, 4)] * 2)
    wide = mono + 1e-3 * np.roll(mono, 40, axis=1) * np.array([[1.0], [-1.0]], np.float32)
    assert ArrayTarget(mono, RATE).distance(wide) < 0.02
    bins = ArrayTarget(mono, RATE).counting_bins()
    assert bins[2, 20:200].mean() > 0.5
    assert bins[3].max() == 0.0


def test_averages_by_blocks_are_those_by_samples():
    samples = 40 * STRIDE * 100
    audio = stereo(5)[:, :samples]
    pairs = [times_of(50.0, 1000.0, 32000.0), times_of(100.0, 2000.0, 32000.0)]
    # Both are advanced by whole blocks, so that nothing is rounded.
    assert all(pair.shift % STRIDE == 0 for pair in pairs)
    expected = averages_of(audio[None], pairs, STRIDE)
    found = strided_averages_of(audio, (pairs[0], pairs[1]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
