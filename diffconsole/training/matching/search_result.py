"""Where the search of a pair stands, and the physical settings that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ...strip.later import LATER, first_settings
from ...strip.module import Module
from ...strip.parameters import BY_KEY, CHAIN, denormalize, without_inaudible
from .objective import HELD, INDEX

__all__ = ["SearchResult"]

INSERTS = tuple(module.key for module in CHAIN if module.place == "insert")
LEVEL_DEPENDENT = INSERTS[INSERTS.index("compressor") :]


@dataclass
class SearchResult:
    """Where the search of a pair stands.

    Attributes
    ----------
    point : Tensor
        ``(parameters,)`` in 0…1, for the raw vocal at −18 LUFS.
    input_db, output_db : float
        Gains before and after the strip that make it act on the files as they lie.
    off : frozenset of str
        Modules and bands that are not used.
    tried : frozenset of str
        Modules whose later settings were tried and kept.
    ranges : dict
        By key, the ends in 0…1 between which the distance is about as small.
    history : list of float
        Distance, step by step, of the best point.
    distance : float
        Of the point, on the excerpt.
    """

    point: Tensor
    input_db: float
    output_db: float
    off: frozenset[str] = frozenset()
    tried: frozenset[str] = frozenset()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)
    distance: float = math.inf

    def settings(self) -> dict[str, float]:
        """Return physical settings that act on the raw file as it lies.

        Modules that came later are among them if they were kept and do something.
        """
        every = denormalize(self.point.double())
        kept = {m.key for m in CHAIN if m.key in self.tried and not _is_idle(m, every)}
        tried = {key: value for key, value in every.items() if BY_KEY[key].module in kept}
        physical = {**first_settings(every), **tried}
        found = {key: BY_KEY[key].clip(float(value)) for key, value in physical.items()}
        makeup, output = BY_KEY["compressor.makeup_db"], BY_KEY["output_gain.gain_db"]
        found["input_gain.gain_db"] = self.input_db
        level_db = self.output_db
        # What lies behind the makeup and follows the level needs the one that was searched.
        if "compressor" not in self.off and self.tried.isdisjoint(LEVEL_DEPENDENT):
            level_db += found[makeup.key]
            found[makeup.key] = makeup.clip(level_db)
            level_db -= found[makeup.key]
        found[output.key] = output.clip(level_db)
        return without_inaudible(found)

    def uncertainty(self) -> dict[str, tuple[float, float]]:
        """Return the physical ends by key."""
        settings, makeup = self.settings(), BY_KEY["compressor.makeup_db"]
        searched = float(makeup.to_physical(float(self.point[INDEX[makeup.key]])))
        # The level that the files need lies on top of the makeup that was searched.
        moved = {makeup.key: settings[makeup.key] - searched}

        def physical(key: str, value: float) -> float:
            return BY_KEY[key].clip(float(BY_KEY[key].to_physical(value)) + moved.get(key, 0.0))

        found = {key: (physical(key, a), physical(key, b)) for key, (a, b) in self.ranges.items()}
        if found:
            # These two follow from the files' loudness.
            found |= {key: (settings[key], settings[key]) for key in HELD}
        return found


def _is_idle(module: Module, settings: Mapping[str, Tensor]) -> bool:
    """Whether a module does nothing: a search that was stopped has not reached it yet."""
    if module.is_idle is None or module.key not in LATER:
        return False
    own = {key: float(value) for key, value in module.own(settings).items()}
    return module.is_idle(own, frozenset())
