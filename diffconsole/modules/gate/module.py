"""The gate as a module of the chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from ...kernels.arrays import Numbers, math_of
from ...kernels.envelope import envelope_from, peak_level
from ..call import Call
from ..curve import Curve
from ..evidence import Settings, Signals
from .process import change_db, gate_settings, turned
from .process import gate as process

__all__ = ["curve", "process", "starts", "stream", "takes_arrays", "undo"]

takes_arrays = True

LOWEST_DB = -90.0


def stream(audio: Numbers, call: Call) -> Callable[[Numbers], Numbers]:
    """Return the gate on blocks: each starts from the detector's state after the last.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    own = call.settings
    times = gate_settings(call.sample_rate, own["attack_ms"], own["hold_ms"], own["release_ms"])
    m = math_of(audio)
    parameters = m.stack([m.beside(m.float64(t), audio) for t in times], axis=-1)
    state = m.beside(m.filled(parameters[:, :2], 0.0), audio)

    def block(audio: Numbers) -> Numbers:
        nonlocal state
        level, state = envelope_from(peak_level(audio), parameters, state)
        return turned(audio, level, own["threshold_db"], own["ratio"], own["range_db"])

    return block


def starts(signals: Signals) -> list[Settings]:
    """Return settings from which a match begins; see :mod:`.evidence`."""
    from .evidence import starts as found

    return found(signals)


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return output over input level, in dBFS, for a steady level."""
    level_db = np.linspace(LOWEST_DB, 0.0, 361)
    own = (np.array([[settings[n]]]) for n in ("threshold_db", "ratio", "range_db"))
    change = change_db(10.0 ** (level_db / 20.0)[None], *own)[0]
    lines = {"output": level_db + change, "input": level_db}
    return Curve("input, dBFS", "output, dBFS", level_db, lines)


def undo(
    voice: np.ndarray, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, Settings]:
    """Return a voice that needs a gate, and its settings; see :mod:`.undo`."""
    from .undo import undo as undo_voice

    return undo_voice(voice, sample_rate, rng)
