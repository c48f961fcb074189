"""Cookbook coefficients and their gradient on the CPU, all sections in one loop.

The transcendental functions are the C library's and the order of the rest is dasp-pytorch's, so
that the coefficients are those of :mod:`.generic_coefficients` but for their last bit.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.array_math import amplitude, cos, power, sin
from ...kernels.jit import compiled_exactly
from .kinds import KINDS, WITHOUT_GAIN

__all__ = [
    "coefficients_backward",
    "coefficients_forward",
    "coefficients_of_many",
    "coefficients_saved_shape",
]

HIGH_PASS, LOW_PASS, LOW_SHELF, HIGH_SHELF = (
    KINDS.index(kind) for kind in ("high_pass", "low_pass", "low_shelf", "high_shelf")
)


def coefficients_saved_shape(rows: int, sections: int, batch: int) -> tuple[int, int]:
    """Shape of what the forward pass keeps: sin ω and cos ω, then A or the gain, and √A."""
    return 2 * sections + 2 * (rows - 2 * sections), batch


@compiled_exactly
def _forward(settings, saved, kinds, out):
    """One item after the other; without fused operations, which would round otherwise."""
    count, gains = len(kinds), settings.shape[0] - 2 * len(kinds)
    for item in range(settings.shape[1]):
        own = 2 * count
        for s in range(count):
            kind, cos = kinds[s], saved[count + s, item]
            alpha = saved[s, item] / (2.0 * settings[count + s, item])
            if kind > LOW_PASS:
                A, root = saved[own, item], saved[own + gains, item]
                own += 1
            if kind in (LOW_SHELF, HIGH_SHELF):
                # A low shelf is a high shelf with the cosine, b1 and a1 the other way round.
                sign = 1.0 if kind == HIGH_SHELF else -1.0
                c, t = sign * cos, 2.0 * root * alpha
                more, less = A + 1.0, A - 1.0
                b0 = A * (more + less * c + t)
                b1 = sign * (-2.0 * A * (less + more * c))
                b2 = A * (more + less * c - t)
                a0 = more - less * c + t
                a1 = sign * (2.0 * (less - more * c))
                a2 = more - less * c - t
            elif kind in (HIGH_PASS, LOW_PASS):
                sign = 1.0 if kind == HIGH_PASS else -1.0
                b1 = 1.0 + sign * cos
                b0 = b2 = b1 / 2.0
                b1 *= -sign
                a0, a1, a2 = 1.0 + alpha, -2.0 * cos, 1.0 - alpha
            else:
                b0, b2 = 1.0 + alpha * A, 1.0 - alpha * A
                a0, a2 = 1.0 + alpha / A, 1.0 - alpha / A
                b1 = a1 = -2.0 * cos
            row = out[item, s]
            row[0], row[1], row[2], row[3], row[4] = b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0
        if own - 2 * count < gains:
            for k in range(3):
                out[item, 0, k] *= saved[own, item]


@compiled_exactly
def _backward(grad, settings, saved, kinds, sample_rate, highest_hz, out):
    """Reverse of `_forward`: through the division by a0, each kind's formula, and ω, A, Q."""
    count, gains = len(kinds), settings.shape[0] - 2 * len(kinds)
    by_freq, by_gain = 2.0 * math.pi / sample_rate, math.log(10.0) / 40.0
    whole = gains > np.sum(kinds > LOW_PASS)
    for item in range(settings.shape[1]):
        own = 2 * count
        for s in range(count):
            kind, sin, cos = kinds[s], saved[s, item], saved[count + s, item]
            q = settings[count + s, item]
            alpha = sin / (2.0 * q)
            A = root = 1.0
            if kind > LOW_PASS:
                A, root = saved[own, item], saved[own + gains, item]
            more, less, c, sign, t = A + 1.0, A - 1.0, cos, 1.0, 0.0
            if kind in (LOW_SHELF, HIGH_SHELF):
                sign = 1.0 if kind == HIGH_SHELF else -1.0
                c, t = sign * cos, 2.0 * root * alpha
                b0, b2 = A * (more + less * c + t), A * (more + less * c - t)
                b1 = sign * (-2.0 * A * (less + more * c))
                a0, a2 = more - less * c + t, more - less * c - t
                a1 = sign * (2.0 * (less - more * c))
            elif kind in (HIGH_PASS, LOW_PASS):
                sign = 1.0 if kind == HIGH_PASS else -1.0
                b1 = 1.0 + sign * cos
                b0 = b2 = b1 / 2.0
                b1 *= -sign
                a0, a1, a2 = 1.0 + alpha, -2.0 * cos, 1.0 - alpha
            else:
                b0, b2 = 1.0 + alpha * A, 1.0 - alpha * A
                a0, a2 = 1.0 + alpha / A, 1.0 - alpha / A
                b1 = a1 = -2.0 * cos
            g = grad[item, s]
            scale = 1.0 / a0
            if whole and s == 0:
                factor = saved[2 * count + gains - 1, item]
                total = (g[0] * b0 + g[1] * b1 + g[2] * b2) * scale
                out[2 * count + gains - 1, item] = total * factor * 2.0 * by_gain
            else:
                factor = 1.0
            g_b0, g_b1, g_b2 = g[0] * factor * scale, g[1] * factor * scale, g[2] * factor * scale
            g_a1, g_a2 = g[3] * scale, g[4] * scale
            g_a0 = -(g_b0 * b0 + g_b1 * b1 + g_b2 * b2 + g_a1 * a1 + g_a2 * a2) * scale
            g_A = 0.0
            if kind in (LOW_SHELF, HIGH_SHELF):
                g_b1, g_a1 = sign * g_b1, sign * g_a1
                both, apart = g_b0 + g_b2, g_b0 - g_b2
                g_t = A * apart + g_a0 - g_a2
                g_A = (
                    both * (more + less * c + A * (1.0 + c)) + apart * t
                    - 2.0 * g_b1 * (less + more * c + A * (1.0 + c))
                    + (1.0 - c) * (g_a0 + g_a2 + 2.0 * g_a1)
                    + g_t * alpha / root
                )  # fmt: skip
                g_cos = sign * (
                    A * less * both - 2.0 * A * more * g_b1
                    - less * (g_a0 + g_a2) - 2.0 * more * g_a1
                )  # fmt: skip
                g_alpha = 2.0 * root * g_t
            elif kind in (HIGH_PASS, LOW_PASS):
                g_cos = 0.5 * sign * (g_b0 + g_b2) - g_b1 - 2.0 * g_a1
                g_alpha = g_a0 - g_a2
            else:
                g_cos = -2.0 * (g_b1 + g_a1)
                g_alpha = A * (g_b0 - g_b2) + (g_a0 - g_a2) / A
                g_A = alpha * ((g_b0 - g_b2) - (g_a0 - g_a2) / (A * A))
            g_omega = g_alpha * cos / (2.0 * q) - g_cos * sin
            out[s, item] = g_omega * by_freq if settings[s, item] <= highest_hz else 0.0
            out[count + s, item] = -g_alpha * alpha / q
            if kind > LOW_PASS:
                out[own, item] = g_A * A * by_gain
                own += 1


def coefficients_forward(
    settings: np.ndarray, kinds: list[int], sample_rate: float, highest_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients and what the gradient needs."""
    count, gains = len(kinds), len(settings) - 2 * len(kinds)
    batch = settings.shape[1]
    shape = coefficients_saved_shape(len(settings), count, batch)
    saved = np.empty(shape)
    omega = 2 * math.pi * (np.minimum(settings[:count], highest_hz) / sample_rate)
    saved[:count], saved[count : 2 * count] = sin(omega), cos(omega)
    if gains:
        gains_db, root = settings[2 * count :], saved[2 * count : 2 * count + gains]
        own = sum(kind not in WITHOUT_GAIN for kind in kinds)
        root[:own] = power(10.0, gains_db[:own] / 40.0)
        # A row more is the gain of the whole, which is no root.
        root[own:] = amplitude(gains_db[own:])
        saved[2 * count + gains :] = np.sqrt(root)
    out = np.empty((batch, count, 5))
    _forward(np.ascontiguousarray(settings), saved, np.array(kinds), out)
    return out, saved


def coefficients_of_many(
    settings: np.ndarray, kinds: list[int], sample_rate: float, highest_hz: float
) -> np.ndarray:
    """Return the coefficients alone, by NumPy's functions, which may differ in the last bits.

    Of hundreds of items it takes a tenth of the time. Every row of gains belongs to a section.
    """
    count, gains = len(kinds), len(settings) - 2 * len(kinds)
    saved = np.empty(coefficients_saved_shape(len(settings), count, settings.shape[1]))
    omega = 2 * math.pi * (np.minimum(settings[:count], highest_hz) / sample_rate)
    saved[:count], saved[count : 2 * count] = np.sin(omega), np.cos(omega)
    amplitude_root = saved[2 * count : 2 * count + gains]
    np.power(10.0, settings[2 * count :] / 40.0, out=amplitude_root)
    np.sqrt(amplitude_root, out=saved[2 * count + gains :])
    out = np.empty((settings.shape[1], count, 5))
    _forward(np.ascontiguousarray(settings), saved, np.array(kinds), out)
    return out


def coefficients_backward(
    gradient: np.ndarray,
    settings: np.ndarray,
    saved: np.ndarray,
    kinds: list[int],
    sample_rate: float,
    highest_hz: float,
) -> np.ndarray:
    """Gradient of the settings."""
    out = np.empty(settings.shape)
    _backward(gradient, settings, saved, np.array(kinds), sample_rate, highest_hz, out)
    return out
