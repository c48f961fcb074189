"""Averages of the distance's energies at every 32nd sample, block by block.

From one place to the next a one-pole is ``s[n + b] = keepᵇ·s[n] + Σ step·keepᵇ⁻ʲ·e[n + j]``: sums
over a block that vectors take at once, where :mod:`.cpu_energies` goes from sample to sample. The
long averages are advanced by whole blocks, at most 16 samples beside what is asked for.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled_sums
from .cpu_energies import FLOOR, ROOT_HALF, Times

__all__ = ["STRIDE", "strided_averages_of"]

STRIDE = 32
SIGNALS = 4


@compiled_sums
def _add_block(x, first, a, b, c, d, out):
    """Sums of the energies of left, right, mid and side, with four weights each."""
    la = lb = lc = ld = ra = rb = rc = rd = np.float32(0.0)
    ma = mb = mc = md = sa = sb = sc = sd = np.float32(0.0)
    floor, half = np.float32(FLOOR), np.float32(ROOT_HALF)
    for j in range(STRIDE):
        left, right = x[0, first + j], x[1, first + j]
        mid, side = half * (left + right), half * (left - right)
        left, right, mid, side = left * left, right * right, mid * mid, side * side
        left = left if left > floor else floor
        right = right if right > floor else floor
        mid = mid if mid > floor else floor
        side = side if side > floor else floor
        la += a[j] * left
        lb += b[j] * left
        lc += c[j] * left
        ld += d[j] * left
        ra += a[j] * right
        rb += b[j] * right
        rc += c[j] * right
        rd += d[j] * right
        ma += a[j] * mid
        mb += b[j] * mid
        mc += c[j] * mid
        md += d[j] * mid
        sa += a[j] * side
        sb += b[j] * side
        sc += c[j] * side
        sd += d[j] * side
    out[0], out[1], out[2], out[3] = la, ra, ma, sa
    out[4], out[5], out[6], out[7] = lb, rb, mb, sb
    out[8], out[9], out[10], out[11] = lc, rc, mc, sc
    out[12], out[13], out[14], out[15] = ld, rd, md, sd


@compiled_sums
def _average(x, steps, weights, averages):
    """Write the averages by four one-poles, ``(4, 4, places)``."""
    state, sums, keep = np.zeros(4 * SIGNALS), np.empty(4 * SIGNALS), np.empty(4 * SIGNALS)
    for k in range(4 * SIGNALS):
        keep[k] = (1.0 - steps[k // SIGNALS]) ** STRIDE
    # The first place is the first sample: what comes before it is no energy.
    left, right = np.float64(x[0, 0]), np.float64(x[1, 0])
    mid, side = ROOT_HALF * (left + right), ROOT_HALF * (left - right)
    for k in range(4):
        state[4 * k] = steps[k] * max(left * left, FLOOR)
        state[4 * k + 1] = steps[k] * max(right * right, FLOOR)
        state[4 * k + 2] = steps[k] * max(mid * mid, FLOOR)
        state[4 * k + 3] = steps[k] * max(side * side, FLOOR)
    for place in range(averages.shape[2]):
        for k in range(4 * SIGNALS):
            averages[k // SIGNALS, k % SIGNALS, place] = state[k]
        if place + 1 < averages.shape[2]:
            _add_block(x, place * STRIDE + 1, weights[0], weights[1], weights[2], weights[3], sums)
            for k in range(4 * SIGNALS):
                state[k] = keep[k] * state[k] + sums[k]


def strided_averages_of(audio: np.ndarray, times: tuple[Times, Times]) -> np.ndarray:
    """Return averages of ``(2, samples)``, ``(1, times, 2, 4, places)``: short, then long ones.

    As :func:`.cpu_energies.averages_of` has them, but for the places of the long ones.
    """
    steps = np.array([step for pair in times for step in (pair.short, pair.long)])
    weights = steps[:, None] * (1.0 - steps[:, None]) ** np.arange(STRIDE - 1, -1, -1)
    averages = np.empty((len(times), 2, SIGNALS, -(-audio.shape[1] // STRIDE)), np.float32)
    _average(audio, steps, weights.astype(np.float32), averages.reshape(4, SIGNALS, -1))
    for pair, own in zip(times, averages, strict=True):
        own[1] = np.roll(own[1], -round(pair.shift / STRIDE), axis=-1)
    return averages[None]
