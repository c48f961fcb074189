"""The delay's loop on the CPU, block by block, where no gradient is needed.

The time is longer than a block, so that of a block all that comes out of the lines is known before
anything goes in: interpolation and cuts run over whole blocks, in vector registers. The lines have
the type of the audio, the cuts are float64.
"""

from __future__ import annotations

import numpy as np

from ...kernels.array_math import float64
from ...kernels.fir import FIR_STEP, fir_block
from ...kernels.jit import compiled
from ...kernels.state_space import STATES, TABLE_ROWS, state_space, state_space_table
from ...kernels.threads import run_tasks
from ...strip.finite import refuse_not_finite
from .process import BEFORE, TAPS, cut_sections, interpolation, level_of, refuse_short, sides

__all__ = ["Loop"]

BLOCK = 1024
CHUNK = 1 << 15
"""Samples that are written behind a line's past before that moves to the line's start, at least."""


@compiled
def _cut_tables(sections, tables):
    for item in range(sections.shape[0]):
        state_space_table(sections[item, 0], sections[item, 1], tables[item])


def cut_tables(sections: np.ndarray) -> np.ndarray:
    """Return the tables of both cuts, ``(batch, 2, 5)``, for :func:`.state_space.state_space`."""
    tables = np.empty((len(sections), TABLE_ROWS, STATES))
    _cut_tables(sections, tables)
    return tables


@compiled
def _sent_one(x, echo, gain, out):
    for n in range(out.shape[0]):
        out[n] = np.float64(x[n]) + gain * np.float64(echo[n])


@compiled
def _sent_two(x, z, echo, gain, out):
    for n in range(out.shape[0]):
        out[n] = 0.5 * (np.float64(x[n]) + np.float64(z[n])) + gain * np.float64(echo[n])


@compiled
def _fed(echo, gain, out):
    for n in range(out.shape[0]):
        out[n] = gain * np.float64(echo[n])


@compiled
def _plus(dry, echo, gain, out):
    gain = out.dtype.type(gain)
    for n in range(out.shape[0]):
        out[n] = dry[n] + gain * echo[n]


@compiled
def _plus_both(dry, one, other, near, far, out):
    kind = out.dtype.type
    near, far = kind(near), kind(far)
    for n in range(out.shape[0]):
        out[n] = dry[n] + (near * one[n] + far * other[n])


@compiled
def _copy(source, target):
    for n in range(source.shape[0]):
        target[n] = source[n]


@compiled
def _echo(x, dry, past, taps, sections, table, g, near, far, lines, states, y):
    """Run one item; `past` is how far back a line is read at most, which it always holds.

    Row 0 of `lines` holds what becomes the echoes 1, 3, 5 …, row 1 that of the others. One line
    alone holds all of them: where they lie in the middle. The echoes are added to `dry`, which has
    one channel, two, or none.
    """
    samples, two = x.shape[1], lines.shape[0] == 2
    block = min(BLOCK, past - TAPS + 1)
    end = lines.shape[1] - TAPS - FIR_STEP
    echoes = np.empty((2, -(-block // FIR_STEP) * FIR_STEP), x.dtype)
    sent, nothing = np.empty(block), np.zeros(block, x.dtype)
    at = past
    for first in range(0, samples, block):
        count = min(block, samples - first)
        stop = first + count
        if at + count > end:
            for line in range(lines.shape[0]):
                _copy(lines[line, at - past : at], lines[line])
            at = past
        for line in range(lines.shape[0]):
            fir_block(lines[line, at - past :], taps, TAPS, echoes[line], count)
        odd, even = echoes[0, :count], echoes[1 if two else 0, :count]
        for line in range(lines.shape[0]):
            if line == 1:
                _fed(odd, g, sent[:count])
            elif x.shape[0] == 1:
                _sent_one(x[0, first:stop], even, g, sent[:count])
            else:
                _sent_two(x[0, first:stop], x[1, first:stop], even, g, sent[:count])
            into = lines[line, at : at + count]
            state_space(sent[:count], sections[0], sections[1], table, states[line], into)
        left, right = nothing[:count], nothing[:count]
        if dry.shape[0] > 0:
            left, right = dry[0, first:stop], dry[dry.shape[0] - 1, first:stop]
        if two:
            _plus_both(left, odd, even, near, far, y[0, first:stop])
            _plus_both(right, even, odd, near, far, y[1, first:stop])
        else:
            _plus(left, odd, near, y[0, first:stop])
            _plus(right, odd, near, y[1, first:stop])
        at += count
    for line in range(lines.shape[0]):
        _copy(lines[line, at - past : at], lines[line])


class Loop:
    """The delay at its settings, with what is in its lines.

    Called with ``(batch, channels, samples)`` it returns the echoes, ``(batch, 2, samples)``, or a
    dry signal with the echoes added, and goes on from there at the next call.

    Parameters
    ----------
    sample_rate : float
        Hz.
    time_ms, feedback, low_cut_hz, high_cut_hz, width, wet_db : ndarray
        ``(batch,)`` each; see :func:`.process.delay`.
    gain_db : ndarray, optional
        ``(batch,)``, a gain on top.

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
        gain_db: np.ndarray | None = None,
    ) -> None:
        refuse_not_finite({"delay.time_ms": time_ms, "delay.feedback": feedback})
        refuse_short(float(time_ms.min()), sample_rate)
        late = float64(time_ms) * (sample_rate / 1000.0)
        whole = np.floor(late)
        self._past = [int(n) + TAPS - BEFORE - 1 for n in whole.tolist()]
        self._taps = interpolation(late - whole)
        self._sections = cut_sections(sample_rate, low_cut_hz, high_cut_hz)
        self._tables = cut_tables(self._sections)
        self._feedback = float64(feedback).tolist()
        level = level_of(wet_db, gain_db)
        near, far = sides(width)
        self._count = [2 if w > 0.0 else 1 for w in width.tolist()]
        self._gains = np.stack((level * near, level * far), axis=-1).tolist()
        self._kept: list[tuple[np.ndarray, ...]] = []

    def _start(self, kind: np.dtype) -> None:
        """Make empty lines, in the type of the audio; the cuts keep float64."""
        for count, past in zip(self._count, self._past, strict=True):
            # What is interpolated at a time may reach beyond what is written.
            room = past + max(CHUNK, past) + TAPS + FIR_STEP
            self._kept.append((np.zeros((count, room), kind), np.zeros((count, STATES))))
        self._taps = self._taps.astype(kind)

    def __call__(self, audio: np.ndarray, dry: np.ndarray | None = None) -> np.ndarray:
        """Process what comes next; `dry`, if given, is ``(batch, 1 or 2, samples)``."""
        x = np.ascontiguousarray(audio)
        if not self._kept:
            self._start(x.dtype)
        onto = x[:, :0] if dry is None else np.ascontiguousarray(dry, x.dtype)
        y = np.empty((len(x), 2, x.shape[2]), x.dtype)

        def item(i: int) -> None:
            _echo(
                x[i], onto[i], self._past[i], self._taps[i], self._sections[i], self._tables[i],
                self._feedback[i], *self._gains[i], *self._kept[i], y[i],
            )  # fmt: skip

        run_tasks(item, len(x))
        return y
