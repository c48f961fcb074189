"""A mix by this console shows its pre-delay and, from near, all its settings; another does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import torch

from diffconsole.pairs import PAIR_RATE
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, default_settings, denormalize
from diffconsole.training.matching.objective import INDEX, SEARCHED, MatchObjective
from diffconsole.training.matching.polish import pre_delay_in_mix, refine_least_squares

from ...synthetic import STUDIO, pair, voice

PRE_DELAY = BY_KEY["reverb.pre_delay_ms"]
KNOWN = {**STUDIO, "reverb.pre_delay_ms": 33.337, "reverb.width": 0.8}


def point_of(settings: dict[str, float], objective: MatchObjective) -> torch.Tensor:
    """The settings where the search works: −18 LUFS in, the mix's level out."""
    every = {**default_settings(), **settings}
    every["compressor.threshold_db"] += objective.input_db
    every["compressor.makeup_db"] -= objective.output_db + objective.input_db
    return torch.tensor([p.to_normalised(p.clip(every[p.key])) for p in PARAMETERS])


@pytest.fixture(scope="module")
def objective() -> MatchObjective:
    return MatchObjective(pair(11, KNOWN, seconds=2.0), 2.0, "cpu")


def error_db(objective: MatchObjective, point: torch.Tensor) -> float:
    with torch.no_grad():
        off = objective.render(point[None])[0] - objective.mix[0]
    return float(10.0 * torch.log10(off.square().sum() / objective.mix.square().sum()))


def nearby(objective: MatchObjective) -> torch.Tensor:
    """Other settings by a few per cent of every range, and quite another pre-delay."""
    point = point_of(KNOWN, objective)
    # The same whatever else the table has.
    noise = torch.zeros(len(point))
    noise[SEARCHED] = torch.randn(len(SEARCHED), generator=torch.Generator().manual_seed(3))
    point = (point + 0.02 * noise).clamp(0.0, 1.0)
    point[INDEX[PRE_DELAY.key]] = PRE_DELAY.to_normalised(80.0)
    return point


@pytest.fixture(scope="module")
def solved(objective: MatchObjective) -> torch.Tensor:
    """Where the settings end that begin nearby."""
    return refine_least_squares(objective, nearby(objective))


def test_the_pre_delay_is_heard_to_a_fraction_of_a_sample(objective: MatchObjective) -> None:
    heard = pre_delay_in_mix(objective, nearby(objective))
    assert heard is not None
    off_ms = abs(PRE_DELAY.to_physical(heard) - KNOWN["reverb.pre_delay_ms"])
    assert off_ms < 0.5 / PAIR_RATE * 1000.0


def test_no_pre_delay_is_heard_in_another_reverb() -> None:
    dry = pair(11, {**KNOWN, "reverb.wet_db": -60.0}, seconds=4.0)
    rng = np.random.default_rng(0)
    fade = 10.0 ** (-3.0 * np.arange(PAIR_RATE) / PAIR_RATE)
    room = rng.standard_normal((2, PAIR_RATE)) * fade * 0.02
    wet = np.stack([scipy.signal.fftconvolve(side, h)[: dry.raw.shape[1]]
                    for side, h in zip(dry.mixed, room, strict=True)])  # fmt: skip
    other = MatchObjective(replace(dry, mixed=(dry.mixed + wet).astype(np.float32)), 4.0, "cpu")
    assert pre_delay_in_mix(other, nearby(other)) is None


def test_the_settings_of_this_console_are_solved(
    objective: MatchObjective, solved: torch.Tensor
) -> None:
    assert error_db(objective, nearby(objective)) > -20.0
    assert error_db(objective, solved) < -40.0
    ours, known = denormalize(solved.double()), denormalize(point_of(KNOWN, objective).double())
    for key, factor in (("ratio", 1.05), ("attack_ms", 1.1), ("release_ms", 1.1)):
        ratio = float(ours[f"compressor.{key}"] / known[f"compressor.{key}"])
        assert 1.0 / factor < ratio < factor
    for key in ("reverb.wet_db", "reverb.decay_s", "reverb.pre_delay_ms", "eq.peak_1.freq_hz"):
        assert float(ours[key]) == pytest.approx(float(known[key]), rel=0.05)


def test_a_foreign_mix_keeps_its_point() -> None:
    """Distorted and delayed: no settings of ours explain the samples."""
    raw = voice(3.0, 2)
    late = np.pad(raw, (7000, 0))[: len(raw)]
    mix = np.stack([np.tanh(8.0 * raw) + 0.7 * late, np.tanh(8.0 * raw) - 0.7 * late])
    foreign = MatchObjective(
        replace(pair(2, seconds=3.0), mixed=mix.astype(np.float32)), 3.0, "cpu"
    )
    point = nearby(foreign)
    assert torch.equal(refine_least_squares(foreign, point), point)


def test_it_never_ends_farther_from_the_mix(
    objective: MatchObjective, solved: torch.Tensor
) -> None:
    before, after = objective.distances(torch.stack((nearby(objective), solved))).tolist()
    assert after < before


def test_it_stops_when_told(objective: MatchObjective, solved: torch.Tensor) -> None:
    start = nearby(objective)
    asked = []

    def may_continue() -> bool:
        asked.append(True)
        return len(asked) < 2

    one_step = refine_least_squares(objective, start, may_continue)
    assert len(asked) == 2
    assert error_db(objective, solved) < error_db(objective, one_step)
