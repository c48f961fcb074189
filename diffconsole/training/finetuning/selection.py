"""By what the pairs held out choose a state: no single one of them decides.

Some pairs of a studio are unlike the others: nearly mono, doubled, of another singer's session.
Their distances can be several times those of the rest, and in a mean they would decide alone. What
counts is by which factor the distance of each pair has changed since the start, without the
largest and the smallest changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import PairError
from ...pairs import Pair
from .finetune_options import FinetuneOptions

__all__ = ["relative_score", "split_pairs", "trimmed_mean"]

FEWEST_PAIRS = 2
FEW_PAIRS, HELD_OUT = 20, 0.2
"""Fewer pairs than this are all learnt from; of more, this share is held out."""

TRIMMED_SHARE = 0.25
"""Of the values at each end; one at least where there are three or more."""

LEAST_DISTANCE = 1e-6


def trimmed_mean(values: Sequence[float]) -> float:
    """Return the mean of the values without the quarter at each end.

    Of three or four the middle ones are left, of one or two all.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    cut = max(int(TRIMMED_SHARE * len(ordered)), 1) if len(ordered) >= 3 else 0
    return float(np.mean(ordered[cut : len(ordered) - cut]))


def relative_score(distances: Sequence[float], before: Sequence[float]) -> float:
    """Return how near a state comes to the mixes held out, as a distance.

    Parameters
    ----------
    distances : sequence of float
        Of each pair, in this state.
    before : sequence of float
        Of the same pairs, at the start.

    Returns
    -------
    float
        The median distance at the start, times the trimmed geometric mean of the factors by which
        the distances have changed.
    """
    ours, start = (np.maximum(np.asarray(d, float), LEAST_DISTANCE) for d in (distances, before))
    factor = np.exp(trimmed_mean(np.log(ours / start).tolist()))
    return float(np.median(start) * factor)


def split_pairs(pairs: Sequence[Pair], options: FinetuneOptions) -> tuple[list[Pair], list[Pair]]:
    """Split into pairs to train on and pairs held out, by the seed.

    Without a share of its own, fewer than 20 pairs are not split: both are all of them.

    Raises
    ------
    PairError
        Fewer than two pairs.
    """
    if len(pairs) < FEWEST_PAIRS:
        raise PairError(f"{len(pairs)} usable pair(s); fine-tuning needs {FEWEST_PAIRS}, better 50")
    if options.held_out is None and len(pairs) < FEW_PAIRS:
        return list(pairs), list(pairs)
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    share = HELD_OUT if options.held_out is None else options.held_out
    count = min(max(1, round(share * len(pairs))), len(pairs) - 1)
    chosen = {int(i) for i in order[:count]}
    kept = [p for i, p in enumerate(pairs) if i not in chosen]
    return kept, [p for i, p in enumerate(pairs) if i in chosen]
