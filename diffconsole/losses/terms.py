"""What a loss is made of: named terms, each with a weight.

``total = Σ weight·term``. The distance to a mix brings four terms (:data:`REPORTED`); a weight is
changed, and a term added, by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["REPORTED", "Term", "combined_weights"]

REPORTED: Mapping[str, float] = {"mss_lr": 1.0, "mss_ms": 0.5, "mldr_lr": 0.5, "mldr_ms": 0.25}
"""Weights of the reported distance (Yu et al., *DiffVox*, DAFx 2025): multi-resolution STFT and
log dynamic range, of left and right and of mid and side."""


@dataclass(frozen=True)
class Term:
    """A term that is added to a distance.

    Attributes
    ----------
    name : str
        By which its weight is changed and its value is returned.
    weight : float
        In the total.
    prepare : callable
        Called once with the mix, ``(batch, 2, samples)``, and its sample rate in Hz; returns a
        function from the result, ``(batch, 2, samples)``, to the term, ``(batch,)``, which is
        differentiable. A batch of one mix serves any number of results.
    """

    name: str
    weight: float
    prepare: Callable[[Tensor, float], Callable[[Tensor], Tensor]]


def combined_weights(
    weights: Mapping[str, float] | None = None, extra: Sequence[Term] = ()
) -> dict[str, float]:
    """Return the weight of every term by name, those of the reported distance first.

    Parameters
    ----------
    weights : mapping of str to float, optional
        In place of the terms' own; those that are not named keep theirs.
    extra : sequence of Term
        Beside the four of the reported distance.

    Raises
    ------
    SettingsError
        Two terms have one name, a weight is for no term, or it is negative or no number.
    """
    found = dict(REPORTED)
    for term in extra:
        if term.name in (*found, "total"):
            raise SettingsError(f"loss term {term.name!r}: there is one of this name; rename it")
        found[term.name] = term.weight
    for name in weights or {}:
        if name not in found:
            raise SettingsError(f"no loss term {name!r}; there are {', '.join(found)}")
    found.update(weights or {})
    for name, weight in found.items():
        if not (math.isfinite(weight) and weight >= 0.0):
            raise SettingsError(f"loss term {name!r}: its weight is {weight}; give 0 or more")
    return found
