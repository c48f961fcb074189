"""Segments of pairs: the loud places, levelled, raw and mix still at the same moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffconsole.audio import loudness_lufs
from diffconsole.model.predictor import REFERENCE_LUFS, Predictor
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.training.finetuning import segments
from diffconsole.training.finetuning.segments import segments_of

from ...synthetic import small_model

LENGTH = 5 * PAIR_RATE


@pytest.fixture(scope="module")
def model() -> Predictor:
    return small_model()


def noise_pair(seconds: float, seed: int = 0, level: float = 0.05, channels: int = 1) -> Pair:
    """Noise whose mix is three times as loud."""
    samples = int(seconds * PAIR_RATE)
    raw = np.random.default_rng(seed).normal(0.0, level, (channels, samples)).astype(np.float32)
    mixed = np.ascontiguousarray(np.broadcast_to(3.0 * raw.mean(axis=0), (2, samples)))
    return Pair(f"noise {seed}", raw, mixed, 0.0, 1, 1.0)


def test_raw_is_levelled_and_the_mix_is_as_it_is(model: Predictor) -> None:
    pair = noise_pair(5.0)
    found = segments_of([pair], model)
    assert len(found) == 1
    assert loudness_lufs(found.raw[0].numpy(), PAIR_RATE) == pytest.approx(REFERENCE_LUFS, abs=0.01)
    assert torch.equal(found.mixed[0], torch.from_numpy(pair.mixed))
    assert torch.equal(found.encoder_input[0], found.raw[0])


def test_raw_and_mix_are_of_the_same_moment(model: Predictor) -> None:
    found = segments_of([noise_pair(33.0, 1), noise_pair(8.0, 2)], model)
    assert found.raw.shape == found.encoder_input.shape == (6, 1, LENGTH)
    assert found.mixed.shape == (6, 2, LENGTH)
    gains = found.mixed[:, 0] / found.raw[:, 0]
    # One gain a file, so every sample of a segment has it.
    spread = gains.amax(dim=1) - gains.amin(dim=1)
    assert float(spread.max()) < 1e-3 * float(gains.mean())


def test_segments_spread_over_the_file(model: Predictor) -> None:
    pair = noise_pair(33.0, 1)
    found = segments_of([pair], model)
    places = [
        int(np.flatnonzero(pair.mixed[0] == first)[0]) for first in found.mixed[:, 0, 0].numpy()
    ]
    assert places[0] == 0
    assert places[-1] == pair.raw.shape[1] - LENGTH
    assert min(np.diff(places)) >= LENGTH


def test_quiet_places_are_left_out(model: Predictor) -> None:
    pair = noise_pair(20.0, 3)
    raw = pair.raw.copy()
    raw[:, LENGTH : 3 * LENGTH] *= 0.02
    found = segments_of([replace(pair, raw=raw)], model)
    assert len(found) == 2
    assert float(found.raw.square().mean(dim=(1, 2)).min()) > 0.5 * float(
        found.raw.square().mean(dim=(1, 2)).max()
    )


@pytest.mark.parametrize("seconds", [1.0, 1.7, 4.99])
def test_a_short_pair_is_repeated_not_padded(model: Predictor, seconds: float) -> None:
    """Silence behind it would be learnt as part of the vocal."""
    pair = noise_pair(seconds, 4)
    found = segments_of([pair], model)
    once = pair.raw.shape[1]
    assert found.mixed.shape == (1, 2, LENGTH)
    assert torch.equal(found.mixed[0, :, :once], torch.from_numpy(pair.mixed))
    rest = LENGTH - once
    again = min(rest, once)
    for part in (found.raw, found.mixed, found.encoder_input):
        assert torch.equal(part[..., once : once + again], part[..., :again])
    assert float(found.raw[..., -PAIR_RATE:].std()) > 0.05


def test_mono_and_stereo_pairs_go_together(model: Predictor) -> None:
    found = segments_of([noise_pair(5.0, 5), noise_pair(5.0, 6, channels=2)], model)
    assert found.raw.shape == (2, 2, LENGTH)
    assert torch.equal(found.raw[0, 0], found.raw[0, 1])
    assert not torch.equal(found.raw[1, 0], found.raw[1, 1])
    assert found.encoder_input.shape == (2, 1, LENGTH)
    # The two channels have nothing in common: their sum would be neither.
    apart = (found.encoder_input[1, 0] - found.raw[1]).abs().amax(dim=-1)
    assert float(apart.min()) < 1e-3


def test_many_pairs_share_what_memory_holds(
    model: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_IN_ALL", 4)
    pairs = [noise_pair(11.0, seed) for seed in range(2)]
    assert len(segments_of(pairs, model)) == 4
    monkeypatch.setattr(segments, "MOST_IN_ALL", 1)
    assert len(segments_of(pairs, model)) == 2, "one of each at least"
