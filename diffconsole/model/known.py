"""Which parameters of the strip a model predicts, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..kernels.arrays import Numbers, math_of
from ..strip.later import LATER, UNTRAINED, missing_modules, normalised_rest
from ..strip.parameters import BY_KEY, MODULES, is_on, section_name
from .rows import KEYS
from .switches import RULES

__all__ = ["Known"]

LONGEST_LIST = 200
LEAST_LIKELY = 0.8
"""From which probability a later module is on: to do without one that is needed costs less than to
have one that is not."""


@dataclass(frozen=True)
class Known:
    """Which parameters a model predicts.

    Attributes
    ----------
    unknown : frozenset of str
        Keys of the parameters that it does not predict; by default those that no training example
        moves.
    ignored : tuple of str
        Keys that its file lists and this program does not know.
    """

    unknown: frozenset[str] = UNTRAINED
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, keys: Collection[str]) -> Known:
        """Return what a model knows that predicts the parameters of these keys alone."""
        missing = tuple(key for key in keys if key not in BY_KEY)
        return cls(frozenset(KEYS) - frozenset(keys), missing)

    @cached_property
    def off(self) -> frozenset[str]:
        """Modules of which no parameter is predicted: they are off in what the model predicts."""
        return missing_modules([key for key in KEYS if key not in self.unknown])

    @property
    def names(self) -> dict[str, list[str]]:
        """What the model's files have rows for, by ``"parameters"`` and ``"switches"``."""
        return {
            "parameters": [key for key in KEYS if key not in self.unknown],
            "switches": [switch for switch in RULES if is_on(switch, self.off)],
        }

    def with_rest(self, chosen: Numbers) -> Numbers:
        """Return settings ``(…, parameters)`` in which those that are unknown are at rest."""
        if not self.unknown:
            return chosen
        m = math_of(chosen)
        fixed = m.like([float(key in self.unknown) for key in KEYS], chosen) > 0.5
        return m.where(fixed, m.like(normalised_rest(KEYS), chosen), chosen)

    def decided(
        self, settings: Mapping[str, float], likely: Mapping[str, float]
    ) -> dict[str, float]:
        """Return settings without those of later modules that are not clearly needed.

        Of a module that an engineer uses on some voices only, as a de-esser, the mean m of what is
        right lies between off and on, and would do a little to every voice. Where it is on with a
        probability p of at least 0.8, the setting that is 0 where it is off has the mean of the
        others, ``m/p``.

        Parameters
        ----------
        settings : mapping of str to float
            Physical, by key.
        likely : mapping of str to float
            By switch, how likely it is on, 0…1.
        """
        found = dict(settings)
        for module in LATER - self.off:
            if likely.get(module, 1.0) < LEAST_LIKELY:
                found = {k: v for k, v in found.items() if BY_KEY[k].module != module}
            elif (
                module in RULES and (amount := BY_KEY[RULES[module].key]).idle == amount.low == 0.0
            ):
                found[amount.key] = amount.clip(settings[amount.key] / likely.get(module, 1.0))
        return found

    def without_untrained(self) -> Known:
        """Return what is known without the parameters that no label of a fine-tuning moves."""
        return Known(self.unknown | UNTRAINED, self.ignored)

    def with_also(self, keys: Collection[str]) -> Known:
        """Return what is known with parameters that a fine-tuning found in the mixes."""
        return Known(self.unknown.difference(keys), self.ignored)

    def notices(self) -> tuple[str, ...]:
        """Say in a line each what of the strip the model does not know, and what it has beyond."""
        titles = ", ".join(section_name(module) for module in MODULES if module in self.off)
        single = [k for k in KEYS if k in self.unknown and BY_KEY[k].module not in self.off]
        lines = [f"does not know {titles}: off in what it predicts"] if titles else []
        if single:
            lines.append(f"does not know {', '.join(single)}: at its default in what it predicts")
        if self.ignored:
            listed = ", ".join(self.ignored)[:LONGEST_LIST]
            lines.append(
                f"predicts {listed}, which this version of diffconsole does not know and leaves "
                "out; update it to use the whole model"
            )
        return tuple(lines)
