"""The chain: the modules of the strip in the order of a preset's keys.

A module is one folder below ``diffconsole/modules`` and one entry here. Everything else, from the
console to the audition page, reads this table. The signal passes the modules in this order too;
:class:`~diffconsole.strip.module.Module` says which of them stand beside each other.
"""

from __future__ import annotations

import sys

from ..errors import SettingsError
from ..modules.compressor.row import COMPRESSOR
from ..modules.compressor_2.row import COMPRESSOR_2
from ..modules.deesser.row import DEESSER
from ..modules.delay.row import DELAY
from ..modules.equalizer.row import EQUALIZER
from ..modules.gain.row import INPUT_GAIN, OUTPUT_GAIN
from ..modules.gate.row import GATE
from ..modules.pan.row import PAN
from ..modules.reverb.row import REVERB
from ..modules.saturation.row import SATURATION
from .checks import check_module
from .module import Module

__all__ = ["CHAIN", "insert"]

CHAIN: tuple[Module, ...] = (
    INPUT_GAIN, GATE, EQUALIZER, COMPRESSOR, COMPRESSOR_2, DEESSER, SATURATION, PAN, DELAY, REVERB,
    OUTPUT_GAIN,
)  # fmt: skip
"""Every module, in the order of a preset's keys."""


def insert(module: Module, *, after: str) -> None:
    """Put a module into the chain of this process, to try it out before it has an entry here.

    Parameters
    ----------
    module : Module
        With a key that the chain does not have.
    after : str
        Key of the module that it follows.

    Raises
    ------
    SettingsError
        The row is not what a module's must be (:mod:`.checks`), `after` is in no chain, or the
        table was read already: call this before anything else of the package is imported.
    """
    global CHAIN
    keys = [other.key for other in CHAIN]
    if after not in keys:
        raise SettingsError(f"cannot insert {module.key!r} after {after!r}: the chain has {keys}")
    if f"{__package__}.parameters" in sys.modules:
        raise SettingsError(
            f"the table of parameters was read already; insert {module.key!r} before anything "
            "else of the package is imported"
        )
    check_module(module, CHAIN)
    place = keys.index(after) + 1
    CHAIN = (*CHAIN[:place], module, *CHAIN[place:])
