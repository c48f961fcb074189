"""The style in figures: each module of the strip moves its own, and gradients flow."""

from __future__ import annotations

import pytest
import torch

from diffconsole.console import Console
from diffconsole.model.reference.style_features import (
    SIDE_FEATURES,
    STYLE_FEATURES,
    aspect_of,
    style_features,
)
from diffconsole.strip.later import start_settings

from ..synthetic import RATE, voice

PLACE = {name: i for i, name in enumerate(STYLE_FEATURES)}


@pytest.fixture(scope="module")
def vocal() -> torch.Tensor:
    return torch.from_numpy(voice(4.0, 3))[None, None]


def styled(vocal: torch.Tensor, off: tuple[str, ...], **changes: float) -> torch.Tensor:
    """The style after a console that has only what is not off."""
    settings = {**start_settings(), **{k.replace("__", "."): v for k, v in changes.items()}}
    tensors = {key: torch.tensor([value]) for key, value in settings.items()}
    console = Console(RATE, bypass={"input_gain", "pan", "output_gain", *off})
    with torch.no_grad():
        return style_features(console(vocal, tensors))


def test_a_gain_changes_nothing(vocal) -> None:
    torch.testing.assert_close(
        style_features(0.01 * vocal), style_features(vocal), atol=2e-2, rtol=1e-3
    )


def test_an_eq_moves_the_tone_by_its_curve(vocal) -> None:
    plain = style_features(vocal)
    shelf = styled(
        vocal, ("eq.high_pass", "eq.low_pass", "compressor", "reverb"),
        eq__high_shelf__freq_hz=3000.0, eq__high_shelf__gain_db=6.0,
    )  # fmt: skip
    moved = shelf - plain
    assert float(moved[PLACE["tone_10000_hz"]] - moved[PLACE["tone_501.2_hz"]]) == (
        pytest.approx(6.0, abs=0.7)
    )
    assert float(moved[SIDE_FEATURES[:4]].abs().max()) < 0.1
    around = moved[aspect_of("tone")][5:19]
    assert float(around.mean()) == pytest.approx(0.0, abs=1e-3)


def test_compression_narrows_the_levels(vocal) -> None:
    plain = style_features(vocal)
    pressed = styled(
        vocal, ("eq", "reverb"), compressor__threshold_db=-40.0, compressor__ratio=8.0,
        compressor__attack_ms=1.0, compressor__release_ms=50.0,
    )  # fmt: skip
    for name in ("medium_std_db", "coarse_std_db", "short_to_long_db"):
        assert float(pressed[PLACE[name]]) < 0.8 * float(plain[PLACE[name]])
    assert float(pressed[PLACE["coarse_level_10"]]) > float(plain[PLACE["coarse_level_10"]])


def test_reverb_raises_the_side_and_the_pauses(vocal) -> None:
    plain = style_features(vocal)
    found = [
        styled(vocal, ("eq", "compressor"), reverb__wet_db=wet_db) for wet_db in (-30.0, -10.0)
    ]
    for name in ("side_500_hz_db", "side_1500_hz_db"):
        quiet, loud = (float(each[PLACE[name]]) for each in found)
        assert float(plain[PLACE[name]]) < -49.0
        assert loud - quiet == pytest.approx(20.0, abs=2.0)
    for name in ("pause_2_db", "pause_5_db"):
        assert plain[PLACE[name]] < found[0][PLACE[name]] < found[1][PLACE[name]] - 3.0
    long, short = (
        styled(vocal, ("eq", "compressor"), reverb__wet_db=-10.0, reverb__decay_s=decay_s)
        for decay_s in (4.0, 0.3)
    )
    assert long[PLACE["side_fall_db"]] < 0.7 * short[PLACE["side_fall_db"]]


def test_gradients_reach_every_figure(vocal) -> None:
    both = torch.cat((vocal, 0.7 * vocal.roll(50, dims=-1)), dim=1).requires_grad_()
    features = style_features(both)
    for i in range(len(features)):
        (gradient,) = torch.autograd.grad(features[i], both, retain_graph=True)
        assert bool(gradient.isfinite().all()), STYLE_FEATURES[i]
        assert float(gradient.abs().max()) > 0.0, STYLE_FEATURES[i]


@pytest.mark.parametrize("samples", [torch.zeros(2, 1, 22050), torch.ones(1, 2, 22050)])
def test_what_is_no_voice_has_finite_figures_and_gradients(samples) -> None:
    leaf = samples.clone().requires_grad_()
    features = style_features(leaf)
    features.sum().backward()
    assert bool(features.isfinite().all())
    assert bool(leaf.grad.isfinite().all())
