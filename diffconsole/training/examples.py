"""What pretraining hears: examples made on the fly, and a pool of the latest of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..statistics import SettingsStatistics
from .processed import process_two
from .simulate import Voices, simulate

__all__ = ["POOL", "Example", "Pool", "Stream"]

POOL = 2000
SAME_SHARE = 0.25
"""Of the pairs of voices: the same singer, as a studio's reference often is."""

Example = tuple[Tensor, Tensor]
"""``(4, mels, frames)`` heard and ``(4, parameters)``, normalised:

0. a raw vocal, and the strip that finishes it;
1. a voice after a strip, and this strip;
2. another voice, or another passage of the same, after this strip, at −18 LUFS a side, and the
   strip with the gain that levels it;
3. the first voice before the strip, and the strip with the gain that levels its result."""

TWO_SIDES_DB = 10.0 * math.log10(2.0)


class Stream(IterableDataset):
    """Examples by their number, so that a run that goes on hears what it would have heard."""

    def __init__(
        self,
        voices: Voices,
        rooms: Sequence[np.ndarray],
        table: SettingsStatistics,
        mel: torch.nn.Module,
        seed: int,
        first: int,
    ) -> None:
        self.voices, self.rooms, self.table = voices, rooms, table
        self.mel, self.seed, self.first = mel, seed, first

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        step = worker.num_workers if worker else 1
        number = self.first + (worker.id if worker else 0)
        while True:
            yield self.example((self.seed, number))
            number += step

    @torch.inference_mode()
    def example(self, seed: tuple[int, int]) -> Example:
        """Make the example of a seed."""
        rng = np.random.default_rng(seed)
        raw = simulate(self.voices, self.rooms, self.table, rng)
        processed = process_two(self.voices, self.rooms, self.table, rng, same_share=SAME_SHARE)
        first_db, second_db = processed.levelling_db
        level_db = second_db + TWO_SIDES_DB
        second = processed.heard[1] * np.float32(10.0 ** (level_db / 20.0))
        heard = self.mel(
            torch.from_numpy(np.stack((raw.raw, processed.heard[0], second, processed.raw[0])))
        )
        gains_db = (0.0, level_db, first_db)
        target = np.stack((raw.normalised(), *(processed.normalised(g) for g in gains_db)))
        return heard.half().clone(), torch.from_numpy(target)


class Pool:
    """The latest examples; each batch is the fresh ones and a draw of earlier ones."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng((seed, 2))
        self.kept: list[Example] = []
        self.oldest = 0

    def batch(self, mel: Tensor, settings: Tensor, size: int) -> list[Tensor]:
        """Return the fresh examples and a draw of earlier ones, `size` in all; keep the fresh."""
        fresh = list(zip(mel, settings, strict=True))
        drawn = self.rng.integers(0, max(len(self.kept), 1), max(size - len(fresh), 0))
        again = [self.kept[i] for i in drawn] if self.kept else []
        for example in fresh:
            if len(self.kept) < POOL:
                self.kept.append(example)
            else:
                self.kept[self.oldest] = example
                self.oldest = (self.oldest + 1) % POOL
        return [torch.stack(part) for part in zip(*fresh, *again, strict=True)]
