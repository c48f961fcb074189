"""The style of a processed vocal in plain figures: tone, dynamics and space, differentiably.

Every figure is measured on passages of a vocal, at whatever level, and follows the strip: the EQ
moves the tone, the compressor the distribution of short-time levels, the reverb what lies between
the two sides and in the pauses. Singers differ in all of them; how much is measured once, in
:mod:`.style_statistics`.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .style_names import (
    BANDS_HZ,
    DYNAMICS,
    LAGS,
    LEVELS,
    PAUSES,
    SIDE_BANDS_HZ,
    SIDE_FEATURES,
    SPACE,
    STYLE_FEATURES,
)

__all__ = [
    "ASPECTS",
    "BANDS_HZ",
    "SIDE_FEATURES",
    "STYLE_FEATURES",
    "STYLE_RATE",
    "aspect_of",
    "style_features",
]

STYLE_RATE = 44100
"""Hz; what is measured is resampled to it."""

ASPECTS = ("tone", "dynamics", "space")
SIZE, HOP = 2048, 1024
FINE_SECONDS, MEDIUM_SECONDS, COARSE_SECONDS = 0.01, 0.05, 0.4
GATE_DB, FLOOR_DB = 30.0, -70.0
TONE_AROUND = slice(BANDS_HZ.index(199.5), BANDS_HZ.index(3981.1) + 1)
"""The bands whose mean is at 0 dB."""

LEVEL_BANDS_HZ = ((300.0, 4000.0), (4000.0, 12000.0))
TINY, SILENT = 1e-12, 1e-10

_COUNTS = {"tone": len(BANDS_HZ), "dynamics": len(DYNAMICS), "space": len(SPACE)}


def aspect_of(aspect: str) -> slice:
    """Return the part of the features that belongs to ``"tone"``, ``"dynamics"`` or ``"space"``."""
    first = sum(_COUNTS[name] for name in ASPECTS[: ASPECTS.index(aspect)])
    return slice(first, first + _COUNTS[aspect])


@functools.lru_cache(maxsize=8)
def _bank(edges_hz: tuple[tuple[float, float], ...], device: torch.device) -> Tensor:
    """Share of each bin's power that falls into each band, ``(bands, bins)``."""
    width = STYLE_RATE / SIZE
    with torch.inference_mode(False), torch.no_grad():
        bins = torch.arange(SIZE // 2 + 1, dtype=torch.float64) * width
        low, high = torch.tensor(edges_hz, dtype=torch.float64).T[..., None]
        inside = torch.minimum(bins + width / 2, high) - torch.maximum(bins - width / 2, low)
        return (inside.clamp(min=0.0) / width).float().to(device)


def _third_octaves() -> tuple[tuple[float, float], ...]:
    return tuple((hz * 10.0**-0.05, hz * 10.0**0.05) for hz in BANDS_HZ)


def _side_bands() -> tuple[tuple[float, float], ...]:
    return tuple(zip(SIDE_BANDS_HZ[:-1], SIDE_BANDS_HZ[1:], strict=True))


def _db(power: Tensor) -> Tensor:
    return 10.0 * (power + TINY).log10()


def _powers(audio: Tensor) -> Tensor:
    """Power of the STFT of ``(passages, samples)``: ``(passages, bins, frames)``."""
    window = torch.hann_window(SIZE, device=audio.device, dtype=audio.dtype)
    spectrum = torch.stft(
        audio, SIZE, HOP, window=window, center=False, return_complex=True
    )  # fmt: skip
    scale = 2.0 / float(window.square().sum()) / SIZE
    return torch.view_as_real(spectrum).square().sum(dim=-1) * scale


def _frames(power: Tensor, seconds: float) -> Tensor:
    """Mean of ``(passages, samples)`` over frames side by side: ``(passages, frames)``."""
    size = round(seconds * STYLE_RATE)
    return power.unfold(-1, size, size).mean(dim=-1)


def _joined(values: Tensor, count: int) -> Tensor:
    """Means of so many values side by side along the last dimension."""
    return values.unfold(-1, count, count).mean(dim=-1)


def _gate(level_db: Tensor) -> Tensor:
    """Frames within 30 dB of the loud ones."""
    flat = level_db.detach().flatten()
    return level_db.detach() > torch.quantile(flat, 0.95) - GATE_DB


def _tone_db(power: Tensor) -> Tensor:
    sung = _gate(_db(power.sum(dim=1))).unsqueeze(1)
    mean = (power * sung).sum(dim=(0, 2)) / sung.sum().clamp(min=1)
    level_db = _db(_bank(_third_octaves(), power.device) @ mean)
    tone = level_db - level_db[TONE_AROUND].mean()
    return FLOOR_DB + torch.nn.functional.softplus(tone - FLOOR_DB)


def style_features(audio: Tensor) -> Tensor:
    """Return the style of passages of one vocal.

    Parameters
    ----------
    audio : Tensor
        ``(passages, 1 or 2, samples)`` at 44.1 kHz, half a second at least; one channel counts as
        two equal ones. Gradients flow through all figures.

    Returns
    -------
    Tensor
        ``(features,)``, dB, in the order of :data:`STYLE_FEATURES`.

        Tone: the power in third octaves of the frames within 30 dB of the loud ones, the mean
        from 200 Hz to 4 kHz at 0. Dynamics: peak above the RMS, in the whole and in 10 ms;
        deviation and percentiles of the levels in 50 ms and 0.4 s against their mean; mean rise
        and fall of the level over 10, 30 and 80 ms; deviation of the level in two bands; that of
        the short-time against the long-time energy. Space: percentiles of the level with the
        pauses in, against the loud frames; power of the side against the mid in four bands, −50
        at least; deviation, fall and pauses of the side's own level; the steepest falls.
    """
    left, right = audio[:, 0], audio[:, -1]
    mid_power, side_power = _powers((left + right) / 2.0), _powers((left - right) / 2.0)
    spectrum = mid_power + side_power
    wave_power = (left.square() + right.square()) / 2.0
    scale = wave_power.detach().mean().clamp(min=SILENT)
    spectrum, mid_power, side_power, wave_power = (
        p / scale for p in (spectrum, mid_power, side_power, wave_power)
    )
    fine = _frames(wave_power, FINE_SECONDS)
    bands = torch.einsum("kb,pbf->kpf", _bank(LEVEL_BANDS_HZ, audio.device), spectrum)
    dynamics = _dynamics(wave_power, fine, bands)
    space = _space(fine, bands, mid_power, side_power)
    return torch.cat((_tone_db(spectrum), dynamics, space))


def _spread(level_db: Tensor) -> tuple[Tensor, Tensor]:
    """Deviation of the gated levels, and their percentiles against their mean."""
    sung = level_db[_gate(level_db)]
    mean = sung.mean()
    deviation = ((sung - mean).square().mean() + 1e-6).sqrt()
    points = torch.quantile(sung, torch.tensor(LEVELS, device=sung.device, dtype=sung.dtype))
    return deviation, points - mean


def _changes(level_db: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """Mean rise and mean fall over so many frames, of those that begin or end at a sung one."""
    change = level_db[:, lag:] - level_db[:, :-lag]
    gate = _gate(level_db)
    sung = gate[:, lag:] | gate[:, :-lag]
    change = 20.0 * torch.tanh(change[sung] / 20.0)
    return change.clamp(min=0.0).mean(), (-change).clamp(min=0.0).mean()


def _dynamics(wave_power: Tensor, fine: Tensor, bands: Tensor) -> Tensor:
    fine_db = _db(fine)
    sung = _gate(fine_db)
    mean_db = _db((fine * sung).sum() / sung.sum().clamp(min=1))
    size = round(FINE_SECONDS * STYLE_RATE)
    peaks = wave_power.unfold(-1, size, size).amax(dim=-1)
    peaks_db = _db(peaks)[sung]
    crest = torch.quantile(peaks_db, 0.99) - mean_db
    fine_crest = (peaks_db - fine_db[sung]).mean()
    count = round(MEDIUM_SECONDS / FINE_SECONDS)
    medium = _db(_joined(fine, count))
    coarse = _db(_joined(fine, round(COARSE_SECONDS / FINE_SECONDS)))
    medium_std, medium_points = _spread(medium)
    coarse_std, coarse_points = _spread(coarse)
    smooth_db = _db(_smooth(fine, 3))
    changes = [c for lag in LAGS for c in _changes(smooth_db, lag)]
    band_std = [_spread(_db(band))[0] for band in bands]
    ratio = _db(_smooth(fine, 5)) - _db(_smooth(fine, 101))
    short = ((ratio[sung] - ratio[sung].mean()).square().mean() + 1e-6).sqrt()
    return torch.cat((
        torch.stack((crest, fine_crest, medium_std, coarse_std)),
        medium_points, coarse_points, torch.stack((*changes, *band_std, short)),
    ))  # fmt: skip


def _smooth(frames: Tensor, count: int) -> Tensor:
    """Running mean of so many frames, an odd number; at the ends of those that are there."""
    return torch.nn.functional.avg_pool1d(
        frames.unsqueeze(1), count, 1, count // 2, count_include_pad=False
    ).squeeze(1)


def _pauses(level_db: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Low percentiles of the level, pauses in, against its 95th; −70 at least."""
    flat = level_db.flatten()
    at = torch.tensor((*levels, 0.95), device=flat.device, dtype=flat.dtype)
    points = torch.quantile(flat, at)
    below = points[:-1] - points[-1]
    return FLOOR_DB + torch.nn.functional.softplus(below - FLOOR_DB)


def _steepest(level_db: Tensor) -> Tensor:
    """The fall that a tenth of the frames that fall exceed: slow where a room rings on."""
    change = level_db[:, 1:] - level_db[:, :-1]
    falling = change[_gate(level_db)[:, :-1]]
    return -torch.quantile(20.0 * torch.tanh(falling / 20.0), 0.1)


def _space(fine: Tensor, bands: Tensor, mid_power: Tensor, side_power: Tensor) -> Tensor:
    medium = _db(_joined(fine, round(MEDIUM_SECONDS / FINE_SECONDS)))
    bands_db = [_db(band) for band in bands]
    pauses = [_pauses(medium, PAUSES)] + [_pauses(b, PAUSES[1::2]) for b in bands_db]
    bank = _bank(_side_bands(), fine.device)
    mid, side = (torch.einsum("kb,pbf->k", bank, p) for p in (mid_power, side_power))
    width = 10.0 * ((side + 1e-5 * mid + TINY) / (mid + TINY)).log10()
    whole = _bank(((SIDE_BANDS_HZ[0], SIDE_BANDS_HZ[-1]),), fine.device)[0]
    of_side, of_mid = (torch.einsum("b,pbf->pf", whole, p) for p in (side_power, mid_power))
    # Where there is no side its level is that of the mid: no figure depends on rounding.
    side_db = _db(of_side + 1e-5 * of_mid)
    side_std, _ = _spread(side_db)
    fall = _changes(side_db, 1)[1]
    steep = torch.stack([_steepest(b) for b in (medium, *bands_db)])
    side = torch.cat((torch.stack((side_std, fall)), _pauses(side_db, (0.1,))))
    return torch.cat((*pauses, width, side, steep))
