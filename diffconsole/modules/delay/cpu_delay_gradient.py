"""The delay's loop on the CPU with its gradient: the same loop, back in time.

With E one pass through the loop, x the send and g the feedback the loop is ``odd = E·(x + g·even)``
and ``even = E·(g·odd)``. Let p and q be the gradients by odd and even that come from the output
alone. Then ``λ = Eᵀ·(p + g·μ)`` and ``μ = Eᵀ·(q + g·λ)`` are those by what goes into the two lines.
A time-invariant filter's adjoint is that filter on time reversed, so the loop finds λ and μ too.
The gradient by x is λ, that by g is ``Σ λ·even + μ·odd``. By a coefficient of E it is
``Σ (p + g·μ)·E′·in`` of each line; for the cuts, which commute with what else is in E, E′ is a
one-pole pair behind the echoes.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.fir import FIR_STEP, fir_block
from ...kernels.jit import compiled, compiled_sums
from ...kernels.state_space import STATES, TABLE_ROWS, state_space, state_space_table
from ...kernels.threads import run_tasks
from .cpu_delay import BLOCK, _sent_one
from .process import BEFORE, TAPS, interpolation

__all__ = ["looped", "looped_backward"]

SUMS = 10
"""By feedback, by the gains near and far, by the time, by the cuts' gain, by their four others."""


@compiled
def _table(cuts):
    """Both cuts as sections, with all of the gain in the first, and their table."""
    sections, table = np.empty((2, 5)), np.empty((TABLE_ROWS, STATES))
    sections[0, 0], sections[0, 1], sections[0, 2] = cuts[0], -2.0 * cuts[0], cuts[0]
    sections[1, 0], sections[1, 1], sections[1, 2] = 1.0, 2.0, 1.0
    for k in range(2):
        sections[0, 3 + k], sections[1, 3 + k] = cuts[1 + k], cuts[3 + k]
    state_space_table(sections[0], sections[1], table)
    return sections, table


@compiled
def _filled(x, z, past, taps, cuts, g, lines, echoes):
    """Run both lines, each with what is sent into it; `echoes` is what comes out of them.

    Sample n of a line is at ``past + n``; all before it is silent.
    """
    samples = x.shape[0]
    block = min(BLOCK, past - TAPS + 1)
    sections, table = _table(cuts)
    states = np.zeros((2, STATES))
    sent = np.empty(block)
    for first in range(0, samples, block):
        count = min(block, samples - first)
        at, stop = past + first, first + count
        for line in range(2):
            fir_block(lines[line, first:], taps, TAPS, echoes[line, first:], count)
        for line in range(2):
            send, into = (x if line == 0 else z)[first:stop], lines[line, at : at + count]
            _sent_one(send, echoes[1 - line, first:stop], g, sent[:count])
            state_space(sent[:count], sections[0], sections[1], table, states[line], into)


@compiled
def _mixed(one, other, near, far, out):
    kind = out.dtype.type
    near, far = kind(near), kind(far)
    for n in range(out.shape[0]):
        out[n] = near * one[n] + far * other[n]


@compiled
def _both_sides(echoes, near, far, y):
    samples = y.shape[1]
    odd, even = echoes[0, :samples], echoes[1, :samples]
    _mixed(odd, even, near, far, y[0])
    _mixed(even, odd, near, far, y[1])


@compiled
def _turned(by_y, near, far, by_odd, by_even):
    """Gradients by the echoes that come from the output, back in time."""
    samples = by_y.shape[1]
    kind = by_y.dtype.type
    near, far = kind(near), kind(far)
    for n in range(samples):
        left, right = by_y[0, samples - 1 - n], by_y[1, samples - 1 - n]
        by_odd[n] = near * left + far * right
        by_even[n] = far * left + near * right


@compiled_sums
def _dot(a, b):
    whole = 0.0
    for n in range(a.shape[0]):
        whole += np.float64(a[n]) * np.float64(b[n])
    return whole


@compiled
def _by_poles(error, echo, one, two, sums):
    """Add the gradients by both coefficients of a denominator, ``−Σ error·z^−k·echo/A``."""
    u1 = u2 = first = second = 0.0
    for n in range(echo.shape[0]):
        first -= np.float64(error[n]) * u1
        second -= np.float64(error[n]) * u2
        u = (np.float64(echo[n]) - two * u2) - one * u1
        u2, u1 = u1, u
    sums[0] += first
    sums[1] += second


@compiled
def _by_settings(by_y, g, slopes, cuts, near, far, lines, echoes, back, sums):
    """Gradients by the settings; `back` holds λ and μ, back in time."""
    samples = by_y.shape[1]
    kind = by_y.dtype.type
    fed, near, far = kind(g), kind(near), kind(far)
    errors, moved = np.empty((2, samples), by_y.dtype), np.empty(samples + FIR_STEP, by_y.dtype)
    for n in range(samples):
        left, right = by_y[0, n], by_y[1, n]
        to_odd, to_even = back[0, samples - 1 - n], back[1, samples - 1 - n]
        errors[0, n] = near * left + far * right + fed * to_even
        errors[1, n] = far * left + near * right + fed * to_odd
    for line in range(2):
        echo, error = echoes[line, :samples], errors[line]
        sums[0] += _dot(back[line, :samples][::-1], echoes[1 - line, :samples])
        sums[1] += _dot(by_y[line], echo)
        sums[2] += _dot(by_y[1 - line], echo)
        fir_block(lines[line], slopes, TAPS, moved, samples)
        sums[3] += _dot(error, moved[:samples])
        sums[4] += _dot(error, echo) / cuts[0]
        _by_poles(error, echo, cuts[1], cuts[2], sums[5:7])
        _by_poles(error, echo, cuts[3], cuts[4], sums[7:9])


def _slopes(fraction: np.ndarray) -> np.ndarray:
    """Derivative of :func:`.process.interpolation` by the fraction, ``(batch, 32)``."""
    u = np.arange(-BEFORE, TAPS - BEFORE, dtype=np.float64) - fraction[:, None]
    turn = u * (2.0 * math.pi / TAPS)
    window = 0.42 + 0.5 * np.cos(turn) + 0.08 * np.cos(2.0 * turn)
    falls = -(2.0 * math.pi / TAPS) * (0.5 * np.sin(turn) + 0.16 * np.sin(2.0 * turn))
    close = np.abs(u) < 1e-4
    away = np.where(close, 1.0, u)
    # Beside its middle a sinc falls along a parabola.
    steep = np.where(close, -(math.pi**2) / 3.0 * u, (np.cos(math.pi * u) - np.sinc(u)) / away)
    return -(steep * window + np.sinc(u) * falls)


def _place(late: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Interpolation for each delay in samples, its slopes, and how far back a line is read."""
    whole = np.floor(late)
    past = [int(n) + TAPS - BEFORE - 1 for n in whole.tolist()]
    return interpolation(late - whole), _slopes(late - whole), past


def looped(
    audio: np.ndarray,
    late: np.ndarray,
    cuts: np.ndarray,
    feedback: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Run the loop and keep what its gradient needs.

    Parameters
    ----------
    audio : ndarray
        ``(batch, 1, samples)``.
    late : ndarray
        ``(batch,)`` samples between echoes, at least 16.
    cuts : ndarray
        ``(batch, 5)``: the gain of both cuts' numerator ``(1 − z⁻²)²``, then a1 and a2 of the
        high-pass and of the low-pass.
    feedback, near, far : ndarray
        ``(batch,)``: level of an echo against the one before, gains of the first echo on its own
        side and on the other.

    Returns
    -------
    y : ndarray
        ``(batch, 2, samples)``.
    lines : list of ndarray
        By item ``(2, …)``: what is in the lines of the odd and of the even echoes.
    echoes : ndarray
        ``(batch, 2, …)``: odd and even echoes.
    """
    batch, _, samples = audio.shape
    kind = audio.dtype
    taps, _, past = _place(late)
    taps = taps.astype(kind)
    y, silence = np.empty((batch, 2, samples), kind), np.zeros(samples, kind)
    lines = [np.zeros((2, back + samples + FIR_STEP + TAPS), kind) for back in past]
    echoes = np.empty((batch, 2, samples + FIR_STEP), kind)

    def item(i: int) -> None:
        _filled(
            audio[i, 0], silence, past[i], taps[i], cuts[i], feedback[i], lines[i], echoes[i]
        )  # fmt: skip
        _both_sides(echoes[i], near[i], far[i], y[i])

    run_tasks(item, batch)
    return y, lines, echoes


def looped_backward(
    by_y: np.ndarray,
    late: np.ndarray,
    cuts: np.ndarray,
    feedback: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
    lines: list[np.ndarray],
    echoes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of :func:`looped` by the audio and by the settings.

    Returns
    -------
    by_audio : ndarray
        ``(batch, 1, samples)``.
    by_setting : ndarray
        ``(batch, 9)`` float64: by feedback, near, far, `late`, and the five columns of `cuts`.
    """
    batch, _, samples = by_y.shape
    kind = by_y.dtype
    taps, slopes, past = _place(late)
    taps, slopes = taps.astype(kind), slopes.astype(kind)
    by_audio, sums = np.empty((batch, 1, samples), kind), np.zeros((batch, SUMS - 1))

    def item(i: int) -> None:
        turned, back = np.empty((2, samples), kind), np.empty((2, samples + FIR_STEP), kind)
        own = np.zeros((2, past[i] + samples + FIR_STEP + TAPS), kind)
        _turned(by_y[i], near[i], far[i], turned[0], turned[1])
        _filled(turned[0], turned[1], past[i], taps[i], cuts[i], feedback[i], own, back)
        by_audio[i, 0] = back[0, :samples][::-1]
        _by_settings(
            by_y[i], feedback[i], slopes[i], cuts[i], near[i], far[i], lines[i], echoes[i], back,
            sums[i],
        )  # fmt: skip

    run_tasks(item, batch)
    return by_audio, sums
