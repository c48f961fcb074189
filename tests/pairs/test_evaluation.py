"""Distances to an engineer's mixes: level alone, one fixed preset, a model; each a fair rival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffconsole.audio import loudness_lufs
from diffconsole.model.predictor import REFERENCE_LUFS, Prediction, Predictor, level_gain_db
from diffconsole.pairs import PAIR_RATE, Pair, evaluation
from diffconsole.pairs.evaluation import (
    FixedPreset,
    choose_fixed,
    distance,
    fixed_distance,
    level_distance,
    mean_and_median,
    measure_pair,
    model_distance,
)
from diffconsole.strip.preset import Preset

from .. import synthetic
from ..synthetic import mixed, nearly_mono, small_model, voice

STRIP: dict[str, Any] = {
    "eq": {"high_shelf": {"gain_db": 9.0}, "peak_1": {"gain_db": -6.0}},
    "compressor": {"threshold_db": -30.0, "ratio": 6.0, "makeup_db": 4.0},
}


def levelled(raw: np.ndarray) -> np.ndarray:
    """``(samples,)`` at the reference loudness."""
    gain_db, _ = level_gain_db(raw[None], PAIR_RATE)
    return raw * np.float32(10.0 ** (gain_db / 20.0))


def mix_by(preset: Preset, raw: np.ndarray, gain_db: float = 0.0) -> Pair:
    """The pair of a studio that levels every raw vocal and puts one preset on it."""
    from diffconsole.console.render import render

    result = render(levelled(raw)[None], PAIR_RATE, preset, tail_seconds=0.0).samples
    result = np.broadcast_to(result, (2, len(raw))) * np.float32(10.0 ** (gain_db / 20.0))
    return Pair("take", raw[None], result, 0.0, 1, 1.0)


@pytest.fixture(scope="module")
def preset() -> Preset:
    return Preset(STRIP, "the studio's")


@pytest.fixture(scope="module")
def pair(preset: Preset) -> Pair:
    return mix_by(preset, voice(2.0, 1))


def louder(pair: Pair, gain_db: float) -> Pair:
    return replace(pair, raw=pair.raw * np.float32(10.0 ** (gain_db / 20.0)))


# The distance


def test_the_mix_itself_is_at_no_distance(pair: Pair) -> None:
    assert distance(pair, lambda raw: pair.mixed) == 0.0
    assert distance(pair, lambda raw: raw) > 0.5


def test_long_files_are_heard_in_the_loudest_place_of_each_third(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two seconds before each, from which nothing is counted."""
    monkeypatch.setattr(evaluation, "WHOLE_SECONDS", 5.0)
    monkeypatch.setattr(evaluation, "EXCERPT_SECONDS", 1.0)
    monkeypatch.setattr(evaluation, "LEAD_SECONDS", 0.5)
    rate = PAIR_RATE
    raw = np.random.default_rng(0).normal(0.0, 0.01, (1, 9 * rate)).astype(np.float32)
    for start in (0.0, 4.5, 7.5):
        raw[:, int(start * rate) : int((start + 1.0) * rate)] *= 20.0
    pair = Pair("long", raw, np.repeat(raw, 2, axis=0), 0.0, 1, 1.0)
    heard = []

    def process(part: np.ndarray) -> np.ndarray:
        start = int(np.flatnonzero(raw[0] == part[0, 0])[0])
        heard.append((start / rate, part.shape[1] / rate))
        return np.repeat(part, 2, axis=0)

    assert distance(pair, process) == 0.0
    assert heard == [(0.0, 1.0), (4.0, 1.5), (7.0, 1.5)]

    def wrong_before(part: np.ndarray) -> np.ndarray:
        result = np.repeat(part, 2, axis=0)
        result[:, : part.shape[1] - rate] = 1.0
        return result

    assert distance(pair, wrong_before) == 0.0


# Level alone


def test_a_mix_that_only_differs_in_level(pair: Pair) -> None:
    plain = replace(pair, mixed=np.repeat(3.0 * pair.raw, 2, axis=0))
    assert level_distance(plain) < 0.01
    assert distance(plain, lambda raw: raw) > 0.5


def test_level_distance_does_not_ask_how_loud_the_raw_is(pair: Pair) -> None:
    assert level_distance(louder(pair, -12.0)) == pytest.approx(level_distance(pair), abs=1e-3)
    assert level_distance(pair) < distance(louder(pair, -12.0), lambda raw: raw)


# One preset


@pytest.mark.parametrize("gain_db", [-15.0, 0.0, 6.0])
def test_the_fixed_preset_is_put_on_levelled_raw(
    pair: Pair, preset: Preset, gain_db: float
) -> None:
    fixed = FixedPreset("the studio's", preset)
    assert fixed_distance(louder(pair, gain_db), fixed) < 0.01


def test_an_input_gain_of_the_preset_comes_on_top(preset: Preset) -> None:
    strip = {"input_gain": {"gain_db": 7.0}, **STRIP}
    hot = Preset(strip, "hot")
    pair = mix_by(hot, voice(2.0, 2))
    assert fixed_distance(pair, FixedPreset("hot", hot)) < 0.01
    off = Preset({**strip, "input_gain": {"gain_db": 7.0, "enabled": False}}, "off")
    assert fixed_distance(mix_by(preset, voice(2.0, 2)), FixedPreset("off", off)) < 0.01


def test_the_best_preset_is_chosen_with_its_level(preset: Preset) -> None:
    """The studio's own among others, with the 5 dB that the studio adds to all."""
    others = {
        "a dull one": Preset({"eq": {"high_shelf": {"gain_db": -12.0}}}),
        "nothing": Preset({}),
        "studio": preset,
    }
    pairs = [mix_by(preset, voice(1.5, seed), gain_db=5.0) for seed in (3, 4, 5)]
    pairs = [louder(p, g) for p, g in zip(pairs, (-6.0, 0.0, 3.0), strict=True)]
    ticks = []
    fixed = choose_fixed(pairs, others, lambda: ticks.append(1))
    assert fixed.name == "studio"
    assert len(ticks) == len(others)
    assert fixed.preset.settings()["output_gain.gain_db"] == pytest.approx(5.0, abs=0.05)
    assert max(fixed_distance(p, fixed) for p in pairs) < 0.02


def test_at_most_twelve_pairs_are_heard_for_the_choice(
    pair: Pair, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spread from the first to the last."""
    pairs = [replace(pair, raw=np.float32(1.0 + i / 100.0) * pair.raw) for i in range(30)]
    heard: list[int] = []

    def listen(raw: np.ndarray, preset: Preset) -> np.ndarray:
        heard.append(round(100.0 * (float(raw[0, -1] / pair.raw[0, -1]) - 1.0)))
        return raw

    monkeypatch.setattr(evaluation, "_rendered", listen)
    monkeypatch.setattr(evaluation, "_between", lambda *_, **__: 1.0)
    choose_fixed(pairs, {"studio": preset})
    assert len(set(heard)) == len(heard) == 12
    assert heard[0] == 0 and heard[-1] == 29
    assert max(np.diff(heard)) <= 3


def test_the_choice_is_made_in_the_loudest_seconds(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the mix does in the quiet part of a long file does not matter."""
    monkeypatch.setattr(evaluation, "CHOICE_SECONDS", 2.0)
    loud = mix_by(preset, voice(2.0, 7))
    quiet = np.random.default_rng(0).normal(0.0, 1e-4, (1, 3 * PAIR_RATE)).astype(np.float32)
    pair = replace(
        loud,
        raw=np.concatenate((quiet, loud.raw), axis=1),
        mixed=np.concatenate((np.repeat(1000.0 * quiet, 2, axis=0), loud.mixed), axis=1),
    )
    others = {"nothing": Preset({}), "studio": preset}
    assert choose_fixed([pair], others).name == "studio"


# A model


class Told(Predictor):
    """Answers what it is told."""

    def __init__(self, settings: Mapping[str, float]) -> None:
        super().__init__(synthetic.small_model().encoder, hidden=4)
        self.told = dict(settings)

    def predict(self, samples: np.ndarray, sample_rate: int) -> Prediction:
        return Prediction(self.told)


def test_a_model_that_knows_the_mix() -> None:
    from diffconsole.strip.parameters import default_settings

    settings = {**default_settings(), **synthetic.STUDIO, "reverb.wet_db": -6.0}
    raw = voice(2.0, 6)
    pair = Pair("take", raw[None], mixed(raw, settings), 0.0, 1, 1.0)
    assert model_distance(pair, Told(settings)) < 1e-3
    wrong = {**settings, "output_gain.gain_db": 3.0}
    assert model_distance(pair, Told(wrong)) > 0.3


def test_an_untrained_model_is_somewhere_else(pair: Pair) -> None:
    found = model_distance(pair, synthetic.small_model())
    assert np.isfinite(found)
    assert found > 0.5


def test_pairs_of_these_tests_are_what_they_say(pair: Pair) -> None:
    assert loudness_lufs(levelled(pair.raw[0])[None], PAIR_RATE) == pytest.approx(
        REFERENCE_LUFS, abs=0.01
    )


def test_the_mean_and_the_median_of_distances() -> None:
    """One nearly mono mix decides the one and not the other."""
    assert mean_and_median([1.0, 1.2, 1.4, 36.4]) == pytest.approx((10.0, 1.3))


def test_a_nearly_mono_pair_does_not_choose_the_preset(preset: Preset) -> None:
    """Two ordinary mixes by one preset outweigh it, though its distance is larger by far."""
    wet = Preset({**STRIP, "reverb": {"wet_db": -8.0, "width": 1.0}}, "wet")
    pairs = [mix_by(wet, voice(1.0, seed)) for seed in (1, 2)]
    mono = nearly_mono(mix_by(wet, voice(1.0, 3)))
    assert choose_fixed([*pairs, mono], {"dry": preset, "wet": wet}).name == "wet"


def test_a_measured_pair_has_all_distances(pair: Pair, preset: Preset) -> None:
    model = small_model()
    found = measure_pair(pair, FixedPreset("right", preset), model)
    assert found["level_only"] == level_distance(pair)
    assert found["model"] == model_distance(pair, model)
    assert found["fixed"] == fixed_distance(pair, FixedPreset("right", preset))
