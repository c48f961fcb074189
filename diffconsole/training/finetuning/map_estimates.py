"""Maximum a posteriori estimates: the settings closest to a studio's strip that make a mix.

A search finds some settings with a low distance to a mix, and for two like mixes other ones: what
pairs have in common cannot be seen from them. Here every pair begins at the studio's strip and
moves by the gradient of its distance through the console, held by

    distance + penalty · Σ ((setting − strip) / 0.1)²

so that what is hardly audible stays where it is, and what differs between pairs is what differs
between their voices. It is the mode of the settings given the mix, for normal deviations from the
strip; the penalty is the distance that a deviation of a tenth of the range must gain.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...console import Console
from ...losses import mix_distance
from ...pairs import PAIR_RATE
from ...strip.parameters import PARAMETERS, denormalize
from ..distributed import SINGLE_PROCESS, Workers
from .labels import LABELS, kept_or_found
from .segments import SegmentLoader, SegmentRef

__all__ = ["ADAM_EPS", "LOSS_STRIDE", "map_estimates_of", "spread_places"]

STEPS, STEP_SIZE = 15, 0.12
L2_PENALTY, DEVIATION = 0.003, 0.1
SEGMENTS_A_PAIR = 2
PAIRS_TOGETHER, PAIRS_TOGETHER_ON_GPU = 4, 8
LOSS_STRIDE = 32
ADAM_EPS = 1e-2
"""Gradient of the distance, by logit, against which a setting's own counts."""

ReportProgress = Callable[[float, float], None]


def map_estimates_of(
    cutter: SegmentLoader,
    places: Sequence[SegmentRef],
    prints: Sequence[str],
    strip: Tensor,
    seen: Tensor,
    console: Console,
    lead: int,
    folder: Path,
    *,
    device: str = "cpu",
    workers: Workers = SINGLE_PROCESS,
    over: Callable[[], bool] = lambda: False,
    report: Callable[[float, float], None] = lambda *_: None,
) -> Tensor:
    """Estimate the settings of each pair around a strip; those that the folder holds are read.

    Parameters
    ----------
    cutter : SegmentLoader
        Of the pairs.
    places : sequence of SegmentRef
        Segments of the pairs; two of each, spread over it, are used.
    prints : sequence of str
        The pairs' fingerprints.
    strip : Tensor
        ``(parameters,)`` in 0…1.
    seen : Tensor
        ``(parameters,)`` bool, which settings move.
    console : Console
        At 44.1 kHz.
    lead : int
        Samples at the beginning of a segment that do not count: what came before them is missing.
    folder : Path
        Gets the file of labels.
    device : str
        ``"cpu"`` or ``"cuda"``.
    workers : Workers
        Processes that share the work.
    over : callable
        Whether the time for it is spent; pairs that it does not reach stay without.
    report : callable
        Called with the share of the pairs done, 0…1, and a distance.

    Returns
    -------
    Tensor
        ``(pairs, parameters)`` in 0…1, NaN where there is none.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; what was found is kept.
    """
    # Without what the console leaves off: the labels stay the same when the strip grows.
    on = torch.tensor([p.module not in console.bypass for p in PARAMETERS])
    at = hashlib.blake2b(strip.float().cpu()[on].numpy().tobytes(), digest_size=8).hexdigest()
    keys = [f"{each}-near-{at}" for each in prints]
    chosen = [spread_places(places, number) for number in range(len(prints))]
    together = PAIRS_TOGETHER_ON_GPU if device != "cpu" else PAIRS_TOGETHER
    # Pairs of one singer often stand side by side: what the time allows shall be of all.
    count = -(-len(prints) // together)
    groups = [list(range(first, len(prints), count)) for first in range(count)]

    def search_group(group: Sequence[int], report_progress: ReportProgress) -> list[Tensor]:
        used = [place for number in group for place in chosen[number]]
        owner = [row for row, number in enumerate(group) for _ in chosen[number]]
        raw, mixed = (audio.to(device) for audio in cutter.audio(used))
        return _descend(
            raw,
            mixed,
            torch.tensor(owner, device=device),
            strip,
            seen,
            console,
            lead,
            report_progress,
        )

    return kept_or_found(
        keys, groups, folder / LABELS, search_group,
        on_gpu=device != "cpu", workers=workers, over=over, report=report,
    )  # fmt: skip


def spread_places(
    places: Sequence[SegmentRef], pair: int, most: int = SEGMENTS_A_PAIR
) -> list[SegmentRef]:
    """Return at most two of a pair's segments, spread over it."""
    own = [place for place in places if place.pair == pair]
    count = min(len(own), most)
    return [own[round(i * (len(own) - 1) / max(count - 1, 1))] for i in range(count)]


@torch.enable_grad()
def _descend(
    raw: Tensor,
    mixed: Tensor,
    owner: Tensor,
    strip: Tensor,
    seen: Tensor,
    console: Console,
    lead: int,
    report_progress: ReportProgress,
) -> list[Tensor]:
    """Settings of each owner of segments; after Ctrl-C none."""
    strip, seen = strip.to(raw), seen.to(raw.device)
    count = int(owner.max()) + 1
    begin = torch.logit(strip.clamp(0.005, 0.995))
    moves = torch.zeros(count, len(strip), device=raw.device, requires_grad=True)
    optimizer = torch.optim.Adam([moves], lr=STEP_SIZE, betas=(0.85, 0.97), eps=ADAM_EPS)
    segments = torch.bincount(owner, minlength=count)
    for step in range(STEPS):
        rate = STEP_SIZE * (0.55 + 0.45 * math.cos(math.pi * step / STEPS))
        optimizer.param_groups[0]["lr"] = rate
        settings = torch.sigmoid(begin + moves * seen)
        result = console(raw, denormalize(settings[owner]))
        each = mix_distance(
            result[..., lead:], mixed[..., lead:], PAIR_RATE, stride=LOSS_STRIDE, bounded=True
        )
        distance = torch.zeros(count, device=raw.device).index_add(0, owner, each) / segments
        off = ((settings - strip) / DEVIATION).square().sum(dim=1)
        optimizer.zero_grad(set_to_none=True)
        (distance + L2_PENALTY * off).sum().backward()
        assert moves.grad is not None
        moves.grad.nan_to_num_()
        optimizer.step()
        try:
            report_progress((step + 1) / STEPS, float(distance.detach().mean()))
        except KeyboardInterrupt:
            return []
    found = torch.where(seen, torch.sigmoid(begin + moves.detach()), strip)
    return list(found.cpu())
