"""The descent: a known strip is found again by the style of its result."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.audio.take import take_of
from diffconsole.console import Console
from diffconsole.model.reference.descent import StyleTarget, descend, moved_by
from diffconsole.model.reference.style_features import (
    ASPECTS,
    BANDS_HZ,
    SIDE_FEATURES,
    STYLE_FEATURES,
    aspect_of,
    style_features,
)
from diffconsole.model.reference.style_statistics import StyleStatistics
from diffconsole.model.reference.target import passages_of, reference_style, style_target
from diffconsole.strip.later import start_settings
from diffconsole.strip.parameters import PARAMETERS, denormalize
from diffconsole.training.pretraining.targets import eq_curve_db

from ..synthetic import RATE, mixed, voice

PLACE = {p.key: i for i, p in enumerate(PARAMETERS)}
STRIP = {
    "eq.high_shelf.freq_hz": 3000.0,
    "eq.high_shelf.gain_db": 8.0,
    "compressor.ratio": 8.0,
    "compressor.threshold_db": -30.0,
    "reverb.wet_db": -10.0,
}
START = {
    "eq.high_shelf.freq_hz": 3000.0,
    "compressor.ratio": 1.5,
    "compressor.threshold_db": -22.0,
    "reverb.wet_db": -24.0,
}


def point_of(changes: dict[str, float]) -> torch.Tensor:
    settings = {**start_settings(), **changes}
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS])


@pytest.fixture(scope="module")
def vocal() -> torch.Tensor:
    return torch.from_numpy(voice(3.0, 3, level=0.12))[None, None]


def style_after(vocal: torch.Tensor, changes: dict[str, float]) -> torch.Tensor:
    settings = {**start_settings(), **START, **changes}
    tensors = {key: torch.tensor([value]) for key, value in settings.items()}
    with torch.no_grad():
        return style_features(Console(RATE, bypass={"pan", "output_gain"})(vocal, tensors))


@pytest.fixture(scope="module")
def right(vocal) -> torch.Tensor:
    """The style of the known strip's result."""
    return style_after(vocal, STRIP)


def found_for(vocal, right, aspects, steps=24):
    deviation = torch.full_like(right, float("inf"))
    for aspect in aspects:
        deviation[aspect_of(aspect)] = 0.3
    start = point_of(START)
    spread = torch.full_like(start, 0.2)
    return descend(
        vocal, start, spread, StyleTarget(right, deviation), aspects=aspects, steps=steps
    )


def physical(point: torch.Tensor, key: str) -> float:
    return float(PARAMETERS[PLACE[key]].to_physical(float(point[PLACE[key]])))


def test_a_known_tilt_is_found(vocal) -> None:
    shelf = {key: value for key, value in STRIP.items() if key.startswith("eq.")}
    found = found_for(vocal, style_after(vocal, shelf), ("tone",))
    assert found.after["tone"] < 0.6 * found.before["tone"]
    # Bells may do what the shelf did: 8 kHz is lifted against 500 Hz.
    curve_db = eq_curve_db(denormalize(torch.stack((point_of(START), found.point))))
    start, after = (curve_db[:, 41] - curve_db[:, 19]).tolist()
    assert after - start > 4.0
    held = ~moved_by(("tone",))
    torch.testing.assert_close(found.point[held], point_of(START)[held])


def test_a_known_space_is_found(vocal, right) -> None:
    found = found_for(vocal, right, ("space",))
    assert found.after["space"] < 0.5 * found.before["space"]
    assert physical(found.point, "reverb.wet_db") == pytest.approx(-10.0, abs=4.0)


def test_dynamics_are_brought_by_the_compressor(vocal, right) -> None:
    found = found_for(vocal, right, ("dynamics",))
    assert found.after["dynamics"] < 0.9 * found.before["dynamics"]
    ratio, threshold_db = (
        physical(found.point, f"compressor.{name}") for name in ("ratio", "threshold_db")
    )
    assert (1.0 - 1.0 / ratio) * -threshold_db > (1.0 - 1.0 / 1.5) * 22.0


def test_what_no_strip_brings_leaves_no_aspect_further_off(vocal) -> None:
    """Louder sides in pauses that stay: more reverb would spoil tone and dynamics."""
    impossible = style_after(vocal, {})
    impossible[SIDE_FEATURES] += 10.0
    found = found_for(vocal, impossible, ("tone", "dynamics", "space"), steps=12)
    assert found.before["space"] > 20.0
    for aspect, before in found.before.items():
        assert found.after[aspect] <= before + 1e-3, aspect


def test_a_figure_far_off_does_not_outweigh_the_others(right) -> None:
    target = StyleTarget(right, torch.ones_like(right))
    far, further, both = right.clone(), right.clone(), right.clone()
    one, other = SIDE_FEATURES[:2]
    far[one] += 20.0
    further[one] += 40.0
    assert float(target.distance(further, "space")) < 2.2 * float(target.distance(far, "space"))
    both[one] += 1.0
    both[other] -= 1.0
    assert float(target.distance(both, "space")) == pytest.approx(
        40.0 / (aspect_of("space").stop - aspect_of("space").start), rel=1e-5
    )


def test_it_is_deterministic_and_stays_in_range(vocal, right) -> None:
    first, again = (found_for(vocal, right, ("tone", "space"), steps=4) for _ in range(2))
    assert torch.equal(first.point, again.point)
    assert float(first.point.min()) >= 0.0
    assert float(first.point.max()) <= 1.0
    nothing = found_for(vocal, right, ("tone",), steps=0)
    torch.testing.assert_close(nothing.point, point_of(START))
    assert nothing.before == nothing.after


def test_passages_and_references() -> None:
    long = np.concatenate((np.zeros(RATE * 9, np.float32), voice(9.0, 2)))[None]
    assert passages_of(long, RATE).shape == (2, 1, 4 * RATE)
    assert passages_of(voice(0.3)[None], RATE).shape[-1] >= RATE
    mono = voice(2.0, 4)[None]
    plain = reference_style(mono, RATE, take_of(mono, RATE))
    twice = np.repeat(mono, 2, axis=0)
    assert np.isnan(plain[SIDE_FEATURES]).all()
    np.testing.assert_allclose(reference_style(twice, RATE, take_of(twice, RATE)), plain, atol=1e-3)
    sides = mixed(mono[0], {"reverb.wet_db": -15.0})
    assert np.isfinite(reference_style(sides, RATE, take_of(sides, RATE))).all()
    doubled = np.stack((mono[0], voice(2.0, 5)))
    wide = reference_style(doubled, RATE, take_of(doubled, RATE))
    assert np.isnan(wide[SIDE_FEATURES]).all()
    one_sided = np.stack((mono[0], 0.01 * mono[0]))
    assert np.isnan(reference_style(one_sided, RATE, take_of(one_sided, RATE))[SIDE_FEATURES]).all()


def test_nothing_is_expected_to_rise_below_the_voice(vocal) -> None:
    boosted = mixed(voice(3.0, 7), {"eq.low_shelf.gain_db": 15.0, "eq.low_shelf.freq_hz": 100.0})
    finished = [(boosted, RATE, take_of(boosted, RATE))]
    shares = {aspect: np.ones(1) for aspect in ASPECTS}
    lifting = point_of({"eq.low_shelf.gain_db": 15.0, "eq.low_shelf.freq_hz": 200.0})
    free, held = (
        style_target(vocal, lifting, finished, shares, lowest_hz=hz) for hz in (0.0, 180.0)
    )
    tone = aspect_of("tone")
    below = torch.tensor([hz < 160.0 for hz in BANDS_HZ])
    raw = style_features(vocal)[tone]
    assert (free.mean[tone][below] > raw[below] + 1.0).any()
    assert (held.mean[tone][below] <= raw[below] + 1e-4).all()
    torch.testing.assert_close(held.mean[tone][~below], free.mean[tone][~below])


def test_more_references_are_surer_of_the_tone(vocal) -> None:
    finished = [
        (sides, RATE, take_of(sides, RATE))
        for seed in range(3)
        for sides in [mixed(voice(2.0, 10 + seed), {"eq.high_shelf.gain_db": 6.0})]
    ]
    embedding = np.zeros(4)
    count = len(STYLE_FEATURES)
    rng = np.random.default_rng(0)
    table = StyleStatistics(
        np.zeros(2 * count + 8), np.ones(2 * count + 8),
        0.01 * rng.standard_normal((2, 2 * count + 8, count)), np.zeros((2, count)),
        np.ones((2, count)), np.ones((2, count)), np.zeros((2, count)),
        np.stack((np.full(count, 3.0), np.full(count, 1.0))),
    )  # fmt: skip
    found = []
    for used in (1, 3):
        shares = {aspect: np.full(used, 1.0 / used) for aspect in ASPECTS}
        embeddings = embedding, np.zeros((used, 4))
        found.append(style_target(vocal, point_of({}), finished[:used], shares, table, embeddings))
    tone = aspect_of("tone")
    torch.testing.assert_close(found[0].deviation[tone], torch.full((len(BANDS_HZ),), 3.0))
    torch.testing.assert_close(found[1].deviation[tone], torch.full((len(BANDS_HZ),), 1.0))
