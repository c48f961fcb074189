"""Compiled loops of the fits of an EQ's curve: what a fit costs, and the step that lowers it.

Every fit stands for itself. Only the bands that it has are computed, and of those the gradient by
each setting follows from the derivatives of the filters' coefficients. With
``φ = 4·sin²(ω/2)`` the power of a second-order section is

``|H|² = (S_b² − φ·A_b + φ²·C_b) / (S_a² − φ·A_a + φ²·C_a)``,
``S = c0 + c1 + c2``, ``A = c0·c1 + 4·c0·c2 + c1·c2``, ``C = c0·c2``,

which is exact also at low frequencies, where sums of cosines cancel.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels.jit import compiled, compiled_sums

__all__ = ["add_curves", "costs", "steps"]

TEN_OVER_LN10 = 10.0 / math.log(10.0)
LEAST_POWER = 1e-24
OF_WEIGHTS = 1e-4


@compiled
def _sums(section):
    """S, A and C of the numerator, then of the denominator."""
    b0, b1, b2, a1, a2 = section[0], section[1], section[2], section[3], section[4]
    return (
        b0 + b1 + b2, b0 * b1 + 4.0 * b0 * b2 + b1 * b2, b0 * b2,
        1.0 + a1 + a2, a1 + 4.0 * a2 + a1 * a2, a2,
    )  # fmt: skip


@compiled
def _power(s, a, c, phi):
    return s * s + phi * (phi * c - a)


@compiled
def _add_curve(section, phi, curve_db):
    s_b, a_b, c_b, s_a, a_a, c_a = _sums(section)
    for p in range(len(phi)):
        ratio = _power(s_b, a_b, c_b, phi[p]) / _power(s_a, a_a, c_a, phi[p])
        curve_db[p] = TEN_OVER_LN10 * math.log(max(ratio, 0.0) + LEAST_POWER)


@compiled
def add_curves(sections, on, phi, curves_db):
    """Write what each band does, in dB; of a band that is off, 0 dB.

    Parameters
    ----------
    sections : ndarray
        ``(fits, bands, 5)``, coefficients.
    on : ndarray of bool
        ``(fits, bands)``.
    phi : ndarray
        ``(points,)``.
    curves_db : ndarray
        ``(fits, bands, points)``, written.
    """
    for fit in range(len(on)):
        for band in range(on.shape[1]):
            if on[fit, band]:
                _add_curve(sections[fit, band], phi, curves_db[fit, band])
            else:
                curves_db[fit, band] = 0.0


@compiled_sums
def _dot(x, y):
    total = 0.0
    for p in range(len(x)):
        total += x[p] * y[p]
    return total


@compiled_sums
def _weighted(x, y, weights):
    total = 0.0
    for p in range(len(x)):
        total += x[p] * y[p] * weights[p]
    return total


@compiled_sums
def _absolute(x, weights):
    total = 0.0
    for p in range(len(x)):
        total += abs(x[p]) * weights[p]
    return total


@compiled
def costs(
    curves_db, on, offset_db, wanted_db, allowed_db, bins, energy, motion, effort, works, nepers,
    below, offset_weight, errors, distances, found,
):  # fmt: skip
    """Write the errors of each fit's curve, ``(fits, points)``, its distance and what it costs.

    The penalties that are of its settings alone are not among the costs.
    """
    inside, ones = len(wanted_db), np.ones(len(allowed_db))
    for fit in range(len(on)):
        error = errors[fit]
        error[:inside] = offset_db[fit] - wanted_db
        error[inside:] = -allowed_db
        worked = 0.0
        for band in range(on.shape[1]):
            if on[fit, band]:
                error += curves_db[fit, band]
                if works[band]:
                    curve_db = curves_db[fit, band, :inside]
                    worked += _weighted(curve_db, curve_db, effort)
        for p in range(inside, len(error)):
            error[p] = max(error[p], 0.0)
        own, moved = error[:inside], 0.0
        for time in range(len(motion)):
            moved += abs(_dot(own, motion[time]))
        spread = math.sqrt(1.5 * _weighted(own, own, energy))
        distance = nepers * (_absolute(own, bins) + spread + 3.0 * moved / len(motion))
        distances[fit] = distance
        found[fit] = (
            distance + offset_weight * offset_db[fit] ** 2 + worked
            + below * _absolute(error[inside:], ones)
        )  # fmt: skip


@compiled
def _slopes(section, moved, step, phi, out):
    """Derivative in dB of a band's curve by a setting that was moved by `step`."""
    s_b, a_b, c_b, s_a, a_a, c_a = _sums(section)
    t_b, d_b, e_b, t_a, d_a, e_a = _sums(moved)
    scale = TEN_OVER_LN10 / step
    # Of two sums that hardly differ the difference is exact.
    t_b, d_b, e_b = (t_b - s_b) * (t_b + s_b), d_b - a_b, e_b - c_b
    t_a, d_a, e_a = (t_a - s_a) * (t_a + s_a), d_a - a_a, e_a - c_a
    for p in range(len(phi)):
        x = phi[p]
        above = (t_b + x * (x * e_b - d_b)) / max(_power(s_b, a_b, c_b, x), 1e-30)
        under = (t_a + x * (x * e_a - d_a)) / max(_power(s_a, a_a, c_a, x), 1e-30)
        out[p] = scale * (above - under)


@compiled
def _solve(normal, gradient, size):
    """Solve a symmetric positive system in place, by Cholesky's factors; the gradient becomes x."""
    for j in range(size):
        for i in range(j, size):
            total = normal[i, j]
            for k in range(j):
                total -= normal[i, k] * normal[j, k]
            if i == j:
                normal[j, j] = math.sqrt(max(total, 1e-14))
            else:
                normal[i, j] = total / normal[j, j]
    for i in range(size):
        for k in range(i):
            gradient[i] -= normal[i, k] * gradient[k]
        gradient[i] /= normal[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            gradient[i] -= normal[k, i] * gradient[k]
        gradient[i] /= normal[i, i]


@compiled
def _weigh(error, moving, inside, bins, energy, nepers, below, smallest_db, weights, by_time):
    """Weights of squares that stand for the absolute values at the present errors."""
    spread = math.sqrt(1.5 * _weighted(error[:inside], error[:inside], energy)) + OF_WEIGHTS
    for p in range(inside):
        absolute = math.sqrt(error[p] ** 2 + smallest_db**2)
        weights[p] = nepers * (bins[p] / absolute + 1.5 * energy[p] / spread)
    for p in range(inside, len(error)):
        weights[p] = below / max(error[p], smallest_db) if error[p] > 0.0 else 0.0
    for t in range(len(moving)):
        absolute = math.sqrt(moving[t] ** 2 + smallest_db**2)
        by_time[t] = 3.0 * nepers / len(moving) / absolute


@compiled
def steps(
    points, starts, low, high, free, sections, moved_sections, moves, curves_db, errors, offset_db,
    damping, phi, bins, energy, motion, effort, works, stay, small, nepers, below, smallest_db,
    offset_weight, longest, step, offset_step,
):  # fmt: skip
    """Write the step of each fit's settings and offset that the damped normal equations give.

    Parameters
    ----------
    points, starts, low, high : ndarray
        ``(fits, bands, 3)`` in 0…1, the latter two ``(bands, 3)``.
    free : ndarray of bool
        ``(fits, bands, 3)``, what moves.
    sections, moved_sections : ndarray
        ``(fits, bands, 5)`` and ``(3, fits, bands, 5)``, the latter with one setting moved by
        `moves`, ``(3, fits, bands)``.
    """
    inside, count, times = len(bins), len(phi), len(motion)
    most = free.shape[1] * free.shape[2] + 1
    slopes, by_time_slopes = np.empty((most, count)), np.empty((most, times))
    weighed, by_time_weighed = np.empty(count), np.empty(times)
    weights, by_time, moving = np.empty(count), np.empty(times), np.empty(times)
    normal, gradient = np.empty((most, most)), np.empty(most)
    bands, columns = np.empty(most, np.int64), np.empty(most, np.int64)
    for fit in range(len(points)):
        step[fit] = 0.0
        error = errors[fit]
        own = error[:inside]
        for t in range(times):
            moving[t] = _dot(own, motion[t])
        _weigh(error, moving, inside, bins, energy, nepers, below, smallest_db, weights, by_time)
        for p in range(count):
            weighed[p] = weights[p] * error[p]
        for t in range(times):
            by_time_weighed[t] = by_time[t] * moving[t]
        size = 0
        for band in range(free.shape[1]):
            for column in range(free.shape[2]):
                if not free[fit, band, column]:
                    continue
                slope = slopes[size]
                _slopes(
                    sections[fit, band], moved_sections[column, fit, band],
                    moves[column, fit, band], phi, slope,
                )  # fmt: skip
                for t in range(times):
                    by_time_slopes[size, t] = _dot(slope[:inside], motion[t])
                value = points[fit, band, column]
                pull = stay[band, column] * (value - starts[fit, band, column])
                pull += small[band, column] * (value - 0.5)
                by = _dot(slope, weighed) + _dot(by_time_slopes[size], by_time_weighed) + 2.0 * pull
                if works[band]:
                    curve_db = curves_db[fit, band, :inside]
                    by += 2.0 * _weighted(slope[:inside], curve_db, effort)
                # What lies at an end of its range and would go on stays.
                if (value <= low[band, column] and by > 0.0) or (
                    value >= high[band, column] and by < 0.0
                ):
                    continue
                bands[size], columns[size], gradient[size] = band, column, by
                size += 1
        slopes[size, :inside], slopes[size, inside:] = 1.0, 0.0
        for t in range(times):
            by_time_slopes[size, t] = _dot(slopes[size, :inside], motion[t])
        gradient[size] = _dot(slopes[size], weighed) + 2.0 * offset_weight * offset_db[fit]
        gradient[size] += _dot(by_time_slopes[size], by_time_weighed)
        for i in range(size + 1):
            for p in range(count):
                weighed[p] = weights[p] * slopes[i, p]
            for t in range(times):
                by_time_weighed[t] = by_time[t] * by_time_slopes[i, t]
            for j in range(i + 1):
                value = _dot(weighed, slopes[j]) + _dot(by_time_weighed, by_time_slopes[j])
                if i < size and bands[i] == bands[j] and works[bands[i]]:
                    value += 2.0 * _weighted(slopes[i, :inside], slopes[j, :inside], effort)
                normal[i, j] = value
            if i < size:
                normal[i, i] += 2.0 * (stay[bands[i], columns[i]] + small[bands[i], columns[i]])
            else:
                normal[i, i] += 2.0 * offset_weight
            normal[i, i] += damping[fit] * max(normal[i, i], 1e-6)
        _solve(normal, gradient, size + 1)
        for i in range(size):
            step[fit, bands[i], columns[i]] = min(max(-gradient[i], -longest), longest)
        offset_step[fit] = -gradient[size]
