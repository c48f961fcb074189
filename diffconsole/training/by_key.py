"""Normalised settings on disk: by key, so that they keep their meaning when the strip grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..strip.later import FIRST_PARAMETERS, is_later, normalised_rest
from ..strip.parameters import BY_KEY, PARAMETERS

__all__ = ["by_key", "in_table_order"]


def by_key(values: Sequence[float]) -> dict[str, float]:
    """Return settings in 0…1, in the order of the table, by key."""
    return {p.key: float(value) for p, value in zip(PARAMETERS, values, strict=True)}


def in_table_order(stored: Any) -> list[float] | None:
    """Return stored settings, 0…1, in the order of the table; None if they are damaged.

    Parameters
    ----------
    stored : mapping of str to float, or list of float
        By key; or by position, as it was before there were modules of a later version. Parameters
        that came later may be missing and are then where they rest (:func:`.rest_value`).
        Settings with parameters that this program does not know are no use to it: they are of
        another strip.
    """
    if isinstance(stored, list):
        if len(stored) != len(FIRST_PARAMETERS):
            return None
        stored = dict(zip(FIRST_PARAMETERS, stored, strict=True))
    if not isinstance(stored, Mapping) or not stored.keys() <= BY_KEY.keys():
        return None
    if not all(type(value) in (int, float) and 0 <= value <= 1 for value in stored.values()):
        return None
    missing = [p for p in PARAMETERS if p.key not in stored]
    if not all(map(is_later, missing)):
        return None
    keys = [p.key for p in missing]
    filled = {**stored, **dict(zip(keys, normalised_rest(keys), strict=True))}
    return [float(filled[p.key]) for p in PARAMETERS]
