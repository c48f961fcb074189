"""What modules give for one raw vocal, kept for other points that have the same part of the strip.

Most points that a search compares without gradients differ from each other in one module: what lies
before it is the same, and so is a send beside it. What a module gives depends on its settings and
on those of the inserts before it, so it is found again by these. Results are the same whether
something was kept or not, and on any number of threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from torch import Tensor

from ...console.console import RUNNERS
from ...console.flow import Flow
from ...modules.call import Call
from ...modules.reverb.kept import Rooms, rooms_from
from ...pairs import PAIR_RATE
from ...strip.module import Module
from ...strip.parameters import BY_KEY, CHAIN, PARAMETERS

__all__ = ["KeptResults", "render_kept"]

MOST_KEPT = 24
"""Results of modules: of fourteen seconds in stereo one takes 5 MB."""

_PLACES = {
    module.key: np.array([n for n, p in enumerate(PARAMETERS) if p.module == module.key], np.int64)
    for module in CHAIN
}

Key = tuple[object, ...]


class KeptResults:
    """Results by what they follow from; what was used least recently goes first.

    Attributes
    ----------
    rooms : Rooms
        The spectra of reverbs, kept likewise.
    """

    def __init__(self) -> None:
        self.rooms = Rooms(of_search=True)
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def rooms_in_use(self) -> AbstractContextManager[None]:
        """Send the reverbs of the steps that run in the block through the rooms of a search."""
        return rooms_from(self.rooms)

    def of(self, key: Key, make: Callable[[], Tensor]) -> Tensor:
        """Return what is kept, or make it; two threads may both make it, the same."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        found = make()
        with self._lock:
            found = self._kept.setdefault(key, found)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found


def render_kept(
    raw: Tensor,
    point: Tensor,
    settings: Mapping[str, Tensor],
    off: frozenset[str],
    results: KeptResults,
    seconds: float,
    *,
    keep_rooms: bool,
) -> Tensor:
    """Return what a strip makes of a raw vocal, without a gradient.

    Parameters
    ----------
    raw : Tensor
        ``(1, channels, samples)``, on the CPU; always the same one for these results.
    point : Tensor
        ``(parameters,)`` in 0…1.
    settings : mapping of str to Tensor
        ``(1,)`` each: the point's, by key.
    off : frozenset of str
        Modules and bands that are off, both gains at the ends among them.
    results : KeptResults
        What is kept of this raw vocal.
    seconds : float
        Length of the reverb's decay.
    keep_rooms : bool
        Whether its spectra are kept: its return then differs by less than −95 dB.
    """
    values = point.numpy()
    inserted = raw
    before: Key = ()
    fed: Key = ()

    def key_of(module: Module) -> Key:
        return module.key, values[_PLACES[module.key]].tobytes(), module.off_bands(off)

    def run(module: Module, audio: Tensor, call: Call) -> Tensor:
        nonlocal inserted, before, fed
        own = key_of(module)
        if module.place == "insert":
            before = (*before, own)
            inserted = results.of(before, lambda: RUNNERS[module.key](audio, call))
            return inserted
        # The dry signal is none of what is kept: the pan may change alone.
        dry, call = call.dry, call._replace(dry=None)
        # Where no send goes into this one the sum is the inserts' result itself.
        into = audio if fed else inserted

        def make() -> Tensor:
            with rooms_from(results.rooms if keep_rooms else None):
                return RUNNERS[module.key](into, call)

        found = results.of((before, fed, own, keep_rooms), make)
        if module.feeds:
            key = f"{module.key}.{module.feeds}"
            if float(settings[key]) > BY_KEY[key].low:
                fed = (*fed, own)
        return found if dry is None else dry + found

    result: Any = Flow(PAIR_RATE, settings, off, run, seconds={"reverb": seconds})(raw)
    return result
