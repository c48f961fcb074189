"""Later modules of a mix by this console are found in its samples, and none that it has not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import scipy.signal
import torch

from diffconsole.pairs import Pair
from diffconsole.strip.later import start_settings
from diffconsole.strip.parameters import denormalize
from diffconsole.training.matching.objective import INDEX, MatchObjective
from diffconsole.training.matching.polish import near_in_samples
from diffconsole.training.matching.pursuit import pursue
from diffconsole.training.matching.samples import (
    changes_of,
    fit_of,
    free_places,
    least_squares,
    slopes_of,
)

from ... import synthetic
from ...synthetic import mixed, voice
from .test_polish import point_of

STUDIO = {**synthetic.STUDIO, "reverb.decay_s": 0.4}
SECONDS = 0.9
DELAY = {
    "delay.time_ms": 231.7,
    "delay.feedback": 0.35,
    "delay.width": 0.0,
    "delay.wet_db": -14.0,
}
DEESSER = {"deesser.freq_hz": 5000.0, "deesser.threshold_db": -22.0, "deesser.range_db": 10.0}


def of(extra: Mapping[str, float]) -> tuple[MatchObjective, torch.Tensor]:
    """A mix with these settings beside the studio's, and the studio's as a search finds them."""
    raw = voice(SECONDS, 3)
    pair = Pair("made here", raw[None], mixed(raw, {**STUDIO, **extra}), 0.0, 1, 1.0)
    objective = MatchObjective(pair, SECONDS, "cpu")
    point = point_of(start_settings() | STUDIO, objective)
    places = free_places(objective)
    noise = torch.randn(len(places), generator=torch.Generator().manual_seed(3))
    point[places] = (point[places] + 0.01 * noise).clamp(0.0, 1.0)
    return objective, point


def test_a_delay_and_a_deesser_are_found_beside_each_other() -> None:
    objective, point = of({**DELAY, **DEESSER})
    start = near_in_samples(objective, point)
    assert start is not None
    fit = pursue(objective, start, (), 0, lambda: True)
    assert fit is not None
    assert fit.left < 1e-3 < 0.1 * fit_of(objective, start).left
    assert fit.tried >= {"delay", "deesser"}
    found = denormalize(fit.point.double())
    assert float(found["delay.time_ms"]) == pytest.approx(DELAY["delay.time_ms"], abs=0.1)
    assert float(found["delay.wet_db"]) == pytest.approx(DELAY["delay.wet_db"], abs=0.5)
    assert float(found["deesser.range_db"]) == pytest.approx(DEESSER["deesser.range_db"], abs=2.0)


def test_no_module_is_found_where_the_mix_has_none_and_none_that_is_left_out() -> None:
    objective, point = of({})
    start = near_in_samples(objective, point)
    assert start is not None
    fit = pursue(objective, start, (), 0, lambda: True)
    assert fit is not None
    assert fit.tried == frozenset()
    assert fit.left < 1e-4
    objective, point = of(DELAY)
    start = near_in_samples(objective, point)
    assert start is not None
    fit = pursue(objective, start, ("delay",), 0, lambda: True)
    assert fit is None or "delay" not in fit.tried


def test_it_returns_nothing_for_a_mix_from_elsewhere() -> None:
    objective, point = of({})
    room = np.random.default_rng(0).standard_normal((2, 8000)) * np.exp(-np.arange(8000) / 2000.0)
    mix = scipy.signal.fftconvolve(objective.mix[0].numpy(), room, axes=-1)
    mix = mix[:, : objective.mix.shape[-1]] / np.abs(mix).max()
    objective.mix = torch.from_numpy(mix[None].astype(np.float32))
    assert pursue(objective, point, (), 0, lambda: True) is None


def test_the_slopes_are_those_of_the_whole_strip() -> None:
    """Settings of inserts are nudged with the response of what lies behind them."""
    objective, point = of(DELAY)
    objective = objective.trying(frozenset({"delay"}))
    point = point_of({**start_settings(), **STUDIO, **DELAY}, objective)
    fit = fit_of(objective, point)
    keys = ("eq.high_pass.freq_hz", "eq.peak_1.gain_db", "compressor.threshold_db")
    inserts = [INDEX[key] for key in keys]
    nudged = point.repeat(len(inserts), 1)
    nudged[torch.arange(len(inserts)), inserts] += 0.01
    near = changes_of(objective, fit, nudged, behind=False)
    whole = changes_of(objective, fit, nudged, behind=True)
    off = (near - whole).square().sum(dim=1) / whole.square().sum(dim=1)
    assert float(off.max()) < 1e-6
    assert slopes_of(objective, fit, inserts).shape == (len(inserts), fit.off.numel())


def test_so_are_they_where_what_comes_before_the_part_rings_on_in_it() -> None:
    objective, point = of({})
    raw = objective.raw
    objective.before, objective.raw = raw[..., :9000], raw[..., 9000:]
    objective.mix = objective.mix[..., 9000:]
    fit = fit_of(objective, point)
    place = INDEX["compressor.makeup_db"]
    nudged = point.clone()
    nudged[place] += 0.01
    near = changes_of(objective, fit, nudged[None], behind=False)
    whole = changes_of(objective, fit, nudged[None], behind=True)
    assert near.shape == whole.shape == (1, fit.off.numel())
    assert float((near - whole).square().sum() / whole.square().sum()) < 1e-6


def test_no_step_leaves_the_range_and_none_is_a_loss() -> None:
    objective, point = of({})
    start = fit_of(objective, point)
    fit = least_squares(objective, point, 3)
    assert fit.left < start.left
    assert float(fit.point.min()) >= 0.0
    assert float(fit.point.max()) <= 1.0
    assert least_squares(objective, point, 3, lambda: False).left == start.left
