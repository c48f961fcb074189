"""How far a strip's result lies from that of the full strip, on passages of a vocal."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from ..audio.take import Take
from ..audio.windows import faded_ends, window_starts
from ..console import Console
from ..losses import MixTarget
from ..strip.parameters import EQ_BANDS, PARAMETERS

__all__ = ["Comparison", "power_of"]

SHORTEST_SECONDS, WHOLE_SECONDS, FADE_SECONDS = 1.0, 6.0, 0.01
"""A shorter vocal is repeated, one up to the second is taken whole; fades join passages."""

STRIDE = 32


class Comparison:
    """Passages of a vocal, what the full strip makes of them, and distances to that.

    Parameters
    ----------
    take : Take
        The vocal.
    settings, off
        Of the full strip.
    passages : int
        How many at most; of a short vocal its whole.
    seconds : float
        Of each.
    """

    def __init__(
        self,
        take: Take,
        settings: Mapping[str, float],
        off: frozenset[str],
        passages: int,
        seconds: float,
    ) -> None:
        self.take, self.sample_rate = take, take.sample_rate
        self.console = Console(take.sample_rate)
        passage = _passages(take.mono[0], take.sample_rate, passages, seconds)
        self.is_part = len(passage) < take.mono.shape[1]
        self.audio = torch.from_numpy(passage)[None, None]
        self.full = self.render(settings, off)
        self.power = power_of(self.full)
        self.is_audible = 1e-20 < self.power < math.inf
        self.known: dict[tuple[object, ...], tuple[float, float]] = {}

    @functools.cached_property
    def target(self) -> MixTarget:
        """What results are compared to."""
        return MixTarget(self.full, self.sample_rate, stride=STRIDE, bounded=True)

    def render(self, settings: Mapping[str, float], off: Collection[str]) -> Tensor:
        """Return what a strip makes of the passages, ``(1, 2, samples)``."""
        off = set(off)
        if all(f"eq.{band}" in off for band in EQ_BANDS):
            off.add("eq")
        tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
        return self.console(self.audio, tensors, off).expand(-1, 2, -1)

    def distance(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """Of a strip's result to that of the full strip."""
        return self._measured(settings, off)[0]

    def power_of(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """Mean square of a strip's result."""
        return self._measured(settings, off)[1]

    def _measured(self, settings: Mapping[str, float], off: Collection[str]) -> tuple[float, float]:
        key = (frozenset(off), *(settings.get(p.key) for p in PARAMETERS))
        if key not in self.known:
            result = self.render(settings, off)
            self.known[key] = float(self.target.distance(result)), power_of(result)
        return self.known[key]


def power_of(result: Tensor) -> float:
    """Return the mean square, never 0."""
    return max(float(result.square().mean()), 1e-30)


def _passages(voice: np.ndarray, sample_rate: int, count: int, seconds: float) -> np.ndarray:
    """Passages from all over the voice, one after the other; all of a short one."""
    length = round(seconds * sample_rate)
    if len(voice) <= max(count * length, round(WHOLE_SECONDS * sample_rate)):
        shortest = round(SHORTEST_SECONDS * sample_rate)
        repeated = np.tile(voice, -(-shortest // max(len(voice), 1)))
        return np.ascontiguousarray(repeated, np.float32)
    fade = faded_ends(length, round(FADE_SECONDS * sample_rate))
    starts = window_starts(len(voice), length, 2 * count + 1)[1::2]
    return np.concatenate([voice[start : start + length] * fade for start in starts])
