"""The fit of departures by the voice, and how sure it is of pairs that it was not fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.parameters import PARAMETERS
from diffconsole.training.ridge import FEWEST, fit
from diffconsole.voice import MANNER

TONES = 6
FEATURES = TONES + len(MANNER)


def some(pairs: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    heard, described = rng.standard_normal((pairs, 8)), rng.standard_normal((pairs, FEATURES))
    y = 0.1 * rng.standard_normal((pairs, len(PARAMETERS)))
    y += 0.05 * described[:, :1] + 0.3
    return tuple(torch.from_numpy(a).float() for a in (heard, described, y))  # type: ignore[return-value]


@pytest.mark.parametrize("pairs", [5, 12])
def test_errors_are_those_on_pairs_that_were_really_left_out(pairs: int) -> None:
    """Their mean is left out with them."""
    heard, described, y = some(pairs)
    whole = fit(heard, described, y, 1.0)
    squared = torch.zeros(len(PARAMETERS))
    for i in range(pairs):
        rows = torch.arange(pairs) != i
        part = fit(heard[rows], described[rows], y[rows], 1.0)
        away = [x[i] - x[rows].mean(dim=0) for x in (heard, described)]
        guess = y[rows].mean(dim=0)
        guess = guess + part.heard_weight @ away[0] + part.voice_weight @ away[1]
        squared += (y[i] - guess).square()
    total = (y - y.mean(dim=0)).square().sum(dim=0)
    torch.testing.assert_close(whole.left, squared / total, rtol=1e-3, atol=1e-4)


def test_few_pairs_of_nothing_but_chance_are_not_made_sure_of() -> None:
    """Their spread about their own mean is too small: over pairs left out it is n/(n − 1)."""
    found = []
    for seed in range(20):
        heard, described, _ = some(5, seed)
        y = torch.from_numpy(np.random.default_rng(seed + 99).standard_normal((5, len(PARAMETERS))))
        found.append(fit(heard, described, 0.1 * y.float(), 2.0))
    assert float(torch.cat([f.left for f in found]).mean()) > 1.2
    assert np.mean([share for f in found for share in f.by_module.values()]) < 0.25


def test_what_never_departs_keeps_its_uncertainty() -> None:
    """Settings that no label moves are not made certain by that."""
    heard, described, y = some(8)
    y[:, 3] = 0.0
    found = fit(heard, described, y, 1.0)
    assert float(found.left[3]) == 1.0
    assert torch.equal(fit(heard[: FEWEST - 1], described[: FEWEST - 1], y[: FEWEST - 1], 1.0).left,
                       torch.ones(len(PARAMETERS)))  # fmt: skip
