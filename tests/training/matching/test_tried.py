"""Modules that came later: found where a mix shows them, off where it does not, the same again."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from diffconsole import Console
from diffconsole.errors import SettingsError
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.later import rest_settings, start_settings
from diffconsole.strip.parameters import BY_KEY, CHAIN, PARAMETERS, denormalize
from diffconsole.training.matching.descent import descent
from diffconsole.training.matching.match import TRIED, MatchOptions, match
from diffconsole.training.matching.objective import INDEX, MatchObjective
from diffconsole.training.matching.plan import Plan, Round, plan_for
from diffconsole.training.matching.search import search
from diffconsole.training.matching.search_result import SearchResult
from diffconsole.training.matching.tried import (
    at_rest,
    join_modules,
    keep_worthy,
    latency_ms,
    signals_of,
    starting_points,
    switched_on,
    worth,
)

from ...reference import error_db
from ...synthetic import STUDIO, mixed, voice
from ..finetuning.helpers import few_candidates
from .test_polish import point_of

LAST = Round(6.0, 25, 0.02, 4, 1)
TRIAL = Round(6.0, 8, 0.01, 4, 1)
DELAY = {
    "delay.time_ms": 231.7,
    "delay.feedback": 0.35,
    "delay.low_cut_hz": 200.0,
    "delay.high_cut_hz": 6000.0,
    "delay.width": 0.0,
    "delay.wet_db": -14.0,
}
DEESSER = {
    "deesser.freq_hz": 5000.0,
    "deesser.threshold_db": -22.0,
    "deesser.range_db": 10.0,
}
GATE = {
    "gate.threshold_db": -34.0,
    "gate.ratio": 4.0,
    "gate.range_db": 24.0,
    "gate.hold_ms": 30.0,
    "gate.release_ms": 80.0,
    # A loud room would fill the gaps.
    "reverb.wet_db": -60.0,
}


def noisy_pair(settings: Mapping[str, float], seed: int = 3, seconds: float = 4.0) -> Pair:
    """A voice with noise in its pauses, louder from one to the next, mixed by the console."""
    rng = np.random.default_rng(seed)
    raw = voice(seconds, seed)
    noise_db = np.full(len(raw), -62.0)
    for number, start in enumerate(np.arange(0.4, seconds, 0.8)):
        pause = slice(int(start * PAIR_RATE), int((start + 0.4) * PAIR_RATE))
        raw[pause] = 0.0
        noise_db[pause] = -62.0 + 6.0 * number
    noise = 10.0 ** (noise_db / 20.0) * rng.standard_normal(len(raw))
    raw = raw + noise.astype(np.float32)
    return Pair("noisy", raw[None], mixed(raw, settings), 0.0, 1, 1.0)


def tried_on(extra: Mapping[str, float]) -> tuple[MatchObjective, Tensor, frozenset[str]]:
    """From the right settings of version 1.0: the pair, and what the stages find beside them."""
    objective = MatchObjective(noisy_pair({**STUDIO, **extra}, seconds=2.4), 6.0, "cpu")
    point = point_of(start_settings() | STUDIO, objective)
    steps = functools.partial(descent, rng=np.random.default_rng(1))
    point, tried = join_modules(objective, point, ())
    if not tried:
        return objective, point, tried
    trying = objective.trying(tried)
    point, tried = keep_worthy(trying, steps(trying, point, LAST), TRIAL, steps)
    return objective.trying(tried), point, tried


def test_a_delay_is_found() -> None:
    objective, point, tried = tried_on(DELAY)
    assert "delay" in tried
    found = {key: float(value) for key, value in denormalize(point.double()).items()}
    assert found["delay.time_ms"] == pytest.approx(DELAY["delay.time_ms"], abs=2.0)
    assert found["delay.wet_db"] == pytest.approx(DELAY["delay.wet_db"], abs=3.0)
    without = objective.trying(tried - {"delay"}).distances(point[None])
    distance = float(objective.distances(point[None]))
    assert float(without) > distance + worth(distance)


def test_a_deesser_is_found() -> None:
    _, point, tried = tried_on(DEESSER)
    assert "deesser" in tried
    found = {key: float(value) for key, value in denormalize(point.double()).items()}
    assert found["deesser.range_db"] == pytest.approx(DEESSER["deesser.range_db"], abs=5.0)


def test_a_gate_is_found() -> None:
    objective, point, tried = tried_on(GATE)
    assert "gate" in tried
    found = {key: float(value) for key, value in denormalize(point.double()).items()}
    # For the raw vocal at −18 LUFS, as the search levels it.
    threshold_db = found["gate.threshold_db"] - objective.input_db
    assert threshold_db == pytest.approx(GATE["gate.threshold_db"], abs=3.0)


def test_nothing_is_switched_on_where_the_mix_has_nothing() -> None:
    objective, point, tried = tried_on({})
    assert tried == frozenset()
    assert objective.off() >= {"gate", "deesser", "delay"}
    found = SearchResult(point, 0.0, 0.0, tried=tried).settings()
    assert {BY_KEY[key].module for key in found}.isdisjoint(set(TRIED) - {"compressor"})
    assert found["compressor.mix"] == 100.0


def test_no_evidence_in_the_strips_own_result() -> None:
    """Of a mix that is the strip's result nothing is left."""
    objective = MatchObjective(noisy_pair(STUDIO), 6.0, "cpu")
    point = point_of(start_settings() | STUDIO, objective)
    signals = signals_of(objective, point)
    signals = signals._replace(mixed=signals.rendered)
    for module in CHAIN:
        if module.key in TRIED:
            assert starting_points(point, module, signals) == [], module.key


def test_a_quick_search_tries_nothing_and_a_usual_one_does() -> None:
    assert plan_for(True).trial is None
    assert plan_for(False).trial is not None


@pytest.fixture(scope="module")
def short() -> Plan:
    rounds = (Round(2.0, 4, 0.05, 8, 1), Round(3.0, 4, 0.02, 4, 1))
    return Plan(rounds, thorough=False, trial=Round(3.0, 3, 0.01, 4, 1))


@pytest.fixture
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the search begins is not the point."""
    few_candidates(monkeypatch.setattr)


@pytest.mark.usefixtures("few_starts")
def test_the_search_is_the_same_again_and_its_preset_has_what_it_found(short: Plan) -> None:
    pair = noisy_pair({**STUDIO, **DELAY}, seconds=1.0)
    (found,), stopped = search([pair], short, seed=2)
    (again,), _ = search([pair], short, seed=2)
    assert not stopped
    assert torch.equal(found.point, again.point)
    assert found.tried == again.tried
    assert "delay" in found.tried
    assert found.settings().keys() >= DELAY.keys()
    without = search([pair], short, seed=2, without=("delay",))[0][0]
    assert "delay" not in without.tried
    assert "delay.time_ms" not in without.settings()


@pytest.mark.usefixtures("few_starts")
def test_without_any_the_search_is_that_of_the_first_version(short: Plan) -> None:
    pair = noisy_pair({**STUDIO, **DELAY}, seconds=1.0)
    with_none = search([pair], short, seed=2, without=TRIED)[0][0]
    first = search([pair], Plan(short.rounds, thorough=False), seed=2)[0][0]
    assert torch.equal(with_none.point, first.point)
    assert with_none.settings() == first.settings()
    assert with_none.history == first.history


def test_the_level_stays_behind_what_follows_it() -> None:
    """A compressor behind the makeup keeps the level that was searched."""
    point = torch.tensor([p.to_normalised(p.default) for p in PARAMETERS], dtype=torch.float64)
    behind = SearchResult(point, 0.0, 3.0, tried=frozenset({"compressor_2"})).settings()
    assert behind["compressor.makeup_db"] == BY_KEY["compressor.makeup_db"].default
    assert behind["output_gain.gain_db"] == 3.0
    before = SearchResult(point, 0.0, 3.0, tried=frozenset({"gate"})).settings()
    assert before["compressor.makeup_db"] == BY_KEY["compressor.makeup_db"].default + 3.0
    assert before["output_gain.gain_db"] == 0.0


def test_what_is_left_out_is_recorded_and_checked() -> None:
    assert MatchOptions().recorded() == {"seconds": None, "quick": False}
    assert MatchOptions(without=("gate", "delay")).recorded()["without"] == ["delay", "gate"]
    with pytest.raises(SettingsError, match="cannot leave out 'reverb'"):
        MatchOptions(without=("reverb",))


def test_a_quick_match_has_no_later_module() -> None:
    (found,) = match([noisy_pair({**STUDIO, **DELAY}, seconds=1.0)], MatchOptions(quick=True))
    assert "delay" in found.bypass
    assert not [key for key in found.settings if key.startswith("delay.")]


def returned(settings: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """What comes out of the inserts, and what the sends return, in float64."""
    raw = voice(1.0, 3)[None, None].astype(np.float64)
    tensors = {k: torch.tensor([float(v)], dtype=torch.float64) for k, v in settings.items()}
    console = Console(PAIR_RATE, bypass={"input_gain", "eq", "compressor", "output_gain"})
    audio = torch.from_numpy(raw)
    dry = console(audio, tensors, {"pan", "delay", "reverb"})
    whole = console(audio, tensors, {"pan"})
    return dry[0, 0].numpy(), (whole - dry)[0, 0].numpy()


def test_returns_stay_where_they_are_when_a_module_with_a_latency_joins() -> None:
    """Without drive a saturation does nothing but come later."""
    saturation = next(module for module in CHAIN if module.key == "saturation")
    # One echo: each repeat comes later by the time once more, and by the latency only once.
    echo = {"delay.time_ms": 100.0, "delay.wet_db": -6.0, "delay.feedback": 0.0}
    echo |= {"reverb.pre_delay_ms": 20.0}
    clean = {**start_settings(), **rest_settings({"delay", "saturation"}), **echo}
    point = torch.tensor([p.to_normalised(clean[p.key]) for p in PARAMETERS], dtype=torch.float64)
    joined = switched_on(point, point, saturation)
    with_it = {key: float(value) for key, value in denormalize(joined).items()}
    late_ms = latency_ms({"saturation"})
    assert late_ms == pytest.approx(3.44 / PAIR_RATE * 1000.0, rel=0.01)
    for key in ("delay.time_ms", "reverb.pre_delay_ms"):
        assert with_it[key] == pytest.approx(clean[key] - late_ms, abs=1e-6)
    without = {k: v for k, v in clean.items() if not k.startswith("saturation")}
    (dry, returns), (late_dry, late_returns) = returned(without), returned(with_it)
    # Below, its cut at 5 Hz turns the phase, and above its filters do.
    band = scipy.signal.butter(4, (500.0, 2500.0), "bandpass", fs=PAIR_RATE, output="sos")
    dry, returns, late_dry, late_returns = (
        scipy.signal.sosfiltfilt(band, audio) for audio in (dry, returns, late_dry, late_returns)
    )
    assert error_db(late_returns, returns) < -35.0
    assert error_db(late_dry, dry) > -10.0
    assert torch.allclose(at_rest(joined, "saturation"), point, atol=1e-9)


def test_an_echo_that_was_measured_before_the_latency_is_put_right() -> None:
    delay = next(module for module in CHAIN if module.key == "delay")
    settings = start_settings() | STUDIO
    point = torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS])
    start = point.clone()
    place = INDEX["delay.time_ms"]
    start[place] = 0.5
    late = switched_on(point, start, delay, {"saturation"})
    times = BY_KEY["delay.time_ms"].to_physical(torch.stack((late, start))[:, place].double())
    assert float(times[1] - times[0]) == pytest.approx(latency_ms({"saturation"}), rel=0.01)
    assert torch.equal(switched_on(point, start, delay)[place], start[place])
    assert late[INDEX["reverb.pre_delay_ms"]] == point[INDEX["reverb.pre_delay_ms"]]
