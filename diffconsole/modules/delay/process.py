"""Delay: echoes with feedback, each darker than the one before, as a send.

With ``C`` the two cuts (cookbook high- and low-pass, Q 0.71), T the time in samples, D its whole
part and f the rest::

    E    = C(z)·Σ_k h[k]·z^−(D + k),  k = −15 … 16              one pass through the loop
    h[k] = sinc(k − f)·w(k − f)
    odd  = E / (1 − g²·E²),  even = g·E² / (1 − g²·E²)          echoes 1, 3, 5 … and 2, 4, 6 …
    left  = wet·(l·odd + r·even),  right = wet·(r·odd + l·even)
    l, r  = √2·cos(π/4·(1 − w)), √2·sin(π/4·(1 − w))            the pan of the first echo, width w

with Blackman's window w, 32 samples wide. So the echoes sum to ``Σ_k g^(k−1)·E^k``; the first lies
to the left, the second to the right. Of width 0 all lie in the middle. The send is the mean of the
channels. The time is not rounded to samples: it has a gradient, and of whole samples it is a plain
delay line. A level at the low end of its range, −60 dB, is none.

On the CPU a compiled loop runs, with gradients (:mod:`.cpu_delay_gradient`) and without
(:mod:`.cpu_delay`); elsewhere, and where the response's length is fixed, the loop's impulse
response is convolved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...errors import SettingsError
from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.shapes import check_audio, fast_length
from ...strip.channel_strip import HIGHEST_FREQUENCY
from ...strip.finite import allowed_range, refuse_not_finite
from ...strip.parameters import BY_KEY
from ..reverb.convolution import convolve

__all__ = [
    "NONE_DB",
    "SILENT_DB",
    "TAPS",
    "cut_sections",
    "delay",
    "delay_response",
    "echoes",
    "interpolation",
    "level_of",
    "refuse_short",
    "send",
    "sides",
    "tail_samples",
]

CUT_Q = 0.71
CUT_RINGING_SECONDS = 0.1
CUT_SILENT_SECONDS = 0.3
TAPS, BEFORE = 32, 15
"""Of the interpolation: its length, and how many of its samples come before the whole part."""

SHORTEST_SAMPLES = 16
"""Of the time between echoes: nearly as far as the interpolation looks ahead."""

NONE_DB = -60.0
"""The low end of the two levels, which stands for none."""

SILENT_DB = -60.0
"""Where the echoes count as ended, for the length of a file."""

EXACT_DB = -120.0
"""How far the echoes have fallen where the response ends."""

FOLDED = 1e-7
"""Of the transform: what folds back to its start is weighted by that."""


def echoes(feedback: float, fallen_db: float = SILENT_DB) -> int:
    """Return how many echoes there are until they have fallen by so much."""
    if feedback <= 0.0:
        return 1
    return max(1, math.ceil(fallen_db / (20.0 * math.log10(min(feedback, 0.999)))) + 1)


def tail_samples(sample_rate: float, time_ms: float, feedback: float) -> int:
    """Return the samples until the echoes have fallen by 60 dB."""
    seconds = echoes(feedback) * time_ms / 1000.0 + CUT_RINGING_SECONDS
    return math.ceil(seconds * sample_rate)


def level_of(level_db: Numbers, gain_db: Numbers | None = None) -> Numbers:
    """Return a level as a factor, ``10^(level_db/20)``; :data:`NONE_DB` and below give 0.

    The gradient is that of the level there too, so that a search can leave the end of the range. A
    gain on top makes nothing of none.
    """
    m = math_of(level_db)
    level = m.amplitude(m.float64(level_db))
    level = level - m.where(level_db > NONE_DB, 0.0, m.held(level))
    return level if gain_db is None else level * m.amplitude(m.float64(gain_db))


def interpolation(fraction: Numbers) -> Numbers:
    """Return the filter that delays by a fraction of a sample and by 15 whole ones.

    Parameters
    ----------
    fraction : Tensor or ndarray
        ``(batch,)`` float64, 0 to 1.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 32)``.
    """
    m = math_of(fraction)
    u = m.arange(-BEFORE, TAPS - BEFORE, 1, fraction) - fraction[:, None]
    turn = u * (2.0 * math.pi / TAPS)
    return m.sinc(u) * (0.42 + 0.5 * m.cos(turn) + 0.08 * m.cos(2.0 * turn))


def cut_sections(sample_rate: float, low_cut_hz: Numbers, high_cut_hz: Numbers) -> Numbers:
    """Return b0, b1, b2, a1, a2 of the high-pass, then of the low-pass: ``(batch, 2, 5)``."""
    m, rows = math_of(low_cut_hz), []
    for freq_hz, sign in ((low_cut_hz, 1.0), (high_cut_hz, -1.0)):
        highest = HIGHEST_FREQUENCY * sample_rate
        corner = m.at_most(m.float64(freq_hz), highest) * (2.0 * math.pi / sample_rate)
        cosine, alpha = m.cos(corner), m.sin(corner) / (2.0 * CUT_Q)
        # The high-pass and the low-pass are each other's mirror image: 1 ± cos, 1 ∓ z⁻¹.
        top = 0.5 * (1.0 + sign * cosine)
        row = m.stack((top, -2.0 * sign * top, top, -2.0 * cosine, 1.0 - alpha), axis=-1)
        rows.append(row / (1.0 + alpha)[:, None])
    return m.stack(rows, axis=1)


def sides(width: Numbers) -> tuple[Numbers, Numbers]:
    """Return the gains of the first echo on its own side and on the other, ``(batch,)`` each."""
    m = math_of(width)
    place = 0.25 * math.pi * (1.0 - m.float64(width))
    return math.sqrt(2.0) * m.cos(place), math.sqrt(2.0) * m.sin(place)


def _once(
    sample_rate: float, time_ms: Numbers, sections: Numbers, length: int, shrink: float
) -> Numbers:
    """Response of one pass at ``length/2 + 1`` points of a circle, ``z⁻¹ = shrink·e^(−jω)``."""
    m = math_of(time_ms)
    bins = m.arange(0, length // 2 + 1, 1, time_ms)
    z1 = shrink * m.turned(bins * (-2.0 * math.pi / length))
    b0, b1, b2, a1, a2 = (sections[..., column, None] for column in range(5))
    cuts = ((b0 + (b1 + b2 * z1) * z1) / (1.0 + (a1 + a2 * z1) * z1)).prod(1)
    late = m.float64(time_ms) * (sample_rate / 1000.0)
    whole = m.floor(m.held(late))
    powers = shrink ** m.arange(0, TAPS, 1, late)
    between = m.rfft(interpolation(late - whole) * powers, length)
    first = (whole - BEFORE)[:, None]
    # Whole turns are left out while the numbers are exact.
    angle = m.remainder(bins * first, length) * (-2.0 * math.pi / length)
    return cuts * between * (shrink**first * m.turned(angle))


def refuse_short(time_ms: float, sample_rate: float) -> None:
    """Refuse a time between echoes that is shorter than the interpolation reaches.

    Raises
    ------
    SettingsError
        Naming the time and the range.
    """
    if time_ms * sample_rate < 1000.0 * SHORTEST_SAMPLES:
        raise SettingsError(
            f"setting 'delay.time_ms' is {time_ms:g}; echoes lie at least {SHORTEST_SAMPLES} "
            f"samples apart: give a value from {allowed_range(BY_KEY['delay.time_ms'])}"
        )


def delay_response(
    sample_rate: float,
    time_ms: Numbers,
    feedback: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    *,
    seconds: float | None = None,
    most: int | None = None,
) -> Numbers:
    """Return the delay's impulse response at wet level 0 dB.

    Parameters
    ----------
    sample_rate : float
        Hz.
    time_ms, feedback, low_cut_hz, high_cut_hz, width : Tensor
        ``(batch,)`` each: ms between echoes, at least 16 samples; level of an echo against the one
        before (below 1), the corners of the cuts in Hz, 0 in the middle to 1 from side to side.
    seconds : float, optional
        Fixed length, so that shapes do not depend on settings (training); by default until the
        longest row of echoes in the batch has fallen by 120 dB.
    most : int, optional
        Samples that it has at most.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 2, taps)`` float64: left and right.

    Raises
    ------
    SettingsError
        A time or a feedback that is not finite, or a time of less than 16 samples, where the length
        depends on them.
    """
    m = math_of(time_ms)
    if seconds is None:
        rows = list(zip(m.held(time_ms).tolist(), m.held(feedback).tolist(), strict=True))
        if not all(map(math.isfinite, (value for row in rows for value in row))):
            refuse_not_finite({"delay.time_ms": time_ms, "delay.feedback": feedback})
        refuse_short(min(ms for ms, _ in rows), sample_rate)
        longest = silent_after(rows)
    else:
        longest = seconds
    taps = max(math.ceil(longest * sample_rate), 1)
    taps = taps if most is None else min(taps, most)
    # On a circle inside the unit circle the response decays, so that hardly anything of what lies
    # behind the transform's end folds back, however long the echoes last.
    length = fast_length(max(taps, 2 * TAPS))
    shrink = FOLDED ** (1.0 / length)
    sections = cut_sections(sample_rate, low_cut_hz, high_cut_hz)
    once = _once(sample_rate, time_ms, sections, length, shrink)
    twice = m.float64(feedback)[:, None] * once
    odd = once / (1.0 - twice * twice)
    even = twice * odd
    near, far = (gain[:, None] for gain in sides(width))
    both = m.stack((near * odd + far * even, far * odd + near * even), axis=1)
    places = m.arange(0, taps, 1, time_ms)
    return m.irfft(both, length)[..., :taps] * shrink**-places


def silent_after(rows: Sequence[tuple[float, float]]) -> float:
    """Return after how many seconds all rows of echoes have fallen by 120 dB.

    Parameters
    ----------
    rows : sequence of tuple of float
        Time in ms and feedback of each.
    """
    return max(echoes(g, EXACT_DB) * ms / 1000.0 for ms, g in rows) + CUT_SILENT_SECONDS


def send(audio: Numbers) -> Numbers:
    """Return what goes into the loop, ``(batch, 1, samples)``: the mean of the channels."""
    return audio if audio.shape[1] == 1 else audio.mean(1)[:, None]


def delay(
    audio: Numbers,
    sample_rate: float,
    time_ms: Numbers,
    feedback: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    wet_db: Numbers,
    *,
    gain_db: Numbers | None = None,
    seconds: float | None = None,
    dry: Numbers | None = None,
) -> Numbers:
    """Return the echoes alone, or a dry signal with them.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``; the send is the mean of the channels.
    sample_rate : float
        Hz.
    time_ms, feedback, low_cut_hz, high_cut_hz, width : Tensor
        ``(batch,)`` each; see :func:`delay_response`.
    wet_db : Tensor
        ``(batch,)``, dB, level of the first echo against the send; −60 and below are none.
    gain_db : Tensor or ndarray, optional
        ``(batch,)``, a gain on top that costs no pass of its own.
    seconds : float, optional
        Where the echoes end, see :func:`delay_response`; by default they go on.
    dry : Tensor or ndarray, optional
        ``(batch, 1 or 2, samples)``, what the echoes are added to.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 2, samples)``.
    """
    check_audio(audio)
    own = (time_ms, feedback, low_cut_hz, high_cut_hz, width, wet_db)
    if seconds is None:
        return _delayed(audio, sample_rate, *own, gain_db=gain_db, dry=dry)
    wet = _convolved(audio, sample_rate, *own, gain_db=gain_db, seconds=seconds)
    return wet if dry is None else dry + wet


@without_gradient
def _delayed(
    audio: Numbers, sample_rate: float, *own: Numbers, gain_db: Numbers | None, dry: Numbers | None
) -> Numbers:
    """Run the loop, or where it does not serve its response."""
    if is_array(audio):
        from .cpu_delay import Loop

        own = (*own, gain_db)
        return Loop(sample_rate, *own)(audio, dry)
    process = _looped if is_looped(audio) else _convolved
    wet = process(audio, sample_rate, *own, gain_db=gain_db)
    return wet if dry is None else dry + wet


def is_looped(audio: Numbers) -> bool:
    """Return whether a compiled loop runs the delay with gradients, rather than its response."""
    import torch

    from ...kernels.operators import name_for

    return not torch.compiler.is_compiling() and name_for(audio) == "cpu"


def _looped(
    audio: Numbers, sample_rate: float, *own: Numbers, gain_db: Numbers | None = None
) -> Numbers:
    from .delay_operator import loop

    m = math_of(audio)
    time_ms, feedback, low_cut_hz, high_cut_hz, width, wet_db = (
        m.float64(m.beside(setting, audio)) for setting in own
    )
    refuse_not_finite({"delay.time_ms": time_ms, "delay.feedback": feedback})
    refuse_short(float(m.held(time_ms).min()), sample_rate)
    sections = cut_sections(sample_rate, low_cut_hz, high_cut_hz)
    # The numerators are (1 − z⁻¹)² and (1 + z⁻¹)² times their first coefficients.
    gain = sections[:, :, 0].prod(1)
    poles = (sections[:, place, column] for place in (0, 1) for column in (3, 4))
    near, far = sides(width)
    level = level_of(wet_db, None if gain_db is None else m.beside(gain_db, audio))
    cuts = m.stack((gain, *poles), axis=-1)
    late = time_ms * (sample_rate / 1000.0)
    return loop(send(audio), late, cuts, feedback, level * near, level * far)


def _convolved(
    audio: Numbers,
    sample_rate: float,
    *own: Numbers,
    gain_db: Numbers | None = None,
    seconds: float | None = None,
) -> Numbers:
    m = math_of(audio)
    *timed, wet_db = (m.beside(setting, audio) for setting in own)
    if gain_db is not None:
        gain_db = m.beside(gain_db, audio)
    response = delay_response(sample_rate, *timed, seconds=seconds, most=audio.shape[-1])
    scaled = response * level_of(wet_db, gain_db)[:, None, None]
    return convolve(send(audio), m.cast(scaled, audio))
