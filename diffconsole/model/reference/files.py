"""Finished vocals whose style is wanted: their samples, what each counts, in which aspects."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from ...audio import read_audio_file
from ...audio.take import Take, take_of
from ...errors import AudioError, SettingsError
from ..predictor import gain_of
from .descent import STEPS
from .sides import sides_of
from .style_features import ASPECTS

__all__ = ["Reference", "References", "check_weights", "read_references", "without_bar"]

HIGHEST_WEIGHT = 1e6


@dataclass(frozen=True)
class Reference:
    """A finished vocal whose style is wanted.

    Attributes
    ----------
    name : str
        For messages and provenance.
    samples : ndarray
        ``(channels, samples)`` float32.
    sample_rate : int
        Hz.
    weight : float
        Above 0, up to 10⁶; against those of the other references.
    aspects : mapping of str to float
        By ``"tone"``, ``"dynamics"`` or ``"space"``, the weight in this aspect, 0 or more, where
        it is not `weight`.
    messages : tuple of str
        What its user should know of its file, a line each.
    """

    name: str
    samples: np.ndarray
    sample_rate: int
    weight: float = 1.0
    messages: tuple[str, ...] = ()
    aspects: Mapping[str, float] = field(default_factory=dict)

    def weight_of(self, aspect: str) -> float:
        """Return how much it counts in an aspect."""
        return self.aspects.get(aspect, self.weight)

    def record(self) -> dict[str, Any]:
        """Return its name and its weights, for provenance."""
        aspects = {"aspects": dict(self.aspects)} if self.aspects else {}
        return {"name": self.name, "weight": self.weight, **aspects}

    @functools.cached_property
    def take(self) -> Take:
        """What is analysed of it."""
        return take_of(self.samples, self.sample_rate)

    @property
    def is_widened(self) -> bool:
        """Whether its sides are doubled voices or a delayed copy: no reverb brings them."""
        return sides_of(self.samples, self.sample_rate, self.take).widened

    @property
    def level(self) -> tuple[float, float]:
        """Gain in dB that levels it, and its loudness per channel in LUFS.

        Two channels measure 3 dB above one that sounds the same.

        Raises
        ------
        AudioError
            It is silent.
        """
        return gain_of(self.take), self.take.level_lufs


@dataclass(frozen=True)
class References(Sequence[Reference]):
    """Finished vocals, and how the way to their style is gone.

    Attributes
    ----------
    items : tuple of Reference
        The vocals.
    steps : int
        Of the descent.
    silent : bool
        Without a progress bar.
    """

    items: tuple[Reference, ...] = ()
    steps: int = STEPS
    silent: bool = True

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Reference: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Reference, ...]: ...

    def __getitem__(self, index: int | slice) -> Reference | tuple[Reference, ...]:
        """Return one of them, or some."""
        return self.items[index]

    def with_steps(self, steps: int) -> References:
        """Return the same with another number of steps."""
        return replace(self, steps=steps)


def without_bar(references: Sequence[Reference]) -> Sequence[Reference]:
    """Return the same, for callers that show a progress bar of their own."""
    return replace(references, silent=True) if isinstance(references, References) else references


def check_weights(
    count: int, weights: Sequence[float], aspects: Mapping[str, Sequence[float]]
) -> None:
    """Refuse weights that do not fit so many references.

    Raises
    ------
    SettingsError
        Another number of weights than of references, a weight that is not above 0 (0 or more for
        an aspect) or above 10⁶, an aspect that does not exist, or all aspects without any weight.
    """
    for name, values in (("", weights), *aspects.items()):
        of = f" of {name}" if name else ""
        if name and name not in ASPECTS:
            raise SettingsError(
                f"references have no aspect {name!r}; give weights for {', '.join(ASPECTS)}"
            )
        if (values or name) and len(values) != count:
            raise SettingsError(
                f"{_counted(len(values), 'weight')}{of} for {_counted(count, 'reference')}; "
                "give one for each, in order"
            )
        for weight in values:
            if not 0.0 <= weight <= HIGHEST_WEIGHT or not (name or weight):
                allowed = "from 0 to" if name else "above 0, up to"
                raise SettingsError(
                    f"a reference's weight{of} is {weight:g}; give a number {allowed} 1000000"
                )
    if all(name in aspects and not any(aspects[name]) for name in ASPECTS):
        raise SettingsError(
            f"every weight of {', '.join(ASPECTS)} is 0; leave the references out instead"
        )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _names(paths: Sequence[Path]) -> list[str]:
    """Names of the files, with the folder's where some are the same, with a number if need be."""
    found = [path.name for path in paths]
    found = [
        f"{path.absolute().parent.name}/{name}" if found.count(name) > 1 else name
        for path, name in zip(paths, found, strict=True)
    ]
    return [
        f"{name} ({found[: i + 1].count(name)})" if found.count(name) > 1 else name
        for i, name in enumerate(found)
    ]


def read_references(
    paths: Sequence[Path],
    weights: Sequence[float] = (),
    aspects: Mapping[str, Sequence[float]] | None = None,
) -> list[Reference]:
    """Read finished vocals.

    Parameters
    ----------
    paths : sequence of Path
        Audio files.
    weights : sequence of float
        One for each; by default all count the same.
    aspects : mapping of str to sequence of float, optional
        By ``"tone"``, ``"dynamics"`` or ``"space"``, a weight for each, 0 or more, instead of
        `weights`. An aspect with nothing but zeros follows the prediction without references.

    Raises
    ------
    SettingsError
        Weights that do not fit (:func:`check_weights`).
    AudioError
        A file cannot be read, or is silent.
    """
    aspects = aspects or {}
    check_weights(len(paths), weights, aspects)
    found = []
    names = _names(paths)
    for i, (path, weight) in enumerate(zip(paths, weights or [1.0] * len(paths), strict=True)):
        file = read_audio_file(path)
        own = {name: float(values[i]) for name, values in aspects.items()}
        reference = Reference(names[i], file.samples, file.sample_rate, weight, file.messages, own)
        try:
            _ = reference.level
        except AudioError as error:
            raise AudioError(f"{path}: as a reference, {error}") from None
        if reference.weight_of("space") and reference.is_widened:
            line = f"{path}: the reference is doubled or widened; its width is not followed"
            reference = replace(reference, messages=(*reference.messages, line))
        found.append(reference)
    return found
