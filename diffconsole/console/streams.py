"""The chain on a signal that comes in blocks, for recordings too long to be held in memory.

Each module carries over what it remembers (``stream`` in its folder): the equalizer runs again over
the time that its slowest pole needs to fall by 208 dB, the compressor starts from its detector's
state, and what the reverb rings beyond a block is added to the next. The result is that of one call
over the whole signal, to the rounding of float32: more than 120 dB below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ..kernels.arrays import math_of
from ..modules.call import Call
from ..strip.finite import refuse_not_finite
from ..strip.module import Module
from .flow import runner_of

__all__ = ["BLOCK_SAMPLES", "SHOWN_DYNAMICS", "Streams"]

BLOCK_SAMPLES = 1 << 20
"""Of a block: long enough for what is done twice at its edges to cost little."""

MEMORY_SECONDS = 2.0
"""Of a module that does not say how long it remembers."""

SHOWN_DYNAMICS = ("compressor", "compressor_2")
"""The modules whose gain reduction the plots show."""


class Streams:
    """Lets modules process block after block, each from where the block before has ended.

    Parameters
    ----------
    on_dynamics : callable, optional
        Gets a compressor's key, what goes into it and what comes out of it, ``(1, channels,
        samples)`` each, and the gain in dB on top of its gain reduction.
    """

    def __init__(self, on_dynamics: Callable[[str, Any, Any, float], None] | None = None) -> None:
        self.on_dynamics = on_dynamics
        self._streams: dict[str, Callable[..., Any]] = {}

    def __call__(self, module: Module, audio: Any, call: Call) -> Any:
        """Return a block as the module makes it; its settings are those of the first block.

        Raises
        ------
        SettingsError
            A setting that is infinite or not a number.
        """
        if module.key not in self._streams:
            # Most of them count samples by their settings.
            behind = module.gain_after if call.after_db is not None else ""
            own = {f"{module.key}.{n}": v for n, v in call.settings.items() if n != behind}
            refuse_not_finite(own)
            code = module.code()
            make = code.stream if hasattr(code, "stream") else partial(_run_again, module)
            self._streams[module.key] = make(audio, call)
        stream = self._streams[module.key]
        result = stream(audio) if call.dry is None else stream(audio, call.dry)
        if self.on_dynamics is not None and module.key in SHOWN_DYNAMICS:
            self.on_dynamics(module.key, audio, result, module.code().rest_gain_db(call))
        return result


def _run_again(module: Module, audio: Any, call: Call) -> Callable[..., Any]:
    """Return a module on blocks that has no stream: it runs again over what it remembers."""
    memory_seconds = getattr(module.code(), "memory_seconds", lambda _: MEMORY_SECONDS)
    memory = math.ceil(memory_seconds(call) * call.sample_rate)
    m, run, earlier = math_of(audio), runner_of(module), audio[..., :0]

    call = call._replace(dry=None)

    def block(audio: Any, dry: Any = None) -> Any:
        nonlocal earlier
        known = earlier.shape[-1]
        audio = m.concatenate((earlier, audio), axis=-1)
        earlier = m.copied(audio[..., max(audio.shape[-1] - memory, 0) :])
        result = run(audio, call)[..., known:]
        return result if dry is None else dry + result

    return block
