"""The modules of a preset as its file holds them: order, rounding, and what a file leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .nested import is_present, look_up, make_place
from .parameters import PARAMETERS, SWITCHES, Parameter
from .versions import is_spare

__all__ = ["in_chain_order", "is_at_rest", "is_within", "remove", "without_overshoot"]


def in_chain_order(strip: Mapping[str, Any], *, rounded: bool = False) -> dict[str, Any]:
    """Return a copy in the order of the file, without settings that a file need not hold.

    Parameters
    ----------
    strip : mapping
        The modules, nested.
    rounded : bool
        Round every value as the file does.
    """
    ordered: dict[str, Any] = {}
    for switch in SWITCHES:
        if not is_present(strip, switch):
            continue
        source, place = look_up(strip, switch), make_place(ordered, switch)
        if "enabled" in source:
            place["enabled"] = source["enabled"]
        for parameter in PARAMETERS:
            if parameter.section == switch and parameter.name in source:
                value = source[parameter.name]
                value = parameter.rounded(value) if rounded else value
                if not is_spare(parameter.key, value):
                    place[parameter.name] = value
    return ordered


def is_within(strip: Mapping[str, Any]) -> bool:
    """Return whether every value lies in its range."""
    return all(
        p.low <= look_up(strip, p.section).get(p.name, p.default) <= p.high for p in PARAMETERS
    )


def is_at_rest(strip: Mapping[str, Any], switch: str) -> bool:
    """Return whether all settings of a module or band are defaults or do nothing."""
    return all(
        p.rounded(look_up(strip, p.section)[p.name])
        in (p.rounded(p.default), p.rounded(p.default if p.at_rest is None else p.at_rest))
        for p in PARAMETERS
        if switch in (p.section, p.module) and p.name in look_up(strip, p.section)
    )


def remove(strip: dict[str, Any], switch: str) -> None:
    """Take out a module or a band."""
    parent, _, name = switch.rpartition(".")
    del (look_up(strip, parent) if parent else strip)[name]


def without_overshoot(parameter: Parameter, value: float) -> float:
    """Take back what float32 arithmetic puts beyond an end of the range; an error stays one."""
    nearest = parameter.clip(value)
    return nearest if abs(value - nearest) <= 1e-6 * max(1.0, abs(nearest)) else value
