"""The detector's level on the CPU: one compiled loop a row, in float64."""

from __future__ import annotations

import numpy as np

from .jit import compiled_exactly
from .lanes import TINY
from .not_numbers import mark_not_numbers
from .threads import run_tasks

__all__ = ["follow", "follow_backward"]


@compiled_exactly
def _follow(v, attack, release, hold, state, s):
    """Follow one row; `state` is the level and what is left of the hold, and is written."""
    fraction = hold - np.floor(hold)
    ending = release ** (1.0 - fraction)
    now, left = state[0], state[1]
    for n in range(v.shape[0]):
        value = np.float64(v[n])
        if value > now:
            now = attack * now + (1.0 - attack) * value
            left = hold
        elif left >= 1.0:
            left -= 1.0
        else:
            k = ending if left > 0.0 else release
            left = 0.0
            now = k * now + (1.0 - k) * value
            if now < TINY:
                now = 0.0
        s[n] = now
    state[0], state[1] = now, left


@compiled_exactly
def _branches(v, s, hold, kinds):
    """Which coefficient each sample took: 0 attack, 1 hold, 2 the end of the hold, 3 release."""
    left, before = 0.0, 0.0
    for n in range(v.shape[0]):
        if np.float64(v[n]) > before:
            kinds[n] = 0
            left = hold
        elif left >= 1.0:
            kinds[n] = 1
            left -= 1.0
        else:
            kinds[n] = 2 if left > 0.0 else 3
            left = 0.0
        before = np.float64(s[n])


@compiled_exactly
def _backward(v, s, gradient, attack, release, hold, kinds, by_level, by_settings):
    """Adjoint of :func:`_follow`: the recursion back in time, the branches known."""
    fraction = hold - np.floor(hold)
    ending = release ** (1.0 - fraction)
    carried = by_attack = by_release = by_ending = 0.0
    for n in range(v.shape[0] - 1, -1, -1):
        carried += np.float64(gradient[n])
        kind = kinds[n]
        if kind == 1:
            by_level[n] = 0.0
            continue
        k = attack if kind == 0 else ending if kind == 2 else release
        before = np.float64(s[n - 1]) if n > 0 else 0.0
        by_k = carried * (before - np.float64(v[n]))
        if kind == 0:
            by_attack += by_k
        elif kind == 2:
            by_ending += by_k
        else:
            by_release += by_k
        by_level[n] = carried * (1.0 - k)
        carried *= k
        if abs(carried) < TINY:
            carried = 0.0
    # ending = release^(1 − fraction); where the hold ends, more of it brings `ending` nearer 1.
    log_release = np.log(release) if release > 0.0 else 0.0
    by_settings[0] = by_attack
    by_settings[1] = by_release
    if release > 0.0:
        by_settings[1] += by_ending * (1.0 - fraction) * ending / release
    by_settings[2] = -by_ending * ending * log_release


def follow(
    level: np.ndarray, parameters: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow a level; see :func:`diffconsole.kernels.envelope.envelope_from`."""
    s, after = np.empty_like(level), state.copy()
    run_tasks(lambda i: _follow(level[i], *parameters[i], after[i], s[i]), len(level))
    mark_not_numbers(s, parameters)
    return s, after


def follow_backward(
    gradient: np.ndarray, level: np.ndarray, followed: np.ndarray, parameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the level and of attack, release and hold."""
    g, v, s, settings = gradient, level, followed, parameters
    kinds, by_level = np.empty(v.shape, np.int8), np.empty_like(v)
    by_settings = np.zeros(settings.shape)

    def row(i: int) -> None:
        _branches(v[i], s[i], settings[i, 2], kinds[i])
        _backward(v[i], s[i], g[i], *settings[i], kinds[i], by_level[i], by_settings[i])

    run_tasks(row, len(v))
    return by_level, by_settings
