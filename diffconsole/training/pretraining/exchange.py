"""What one process makes for a step, in the memory of all that train together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ...strip.parameters import PARAMETERS
from ..distributed import Workers
from .examples import SOUNDS, Example
from .simulate import SAMPLE_RATE, SECONDS

__all__ = ["exchanged"]


def exchanged(
    made: Iterator[Mapping[int, Example]], workers: Workers, mel: nn.Module
) -> Iterator[Mapping[int, Example]]:
    """Yield for each step what was made for it, by whichever process had the turn.

    All processes keep all examples, so that any of them can be drawn again by each.

    Parameters
    ----------
    made : iterator of mapping
        What this process makes in its turns, as :class:`.examples.Stream` does.
    workers : Workers
        The processes; with one alone nothing is sent.
    mel : Module
        What the sounds went through: by it the others know their shape.
    """
    if workers.size == 1:
        yield from made
        return
    with torch.inference_mode():
        bands = mel(torch.zeros(1, int(SECONDS * SAMPLE_RATE))).shape[1:]
    turn = 0
    while True:
        mine = next(made) if turn == workers.rank else {}
        numbers, sounds, target = _packed(mine)
        count = torch.tensor([len(numbers)])
        torch.distributed.broadcast(count, src=turn)
        if turn != workers.rank:
            some = int(count)
            numbers = torch.empty(some, dtype=torch.int64)
            sounds = torch.empty(some, SOUNDS, *bands, dtype=torch.float16)
            target = torch.empty(some, SOUNDS, len(PARAMETERS))
        for part in (numbers, sounds, target):
            torch.distributed.broadcast(part, src=turn)
        yield {number: (sounds[i], target[i]) for i, number in enumerate(numbers.tolist())}
        turn = (turn + 1) % workers.size


def _packed(made: Mapping[int, Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, sounds and targets, each in one tensor."""
    if not made:
        return torch.empty(0, dtype=torch.int64), torch.empty(0), torch.empty(0)
    sounds, targets = zip(*made.values(), strict=True)
    return torch.tensor(list(made)), torch.stack(sounds), torch.stack(targets)
