"""Modules that came after version 1.0 of the preset format, where files and code do not know them.

Models, labels, statistics and simulations were made for the modules of their time. A module that
one of them does not know is off there; where every parameter needs a value, as in an array of
settings, its parameters have the values at which it changes least.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .parameter import Parameter
from .parameters import BY_KEY, CHAIN, MODULES, PARAMETERS, SWITCHES, default_settings

__all__ = [
    "FIRST_PARAMETERS",
    "FIRST_SWITCHES",
    "LATER",
    "NOT_DRAWN",
    "UNTRAINED",
    "first_settings",
    "is_later",
    "missing_modules",
    "normalised_rest",
    "rest_settings",
    "rest_value",
    "start_settings",
]


def is_later(parameter: Parameter) -> bool:
    """Return whether a parameter, or its module, came after version 1.0 of the preset format."""
    return parameter.since > 0 or parameter.module in LATER


LATER = frozenset(module.key for module in CHAIN if module.since > 0)
"""Modules that came after version 1.0: the search of a match has no start for them, and simulated
raw vocals do without them."""

UNTRAINED = frozenset(p.key for p in PARAMETERS if is_later(p) and p.drawn is None)
"""Parameters that came later and whose rows state no range to draw from: no training example moves
them."""

NOT_DRAWN = frozenset(
    module.key
    for module in CHAIN
    if module.key in LATER and UNTRAINED.issuperset(p.key for p in module.parameters)
)
"""Modules that training examples leave off."""

FIRST_PARAMETERS = tuple(p.key for p in PARAMETERS if not is_later(p))
"""The parameters of version 1.0, in order: what files hold that list settings by position."""

FIRST_SWITCHES = tuple(s for s in SWITCHES if s.partition(".")[0] not in LATER)
"""The switches of version 1.0, in order."""


def rest_value(parameter: Parameter) -> float:
    """Return the value of a parameter that a file does not know.

    Of a module that the file does not know either, the value at which it changes least, or else the
    default; of a module that it knows, the default, as in a preset of before there was it.
    """
    if parameter.module in LATER and parameter.at_rest is not None:
        return parameter.at_rest
    return parameter.default


def rest_settings(modules: Collection[str]) -> dict[str, float]:
    """Return the values by key that the parameters of modules have where these are not known."""
    return {p.key: rest_value(p) for p in PARAMETERS if p.module in modules}


def normalised_rest(keys: Collection[str]) -> list[float]:
    """Return the values of parameters that are not known, 0…1, in the order of `keys`."""
    return [BY_KEY[key].to_normalised(rest_value(BY_KEY[key])) for key in keys]


def start_settings() -> dict[str, float]:
    """Return the default of every parameter by key; modules that came later do least."""
    return {**default_settings(), **rest_settings(LATER)}


def missing_modules(keys: Collection[str]) -> frozenset[str]:
    """Return the modules of which no parameter is among `keys`."""
    return frozenset(MODULES) - {BY_KEY[key].module for key in keys if key in BY_KEY}


def first_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by key as version 1.0 knows them.

    Modules that came later are left out: a preset made of the settings has them off. Parameters
    that came later in a module of version 1.0 have their defaults.
    """
    return {
        key: rest_value(BY_KEY[key]) if is_later(BY_KEY[key]) else value
        for key, value in settings.items()
        if BY_KEY[key].module not in LATER
    }
