"""The equalizer as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..call import Call
from .process import equalizer, equalizer_sections
from .row import EQUALIZER

__all__ = ["run", "stream"]

STEP = 512
"""The compressor behind it knows its state at multiples of so many samples."""

FORGOTTEN_NEPERS = 24.0


def run(audio: Tensor, call: Call) -> Tensor:
    """Equalize; see :func:`.process.equalizer`."""
    return equalizer(audio, call.sample_rate, *_named(call), call.gain_db)


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the EQ on blocks: it runs again over the time that its slowest pole needs.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    memory = _memory_samples(equalizer_sections(call.sample_rate, *_named(call)))
    earlier = audio[..., :0]

    def block(audio: Tensor) -> Tensor:
        nonlocal earlier
        known = earlier.shape[-1]
        audio = torch.cat((earlier, audio), dim=-1)
        earlier = audio[..., max(audio.shape[-1] - memory, 0) :].clone()
        return run(audio, call)[..., known:]

    return block


def _named(call: Call) -> tuple[dict[str, Tensor], list[str]]:
    """Settings by key and bands that are off by path, as the equalizer takes them."""
    key = EQUALIZER.key
    named = {f"{key}.{name}": value for name, value in call.settings.items()}
    return named, [f"{key}.{band}" for band in call.off_bands]


def _memory_samples(sections: Tensor) -> int:
    """Samples after which a cascade has forgotten its state: a whole number of steps."""
    _, _, _, a1, a2 = sections.to(torch.float64).unbind(dim=-1)
    inside = a1 * a1 - 4.0 * a2
    real = 0.5 * (a1.abs() + inside.clamp(min=0.0).sqrt())
    radius = torch.where(inside < 0.0, a2.clamp(min=0.0).sqrt(), real)
    slowest = min(max(float(radius.max()) if radius.numel() else 0.0, 1e-300), 1.0 - 1e-9)
    return math.ceil(FORGOTTEN_NEPERS / (-math.log(slowest) * STEP)) * STEP
