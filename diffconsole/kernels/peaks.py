"""Peaks of blocks: the level of the louder channel, as rows of eight lanes."""

from __future__ import annotations

import numpy as np

from .jit import compiled
from .lanes import LANES, peaks_to_rows, to_rows

__all__ = ["find_peaks", "peaks_of_block"]

# A whole item comes as `x`, (channels, samples), and a block as `first` and `stop`: slices of its
# rows are contiguous to the compiler, a slice across them is not.


@compiled
def find_peaks(x, first, stop, peaks):
    """Loudest channel of each sample, NaN where one is; silence where the block has ended."""
    left, right = x[0, first:stop], x[x.shape[0] - 1, first:stop]
    for n in range(left.shape[0]):
        one, other = abs(left[n]), abs(right[n])
        peaks[n] = one if one > other or one != one else other
    peaks[left.shape[0] :] = 0.0


@compiled
def peaks_of_block(x, lanes, block, length, slab, rows):
    """Write the peaks of one block of every lane into `rows`.

    Rows of `lanes` are item and segment of `x`; a segment has `length` samples, a block as many
    as `rows`. `slab` is room for as many of every lane.
    """
    left, right = np.zeros((1, LANES), np.int64), np.zeros((1, LANES), np.int64)
    channels, samples, size = x.shape[1], x.shape[2], rows.shape[0]
    last = 0
    for k in range(lanes.shape[0]):
        first = lanes[k, 1] * length + block * size
        left[0, k] = lanes[k, 0] * channels * samples + first
        right[0, k] = left[0, k] + (channels - 1) * samples
        last = max(last, first + size)
    if last <= samples:
        peaks_to_rows(x, left, right, rows, size)
        return
    for k in range(lanes.shape[0]):
        first = lanes[k, 1] * length + block * size
        stop = max(first, min(first + size, samples))
        find_peaks(x[lanes[k, 0]], first, stop, slab[k])
    to_rows(slab, rows, size)
