"""What one setting of the channel strip is: name, unit, range, scale, default, and how it behaves.

This file imports nothing of the package, and no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Amount", "Parameter", "Scale"]

Scale = Literal["linear", "log"]

Amount = Literal["keep", "gain", "ratio", "level", "to_low_end", "to_high_end", "resonance"]
"""How a setting follows ``--amount``; the rules are those of :mod:`.amount`."""


@dataclass(frozen=True)
class Parameter:
    """One setting of the channel strip.

    Attributes
    ----------
    section : str
        The module or EQ band it belongs to: ``"compressor"``, ``"eq.peak_1"``.
    name : str
        Its name with the unit: ``"threshold_db"``.
    unit : str
        ``"dB"``, ``"dBFS"``, ``"Hz"``, ``"ms"``, ``"s"``, ``":1"``, ``"%"`` or ``""``.
    low, high : float
        The ends of the range, both allowed.
    scale : {"linear", "log"}
        How 0…1 spreads over the range.
    default : float
        The value of a key that is missing in a present module.
    meaning : str
        One line for people.
    idle : float, optional
        The value at which the setting does nothing, where there is one.
    inaudible : float
        Values that are no further from it make no audible difference.
    amount : str
        How ``--amount`` scales it, by the name of a rule in :mod:`.amount`.
    follows : str
        The key of a gain before this module: a level that the amount keeps in its place in the
        signal, as the threshold of a compressor.
    neutral : float, optional
        The value that changes least where a module has to stay on; by default `idle`.
    decimals : int, optional
        Decimal places in the preset's file, instead of five significant digits.
    drawn : tuple of float, optional
        The ends of the range that training examples are drawn from; by default the whole range.
        Twice the same value: it is not drawn. What came later (`since`) takes part in training
        examples only where it states a range; a module without any is off in them
        (:mod:`.later`).
    since : int
        The minor version of the preset format that brought it; of a module's first settings, 0
        means the module's own.
    silent : tuple of float, optional
        Between these values, or up to an end of the range, the module or band makes no change that
        counts; how likely it is on follows from this setting (:mod:`diffconsole.model.switches`).
    has_gradient : bool
        Whether the gradient of an audio distance leads anywhere. Of a setting that turns phases it
        is large and points anywhere: the search tries values instead.
    """

    section: str
    name: str
    unit: str
    low: float
    high: float
    scale: Scale
    default: float
    meaning: str
    idle: float | None = None
    inaudible: float = 0.0
    amount: Amount = "keep"
    follows: str = ""
    neutral: float | None = None
    decimals: int | None = None
    drawn: tuple[float, float] | None = None
    since: int = 0
    silent: tuple[float, float] | None = None
    has_gradient: bool = True

    @property
    def key(self) -> str:
        """Path in a preset, such as ``"eq.peak_1.freq_hz"``."""
        return f"{self.section}.{self.name}"

    @property
    def module(self) -> str:
        """Key of the module it belongs to: ``"eq"`` for ``"eq.peak_1.freq_hz"``."""
        return self.section.partition(".")[0]

    @property
    def is_decibel(self) -> bool:
        """Whether the value is a level in dB (written to 0.001 dB)."""
        return self.unit in ("dB", "dBFS")

    @property
    def at_rest(self) -> float | None:
        """The value that changes least: `neutral`, or else `idle`."""
        return self.idle if self.neutral is None else self.neutral

    def to_physical(self, normalised: Any) -> Any:
        """Map 0…1 to the physical range (floats, arrays and tensors)."""
        if self.scale == "log":
            return self.low * (self.high / self.low) ** normalised
        return self.low + (self.high - self.low) * normalised

    def to_normalised(self, physical: Any) -> Any:
        """Map a physical value to 0…1 (floats, arrays and tensors)."""
        if self.scale == "log":
            return _log(physical / self.low) / math.log(self.high / self.low)
        return (physical - self.low) / (self.high - self.low)

    def clip(self, value: float) -> float:
        """Return the nearest value that the range allows."""
        return min(max(value, self.low), self.high)

    def rounded(self, value: float) -> float:
        """Round as a preset's file does; never out of the range, and without a negative zero."""
        if self.is_decibel:
            return round(float(value), 3) + 0.0
        if self.decimals is not None:
            return round(float(value), self.decimals) + 0.0
        return self.clip(float(f"{value:.5g}")) + 0.0


def _log(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return math.log(value)
    # Of numbers alone NumPy need not be loaded.
    import numpy as np

    return np.log(value) if isinstance(value, (np.ndarray, np.generic)) else value.log()
