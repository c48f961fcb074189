"""A loss is a list of named terms: weights change and terms are added by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffconsole.errors import SettingsError
from diffconsole.losses import REPORTED, MixTarget, Term, mix_distance, mix_distance_terms

from ..synthetic import RATE, voice


@pytest.fixture(scope="module")
def sounds() -> tuple[Tensor, Tensor]:
    ours, theirs = (torch.from_numpy(voice(0.5, seed))[None, None] for seed in (1, 2))
    return ours, torch.cat((theirs, 0.7 * theirs), dim=1)


def level(mix: Tensor, sample_rate: float) -> Callable[[Tensor], Tensor]:
    """Difference in level, dB."""
    assert sample_rate == RATE
    wanted = mix.square().mean(dim=(1, 2)).log10()
    return lambda result: 10.0 * (result.square().mean(dim=(1, 2)).log10() - wanted).abs()


def test_the_total_is_the_weighted_sum(sounds) -> None:
    terms = mix_distance_terms(*sounds, RATE)
    assert [*terms] == [*REPORTED, "total"]
    total = sum(weight * terms[name] for name, weight in REPORTED.items())
    torch.testing.assert_close(terms["total"], total)


@pytest.mark.parametrize("name", REPORTED)
def test_a_weight_is_changed_by_name(sounds, name) -> None:
    terms = mix_distance_terms(*sounds, RATE)
    changed = mix_distance(*sounds, RATE, weights={name: 0.0})
    torch.testing.assert_close(changed, terms["total"] - REPORTED[name] * terms[name])


def test_a_term_is_added_with_its_gradient(sounds) -> None:
    ours = sounds[0].clone().requires_grad_()
    target = MixTarget(sounds[1], RATE, weights=dict.fromkeys(REPORTED, 0.0),
                       extra=[Term("level", 0.5, level)])  # fmt: skip
    terms = target.terms(ours)
    torch.testing.assert_close(terms["total"], 0.5 * terms["level"])
    (gradient,) = torch.autograd.grad(terms["total"].sum(), ours)
    assert float(gradient.abs().sum()) > 0.0
    # The level's gradient is along the sound itself.
    along = torch.nn.functional.cosine_similarity(gradient.flatten(), ours.flatten(), dim=0)
    assert abs(float(along.detach())) > 0.999
    again = mix_distance_terms(*sounds, RATE, extra=[Term("level", 0.5, level)],
                               weights={"level": 2.0})  # fmt: skip
    reported = mix_distance(*sounds, RATE)
    torch.testing.assert_close(again["total"], reported + 2.0 * again["level"])


@pytest.mark.parametrize(
    ("weights", "extra", "words"),
    [
        ({"mss": 1.0}, [], "no loss term 'mss'; there are mss_lr"),
        ({"mss_lr": -1.0}, [], "its weight is -1.0"),
        ({"mss_lr": float("nan")}, [], "give 0 or more"),
        ({}, [Term("mss_lr", 1.0, level)], "there is one of this name"),
        ({}, [Term("total", 1.0, level)], "there is one of this name"),
        ({}, [Term("a", 1.0, level), Term("a", 1.0, level)], "there is one of this name"),
    ],
)
def test_terms_that_are_none(sounds, weights, extra, words) -> None:
    with pytest.raises(SettingsError, match=words):
        MixTarget(sounds[1], RATE, weights=weights, extra=extra)
