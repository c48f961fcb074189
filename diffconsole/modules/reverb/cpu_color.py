"""The reverb's mix, cuts and pre-delay on the CPU: a pass over the bins of a spectrum.

Sines and cosines go by blocks: one value at the start of a block in float64, times a table of the
steps from there, so that no error grows with frequency. The sums behind the gradients of the
settings are float64 from block to block, over segments of a fixed size.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.threads import run_tasks
from .cpu_room import BLOCK, SEGMENT, compiled, from_real_pairs, real_pairs, segment_count
from .noise import CUT_Q

__all__ = ["color", "color_gradient"]


@compiled
def _waves(settings, length, like):
    """Within a block: cosine and sine of ω/2 in float64, those of the pre-delay's phase."""
    half = np.empty(2 * BLOCK)
    ramp = np.empty(2 * BLOCK, like.dtype)
    for k in range(BLOCK):
        half[k], half[BLOCK + k] = math.cos(math.pi * k / length), math.sin(math.pi * k / length)
        turns = k / length * settings[4]
        angle = -2.0 * math.pi * (turns - math.floor(turns))
        ramp[k], ramp[BLOCK + k] = math.cos(angle), math.sin(angle)
    return half, ramp


@compiled
def _constants(settings, like):
    """Sines and cosines of the cuts, in the type of the audio; see generic_room._filter."""
    found = np.empty(11, like.dtype)
    for cut in range(2):
        s0, c0 = math.sin(settings[5 + cut]), math.cos(settings[5 + cut])
        found[5 * cut], found[5 * cut + 1] = s0 * s0, c0 * c0
        found[5 * cut + 2] = s0 * c0 / CUT_Q
        found[5 * cut + 3], found[5 * cut + 4] = 2.0 * s0 * c0, (c0 * c0 - s0 * s0) / CUT_Q
    found[10] = -((math.cos(settings[5]) * math.sin(settings[6])) ** 2)
    return found


# What is known of a bin, in one array whose rows lie at fixed distances: a compiler that cannot
# tell whether arrays overlap gives up on more than a few of them.
_RE, _IM, _SC = 0, BLOCK, 2 * BLOCK
_LOW_RE, _LOW_IM, _HIGH_RE, _HIGH_IM = 3 * BLOCK, 4 * BLOCK, 5 * BLOCK, 6 * BLOCK
_C2, _S2, _NUMBER = 7 * BLOCK, 8 * BLOCK, 9 * BLOCK


@compiled
def _scratch(like):
    rows = np.empty(10 * BLOCK, like.dtype)
    for k in range(BLOCK):
        rows[_NUMBER + k] = k
    return rows


@compiled
def _filter_block(begin, length, settings, half, ramp, cuts, rows):
    """Response, and the denominators of the cuts, at the bins of a block."""
    cosine, sine = math.cos(math.pi * begin / length), math.sin(math.pi * begin / length)
    for k in range(BLOCK):
        c = cosine * half[k] - sine * half[BLOCK + k]
        s = sine * half[k] + cosine * half[BLOCK + k]
        rows[_C2 + k], rows[_S2 + k], rows[_SC + k] = c * c, s * s, s * c
    turns = begin / length * settings[4]
    angle = -2.0 * math.pi * (turns - math.floor(turns))
    start = np.empty(2, rows.dtype)
    start[0], start[1] = math.cos(angle), math.sin(angle)
    start_re, start_im = start[0], start[1]
    low_s, low_c, low_q, high_s, high_c, high_q = (
        cuts[0],
        cuts[1],
        cuts[2],
        cuts[5],
        cuts[6],
        cuts[7],
    )
    level = cuts[10]
    for k in range(BLOCK):
        c2, s2, sc = rows[_C2 + k], rows[_S2 + k], rows[_SC + k]
        low_re, low_im = c2 * low_s - s2 * low_c, sc * low_q
        high_re, high_im = c2 * high_s - s2 * high_c, sc * high_q
        re, im = low_re * high_re - low_im * high_im, low_re * high_im + low_im * high_re
        scale = level * s2 * c2 / (re * re + im * im)
        ramp_re = start_re * ramp[k] - start_im * ramp[BLOCK + k]
        ramp_im = start_re * ramp[BLOCK + k] + start_im * ramp[k]
        rows[_RE + k] = scale * (re * ramp_re + im * ramp_im)
        rows[_IM + k] = scale * (re * ramp_im - im * ramp_re)
        rows[_LOW_RE + k], rows[_LOW_IM + k] = low_re, low_im
        rows[_HIGH_RE + k], rows[_HIGH_IM + k] = high_re, high_im


@compiled
def _color_block(middle, side, mix, rows, left, right):
    lm, ls, rm, rs = mix[0], mix[1], mix[2], mix[3]
    for k in range(middle.shape[0] // 2):
        re, im = rows[_RE + k], rows[_IM + k]
        mr = middle[2 * k] * re - middle[2 * k + 1] * im
        mi = middle[2 * k] * im + middle[2 * k + 1] * re
        sr = side[2 * k] * re - side[2 * k + 1] * im
        si = side[2 * k] * im + side[2 * k + 1] * re
        left[2 * k], left[2 * k + 1] = lm * mr + ls * sr, lm * mi + ls * si
        right[2 * k], right[2 * k + 1] = rm * mr + rs * sr, rm * mi + rs * si


@compiled
def _color_segment(spectrum, settings, length, first, stop, target):
    half, ramp = _waves(settings, length, spectrum)
    cuts = _constants(settings, spectrum)
    mix = settings[:4].astype(spectrum.dtype)
    rows = _scratch(spectrum)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _filter_block(begin, length, settings, half, ramp, cuts, rows)
        _color_block(
            spectrum[0, 2 * begin : 2 * end], spectrum[1, 2 * begin : 2 * end], mix, rows,
            target[0, 2 * begin : 2 * end], target[1, 2 * begin : 2 * end],
        )  # fmt: skip


@compiled
def _adjoint_block(left, right, mix, scale, rows, by_middle, by_side):
    """The errors through the conjugates of the response and of the mix."""
    lm, ls, rm, rs = mix[0], mix[1], mix[2], mix[3]
    for k in range(left.shape[0] // 2):
        re, im = scale * rows[_RE + k], scale * rows[_IM + k]
        lr, li = left[2 * k] * re + left[2 * k + 1] * im, left[2 * k + 1] * re - left[2 * k] * im
        rr, ri = (
            right[2 * k] * re + right[2 * k + 1] * im,
            right[2 * k + 1] * re - right[2 * k] * im,
        )
        by_middle[2 * k], by_middle[2 * k + 1] = lm * lr + rm * rr, lm * li + rm * ri
        by_side[2 * k], by_side[2 * k + 1] = ls * lr + rs * rr, ls * li + rs * ri


@compiled
def _settings_block(left, right, middle, side, mix, cuts, scale, begin, rows, sums):
    """Add a block to the sums that the gradients of the settings are made of."""
    # A block's own sums are in the type of the audio: no longer than a few vectors.
    zero = rows.dtype.type(0)
    lm, ls, rm, rs, low, high, turned, moment = zero, zero, zero, zero, zero, zero, zero, zero
    low_re, low_im, high_re, high_im = cuts[3], cuts[4], cuts[8], cuts[9]
    for k in range(middle.shape[0] // 2):
        re, im = scale * rows[_RE + k], scale * rows[_IM + k]
        mr, mi, sr, si = middle[2 * k], middle[2 * k + 1], side[2 * k], side[2 * k + 1]
        lr, li = left[2 * k] * re + left[2 * k + 1] * im, left[2 * k + 1] * re - left[2 * k] * im
        rr, ri = (
            right[2 * k] * re + right[2 * k + 1] * im,
            right[2 * k + 1] * re - right[2 * k] * im,
        )
        lm += lr * mr + li * mi
        ls += lr * sr + li * si
        rm += rr * mr + ri * mi
        rs += rr * sr + ri * si
        # Error against output: what a change of the response's logarithm would do.
        gmr, gmi = mix[0] * lr + mix[2] * rr, mix[0] * li + mix[2] * ri
        gsr, gsi = mix[1] * lr + mix[3] * rr, mix[1] * li + mix[3] * ri
        pr = gmr * mr + gmi * mi + gsr * sr + gsi * si
        pi = gmr * mi - gmi * mr + gsr * si - gsi * sr
        turned += pi
        moment += pi * rows[_NUMBER + k]
        sc = rows[_SC + k]
        dr, di = rows[_LOW_RE + k], rows[_LOW_IM + k]
        tr, ti = low_re * dr + sc * low_im * di, sc * low_im * dr - low_re * di
        low += (pr * tr - pi * ti) / (dr * dr + di * di)
        dr, di = rows[_HIGH_RE + k], rows[_HIGH_IM + k]
        tr, ti = high_re * dr + sc * high_im * di, sc * high_im * dr - high_re * di
        high += (pr * tr - pi * ti) / (dr * dr + di * di)
    sums[0] += lm
    sums[1] += ls
    sums[2] += rm
    sums[3] += rs
    sums[4] += np.float64(begin) * turned + moment
    sums[5] += low
    sums[6] += high


@compiled
def _color_gradient_segment(
    error, spectrum, settings, length, first, stop, by_spectrum, by_setting
):
    half, ramp = _waves(settings, length, spectrum)
    cuts = _constants(settings, spectrum)
    mix = settings[:4].astype(spectrum.dtype)
    rows = _scratch(spectrum)
    # By Parseval on half a spectrum: all but the first and the last bin count twice.
    scale = spectrum.dtype.type(2.0 / length)
    sums = np.zeros(7)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _filter_block(begin, length, settings, half, ramp, cuts, rows)
        left, right = error[0, 2 * begin : 2 * end], error[1, 2 * begin : 2 * end]
        _adjoint_block(
            left,
            right,
            mix,
            scale,
            rows,
            by_spectrum[0, 2 * begin : 2 * end],
            by_spectrum[1, 2 * begin : 2 * end],
        )
        _settings_block(
            left, right, spectrum[0, 2 * begin : 2 * end], spectrum[1, 2 * begin : 2 * end],
            mix, cuts, scale, begin, rows, sums,
        )  # fmt: skip
    # Of the numerators the logarithm changes alike at every bin.
    total = settings[0] * sums[0] + settings[1] * sums[1]
    total += settings[2] * sums[2] + settings[3] * sums[3]
    for n in range(4):
        by_setting[n] = sums[n]
    by_setting[4] = sums[4] * 2.0 * math.pi / length
    by_setting[5] = -sums[5] - 2.0 * math.tan(settings[5]) * total
    by_setting[6] = -sums[6] + 2.0 / math.tan(settings[6]) * total


def color(spectrum: np.ndarray, settings: np.ndarray, length: int) -> np.ndarray:
    """Spectrum of both sides from that of middle and side.

    Parameters
    ----------
    spectrum : ndarray
        ``(batch, 2, length/2 + 1)`` complex.
    settings : ndarray
        ``(batch, 7)``; see :func:`.room.room_response`.
    length : int
        Of the transform.

    Returns
    -------
    ndarray
        ``(batch, 2, length/2 + 1)`` complex.
    """
    pairs = real_pairs(spectrum)
    rows = np.ascontiguousarray(settings)
    target = np.empty_like(pairs)
    bins = pairs.shape[2] // 2
    segments = segment_count(bins)

    def task(index: int) -> None:
        item, segment = divmod(index, segments)
        first = segment * SEGMENT
        stop = min(first + SEGMENT, bins)
        _color_segment(pairs[item], rows[item], length, first, stop, target[item])

    run_tasks(task, len(pairs) * segments)
    return from_real_pairs(target)


def color_gradient(
    error: np.ndarray,
    spectrum: np.ndarray,
    settings: np.ndarray,
    length: int,
    by_spectrum: np.ndarray,
) -> np.ndarray:
    """Gradient of the settings; that of the spectrum is written to `by_spectrum`.

    `error`, which is spoilt, is the transform of the gradient of the response.
    """
    error[..., :: error.shape[-1] - 1] *= 0.5
    errors, pairs, target = real_pairs(error), real_pairs(spectrum), real_pairs(by_spectrum)
    rows = np.ascontiguousarray(settings)
    bins = pairs.shape[2] // 2
    segments = segment_count(bins)
    sums = np.zeros((len(pairs), segments, 7))

    def task(index: int) -> None:
        item, segment = divmod(index, segments)
        first = segment * SEGMENT
        stop = min(first + SEGMENT, bins)
        _color_gradient_segment(
            errors[item], pairs[item], rows[item], length, first, stop,
            target[item], sums[item, segment],
        )  # fmt: skip

    run_tasks(task, len(pairs) * segments)
    return sums.sum(axis=1)
