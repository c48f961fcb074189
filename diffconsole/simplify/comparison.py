"""How far a strip's result lies from that of the full strip, on passages of a vocal."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..audio.take import Take
from ..audio.windows import faded_ends, window_starts
from ..console.arrays import ArrayConsole, takes_arrays
from ..losses.array_target import ArrayTarget
from ..modules.reverb.kept import keep_rooms
from ..strip.parameters import EQ_BANDS, PARAMETERS
from ..strip.preset import Preset

if TYPE_CHECKING:
    from ..console.render import OneVocal

__all__ = ["Comparison", "power_of"]

SHORTEST_SECONDS, WHOLE_SECONDS, FADE_SECONDS = 1.0, 6.0, 0.01
"""A shorter vocal is repeated, one up to the second is taken whole; fades join passages."""


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
    vocal : OneVocal, optional
        Of this take; strips that are checked are then applied to it.
    """

    def __init__(
        self,
        take: Take,
        settings: Mapping[str, float],
        off: frozenset[str],
        passages: int,
        seconds: float,
        vocal: OneVocal | None = None,
    ) -> None:
        self.take, self.sample_rate = take, take.sample_rate
        self.console = ArrayConsole(take.sample_rate)
        passage = _passages(take.mono[0], take.sample_rate, passages, seconds)
        self.is_part = len(passage) < take.mono.shape[1]
        self.audio = passage[None]
        self.vocal = vocal if vocal is not None and self._is_of(vocal) else None
        self.full = self.render(settings, off)
        self.power = power_of(self.full)
        self.is_audible = 1e-20 < self.power < math.inf
        self.known: dict[tuple[object, ...], tuple[float, float]] = {}

    @functools.cached_property
    def target(self) -> ArrayTarget:
        """What results are compared to."""
        return ArrayTarget(self.full, self.sample_rate)

    def render(self, settings: Mapping[str, float], off: Collection[str]) -> np.ndarray:
        """Return what a strip makes of the passages, ``(2, samples)``."""
        off = set(off)
        if all(f"eq.{band}" in off for band in EQ_BANDS):
            off.add("eq")
        if takes_arrays(off):
            arrays = {key: np.array([value]) for key, value in settings.items()}
            result = self.console(self.audio[None], arrays, off)[0]
        else:
            result = _by_tensors(self.audio, self.sample_rate, settings, off)
        return _both_sides(result)

    def distance(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """Of a strip's result to that of the full strip."""
        return self._measured(settings, off)[0]

    def checked(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """As :meth:`distance`, of the result that is written where the vocal is given."""
        if self.vocal is None:
            return self.distance(settings, off)
        preset = Preset.from_settings(settings, bypass=off)
        # What is written is what applying the preset gives, bit by bit.
        with keep_rooms(False):
            result = self.vocal.render(preset).samples[:, : self.audio.shape[-1]]
        return self.target.distance(_both_sides(result))

    def _is_of(self, vocal: OneVocal) -> bool:
        """Whether what is compared is the vocal, sample by sample."""
        return (
            vocal.sample_rate == self.sample_rate
            and vocal.samples.dtype == self.audio.dtype
            and np.array_equal(vocal.samples, self.audio)
        )

    def power_of(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """Mean square of a strip's result."""
        return self._measured(settings, off)[1]

    def _measured(self, settings: Mapping[str, float], off: Collection[str]) -> tuple[float, float]:
        key = (frozenset(off), *(settings.get(p.key) for p in PARAMETERS))
        if key not in self.known:
            result = self.render(settings, off)
            self.known[key] = self.target.distance(result), power_of(result)
        return self.known[key]


def _both_sides(result: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(result) if len(result) == 2 else np.repeat(result, 2, axis=0)


def power_of(result: np.ndarray) -> float:
    """Return the mean square, never 0."""
    return max(float(np.vdot(result, result)) / result.size, 1e-30)


def _by_tensors(
    audio: np.ndarray, sample_rate: float, settings: Mapping[str, float], off: Collection[str]
) -> np.ndarray:
    """What a strip makes of ``(1, samples)`` where a module of it takes tensors alone."""
    import torch

    from ..console.console import Console

    with torch.inference_mode():
        tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
        console = Console(sample_rate)
        result: np.ndarray = console(torch.from_numpy(audio)[None], tensors, off)[0].numpy()
    return result


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
