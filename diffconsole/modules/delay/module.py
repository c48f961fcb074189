"""The delay as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ...kernels.arrays import Numbers, as_array, is_array, on_arrays
from ..call import Call
from ..curve import Curve
from ..evidence import Settings, Signals
from ..reverb.convolution import convolve
from . import process as loop

__all__ = ["curve", "run", "starts", "stream", "tail_samples", "takes_arrays"]

takes_arrays = True

LOWEST_DB = -60.0
"""Echoes below that level against the dry signal are not drawn."""

MOST_DRAWN = 100


def _own(call: Call) -> dict[str, Any]:
    """Return the loop's settings, and the gain that it takes along if there is one."""
    own = {name: value for name, value in call.settings.items() if name != "reverb_send_db"}
    return own if call.gain_db is None else own | {"gain_db": call.gain_db}


def run(audio: Numbers, call: Call) -> Numbers:
    """Return the echoes, added to the dry signal if there is one; see :func:`.process.delay`."""
    seconds = _seconds(audio, call)
    return loop.delay(audio, call.sample_rate, **_own(call), seconds=seconds, dry=call.dry)


def _seconds(audio: Numbers, call: Call) -> float | None:
    """How long the response is in training: as fixed, or until the echoes are gone.

    In whole halves of a second. Of a slap, five seconds would be silence, and as slow as echoes.
    """
    seconds = call.seconds
    if seconds is None or is_array(audio):
        return seconds
    import torch

    # A graph has the same shapes for all settings.
    if torch.compiler.is_compiling():
        return seconds
    both = (call.settings[name].detach().flatten().tolist() for name in ("time_ms", "feedback"))
    rows = list(zip(*both, strict=False))
    if not all(math.isfinite(value) for row in rows for value in row):
        return seconds
    return min(seconds, 0.5 * math.ceil(2.0 * loop.silent_after(rows)))


def stream(audio: Numbers, call: Call) -> Callable[..., Numbers]:
    """Return the delay on blocks: the loop goes on, or what rings is added to the next.

    Its second argument, if given, is the block of the dry signal that the echoes are added to.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    own = _own(call)
    if is_array(audio):
        from .cpu_delay import Loop

        return Loop(call.sample_rate, **own)
    import torch
    from torch import Tensor

    from ...kernels.operators import name_for

    if name_for(audio) == "cpu":
        from .cpu_delay import Loop

        return on_arrays(Loop(call.sample_rate, **{n: as_array(v) for n, v in own.items()}))
    own = {name: value.to(audio.device) for name, value in own.items()}
    level = loop.level_of(own.pop("wet_db"), own.pop("gain_db", None))[:, None, None]
    response = (loop.delay_response(call.sample_rate, **own) * level).to(audio.dtype)
    ringing = audio.new_zeros((1, 2, 0))

    def block(audio: Tensor, dry: Tensor | None = None) -> Tensor:
        nonlocal ringing
        samples, taps = audio.shape[-1], response.shape[-1]
        wet = convolve(torch.nn.functional.pad(loop.send(audio), (0, taps - 1)), response)
        # A short block may end before what rings from those before it.
        missing = ringing.shape[-1] - wet.shape[-1]
        if missing > 0:
            wet = torch.nn.functional.pad(wet, (0, missing))
        wet[..., : ringing.shape[-1]] += ringing
        ringing = wet[..., samples:].clone()
        wet = wet[..., :samples]
        return wet if dry is None else dry + wet

    return block


def tail_samples(sample_rate: float, settings: Mapping[str, float]) -> int:
    """Return the samples until the echoes have fallen by 60 dB."""
    return loop.tail_samples(sample_rate, settings["time_ms"], settings["feedback"])


def starts(signals: Signals) -> list[Settings]:
    """Return settings from which a match begins; see :mod:`.evidence`."""
    from .evidence import starts as found

    return found(signals)


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return the level of both sides over time, in dB against the dry signal: a peak an echo.

    It is that of the loop without its cuts, which lower every echo by more.
    """
    wet_db, feedback = settings["wet_db"], settings["feedback"]
    near, far = (float(gain) for gain in loop.sides(np.array(settings["width"])))
    fall_db = 20.0 * math.log10(feedback) if feedback > 0.0 else -math.inf
    count = min(loop.echoes(feedback, min(LOWEST_DB - wet_db, -1.0)), MOST_DRAWN)
    step = settings["time_ms"] / 1000.0
    places, levels = [0.0], [[LOWEST_DB], [LOWEST_DB]]
    for k in range(count):
        at = (k + 1) * step
        places += [at - 0.02 * step, at, at + 0.02 * step]
        for side, gain in enumerate((near, far) if k % 2 == 0 else (far, near)):
            level = wet_db + k * fall_db if k else wet_db
            level += 20.0 * math.log10(max(gain, 1e-9))
            levels[side] += [LOWEST_DB, max(level, LOWEST_DB), LOWEST_DB]
    lines = {"left": np.array(levels[0]), "right": np.array(levels[1])}
    return Curve("s", "dB", np.array(places), lines)
