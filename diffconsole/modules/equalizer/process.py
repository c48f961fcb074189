"""Equalizer: second-order sections by the Audio EQ Cookbook, run in the time domain.

``H(z) = (b0 + b1·z⁻¹ + b2·z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²)`` with the coefficients of R. Bristow-
Johnson's Audio EQ Cookbook, in chain order: high-pass → low shelf → four peaks → high shelf →
low-pass. Shelves take Q. A frequency at or above 0.49·fs is clamped there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.shapes import check_audio, constant
from ...strip.channel_strip import HIGHEST_FREQUENCY
from ...strip.parameters import BY_KEY, EQ_BANDS
from ..gain.process import gain
from .kinds import KINDS

__all__ = [
    "coefficients",
    "equalizer",
    "equalizer_sections",
    "filter_sections",
    "high_pass",
    "high_shelf",
    "longest_ringing",
    "low_pass",
    "low_shelf",
    "peak",
    "response",
    "ringing",
    "slowest_pole",
]

FILTER_OF_BAND = {band: "peaking" if band.startswith("peak") else band for band in EQ_BANDS}


def filter_sections(
    audio: Numbers, sections: Numbers, ringing_samples: int | None = None
) -> Numbers:
    """Run each item through its cascade of sections; see :func:`.sections_operator.sections`."""
    if is_array(audio):
        from .cpu_sections import sections_forward

        return sections_forward(audio, sections, 0, False)[0]
    from . import sections_operator

    return sections_operator.sections(audio, sections, ringing_samples)


def section_coefficients(settings: Numbers, kinds: Sequence[str], sample_rate: float) -> Numbers:
    """Return the coefficients of a cascade; see :func:`.coefficients.section_coefficients`."""
    highest_hz = HIGHEST_FREQUENCY * sample_rate
    if is_array(settings):
        from .cpu_coefficients import coefficients_forward

        codes = [KINDS.index(kind) for kind in kinds]
        return coefficients_forward(settings, codes, sample_rate, highest_hz)[0]
    from .coefficients import section_coefficients as of_tensors

    return of_tensors(settings, kinds, sample_rate, highest_hz)


def coefficients(
    kind: str, sample_rate: float, freq_hz: Numbers, q: Numbers, gain_db: Numbers | None = None
) -> Numbers:
    """Return one section's cookbook coefficients.

    Parameters
    ----------
    kind : str
        ``"high_pass"``, ``"low_pass"``, ``"low_shelf"``, ``"high_shelf"`` or ``"peaking"``.
    sample_rate : float
        Hz.
    freq_hz, q, gain_db : Tensor or ndarray
        ``(batch,)``; the cuts have no gain.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 5)`` float64: b0, b1, b2, a1, a2, divided by a0.
    """
    columns = [freq_hz, q]
    # One gain more than there are sections with gains would be that of the whole cascade.
    if gain_db is not None and not kind.endswith("pass"):
        columns.append(gain_db)
    m = math_of(freq_hz)
    settings = m.stack([m.float64(column) for column in columns])
    return section_coefficients(settings, [kind], sample_rate)[:, 0]


def equalizer_sections(
    sample_rate: float,
    settings: Mapping[str, Numbers],
    bypass: Collection[str] = (),
    gain_db: Numbers | None = None,
) -> Numbers:
    """Return the coefficients of the EQ's active sections.

    Parameters
    ----------
    sample_rate : float
        Hz.
    settings : mapping of str to Tensor or ndarray
        ``(batch,)`` each, by key: ``"eq.peak_1.freq_hz"``.
    bypass : collection of str
        Bands to leave out: ``"eq.low_pass"``.
    gain_db : Tensor or ndarray, optional
        ``(batch,)``, a gain on top, which the first section takes.

    Returns
    -------
    Tensor or ndarray
        ``(batch, sections, 5)`` float64.
    """
    bands = [band for band in EQ_BANDS if f"eq.{band}" not in bypass]
    if not bands:
        none = next(iter(settings.values()), np.empty(0))
        m = math_of(none)
        return m.stack([m.filled(none, 0.0)] * 5, axis=-1)[:, None][:, :0]
    columns = [
        settings[f"eq.{band}.{name}"]
        for name in ("freq_hz", "q", "gain_db")
        for band in bands
        if f"eq.{band}.{name}" in BY_KEY
    ]
    if gain_db is not None:
        columns.append(gain_db)
    kinds = [FILTER_OF_BAND[band] for band in bands]
    m = math_of(columns[0])
    return section_coefficients(m.float64(m.stack(columns)), kinds, sample_rate)


@constant(64)
def ringing(kind: str, sample_rate: float, *ranges: tuple[float, float]) -> int:
    """Return the samples in which a section falls by 160 dB, whatever its settings in the ranges.

    The slowest pole is at one of the corners.

    Parameters
    ----------
    kind : str
        See :func:`coefficients`.
    sample_rate : float
        Hz.
    ranges : pairs of float
        Both ends of freq_hz, q and, but for the cuts, gain_db.
    """
    corners = (ends.ravel() for ends in np.meshgrid(*np.array(ranges, float)))
    slowest = slowest_pole(coefficients(kind, sample_rate, *corners))
    return math.ceil(8.0 * math.log(10.0) / -math.log(slowest))


def slowest_pole(sections: Numbers) -> float:
    """Return the largest magnitude of the poles of sections ``(…, 5)``; 0 if there are none."""
    m = math_of(sections)
    a1, a2 = (m.float64(m.held(sections[..., column])) for column in (3, 4))
    inside = a1 * a1 - 4.0 * a2
    real = 0.5 * (m.magnitude(a1) + m.sqrt(m.at_least(inside, 0.0)))
    radius = m.where(inside < 0.0, m.sqrt(m.at_least(a2, 0.0)), real)
    return float(radius.max()) if 0 not in radius.shape else 0.0


def longest_ringing(sample_rate: float, bypass: Collection[str] = ()) -> int:
    """Return the samples in which the EQ falls by 160 dB, whatever its settings in the table.

    What a transform must be longer than the signal if its length is not to depend on settings.
    """
    longest = 0
    for band in EQ_BANDS:
        if f"eq.{band}" not in bypass:
            names = (f"eq.{band}.{name}" for name in ("freq_hz", "q", "gain_db"))
            ranges = [(BY_KEY[key].low, BY_KEY[key].high) for key in names if key in BY_KEY]
            longest = max(longest, ringing(FILTER_OF_BAND[band], sample_rate, *ranges))
    return longest


def _ringing_on(audio: Numbers, sample_rate: float, bypass: Collection[str]) -> int | None:
    # On a CPU the kernels work in time or find the length themselves; elsewhere that would make
    # the processor wait for the device, and shapes depend on data.
    on_cpu = is_array(audio) or audio.device.type == "cpu"
    return None if on_cpu else longest_ringing(sample_rate, bypass)


@without_gradient
def equalizer(
    audio: Numbers,
    sample_rate: float,
    settings: Mapping[str, Numbers],
    bypass: Collection[str] = (),
    gain_db: Numbers | None = None,
) -> Numbers:
    """Run the whole EQ, high-pass to low-pass, in one pass.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    settings : mapping of str to Tensor or ndarray
        ``(batch,)`` each, by key: ``"eq.peak_1.freq_hz"`` and so on for every active band.
    bypass : collection of str
        Bands to leave out: ``"eq.low_pass"``.
    gain_db : Tensor or ndarray, optional
        ``(batch,)``, a gain on top that costs no pass of its own.

    Returns
    -------
    Tensor or ndarray
        The shape of `audio`; where every band is bypassed `audio` itself, or its gain alone.
    """
    check_audio(audio)
    sections = equalizer_sections(sample_rate, settings, bypass, gain_db)
    if not sections.shape[1]:
        return audio if gain_db is None else gain(audio, gain_db)
    length = _ringing_on(audio, sample_rate, bypass)
    return filter_sections(audio, math_of(audio).beside(sections, audio), length)


def response(sections: Numbers, sample_rate: float, freq_hz: Numbers) -> Numbers:
    """Return the complex response of each section: ``H(e^{jω})``.

    Parameters
    ----------
    sections : Tensor or ndarray
        ``(…, sections, 5)``.
    sample_rate : float
        Hz.
    freq_hz : Tensor or ndarray
        ``(points,)``.

    Returns
    -------
    Tensor or ndarray
        ``(…, sections, points)`` complex128.
    """
    m = math_of(sections)
    z1 = m.turned(-2.0 * math.pi * m.float64(freq_hz) / sample_rate)
    columns = m.float64(sections)[..., None]
    b0, b1, b2, a1, a2 = (columns[..., column, :] for column in range(5))
    return (b0 + (b1 + b2 * z1) * z1) / (1.0 + (a1 + a2 * z1) * z1)


@without_gradient
def _single(
    audio: Numbers,
    kind: str,
    sample_rate: float,
    freq_hz: Numbers,
    q: Numbers,
    gain_db: Numbers | None = None,
) -> Numbers:
    check_audio(audio)
    section = coefficients(kind, sample_rate, freq_hz, q, gain_db)
    others = [f"eq.{band}" for band, own in FILTER_OF_BAND.items() if own != kind]
    length = _ringing_on(audio, sample_rate, others)
    return filter_sections(audio, math_of(audio).beside(section[:, None], audio), length)


def high_pass(audio: Numbers, sample_rate: float, freq_hz: Numbers, q: Numbers) -> Numbers:
    """High-pass, 12 dB/oct; gain Q at `freq_hz`. Settings ``(batch,)``, Hz and Q."""
    return _single(audio, "high_pass", sample_rate, freq_hz, q)


def low_pass(audio: Numbers, sample_rate: float, freq_hz: Numbers, q: Numbers) -> Numbers:
    """Low-pass, 12 dB/oct; gain Q at `freq_hz`. Settings ``(batch,)``, Hz and Q."""
    return _single(audio, "low_pass", sample_rate, freq_hz, q)


def low_shelf(
    audio: Numbers, sample_rate: float, freq_hz: Numbers, gain_db: Numbers, q: Numbers
) -> Numbers:
    """Low shelf: `gain_db` at 0 Hz, half of it at `freq_hz`. Settings ``(batch,)``."""
    return _single(audio, "low_shelf", sample_rate, freq_hz, q, gain_db)


def high_shelf(
    audio: Numbers, sample_rate: float, freq_hz: Numbers, gain_db: Numbers, q: Numbers
) -> Numbers:
    """High shelf: `gain_db` at fs/2, half of it at `freq_hz`. Settings ``(batch,)``."""
    return _single(audio, "high_shelf", sample_rate, freq_hz, q, gain_db)


def peak(
    audio: Numbers, sample_rate: float, freq_hz: Numbers, gain_db: Numbers, q: Numbers
) -> Numbers:
    """Bell: `gain_db` at `freq_hz`, 0 dB far from it. Settings ``(batch,)``."""
    return _single(audio, "peaking", sample_rate, freq_hz, q, gain_db)
