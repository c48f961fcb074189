"""Examples for pretraining, made on the fly, and a pool of the latest of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from .processed import Processed, process_several, random_strip, through_strip
from .simulate import Voices, simulate
from .strips import Strips

__all__ = ["POOL", "SOUNDS", "Example", "Pool", "Schedule", "Stream"]

POOL = 2000
SAME_SHARE = 0.25
"""Share of the examples whose passages are of one singer, as a studio's references often are."""

SOUNDS = 6
"""In an example."""

Example = tuple[Tensor, Tensor]
"""``(6, mels, frames)`` of the sounds and ``(6, parameters)`` of their strips, normalised:

0. a raw vocal, and the strip that finishes it;
1. a voice after a strip, and this strip;
2. another voice, or another passage of the same, after this strip, at −18 LUFS a side, and the
   strip with the gain that levels it;
3. the first voice before the strip, and the strip with the gain that levels its result;
4. a third voice, or a third passage of the same, as the second;
5. the first voice, the same passage, after another strip, and that strip: what differs from
   sound 1 is the processing alone."""

TWO_SIDES_DB = 10.0 * math.log10(2.0)


@dataclass(frozen=True)
class Schedule:
    """Which examples a step uses, by their numbers: a matter of the seed and the step alone.

    Attributes
    ----------
    seed : int
        Of the draws.
    fresh : int
        Examples that are new in each step.
    size : int
        Examples of a step in all; the others are drawn from the latest :data:`POOL` before it.
    """

    seed: int
    fresh: int = 1
    size: int = 1

    def fresh_in(self, step: int) -> range:
        """Numbers of the examples that are new in a step."""
        return range(step * self.fresh, (step + 1) * self.fresh)

    def again_in(self, step: int) -> list[int]:
        """Numbers of the earlier examples that a step uses again; none in the first step."""
        made = step * self.fresh
        kept = min(made, POOL)
        if not kept:
            return []
        rng = np.random.default_rng((self.seed, 2, step))
        return (made - kept + rng.integers(0, kept, max(self.size - self.fresh, 0))).tolist()

    def size_of(self, step: int) -> int:
        """Number of examples that a step uses."""
        return self.fresh + (max(self.size - self.fresh, 0) if step else 0)


class Stream(IterableDataset):
    """Examples by their number, so that a resumed run gets what it would have got.

    Iterated, it yields for each step from `first` on the examples that are missing in memory, by
    number: those that are new, and of those that the step uses again the ones that were made
    before the run was stopped. Several processes take turns, a step each.
    """

    def __init__(
        self,
        voices: Voices,
        rooms: Sequence[np.ndarray],
        strips: Strips,
        mel: torch.nn.Module,
        seed: int,
        first: int = 0,
        schedule: Schedule | None = None,
        turn: tuple[int, int] = (0, 1),
    ) -> None:
        self.turn = turn
        self.voices, self.rooms, self.strips = voices, rooms, strips
        self.mel, self.seed, self.first = mel, seed, first
        self.schedule = schedule or Schedule(seed)

    def __iter__(self) -> Iterator[dict[int, Example]]:
        worker = get_worker_info()
        which, loaders = self.turn
        turns = loaders * (worker.num_workers if worker else 1)
        step = self.first + which + loaders * (worker.id if worker else 0)
        lost = self.schedule.fresh_in(self.first).start
        remade: set[int] = set()
        while True:
            again = {n for n in self.schedule.again_in(step) if n < lost} - remade
            remade |= again
            numbers = [*self.schedule.fresh_in(step), *sorted(again)]
            yield {number: self.example((self.seed, number)) for number in numbers}
            step += turns

    @torch.inference_mode()
    def example(self, seed: tuple[int, int]) -> Example:
        """Make the example of a seed."""
        rng = np.random.default_rng(seed)
        raw = simulate(self.voices, self.rooms, self.strips, rng)
        table = self.strips.table
        same_strip = process_several(
            self.voices, self.rooms, table, rng, count=3, same_share=SAME_SHARE
        )
        other = Processed(
            same_strip.raw[:1], *through_strip(same_strip.raw[:1], random_strip(table, rng))
        )
        levels_db = [gain_db + TWO_SIDES_DB for gain_db in same_strip.levelling_db]
        second, third = (
            same_strip.output[n] * np.float32(10.0 ** (levels_db[n] / 20.0)) for n in (1, 2)
        )
        sounds = (raw.raw, same_strip.output[0], second, same_strip.raw[0], third, other.output[0])
        gains_db = (0.0, levels_db[1], same_strip.levelling_db[0], levels_db[2])
        target = np.stack((
            raw.normalised(), *(same_strip.normalised(g) for g in gains_db), other.normalised()
        ))  # fmt: skip
        return self.mel(torch.from_numpy(np.stack(sounds))).half().clone(), torch.from_numpy(target)


class Pool:
    """The latest examples; each batch is the fresh ones and a draw of earlier ones."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.kept: dict[int, Example] = {}

    def batch(
        self, step: int, made: Mapping[int, Example], rows: slice = slice(None)
    ) -> list[Tensor]:
        """Keep what was made for a step, and return what the step uses, or some rows of it."""
        # Copies: what another process sent keeps a file open as long as it lives.
        self.kept.update(
            {n: (sounds.clone(), target.clone()) for n, (sounds, target) in made.items()}
        )
        numbers = [*self.schedule.fresh_in(step), *self.schedule.again_in(step)]
        examples = [self.kept[number] for number in numbers[rows]]
        oldest = self.schedule.fresh_in(step).stop - POOL
        for number in [n for n in self.kept if n < oldest]:
            del self.kept[number]
        return [torch.stack(part) for part in zip(*examples, strict=True)]
