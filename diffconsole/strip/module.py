"""What a module of the channel strip is: its row in the chain's table, without torch.

What a module *does* lies in Python code that :func:`Module.code` loads when it is first needed;
which functions that code has stands in :mod:`diffconsole.modules`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .parameter import Parameter

__all__ = ["Idle", "Module", "Place", "Words"]

Place = Literal["input", "insert", "pan", "send", "output"]
"""Where in the signal flow: a gain before all, one after the other, the pan of the dry signal,
beside each other into the sum, a gain after all."""

Idle = Callable[[Mapping[str, float], Collection[str]], bool]
"""From a module's settings by short name and its bands that are off to whether it does nothing."""

Words = Callable[[Mapping[str, float], Collection[str]], Sequence[str]]
"""From a module's settings by short name (``"threshold_db"``, ``"peak_1.freq_hz"``) and its bands
that are off to parts of a sentence."""


@dataclass(frozen=True)
class Module:
    """One module of the strip: an entry in the chain's table.

    Attributes
    ----------
    key : str
        In presets and everywhere else: ``"compressor"``.
    title : str
        For people: ``"Compressor"``.
    place : str
        Where in the signal flow, see :data:`Place`.
    parameters : tuple of Parameter
        In the order of a preset's keys.
    implementation : str
        Import path of its code: ``"diffconsole.modules.compressor.module"``.
    bands : tuple of str
        Parts with an ``enabled`` of their own: ``("high_pass", "low_shelf", …)``.
    since : int
        The minor version of the preset format that brought it.
    on_by_default : bool, optional
        Whether it is on where settings state nothing of it; by default only what version 1.0 has,
        so that settings written before a module keep their sound. Read
        :attr:`is_on_by_default`.
    always_written : tuple of str
        Switches that a preset made from settings states whether on or off, since people look for
        them.
    takes_gain : bool
        Whether its code takes a gain along that lies before it, at no cost; of a send one that lies
        behind it.
    takes_dry : bool
        Whether the code of a send adds its return to the dry signal itself, where it gets that
        signal (:attr:`diffconsole.modules.call.Call.dry`), and so saves a pass over both.
    gain_after : str
        The short name of a setting in dB that is a plain gain behind the module, if there is one:
        another gain can be added to it.
    feeds : str
        The short name of a setting in dB, of a send: the level at which its return goes into the
        sends behind it as well, as the mean of its sides. At the low end of its range none does.
    is_idle : callable, optional
        Says whether it does nothing at its settings although it is on, as a pan at the centre. By
        default it always does something.
    sentence : callable, optional
        Says what it does in the settings sheet: ``["3.3:1 above −22 dBFS"]``.
    summary : callable, optional
        Says the same in fewer words, for a line on the terminal.
    script : str
        File name of its twin for the audition page, beside its code; empty if the page's own code
        holds it.
    effect : str
        File name of its twin for REAPER's effect, beside its code.
    """

    key: str
    title: str
    place: Place
    parameters: tuple[Parameter, ...]
    implementation: str
    bands: tuple[str, ...] = ()
    since: int = 0
    on_by_default: bool | None = None
    always_written: tuple[str, ...] = ()
    takes_gain: bool = False
    takes_dry: bool = False
    gain_after: str = ""
    feeds: str = ""
    is_idle: Idle | None = None
    sentence: Words | None = None
    summary: Words | None = None
    script: str = ""
    effect: str = ""

    @property
    def is_on_by_default(self) -> bool:
        """Whether settings that hold none of its own leave it on, which they must then state."""
        return self.since == 0 if self.on_by_default is None else self.on_by_default

    @property
    def switches(self) -> tuple[str, ...]:
        """Everything in it that has an ``enabled``: itself, then its bands with their path."""
        return (self.key, *(f"{self.key}.{band}" for band in self.bands))

    def own(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return its settings by short name, of a strip's by key; missing ones stay out."""
        start = len(self.key) + 1
        return {p.key[start:]: settings[p.key] for p in self.parameters if p.key in settings}

    def off_bands(self, off: Collection[str]) -> frozenset[str]:
        """Return the short names of its bands that are off, of a strip's switches."""
        return frozenset(band for band in self.bands if f"{self.key}.{band}" in off)

    def code(self) -> Any:
        """Load what the module does; see :mod:`diffconsole.modules` for its functions."""
        return importlib.import_module(self.implementation)
