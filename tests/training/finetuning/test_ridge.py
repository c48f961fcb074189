"""The fit of offsets by the voice, and how sure it is of pairs that it was not fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.model.voice_features import DYNAMICS_FEATURES
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.finetuning.engineer_prior import StripPrior
from diffconsole.training.finetuning.ridge import FEWEST, PRIOR_SCALES, fit

TONES = 6
FEATURES = TONES + len(DYNAMICS_FEATURES)


def some(pairs: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    pooled, features = (
        rng.standard_normal((pairs, 8)),
        rng.standard_normal((pairs, FEATURES)),
    )
    y = 0.1 * rng.standard_normal((pairs, len(PARAMETERS)))
    y += 0.05 * features[:, :1] + 0.3
    return tuple(torch.from_numpy(a).float() for a in (pooled, features, y))  # type: ignore[return-value]


@pytest.mark.parametrize("pairs", [5, 12])
def test_errors_are_those_on_pairs_that_were_really_left_out(pairs: int) -> None:
    """Their mean is left out with them."""
    pooled, features, y = some(pairs)
    whole = fit(pooled, features, y, 1.0)
    squared = torch.zeros(len(PARAMETERS))
    centre = [x.mean(dim=0) for x in (pooled, features)]
    for i in range(pairs):
        rows = torch.arange(pairs) != i
        part = fit(pooled[rows], features[rows], y[rows], 1.0)
        away = [x[i] - x[rows].mean(dim=0) for x in (pooled, features)]
        guess = y[rows].mean(dim=0)
        guess = guess + part.encoder_weight @ away[0] + part.voice_weight @ away[1]
        squared += (y[i] - guess).square()
        # What the others say of this voice, against the usual one of all.
        off = [x[i] - middle for x, middle in zip((pooled, features), centre, strict=True)]
        crossed = part.encoder_weight @ off[0] + part.voice_weight @ off[1]
        torch.testing.assert_close(whole.crossed[i], crossed, rtol=1e-3, atol=1e-4)
    total = (y - y.mean(dim=0)).square().sum(dim=0)
    torch.testing.assert_close(whole.left, squared / total, rtol=1e-3, atol=1e-4)


def test_groups_are_left_out_together() -> None:
    """As if their pairs had never been there, for the errors and for what the others say."""
    pooled, features, y = some(12)
    groups = [[0, 5, 7], [1, 2], [3, 4, 6, 8, 9], [10, 11]]
    whole = fit(pooled, features, y, 1.0, groups=groups)
    squared = torch.zeros(len(PARAMETERS))
    for group in groups:
        rows = torch.tensor([i not in group for i in range(12)])
        part = fit(pooled[rows], features[rows], y[rows], 1.0)
        for i in group:
            away = [x[i] - x[rows].mean(dim=0) for x in (pooled, features)]
            guess = part.encoder_weight @ away[0] + part.voice_weight @ away[1]
            squared += (y[i] - y[rows].mean(dim=0) - guess).square()
            off = [x[i] - x.mean(dim=0) for x in (pooled, features)]
            crossed = part.encoder_weight @ off[0] + part.voice_weight @ off[1]
            torch.testing.assert_close(whole.crossed[i], crossed, rtol=1e-3, atol=1e-4)
    total = (y - y.mean(dim=0)).square().sum(dim=0)
    torch.testing.assert_close(whole.left, squared / total, rtol=1e-3, atol=1e-4)


def test_few_pairs_of_nothing_but_chance_are_not_made_sure_of() -> None:
    """Their spread about their own mean is too small: over pairs left out it is n/(n − 1)."""
    found = []
    for seed in range(20):
        pooled, features, _ = some(5, seed)
        y = torch.from_numpy(np.random.default_rng(seed + 99).standard_normal((5, len(PARAMETERS))))
        found.append(fit(pooled, features, 0.1 * y.float(), 2.0))
    assert float(torch.cat([f.left for f in found]).mean()) > 1.2
    assert np.mean([share for f in found for share in f.by_module.values()]) < 0.25


def test_what_never_departs_keeps_its_uncertainty() -> None:
    """Settings that no label moves are not made certain by that."""
    pooled, features, y = some(8)
    y[:, 3] = 0.0
    found = fit(pooled, features, y, 1.0)
    assert float(found.left[3]) == 1.0
    assert torch.equal(fit(pooled[: FEWEST - 1], features[: FEWEST - 1], y[: FEWEST - 1], 1.0).left,
                       torch.ones(len(PARAMETERS)))  # fmt: skip


# What engineers usually do


def some_prior(seed: int = 0, directions: int = 3) -> StripPrior:
    """A mean and directions for the equalizer's and the compressor's settings."""
    rng = np.random.default_rng((seed, 7))
    modules = [p.section.split(".")[0] for p in PARAMETERS]
    of = {m: torch.tensor([m == each for each in modules]) for m in ("eq", "compressor")}
    mean = torch.from_numpy(0.02 * rng.standard_normal((len(PARAMETERS), FEATURES)))
    mean = mean * (of["eq"] | of["compressor"]).unsqueeze(1)
    shape = (directions, len(PARAMETERS), FEATURES)
    found = {
        m: torch.from_numpy(0.02 * rng.standard_normal(shape)) * mine.unsqueeze(1)
        for m, mine in of.items()
    }
    return StripPrior(mean, found)


def studio_of(
    prior: StripPrior, pairs: int, seed: int, noise: float = 0.02
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Voices, an engineer's offsets with some taste, and the engineer's own reactions."""
    rng = np.random.default_rng((seed, 3))
    pooled, features = (
        rng.standard_normal((pairs, 8)),
        rng.standard_normal((pairs, FEATURES)),
    )
    reactions = prior.mean.clone()
    for directions in prior.directions.values():
        shares = torch.from_numpy(rng.standard_normal(len(directions)))
        reactions += torch.einsum("k,ksf->sf", shares, directions)
    y = torch.from_numpy(features) @ reactions.T
    y = y + torch.from_numpy(noise * rng.standard_normal(tuple(y.shape)))
    return (
        *(torch.from_numpy(a).float() for a in (pooled, features)),
        y.float(),
        reactions.float(),
    )


def test_labels_that_are_sure_of_nothing_leave_what_is_usual() -> None:
    prior = some_prior()
    pooled, features, y, _ = studio_of(prior, 6, 1)
    nothing = torch.full((6,), 1e-9)
    found = fit(pooled, features, y, 2.0, prior, nothing)
    expected = float(np.mean(PRIOR_SCALES)) * prior.mean.float()
    torch.testing.assert_close(found.voice_weight, expected, rtol=0.02, atol=1e-4)
    assert float(found.encoder_weight.abs().max()) < 1e-6


def test_many_pairs_say_what_least_squares_says() -> None:
    """Of an engineer whose reactions lie in no direction of the prior."""
    rng = np.random.default_rng(2)
    pooled, features, _ = some(500)
    truth = torch.from_numpy(0.05 * rng.standard_normal((len(PARAMETERS), FEATURES))).float()
    y = (
        features @ truth.T
        + 0.005 * torch.from_numpy(rng.standard_normal((500, len(PARAMETERS)))).float()
    )
    found = fit(pooled, features, y, 0.01, some_prior())
    eq = torch.tensor([p.section.startswith("eq") for p in PARAMETERS])
    least_squares = torch.linalg.lstsq(features - features.mean(0), y - y.mean(0)).solution.T
    error = (found.voice_weight - least_squares)[eq].abs().mean()
    assert float(error) < 0.03 * float(least_squares[eq].abs().mean())


@pytest.mark.parametrize("pairs", [5, 10, 25])
def test_the_prior_helps_on_engineers_that_it_was_not_fitted_to(pairs: int) -> None:
    """And most where pairs are few; settings without a prior are as they were."""
    prior = some_prior()
    ours, plain, whole = 0.0, 0.0, 0.0
    for seed in range(6):
        pooled, features, y, reactions = studio_of(prior, pairs, seed)
        _, others, _, _ = studio_of(prior, 200, 100 + seed)
        right = others @ reactions.T
        for with_prior in (True, False):
            found = fit(pooled, features, y, 2.0, prior if with_prior else None)
            error = float((others @ found.voice_weight.T - right).square().mean())
            ours, plain = (ours + error, plain) if with_prior else (ours, plain + error)
        whole += float(right.square().mean())
        if not seed:
            place = [p.key for p in PARAMETERS].index("reverb.wet_db")
            a, b = (fit(pooled, features, y, 2.0, h).voice_weight for h in (prior, None))
            torch.testing.assert_close(a[place], b[place])
    assert ours < 0.5 * plain
    assert ours < 0.5 * whole


def test_a_studio_that_follows_no_voice_is_found_out() -> None:
    """The evidence lets the prior fade."""
    prior = some_prior()
    rng = np.random.default_rng(5)
    pooled, features, _ = some(25)
    y = torch.from_numpy(0.02 * rng.standard_normal((25, len(PARAMETERS)))).float()
    found = fit(pooled, features, y, 8.0, prior)
    assert max(found.prior_scales.values()) < 0.3
    usual = (features @ prior.mean.float().T).square().mean()
    assert float((features @ found.voice_weight.T).square().mean()) < 0.1 * float(usual)
    follows = studio_of(prior, 25, 4)
    assert fit(*follows[:3], 2.0, prior).prior_scales["eq"] > 0.7


def test_uncertain_labels_count_less() -> None:
    """A quarter of the labels is chance; once that is known, the rest is fitted."""
    prior = some_prior()
    pooled, features, y, reactions = studio_of(prior, 24, 9)
    wrong = torch.arange(24) % 4 == 0
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((6, len(PARAMETERS))))
    y[wrong] = 0.4 * noise.float()
    confidence = torch.where(wrong, 0.02, 1.0)
    right = features @ reactions.T
    for used, most in ((prior, 0.5), (None, 0.75)):
        known, unknown = (
            (features @ fit(pooled, features, y, 2.0, used, c).voice_weight.T - right)
            for c in (confidence, None)
        )
        assert float(known.square().mean()) < most * float(unknown.square().mean())


def test_the_same_pairs_are_fitted_the_same() -> None:
    prior = some_prior()
    pooled, features, y, _ = studio_of(prior, 12, 2)
    one, two = (fit(pooled, features, y, 1.0, prior) for _ in range(2))
    assert torch.equal(one.voice_weight, two.voice_weight)
    assert torch.equal(one.crossed, two.crossed)
