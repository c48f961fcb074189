"""Modules that came later and that a studio's mixes have: what is known of them, and where it goes.

They are found by :mod:`.module_search`, kept with the progress of a run, and put into its labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...strip.later import is_later
from ...strip.parameters import BY_KEY, CHAIN, PARAMETERS, denormalize
from ..matching.objective import INDEX
from ..matching.tried import TRIED
from .shared_settings import OUTPUT

__all__ = ["StudioModules", "later_keys"]


@dataclass(frozen=True)
class StudioModules:
    """Modules that came later and are on in a studio's strip.

    Attributes
    ----------
    settings : dict of str to float
        Their later parameters by key, 0…1, and the output gain where one of them follows the level
        behind the makeup; empty where there are none.
    change : dict of str to float
        By how much the settings of the labels move when these modules are on, by key.
    closer : dict of str to int
        By module, how many of the mixes that decided it brings closer.
    asked : dict of str to int
        By module, how many decided it: those for which it changes something.
    decided : int
        How many mixes there were to decide; 0 in a run of an earlier version.
    """

    settings: dict[str, float] = field(default_factory=dict)
    change: dict[str, float] = field(default_factory=dict)
    closer: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    decided: int = 0

    @property
    def on(self) -> tuple[str, ...]:
        """The modules, in the order of the chain."""
        return tuple(m.key for m in CHAIN if m.key in self.closer)

    def to_progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "settings": dict(self.settings), "change": dict(self.change),
            "closer": dict(self.closer), "asked": dict(self.asked), "decided": self.decided,
        }  # fmt: skip

    def own_settings(self, strip: Tensor) -> dict[str, dict[str, float]]:
        """Return what a strip ``(parameters,)`` has of these modules, physical, by module."""
        every = denormalize(strip.double())
        return {
            module.key: {name: float(value) for name, value in module.own(every).items()}
            for module in CHAIN
            if module.key in self.closer
        }

    def to_log(self) -> dict[str, Any]:
        """Return the entry of a run's history."""
        return {
            "stage": "modules", "closer": dict(self.closer), "asked": dict(self.asked),
            "decided": self.decided,
        }  # fmt: skip

    @classmethod
    def of_progress(cls, kept: Mapping[str, Any]) -> StudioModules:
        """Return what :meth:`to_progress` made.

        Raises
        ------
        ValueError
            It is damaged.
        """
        if not kept:
            # The stage has not been there yet.
            return cls()
        parts = [kept.get(name) for name in ("settings", "change", "closer", "asked")]
        settings, change, closer, asked = (each if isinstance(each, dict) else {} for each in parts)
        if None in parts:
            raise ValueError("the modules are damaged")
        if type(kept["asked"]) is int:
            # Of a run that began when the same mixes decided every module.
            asked = dict.fromkeys(closer, kept["asked"])
        decided = kept.get("decided", 0)
        values = (*settings.values(), *change.values())
        whole = (
            all(type(v) in (int, float) and -1.0 <= v <= 1.0 for v in values)
            and all(v >= 0.0 for v in settings.values())
            and all(key in BY_KEY for key in (*settings, *change))
            and closer.keys() <= set(TRIED)
            and closer.keys() == asked.keys()
            and all(type(count) is int for count in (*closer.values(), *asked.values(), decided))
            and settings.keys() - {OUTPUT} == later_keys(closer)
        )
        if not whole:
            raise ValueError("the modules are damaged")
        return cls(settings, change, closer, asked, decided)

    def with_modules(self, labels: Tensor) -> Tensor:
        """Return labels ``(pairs, parameters)`` as they are with these modules; NaN stays NaN."""
        if not self.settings:
            return labels
        move = torch.tensor([self.change.get(p.key, 0.0) for p in PARAMETERS])
        found = (labels + move).clamp(0.0, 1.0)
        for key, value in self.settings.items():
            column = found[:, INDEX[key]]
            found[:, INDEX[key]] = torch.where(column.isnan(), column, value)
        return found


def later_keys(modules: Collection[str]) -> set[str]:
    """Return the keys of the parameters that came later in these modules."""
    return {p.key for p in PARAMETERS if is_later(p) and p.module in modules}
