"""What the row of a module must be, before it may stand in the chain's table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import get_args

from ..errors import SettingsError
from .module import Module, Place
from .parameter import Amount, Parameter, Scale

__all__ = ["FIRST_MODULES", "check_module"]

FIRST_MODULES = frozenset({"input_gain", "eq", "compressor", "pan", "reverb", "output_gain"})
"""The modules of version 1.0 of the preset format. Every other one came later, and says with which
version: readers, REAPER's slider numbers and models go by it."""

RESERVED = frozenset({"format", "version", "name", "provenance", "enabled"})
"""Keys that mean something else in a preset."""

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def check_module(module: Module, chain: Sequence[Module]) -> None:
    """Check a module's row against the other modules of the chain.

    Parameters
    ----------
    module : Module
        The row.
    chain : sequence of Module
        The others: no key twice, and what a threshold follows must be among their parameters.

    Raises
    ------
    SettingsError
        Names the module, what is wrong and what is allowed.
    """
    for problem in _problems(module, chain):
        raise SettingsError(f"module {module.key!r}: {problem}")


def _problems(module: Module, chain: Sequence[Module]) -> Iterator[str]:
    for name in (module.key, *module.bands):
        if not NAME.fullmatch(name) or name in RESERVED:
            yield (
                f"{name!r} is no key; it must be lower-case letters, digits and single "
                f"underscores, and none of {', '.join(sorted(RESERVED))}"
            )
    if module.key in {other.key for other in chain}:
        yield "its key is taken"
    if module.place not in get_args(Place):
        yield f"place is {module.place!r}, not one of {', '.join(get_args(Place))}"
    if module.since < 1 and module.key not in FIRST_MODULES:
        yield "since is 0, but it came after version 1.0; state the minor version that brings it"
    if not module.parameters:
        yield "it has no parameters"
    keys = [parameter.key for parameter in module.parameters]
    others = {p.key for other in chain for p in other.parameters}
    for key in sorted(set(keys)):
        if keys.count(key) > 1:
            yield f"{key} stands twice"
    for parameter in module.parameters:
        yield from _parameter_problems(parameter, module, others)
    if module.gain_after and f"{module.key}.{module.gain_after}" not in keys:
        yield f"gain_after is {module.gain_after!r}, which is none of its parameters"
    if module.feeds and f"{module.key}.{module.feeds}" not in keys:
        yield f"feeds is {module.feeds!r}, which is none of its parameters"
    if module.feeds and module.place != "send":
        yield f"feeds is {module.feeds!r}, but it is no send"
    if module.takes_dry and module.place != "send":
        yield "it takes the dry signal along, but it is no send"


def _parameter_problems(parameter: Parameter, module: Module, others: set[str]) -> Iterator[str]:
    key, low, high = parameter.key, parameter.low, parameter.high
    if parameter.section not in module.switches:
        yield f"{key}: section is {parameter.section!r}, not one of {', '.join(module.switches)}"
    if not NAME.fullmatch(parameter.name) or parameter.name in RESERVED:
        yield f"{key}: {parameter.name!r} is no name for a parameter"
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        yield f"{key}: the range is {low:g} to {high:g}; it must be finite and rise"
    if parameter.scale not in get_args(Scale):
        yield f"{key}: scale is {parameter.scale!r}, not one of {', '.join(get_args(Scale))}"
    elif parameter.scale == "log" and low <= 0.0:
        yield f"{key}: a log scale cannot begin at {low:g}"
    values = {
        "default": parameter.default, "idle": parameter.idle, "neutral": parameter.neutral,
    }  # fmt: skip
    for name, value in values.items():
        if value is not None and not low <= value <= high:
            yield f"{key}: {name} is {value:g}, outside {low:g} to {high:g}"
    if parameter.amount not in get_args(Amount):
        yield f"{key}: amount is {parameter.amount!r}, not one of {', '.join(get_args(Amount))}"
    if parameter.follows and parameter.follows not in others:
        yield f"{key}: follows {parameter.follows!r}, which is no parameter of another module"
