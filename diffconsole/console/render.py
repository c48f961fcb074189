"""A preset applied to a vocal as it lies in a file: tail, channels, notices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError
from ..strip.parameters import BY_KEY, CHAIN, MODULES, is_on
from ..strip.preset import Preset

__all__ = ["Rendered", "clamped_frequencies", "render", "render_plan"]


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
        How much is added for the reverb to ring out; by default until it has fallen by 60 dB, 0
        keeps the input's length. Without the reverb nothing is added.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Rendered
        One channel if the input is mono, the reverb is off and the pan exactly 0, else two; the
        input itself, bit by bit, if everything is off.

    Raises
    ------
    SettingsError
        A negative or infinite tail, or samples and a rate that the console does not take.
    """
    import torch

    from . import Console

    settings, off, tail = render_plan(preset, sample_rate, tail_seconds)
    if off.issuperset(MODULES):
        return Rendered(samples)
    console = Console(sample_rate, bypass=off).to(device)
    with torch.inference_mode():
        padded = np.pad(samples, ((0, 0), (0, tail))) if tail else samples
        # torch wants memory in order that it may write to; it copies only what is not.
        audio = torch.from_numpy(np.require(padded, requirements=["C", "W"]))
        tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
        result = console(audio[None].to(device), tensors)[0].cpu().numpy()
    return Rendered(result, clamped_frequencies(preset, sample_rate))


def render_plan(
    preset: Preset, sample_rate: int, tail_seconds: float | None
) -> tuple[dict[str, float], set[str], int]:
    """Return the settings, what is off or does nothing, and the samples that are added.

    Raises
    ------
    SettingsError
        A negative or infinite tail.
    """
    if tail_seconds is not None and not 0.0 <= tail_seconds < math.inf:
        raise SettingsError(f"a tail of {tail_seconds:g} s; give 0 s or more")
    settings, off = preset.settings(), set(preset.bypass())
    full = 0
    for module in CHAIN:
        if module.key in off:
            continue
        code, own = module.code(), module.own(settings)
        if hasattr(code, "is_idle") and code.is_idle(own, module.off_bands(off)):
            off.add(module.key)
        elif hasattr(code, "tail_samples"):
            full = max(full, code.tail_samples(sample_rate, own))
    tail = 0
    if full:
        tail = full if tail_seconds is None else round(tail_seconds * sample_rate)
    return settings, off, tail


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
    settings, off = preset.settings(), preset.bypass()
    limit = 0.49 * sample_rate
    return tuple(
        f"{key} {value:g} Hz is above what {sample_rate} Hz can hold; {limit:g} Hz is used"
        for key, value in settings.items()
        if BY_KEY[key].unit == "Hz" and value >= limit and is_on(BY_KEY[key].section, off)
    )
