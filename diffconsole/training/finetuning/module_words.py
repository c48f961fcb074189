"""What a fine-tuning says of the modules that it found in a studio's mixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...strip.parameters import BY_KEY, CHAIN

__all__ = ["modules_record"]


def modules_record(
    modules: Mapping[str, Mapping[str, float]],
    closer: Mapping[str, int],
    asked: Mapping[str, int] | int,
    decided: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return what the record of a run holds of the modules that were found.

    Parameters
    ----------
    modules : mapping
        By module, its settings for the mean voice, physical, by short name.
    closer : mapping of str to int
        By module, how many of the mixes that decided it brings closer.
    asked : mapping of str to int, or int
        By module, how many decided it: those for which it changes something. One number for all
        modules is that of a run of an earlier version.
    decided : int
        How many mixes there were to decide; 0 for a run of an earlier version.

    Returns
    -------
    dict
        By module ``settings``, ``closer``, ``asked`` and ``words``:
        ``"Delay: in all mixes, echoes every 120 ms at −18 dB, each 10 % of the one before"``.
    """
    found = {}
    counts = dict.fromkeys(closer, asked) if isinstance(asked, int) else asked
    for module in CHAIN:
        if module.key not in modules:
            continue
        settings = {
            name: BY_KEY[f"{module.key}.{name}"].clip(value)
            for name, value in modules[module.key].items()
        }
        count, all_of_them = closer.get(module.key, 0), counts.get(module.key, 0)
        share = "all mixes" if count == all_of_them else f"{count} of {all_of_them} mixes"
        if all_of_them < decided:
            share += " that can show it"
        words = ", ".join(module.sentence(settings, frozenset()) if module.sentence else ())
        found[module.key] = {
            "settings": {name: float(f"{value:.4g}") for name, value in settings.items()},
            "closer": count,
            "asked": all_of_them,
            "words": f"{module.title}: in {share}" + (f", {words}" if words else ""),
        }
    return found
