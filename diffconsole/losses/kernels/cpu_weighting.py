"""A short symmetric filter on the CPU: as many output samples as there are, silence around them."""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.threads import run_tasks
from ...kernels.vectors import broadcast, load, store

__all__ = ["weigh"]

STEP = 64
PIECE = 1 << 16


@compiled
def _filter(x, taps, y):
    """``y[n] = Σ taps[k]·x[n+k]``, as many as `y` has room for, a multiple of STEP."""
    for n in range(0, y.shape[0], STEP):
        a = b = c = d = broadcast(x.dtype.type(0.0), 16)
        for k in range(taps.shape[0]):
            tap, at = taps[k], n + k
            a += load(x, at, 16) * tap
            b += load(x, at + 16, 16) * tap
            c += load(x, at + 32, 16) * tap
            d += load(x, at + 48, 16) * tap
        store(a, y, n)
        store(b, y, n + 16)
        store(c, y, n + 32)
        store(d, y, n + 48)


def weigh(audio: np.ndarray, taps: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Filter ``(items, channels, samples)`` by a symmetric response: its own adjoint.

    Where `out` is given, ``(items·channels, samples)``, the result is written there.
    """
    rows, half = audio.reshape(-1, audio.shape[-1]), len(taps) // 2
    taps, samples = taps.astype(audio.dtype), rows.shape[1]
    weighed = np.empty_like(rows) if out is None else out
    pieces = -(-samples // PIECE)

    def task(index: int) -> None:
        row, piece = divmod(index, pieces)
        first, stop = piece * PIECE, min((piece + 1) * PIECE, samples)
        room = -(-(stop - first) // STEP) * STEP
        padded, result = np.zeros(room + 2 * half, audio.dtype), np.empty(room, audio.dtype)
        begin, end = max(first - half, 0), min(stop + half, samples)
        padded[begin - first + half : end - first + half] = rows[row, begin:end]
        _filter(padded, taps, result)
        weighed[row, first:stop] = result[: stop - first]

    run_tasks(task, len(rows) * pieces)
    return weighed.reshape(audio.shape) if out is None else out
