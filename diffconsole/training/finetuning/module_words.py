"""What a fine-tuning says of the modules that it found in a studio's mixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...strip.parameters import BY_KEY, CHAIN

__all__ = ["modules_record"]


def modules_record(
    modules: Mapping[str, Mapping[str, float]], closer: Mapping[str, int], asked: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Return what the record of a run holds of the modules that were found.

    Parameters
    ----------
    modules : mapping
        By module, its settings for the mean voice, physical, by short name.
    closer : mapping of str to int
        By module, how many of the mixes that decided it brings closer.
    asked : mapping of str to int
        By module, how many decided it: those that can show it.

    Returns
    -------
    dict
        By module ``settings``, ``closer``, ``asked`` and ``words``:
        ``"Delay: in all mixes, echoes every 120 ms at −18 dB, each 10 % of the one before"``.
    """
    found = {}
    for module in CHAIN:
        if module.key not in modules:
            continue
        settings = {
            name: BY_KEY[f"{module.key}.{name}"].clip(value)
            for name, value in modules[module.key].items()
        }
        count, all_of_them = closer.get(module.key, 0), asked.get(module.key, 0)
        share = "all mixes" if count == all_of_them else f"{count} of {all_of_them} mixes"
        words = ", ".join(module.sentence(settings, frozenset()) if module.sentence else ())
        found[module.key] = {
            "settings": {name: float(f"{value:.4g}") for name, value in settings.items()},
            "closer": count,
            "asked": all_of_them,
            "words": f"{module.title}: in {share}" + (f", {words}" if words else ""),
        }
    return found
