"""The delay's loop on the CPU, block by block, where no gradient is needed.

The time is longer than a block, so that of a block all that comes out of the lines is known before
anything goes in: the interpolation runs over whole blocks, in vector registers. The lines have the
type of the audio, the cuts are float64.
"""

from __future__ import annotations

import numpy as np

from ...kernels.array_math import float64
from ...kernels.jit import compiled
from ...kernels.threads import run_tasks
from ...kernels.vectors import broadcast, load, store
from ...strip.finite import refuse_not_finite
from .process import BEFORE, TAPS, cut_sections, interpolation, level_of, refuse_short, sides

__all__ = ["Loop"]

BLOCK = 512
CHUNK = 1 << 14
"""Samples that are written behind a line's past before that moves to the line's start."""

STEP = 64
"""Samples that are interpolated at a time: a block is rounded up to that."""

TINY = 1e-60
"""States below this become 0: subnormal numbers are some 40 times slower."""

AHEAD = 4
"""Samples before a block that the cuts' numerator needs."""


@compiled
def _interpolated(line, taps, out, count):
    """Sum of the taps over a line, whose first sample is the oldest that is read."""
    zero = line.dtype.type(0.0)
    for n in range(0, count, STEP):
        a, b = broadcast(zero, 16), broadcast(zero, 16)
        c, d = broadcast(zero, 16), broadcast(zero, 16)
        for k in range(TAPS):
            tap, at = taps[k], n + TAPS - 1 - k
            a += tap * load(line, at, 16)
            b += tap * load(line, at + 16, 16)
            c += tap * load(line, at + 32, 16)
            d += tap * load(line, at + 48, 16)
        store(a, out, n)
        store(b, out, n + 16)
        store(c, out, n + 32)
        store(d, out, n + 48)


@compiled
def _numerator(x, gain, out):
    """Both cuts' numerator, (1 − z⁻²)² times a gain; `x` begins four samples early."""
    for n in range(out.shape[0]):
        out[n] = gain * ((x[n + 4] - x[n + 2]) - (x[n + 2] - x[n]))


@compiled
def _denominator(x, c, s, y):
    """Both cuts' denominators over a block; `s` holds two outputs of each."""
    a1, a2, b1, b2 = c
    u1, u2, v1, v2 = s
    for n in range(x.shape[0]):
        u = (x[n] - a2 * u2) - a1 * u1
        v = (u - b2 * v2) - b1 * v1
        u2, u1, v2, v1 = u1, u, v1, v
        y[n] = v
    s[0], s[1], s[2], s[3] = u1, u2, v1, v2


@compiled
def _denominators(x, z, c, s, t, y, w):
    """:func:`_denominator` of two lines at once, which do not wait for each other."""
    a1, a2, b1, b2 = c
    u1, u2, v1, v2 = s
    q1, q2, r1, r2 = t
    for n in range(x.shape[0]):
        u = (x[n] - a2 * u2) - a1 * u1
        q = (z[n] - a2 * q2) - a1 * q1
        v = (u - b2 * v2) - b1 * v1
        r = (q - b2 * r2) - b1 * r1
        u2, u1, v2, v1 = u1, u, v1, v
        q2, q1, r2, r1 = q1, q, r1, r
        y[n] = v
        w[n] = r
    s[0], s[1], s[2], s[3] = u1, u2, v1, v2
    t[0], t[1], t[2], t[3] = q1, q2, r1, r2


@compiled
def _sent_one(x, echo, g, out):
    for n in range(x.shape[0]):
        out[n] = np.float64(x[n]) + g * np.float64(echo[n])


@compiled
def _sent_two(x, z, echo, g, out):
    for n in range(x.shape[0]):
        out[n] = 0.5 * (np.float64(x[n]) + np.float64(z[n])) + g * np.float64(echo[n])


@compiled
def _fed(echo, g, out):
    for n in range(out.shape[0]):
        out[n] = g * np.float64(echo[n])


@compiled
def _mixed(a, b, near, far, y):
    kind = y.dtype.type
    near, far = kind(near), kind(far)
    for n in range(y.shape[0]):
        y[n] = near * a[n] + far * b[n]


@compiled
def _copy(source, target):
    # From the first on, so that a line may be moved towards its beginning.
    for n in range(source.shape[0]):
        target[n] = source[n]


@compiled
def _echo(x, past, taps, cuts, g, near, far, lines, befores, states, y):
    """Run one item; `past` is how far back a line is read at most, which it always holds.

    Row 0 of `lines` holds what becomes the echoes 1, 3, 5 …, row 1 that of the others. One line
    alone holds all of them: where they lie in the middle.
    """
    channels, samples = x.shape
    two = lines.shape[0] == 2
    block = min(BLOCK, past - TAPS + 1)
    room = -(-block // STEP) * STEP
    odd, even = np.empty(room, x.dtype), np.empty(room, x.dtype)
    ins = np.empty((2, AHEAD + block))
    sections, cut = np.empty((2, block)), cuts[1:]
    at = past
    for first in range(0, samples, block):
        count = min(block, samples - first)
        if at + count > past + CHUNK:
            for line in range(lines.shape[0]):
                _copy(lines[line, at - past : at], lines[line])
            at = past
        _interpolated(lines[0, at - past :], taps, odd, count)
        echo = odd
        if two:
            _interpolated(lines[1, at - past :], taps, even, count)
            echo = even
        into = ins[0, AHEAD : AHEAD + count]
        if channels == 1:
            _sent_one(x[0, first : first + count], echo, g, into)
        else:
            part = x[1, first : first + count]
            _sent_two(x[0, first : first + count], part, echo, g, into)
        for line in range(lines.shape[0]):
            if line == 1:
                _fed(odd, g, ins[1, AHEAD : AHEAD + count])
            _copy(befores[line], ins[line])
            _copy(ins[line, count : count + AHEAD], befores[line])
            _numerator(ins[line], cuts[0], sections[line, :count])
        if two:
            _denominators(
                sections[0, :count], sections[1, :count], cut, states[0], states[1],
                lines[0, at : at + count], lines[1, at : at + count],
            )  # fmt: skip
            _mixed(odd, even, near, far, y[0, first : first + count])
            _mixed(odd, even, far, near, y[1, first : first + count])
        else:
            _denominator(sections[0, :count], cut, states[0], lines[0, at : at + count])
            _mixed(odd, odd, near, 0.0, y[0, first : first + count])
            _mixed(odd, odd, near, 0.0, y[1, first : first + count])
        at += count
        for line in range(states.shape[0]):
            for k in range(states.shape[1]):
                if abs(states[line, k]) < TINY:
                    states[line, k] = 0.0
    for line in range(lines.shape[0]):
        _copy(lines[line, at - past : at], lines[line])


class Loop:
    """The delay at its settings, with what is in its lines.

    Called with ``(batch, channels, samples)`` it returns the echoes, ``(batch, 2, samples)``, and
    goes on from there at the next call.

    Parameters
    ----------
    sample_rate : float
        Hz.
    time_ms, feedback, low_cut_hz, high_cut_hz, width, wet_db : ndarray
        ``(batch,)`` each; see :func:`.process.delay`.

    Raises
    ------
    SettingsError
        A time or a feedback that is not finite, or a time of less than 16 samples.
    """

    def __init__(
        self,
        sample_rate: float,
        time_ms: np.ndarray,
        feedback: np.ndarray,
        low_cut_hz: np.ndarray,
        high_cut_hz: np.ndarray,
        width: np.ndarray,
        wet_db: np.ndarray,
    ) -> None:
        refuse_not_finite({"delay.time_ms": time_ms, "delay.feedback": feedback})
        refuse_short(float(time_ms.min()), sample_rate)
        late = float64(time_ms) * (sample_rate / 1000.0)
        whole = np.floor(late)
        self._past = [int(n) + TAPS - BEFORE - 1 for n in whole.tolist()]
        self._taps = interpolation(late - whole)
        sections = cut_sections(sample_rate, low_cut_hz, high_cut_hz)
        # The numerators are (1 − z⁻¹)² and (1 + z⁻¹)² times their first coefficients.
        gain = sections[:, :, 0].prod(axis=1, keepdims=True)
        self._cuts = np.concatenate((gain, sections[:, 0, 3:], sections[:, 1, 3:]), axis=1)
        self._feedback = float64(feedback).tolist()
        level = level_of(wet_db)
        near, far = sides(width)
        self._gains = np.stack((level * near, level * far), axis=-1).tolist()
        self._count = [2 if w > 0.0 else 1 for w in width.tolist()]
        self._kept: list[tuple[np.ndarray, ...]] = []

    def _start(self, kind: np.dtype) -> None:
        """Make empty lines, in the type of the audio; the cuts keep float64."""
        for count, past in zip(self._count, self._past, strict=True):
            # What is interpolated at a time may reach beyond what is written.
            lines = np.zeros((count, past + CHUNK + STEP), kind)
            self._kept.append((lines, np.zeros((count, AHEAD)), np.zeros((count, 4))))
        self._taps = self._taps.astype(kind)

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Process what comes next."""
        x = np.ascontiguousarray(audio)
        if not self._kept:
            self._start(x.dtype)
        y = np.empty((len(x), 2, x.shape[2]), x.dtype)

        def item(i: int) -> None:
            _echo(
                x[i], self._past[i], self._taps[i], self._cuts[i], self._feedback[i],
                *self._gains[i], *self._kept[i], y[i],
            )  # fmt: skip

        run_tasks(item, len(x))
        return y
