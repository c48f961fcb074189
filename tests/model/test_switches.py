"""How likely each band and module is on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.model.predictor import Predictor
from diffconsole.model.switches import RULES, calibration_line, is_on, likely_on
from diffconsole.strip.later import start_settings
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, SWITCHES

from ..synthetic import RATE, voice

EVEN = torch.tensor([[1.0], [0.0]]).repeat(1, len(RULES)).double()
PLACE = {p.key: i for i, p in enumerate(PARAMETERS)}


def normalised(**changed: float) -> torch.Tensor:
    settings = start_settings() | {k.replace("__", "."): v for k, v in changed.items()}
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS]).double()


def test_every_rule_is_of_a_switch_and_a_setting() -> None:
    for switch, rule in RULES.items():
        assert switch in SWITCHES
        assert rule.key.startswith(switch) and rule.key in BY_KEY


@pytest.mark.parametrize(
    ("switch", "key", "off", "on"),
    [
        ("eq.peak_2", "eq.peak_2.gain_db", 0.5, -3.0),
        ("eq.high_shelf", "eq.high_shelf.gain_db", -0.9, 1.5),
        ("eq.high_pass", "eq.high_pass.freq_hz", 25.0, 90.0),
        ("eq.low_pass", "eq.low_pass.freq_hz", 18000.0, 9000.0),
        ("compressor", "compressor.ratio", 1.05, 3.0),
        ("reverb", "reverb.wet_db", -50.0, -20.0),
    ],
)
def test_on_is_what_is_audible(switch: str, key: str, off: float, on: float) -> None:
    place = list(RULES).index(switch)
    small = torch.full((len(PARAMETERS),), 0.01).double()
    for value, expected in ((off, False), (on, True)):
        unit = normalised(**{key.replace(".", "__"): value})
        assert bool(is_on(unit)[place]) is expected
        assert (float(likely_on(unit, small, EVEN)[place]) > 0.5) is expected
    unsure = torch.full((len(PARAMETERS),), 0.5).double()
    wide = float(likely_on(normalised(**{key.replace(".", "__"): off}), unsure, EVEN)[place])
    sure = float(likely_on(normalised(**{key.replace(".", "__"): off}), small, EVEN)[place])
    assert wide > sure, "what is not known may be on"


def test_calibration_makes_shares_of_probabilities() -> None:
    """Of an overconfident predictor with a bias, on examples that were not fitted on."""
    rng = np.random.default_rng(5)
    gain = BY_KEY["eq.peak_1.gain_db"]
    count = 4000
    mean = normalised().repeat(count, 1)
    known_db = rng.normal(0.0, 2.0, count)
    mean[:, PLACE[gain.key]] = torch.from_numpy(gain.to_normalised(known_db))
    target = mean.clone()
    true_db = np.clip(known_db * 0.5 + rng.normal(0.4, 1.5, count), -15, 15)
    target[:, PLACE[gain.key]] = torch.from_numpy(gain.to_normalised(true_db))
    deviation = torch.full_like(mean, 0.02)
    half = count // 2
    line = calibration_line(mean[:half], deviation[:half], target[:half])
    place = list(RULES).index("eq.peak_1")

    def error(of: torch.Tensor) -> float:
        likely = likely_on(mean[half:], deviation[half:], of)[:, place]
        on = is_on(target[half:])[:, place].double()
        found = 0.0
        for low in np.arange(0.0, 1.0, 0.1):
            inside = (likely >= low) & (likely < low + 0.1 + 1e-9)
            if bool(inside.any()):
                gap = float((likely[inside].mean() - on[inside].mean()).abs())
                found += float(inside.double().mean()) * gap
        return found

    assert error(EVEN) > 0.1
    assert error(line) < 0.05


def test_few_examples_leave_the_probabilities_about_as_they_are() -> None:
    one = normalised()[None]
    line = calibration_line(one, torch.full_like(one, 0.1), one)
    assert bool(line.isfinite().all())
    assert float((line - EVEN).abs().max()) < 1.5


def test_a_prediction_has_them() -> None:
    prediction = Predictor.load().predict(voice(3.0, 2)[None], RATE)
    assert list(prediction.switches) == list(RULES)
    assert all(0.0 < likely < 1.0 for likely in prediction.switches.values())


def test_what_was_not_calibrated_is_not_said() -> None:
    model = Predictor.load()
    model.head.switch_line.copy_(EVEN.float())
    assert model.predict(voice(2.0, 2)[None], RATE).switches == {}
