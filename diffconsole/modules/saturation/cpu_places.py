"""The filters of the saturation's eight places, side by side in vector registers.

A *row* is one sample of all places, the places last: eight numbers of the audio's type. The filter
of a place is the five sections of :data:`.phases.ALLPASS` in a row,
``y[n] = (x[n−1] + a·x[n]) − a·y[n−1]``, where only the last product waits for the sample before.
The output of a section is the input of the next, so that six rows are all that five sections
remember. An allpass section amplifies a rounding error only around half the sample rate. In
float32 what they add lies below −120 dB of voices; of steady tones of full scale it can reach
−104 dB, where the period is a few samples and an even number of them: then the rounding repeats
too, in part at half the sample rate.

The functions run forward in time, or back where `step` is −1: the adjoint of a filter is the same
filter back in time.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.vectors import broadcast, load, store, sums_of_rows
from .phases import ALLPASS, output_section

__all__ = [
    "MEMORY",
    "PLACES",
    "bring_together",
    "filters",
    "means_of",
    "output",
    "settle",
    "spread",
]

PLACES, SECTIONS = ALLPASS.shape
MEMORY = SECTIONS + 1
"""Rows that a place's filter remembers: its input and the output of every section."""
# States below this become 0: subnormal numbers, below 1e-38 in float32, are some 40 times slower.
TINY = 1e-25


def filters(kind: np.dtype, sample_rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coefficients forth and back, ``(sections, places)``, and the last section's."""
    forth = ALLPASS.T.astype(kind, order="C")
    return forth, forth[:, ::-1].copy(), output_section(sample_rate)


@compiled
def _five(rows):
    return (
        load(rows, 0, PLACES), load(rows, PLACES, PLACES), load(rows, 2 * PLACES, PLACES),
        load(rows, 3 * PLACES, PLACES), load(rows, 4 * PLACES, PLACES),
    )  # fmt: skip


@compiled
def _remembered(states):
    a, b, c, d, e = _five(states)
    return a, b, c, d, e, load(states, 5 * PLACES, PLACES)


@compiled
def _remember(memory, states):
    store(memory[0], states, 0)
    store(memory[1], states, PLACES)
    store(memory[2], states, 2 * PLACES)
    store(memory[3], states, 3 * PLACES)
    store(memory[4], states, 4 * PLACES)
    store(memory[5], states, 5 * PLACES)


@compiled
def _through(x, a, memory):
    """One row through the five sections: what they remember next, the last of it the output."""
    y1 = (memory[0] + a[0] * x) - a[0] * memory[1]
    y2 = (memory[1] + a[1] * y1) - a[1] * memory[2]
    y3 = (memory[2] + a[2] * y2) - a[2] * memory[3]
    y4 = (memory[3] + a[3] * y3) - a[3] * memory[4]
    y5 = (memory[4] + a[4] * y4) - a[4] * memory[5]
    return x, y1, y2, y3, y4, y5


@compiled
def _begin(count, step):
    return 0 if step > 0 else count - 1


@compiled
def spread(x, coefficients, states, rows, step):
    """Run one signal through all places' filters, into `rows`, flat."""
    a, memory = _five(coefficients), _remembered(states)
    count = x.shape[0]
    at = _begin(count, step)
    for _ in range(count):
        memory = _through(broadcast(x[at], PLACES), a, memory)
        store(memory[5], rows, at * PLACES)
        at += step
    _remember(memory, states)


@compiled
def bring_together(rows, coefficients, states, count, step):
    """Run every place's signal through its own filter, in place."""
    a, memory = _five(coefficients), _remembered(states)
    at = _begin(count, step)
    for _ in range(count):
        memory = _through(load(rows, at * PLACES, PLACES), a, memory)
        store(memory[5], rows, at * PLACES)
        at += step
    _remember(memory, states)


@compiled
def means_of(rows, mean, count):
    """The mean over the places; `mean` has room for a multiple of eight numbers."""
    share = mean.dtype.type(1.0 / PLACES)
    for n in range(0, count, PLACES):
        store(share * sums_of_rows(rows, n * PLACES), mean, n)


@compiled
def output(x, last, ends, y, step):
    """Run the section behind the mean, in float64; `ends` are its inputs and outputs before."""
    kind = y.dtype.type
    b0, b1, b2, a1, a2 = last[0], last[1], last[2], last[3], last[4]
    x1, x2, y1, y2 = ends[0], ends[1], ends[2], ends[3]
    at = _begin(x.shape[0], step)
    for _ in range(x.shape[0]):
        now = np.float64(x[at])
        # The newest output comes last: only this one operation waits for the sample before.
        value = (b0 * now + b1 * x1 + b2 * x2 - a2 * y2) - a1 * y1
        x2, x1, y2, y1 = x1, now, y1, value
        y[at] = kind(value)
        at += step
    ends[0], ends[1], ends[2], ends[3] = x1, x2, y1, y2


@compiled
def settle(states):
    """Set states below :data:`TINY` to 0, between two blocks."""
    kind = states.dtype.type
    for k in range(states.shape[0]):
        states[k] = kind(0.0) if abs(states[k]) < kind(TINY) else states[k]
