"""Equalizer: second-order sections by the Audio EQ Cookbook, run in the time domain.

``H(z) = (b0 + b1·z⁻¹ + b2·z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²)`` with the coefficients of R. Bristow-
Johnson's Audio EQ Cookbook, in chain order: high-pass → low shelf → four peaks → high shelf →
low-pass. Shelves take Q. A frequency at or above 0.49·fs is clamped there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from ...kernels.shapes import check_audio, constant
from ...strip.channel_strip import HIGHEST_FREQUENCY
from ...strip.parameters import BY_KEY, EQ_BANDS
from ..gain.process import gain
from .coefficients import section_coefficients
from .sections_operator import sections as filter_sections

__all__ = [
    "coefficients",
    "equalizer",
    "equalizer_sections",
    "high_pass",
    "high_shelf",
    "longest_ringing",
    "low_pass",
    "low_shelf",
    "peak",
    "response",
    "ringing",
]

FILTER_OF_BAND = {band: "peaking" if band.startswith("peak") else band for band in EQ_BANDS}


def coefficients(
    kind: str, sample_rate: float, freq_hz: Tensor, q: Tensor, gain_db: Tensor | None = None
) -> Tensor:
    """Return one section's cookbook coefficients.

    Parameters
    ----------
    kind : str
        ``"high_pass"``, ``"low_pass"``, ``"low_shelf"``, ``"high_shelf"`` or ``"peaking"``.
    sample_rate : float
        Hz.
    freq_hz, q, gain_db : Tensor
        ``(batch,)``; the cuts have no gain.

    Returns
    -------
    Tensor
        ``(batch, 5)`` float64: b0, b1, b2, a1, a2, divided by a0.
    """
    columns = [freq_hz, q]
    # One gain more than there are sections with gains would be that of the whole cascade.
    if gain_db is not None and not kind.endswith("pass"):
        columns.append(gain_db)
    settings = torch.stack([column.to(torch.float64) for column in columns])
    highest_hz = HIGHEST_FREQUENCY * sample_rate
    return section_coefficients(settings, [kind], sample_rate, highest_hz).squeeze(1)


def equalizer_sections(
    sample_rate: float,
    settings: Mapping[str, Tensor],
    bypass: Collection[str] = (),
    gain_db: Tensor | None = None,
) -> Tensor:
    """Return the coefficients of the EQ's active sections.

    Parameters
    ----------
    sample_rate : float
        Hz.
    settings : mapping of str to Tensor
        ``(batch,)`` each, by key: ``"eq.peak_1.freq_hz"``.
    bypass : collection of str
        Bands to leave out: ``"eq.low_pass"``.
    gain_db : Tensor, optional
        ``(batch,)``, a gain on top, which the first section takes.

    Returns
    -------
    Tensor
        ``(batch, sections, 5)`` float64.
    """
    bands = [band for band in EQ_BANDS if f"eq.{band}" not in bypass]
    if not bands:
        batch = len(next(iter(settings.values()), ()))
        return torch.empty(batch, 0, 5, dtype=torch.float64)
    columns = [
        settings[f"eq.{band}.{name}"]
        for name in ("freq_hz", "q", "gain_db")
        for band in bands
        if f"eq.{band}.{name}" in BY_KEY
    ]
    if gain_db is not None:
        columns.append(gain_db)
    kinds = [FILTER_OF_BAND[band] for band in bands]
    stacked = torch.stack(columns).to(torch.float64)
    return section_coefficients(stacked, kinds, sample_rate, HIGHEST_FREQUENCY * sample_rate)


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
    ends = [torch.tensor(pair, dtype=torch.float64) for pair in ranges]
    corners = torch.cartesian_prod(*ends).unbind(dim=-1)
    _, _, _, a1, a2 = coefficients(kind, sample_rate, *corners).unbind(dim=-1)
    inside = a1 * a1 - 4.0 * a2
    real = 0.5 * (a1.abs() + inside.clamp(min=0.0).sqrt())
    radius = float(torch.where(inside < 0.0, a2.clamp(min=0.0).sqrt(), real).max())
    return math.ceil(8.0 * math.log(10.0) / -math.log(radius))


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


def _ringing_on(device: torch.device, sample_rate: float, bypass: Collection[str]) -> int | None:
    # On a CPU the kernels work in time or find the length themselves; elsewhere that would make
    # the processor wait for the device, and shapes depend on data.
    return None if device.type == "cpu" else longest_ringing(sample_rate, bypass)


def equalizer(
    audio: Tensor,
    sample_rate: float,
    settings: Mapping[str, Tensor],
    bypass: Collection[str] = (),
    gain_db: Tensor | None = None,
) -> Tensor:
    """Run the whole EQ, high-pass to low-pass, in one pass.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    settings : mapping of str to Tensor
        ``(batch,)`` each, by key: ``"eq.peak_1.freq_hz"`` and so on for every active band.
    bypass : collection of str
        Bands to leave out: ``"eq.low_pass"``.
    gain_db : Tensor, optional
        ``(batch,)``, a gain on top that costs no pass of its own.

    Returns
    -------
    Tensor
        The shape of `audio`; where every band is bypassed `audio` itself, or its gain alone.
    """
    check_audio(audio)
    sections = equalizer_sections(sample_rate, settings, bypass, gain_db)
    if not sections.shape[1]:
        return audio if gain_db is None else gain(audio, gain_db)
    length = _ringing_on(audio.device, sample_rate, bypass)
    return filter_sections(audio, sections.to(audio.device), length)


def response(sections: Tensor, sample_rate: float, freq_hz: Tensor) -> Tensor:
    """Return the complex response of each section: ``H(e^{jω})``.

    Parameters
    ----------
    sections : Tensor
        ``(…, sections, 5)``.
    sample_rate : float
        Hz.
    freq_hz : Tensor
        ``(points,)``.

    Returns
    -------
    Tensor
        ``(…, sections, points)`` complex128.
    """
    omega = 2.0 * torch.pi * freq_hz.to(torch.float64) / sample_rate
    z1 = torch.polar(torch.ones_like(omega), -omega)
    b0, b1, b2, a1, a2 = sections.to(torch.float64).unsqueeze(-1).unbind(dim=-2)
    return (b0 + (b1 + b2 * z1) * z1) / (1.0 + (a1 + a2 * z1) * z1)


def _single(
    kind: str,
    audio: Tensor,
    sample_rate: float,
    freq_hz: Tensor,
    q: Tensor,
    gain_db: Tensor | None = None,
) -> Tensor:
    check_audio(audio)
    section = coefficients(kind, sample_rate, freq_hz, q, gain_db)
    others = [f"eq.{band}" for band, own in FILTER_OF_BAND.items() if own != kind]
    length = _ringing_on(audio.device, sample_rate, others)
    return filter_sections(audio, section.unsqueeze(1).to(audio.device), length)


def high_pass(audio: Tensor, sample_rate: float, freq_hz: Tensor, q: Tensor) -> Tensor:
    """High-pass, 12 dB/oct; gain Q at `freq_hz`. Settings ``(batch,)``, Hz and Q."""
    return _single("high_pass", audio, sample_rate, freq_hz, q)


def low_pass(audio: Tensor, sample_rate: float, freq_hz: Tensor, q: Tensor) -> Tensor:
    """Low-pass, 12 dB/oct; gain Q at `freq_hz`. Settings ``(batch,)``, Hz and Q."""
    return _single("low_pass", audio, sample_rate, freq_hz, q)


def low_shelf(
    audio: Tensor, sample_rate: float, freq_hz: Tensor, gain_db: Tensor, q: Tensor
) -> Tensor:
    """Low shelf: `gain_db` at 0 Hz, half of it at `freq_hz`. Settings ``(batch,)``."""
    return _single("low_shelf", audio, sample_rate, freq_hz, q, gain_db)


def high_shelf(
    audio: Tensor, sample_rate: float, freq_hz: Tensor, gain_db: Tensor, q: Tensor
) -> Tensor:
    """High shelf: `gain_db` at fs/2, half of it at `freq_hz`. Settings ``(batch,)``."""
    return _single("high_shelf", audio, sample_rate, freq_hz, q, gain_db)


def peak(audio: Tensor, sample_rate: float, freq_hz: Tensor, gain_db: Tensor, q: Tensor) -> Tensor:
    """Bell: `gain_db` at `freq_hz`, 0 dB far from it. Settings ``(batch,)``."""
    return _single("peaking", audio, sample_rate, freq_hz, q, gain_db)
