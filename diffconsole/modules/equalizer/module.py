"""The equalizer as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...kernels.arrays import Numbers, math_of
from ..call import Call
from .process import equalizer, equalizer_sections, slowest_pole
from .row import EQUALIZER

__all__ = ["run", "stream", "takes_arrays"]

takes_arrays = True

STEP = 512
"""The compressor behind it knows its state at multiples of so many samples."""

FORGOTTEN_NEPERS = 24.0


def run(audio: Numbers, call: Call) -> Numbers:
    """Equalize; see :func:`.process.equalizer`."""
    return equalizer(audio, call.sample_rate, *_named(call), call.gain_db)


def stream(audio: Numbers, call: Call) -> Callable[[Numbers], Numbers]:
    """Return the EQ on blocks: it runs again over the time that its slowest pole needs.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    memory = _memory_samples(equalizer_sections(call.sample_rate, *_named(call)))
    m, earlier = math_of(audio), audio[..., :0]

    def block(audio: Numbers) -> Numbers:
        nonlocal earlier
        known = earlier.shape[-1]
        audio = m.concatenate((earlier, audio), axis=-1)
        earlier = m.copied(audio[..., max(audio.shape[-1] - memory, 0) :])
        return run(audio, call)[..., known:]

    return block


def _named(call: Call) -> tuple[dict[str, Any], list[str]]:
    """Settings by key and bands that are off by path, as the equalizer takes them."""
    key = EQUALIZER.key
    named = {f"{key}.{name}": value for name, value in call.settings.items()}
    return named, [f"{key}.{band}" for band in call.off_bands]


def _memory_samples(sections: Numbers) -> int:
    """Samples after which a cascade has forgotten its state: a whole number of steps."""
    slowest = min(max(slowest_pole(sections), 1e-300), 1.0 - 1e-9)
    return math.ceil(FORGOTTEN_NEPERS / (-math.log(slowest) * STEP)) * STEP
