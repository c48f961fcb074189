"""A preset applied to a vocal as it lies in a file: tail, channels, notices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..strip.channel_strip import ChannelStrip
from ..strip.parameters import BY_KEY, CHAIN
from ..strip.preset import Preset
from .arrays import ArrayConsole, serves
from .streams import Streams

__all__ = [
    "OneVocal",
    "Rendered",
    "clamped_frequencies",
    "render",
    "render_plan",
    "run_blocks",
    "run_strip",
]


@dataclass(frozen=True)
class Rendered:
    """A processed vocal.

    Attributes
    ----------
    samples : ndarray
        ``(channels, samples)`` float32.
    notices : tuple of str
        What the user should know, one line each.
    """

    samples: np.ndarray
    notices: tuple[str, ...] = ()


def render(
    samples: np.ndarray,
    sample_rate: int,
    preset: Preset,
    *,
    tail_seconds: float | None = None,
    device: str = "cpu",
) -> Rendered:
    """Apply a preset.

    Parameters
    ----------
    samples : ndarray
        ``(1 or 2, samples)`` float32.
    sample_rate : int
        Hz.
    preset : Preset
        The strip.
    tail_seconds : float, optional
        How much is added for delay and reverb to ring out; by default until they have fallen by
        60 dB, 0 keeps the input's length. Without them nothing is added.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Rendered
        One channel if the input is mono, the sends are off and the pan exactly 0, else two; the
        input itself, bit by bit, if everything is off.

    Raises
    ------
    SettingsError
        A negative or infinite tail, or samples and a rate that the console does not take.
    """
    return OneVocal(samples, sample_rate, tail_seconds=tail_seconds, device=device).render(preset)


class OneVocal:
    """A vocal to which presets are applied, as :func:`render` does; the last result is kept.

    A search that has applied the strip that it ends at need not apply it again.

    Parameters
    ----------
    samples, sample_rate, tail_seconds, device
        As of :func:`render`.
    """

    def __init__(
        self,
        samples: np.ndarray,
        sample_rate: int,
        *,
        tail_seconds: float | None = None,
        device: str = "cpu",
    ) -> None:
        self.samples, self.sample_rate = samples, sample_rate
        self.tail_seconds, self.device = tail_seconds, device
        self._kept: tuple[tuple[object, ...], np.ndarray] | None = None

    def render(self, preset: Preset) -> Rendered:
        """Apply a preset; not again if it does what the last one did."""
        strip, tail = render_plan(preset, self.sample_rate, self.tail_seconds)
        if strip.is_bypassed:
            return Rendered(self.samples)
        # Of what is off no setting counts.
        own = tuple(v for k, v in strip.settings.items() if strip.on(BY_KEY[k].section))
        key = (strip.off, own, tail)
        if self._kept is None or self._kept[0] != key:
            padded = np.pad(self.samples, ((0, 0), (0, tail))) if tail else self.samples
            self._kept = key, run_strip(padded, self.sample_rate, strip, self.device)
        return Rendered(self._kept[1], clamped_frequencies(preset, self.sample_rate))


def run_strip(
    samples: np.ndarray, sample_rate: int, strip: ChannelStrip, device: str = "cpu"
) -> np.ndarray:
    """Run samples through a strip, as long as they are.

    On the CPU no PyTorch is loaded for it, unless a module that is on takes tensors alone.

    Parameters
    ----------
    samples : ndarray
        ``(1 or 2, samples)``.
    sample_rate : int
        Hz.
    strip : ChannelStrip
        Its modules that are on process.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    ndarray
        ``(channels, samples)``.
    """
    if device == "cpu" and serves(strip):
        return ArrayConsole(sample_rate, bypass=strip.off)(samples[None], strip.arrays())[0]
    import torch

    from .console import Console

    console = Console(sample_rate, bypass=strip.off).to(device)
    with torch.inference_mode():
        # torch wants memory in order that it may write to; it copies only what is not.
        audio = torch.from_numpy(np.require(samples, requirements=["C", "W"]))
        result: np.ndarray = console(audio[None].to(device), strip.tensors())[0].cpu().numpy()
    return result


def run_blocks(
    sample_rate: int,
    strip: ChannelStrip,
    device: str = "cpu",
    *,
    on_dynamics: Callable[[str, Any, Any, float], None] | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what :func:`run_strip` does as a function from block to block of a long signal.

    Parameters
    ----------
    sample_rate, strip, device
        As of :func:`run_strip`.
    on_dynamics : callable, optional
        See :class:`.streams.Streams`.

    Returns
    -------
    callable
        From ``(1 or 2, samples)`` to as many samples; every block but the last has a multiple of
        512.
    """
    if device == "cpu" and serves(strip):
        streams = Streams(on_dynamics)
        of_arrays, own = ArrayConsole(sample_rate, bypass=strip.off, run=streams), strip.arrays()
        return lambda block: of_arrays(block[None], own)[0]
    import torch

    from .streaming import StreamingConsole

    console = StreamingConsole(sample_rate, bypass=strip.off, on_dynamics=on_dynamics).to(device)
    settings = strip.tensors()

    def run(block: np.ndarray) -> np.ndarray:
        audio = torch.from_numpy(np.require(block, requirements=["C", "W"]))
        with torch.inference_mode():
            processed: np.ndarray = console(audio[None].to(device), settings)[0].cpu().numpy()
        return processed

    return run


def render_plan(
    preset: Preset, sample_rate: int, tail_seconds: float | None
) -> tuple[ChannelStrip, int]:
    """Return the strip in which what does nothing is off, and the samples that are added.

    Raises
    ------
    SettingsError
        A negative or infinite tail.
    """
    if tail_seconds is not None and not 0.0 <= tail_seconds < math.inf:
        raise SettingsError(f"a tail of {tail_seconds:g} s; give 0 s or more")
    strip = preset.channel_strip.effective()
    full = _tail_samples(strip, sample_rate)
    tail = 0
    if full:
        tail = full if tail_seconds is None else round(tail_seconds * sample_rate)
    return strip, tail


def _tail_samples(strip: ChannelStrip, sample_rate: int) -> int:
    """Return how long a strip rings on: a send that goes into those behind it rings before them."""
    full = 0
    for module in reversed(CHAIN):
        if not strip.on(module.key) or not hasattr(module.code(), "tail_samples"):
            continue
        own = module.code().tail_samples(sample_rate, module.own(strip.settings))
        feeds = f"{module.key}.{module.feeds}"
        is_fed = module.feeds and strip.settings[feeds] > BY_KEY[feeds].low
        full = max(full, own + full if is_fed else own)
    return full


def clamped_frequencies(preset: Preset, sample_rate: int) -> tuple[str, ...]:
    """Say which active frequencies lie at or above 0.49·fs and are clamped there.

    Parameters
    ----------
    preset : Preset
        The strip.
    sample_rate : int
        Hz.

    Returns
    -------
    tuple of str
        One line for each, in chain order.
    """
    return preset.channel_strip.clamped(sample_rate)
