"""The de-esser as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from ...kernels.arrays import Numbers, math_of
from ...kernels.envelope import envelope_from, peak_level
from ..call import Call
from ..compressor.process import smoothing
from ..curve import Curve
from ..equalizer.process import response
from ..evidence import Settings, Signals
from .process import REFERENCE_MS, reduced, split, split_section
from .process import deesser as process

__all__ = ["curve", "process", "starts", "stream", "takes_arrays", "undo"]

takes_arrays = True

FORGOTTEN_NEPERS = 24.0
LOWEST_HZ, HIGHEST_HZ, POINTS = 20.0, 20000.0, 400


def stream(audio: Numbers, call: Call) -> Callable[[Numbers], Numbers]:
    """Return the de-esser on blocks: the split runs again over what it remembers.

    The detectors start from their state after the block before.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    m, own, rate = math_of(audio), call.settings, call.sample_rate
    # Of two equal poles in a row the state falls as t·p^t: twice the time of one is ample.
    pole = float(abs(split_section(rate, own["freq_hz"])[:, 3]).max())
    memory = math.ceil(2.0 * FORGOTTEN_NEPERS / -math.log(max(pole, 1e-9)))
    times = {
        "upper": (own["attack_ms"], own["release_ms"]),
        "whole": tuple(m.filled(own["attack_ms"], t) for t in REFERENCE_MS),
    }
    parameters = {
        name: m.stack([*(smoothing(t, rate) for t in pair), m.filled(pair[0], 0.0)], axis=-1)
        for name, pair in times.items()
    }
    states = {name: m.filled(parameters[name][:, :2], 0.0) for name in times}
    earlier = audio[..., :0]

    def block(audio: Numbers) -> Numbers:
        nonlocal earlier
        known = earlier.shape[-1]
        longer = m.concatenate((earlier, audio), axis=-1)
        earlier = m.copied(longer[..., max(longer.shape[-1] - memory, 0) :])
        once, twice = (part[..., known:] for part in split(longer, rate, own["freq_hz"]))
        levels = []
        for name, signal in (("upper", twice), ("whole", audio)):
            level, states[name] = envelope_from(peak_level(signal), parameters[name], states[name])
            levels.append(level)
        upper, whole = levels
        return reduced(audio, once, twice, upper, whole, own["threshold_db"], own["range_db"])

    return block


def starts(signals: Signals) -> list[Settings]:
    """Return settings from which a match begins; see :mod:`.evidence`."""
    from .evidence import starts as found

    return found(signals)


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return the response where it turns down by its whole range, and by half of it."""
    freq_hz = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.4999 * sample_rate), POINTS)
    section = split_section(sample_rate, np.array([settings["freq_hz"]], np.float64))
    high = response(section[:, None], sample_rate, freq_hz)
    lines = {}
    for name, share in (("full range", 1.0), ("half", 0.5)):
        root = 10.0 ** (-share * settings["range_db"] / 40.0)
        lines[name] = 40.0 * np.log10(np.abs(1.0 + (root - 1.0) * high[0, 0]))
    return Curve("Hz", "dB", freq_hz, lines, is_log=True)


def undo(
    voice: np.ndarray, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, Settings]:
    """Return a voice that needs a de-esser, and its settings; see :mod:`.undo`."""
    from .undo import undo as undo_voice

    return undo_voice(voice, sample_rate, rng)
