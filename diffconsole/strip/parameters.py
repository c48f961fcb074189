"""The table of parameters: every name, unit, range, scale, default and meaning, in chain order.

The predictor's outputs, the console's arguments, the preset, its schema, the plots and the
documentation read this table; none repeats it. A parameter's key is its path in a preset:
``"eq.peak_1.freq_hz"``. The rows lie with their modules and are put together by :mod:`.chain`;
no torch is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..modules.equalizer.row import EQ_BANDS
from .chain import CHAIN
from .parameter import Parameter

__all__ = [
    "ADDED",
    "BY_KEY",
    "CHAIN",
    "DEFAULT_PARAMETERS",
    "EQ_BANDS",
    "MODULES",
    "PARAMETERS",
    "SWITCHES",
    "Parameter",
    "default_settings",
    "denormalize",
    "is_on",
    "left_off",
    "neutral_settings",
    "normalize",
    "section_name",
    "without_inaudible",
]

MODULES = tuple(module.key for module in CHAIN)
"""The modules of the strip, in the order of a preset's keys."""

SWITCHES = tuple(switch for module in CHAIN for switch in module.switches)
"""Everything that has an ``enabled`` in a preset and can be bypassed in the console."""

PARAMETERS = tuple(parameter for module in CHAIN for parameter in module.parameters)
"""Every parameter, in the order of a preset's keys: the order of the predictor's outputs too."""

BY_KEY = {parameter.key: parameter for parameter in PARAMETERS}
"""The table by key."""

_OPTIONAL = {
    module.key: tuple(parameter.key for parameter in module.parameters)
    for module in CHAIN
    if not module.is_on_by_default
}


def _added() -> frozenset[str]:
    first: dict[str, int] = {}
    for module in CHAIN:
        for p in module.parameters:
            since = max(module.since, p.since)
            first[p.section] = min(since, first.get(p.section, since))
    return frozenset(p.key for p in PARAMETERS if p.since > first[p.section])


ADDED = _added()
"""The parameters that came later than the module or band they belong to.

Where settings do not hold them, they do nothing: files leave them out at their default.
"""

DEFAULT_PARAMETERS = tuple(
    p for p in PARAMETERS if p.module not in _OPTIONAL and p.key not in ADDED
)
"""The first parameters of the modules that are on by default, in order: those of version 1.0."""

_TITLES = {module.key: module.title for module in CHAIN}


def section_name(section: str) -> str:
    """Return what a module or an EQ band is called everywhere: ``"Compressor"``, ``"Peak 1"``."""
    last = section.rpartition(".")[2]
    return _TITLES.get(last, last.replace("_", " ").capitalize())


def is_on(section: str, off: Collection[str]) -> bool:
    """Return whether a module or a band is on: neither itself nor its module is in `off`."""
    return section not in off and section.partition(".")[0] not in off


def left_off(settings: Collection[str]) -> frozenset[str]:
    """Return the modules that settings leave off: of a later version, and none of its keys there.

    Parameters
    ----------
    settings : collection of str
        Keys, or settings by key.
    """
    return frozenset(
        [key for key, own in _OPTIONAL.items() if not [k for k in own if k in settings]]
    )


def default_settings() -> dict[str, float]:
    """Return the default of every parameter by key, those of all versions.

    A strip of all of them has every module on; :func:`diffconsole.strip.later.start_settings` are
    those with which modules that came later change nothing.
    """
    return {parameter.key: parameter.default for parameter in PARAMETERS}


def neutral_settings(section: str) -> dict[str, float]:
    """Return the values by key at which a module or band changes least, where it has such values.

    Parameters
    ----------
    section : str
        ``"compressor"``, ``"eq.high_pass"``; a module with bands stands for all of them.
    """
    inside = (p for p in PARAMETERS if section in (p.section, p.module))
    return {p.key: p.at_rest for p in inside if p.at_rest is not None}


def denormalize(normalised: Any) -> dict[str, Any]:
    """Map a ``(…, parameters)`` array or tensor in 0…1 to physical settings by key."""
    return {p.key: p.to_physical(normalised[..., i]) for i, p in enumerate(PARAMETERS)}


def normalize(settings: dict[str, Any]) -> dict[str, Any]:
    """Map physical settings to 0…1, key by key."""
    return {key: BY_KEY[key].to_normalised(value) for key, value in settings.items()}


def without_inaudible(settings: Mapping[str, float]) -> dict[str, float]:
    """Return settings in which a value that does nothing is exactly the one that does nothing.

    For what was predicted or found by a search; what people write stays as they wrote it.

    Parameters
    ----------
    settings : mapping of str to float
        Physical, by key.
    """
    found = dict(settings)
    for key, value in settings.items():
        idle = BY_KEY[key].idle
        if idle is not None and abs(value - idle) <= BY_KEY[key].inaudible:
            found[key] = idle
    return found
