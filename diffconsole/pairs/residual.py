"""What a strip does not explain of a mix: by band, over time, and in words.

Magnitudes only: where a reverb's phases fall is chance, to the ear as well. Levels are the power
of a third of an octave in frames of 93 ms, the mean of the channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..audio.bands import BASE_TWO_THIRDS_HZ
from ..console.render import render
from ..losses import mix_distance_terms
from ..strip.preset import Preset
from .pairs import PAIR_RATE, Pair

__all__ = ["Residual", "in_words", "measure_residual"]

FRAME, HOP = 4096, 1024
BANDS_HZ = BASE_TWO_THIRDS_HZ
"""Centres of third octaves, 50 Hz to 16 kHz."""

FLOOR_DB = -70.0
"""Under the loudest frame of the mix: what lies below counts as this much."""

ACTIVE_DB, PAUSE_DB = -25.0, -35.0
"""Under the loudest frame: above the first a frame counts as sung, below the second as a pause."""

ESS_HZ = 5000.0
MENTIONED_DB = 2.0
"""Differences below it are not mentioned."""


@dataclass(frozen=True)
class Residual:
    """A mix beside the result of a strip.

    Attributes
    ----------
    seconds : ndarray
        ``(frames,)``, the frames' middles.
    mix_db, result_db : ndarray
        ``(bands, frames)``, dBFS.
    mix_band_db, result_band_db, error_band_db : ndarray
        ``(bands,)``, long-term power; the error's is that of the difference of the magnitudes.
    mix_level_db, result_level_db, error_level_db : ndarray
        ``(frames,)``, power over all bands.
    side_db : float
        By how much the mix's share of side signal is above the result's.
    before, after : dict of str to float
        Terms of the distance to the mix: of the raw vocal at its loudness, of the result.
    """

    seconds: np.ndarray
    mix_db: np.ndarray
    result_db: np.ndarray
    mix_band_db: np.ndarray
    result_band_db: np.ndarray
    error_band_db: np.ndarray
    mix_level_db: np.ndarray
    result_level_db: np.ndarray
    error_level_db: np.ndarray
    side_db: float
    before: dict[str, float]
    after: dict[str, float]

    @property
    def difference_db(self) -> np.ndarray:
        """``(bands, frames)``, positive where the mix has more."""
        return self.mix_db - self.result_db

    @property
    def sung(self) -> np.ndarray:
        """``(frames,)``, whether the mix is within 25 dB of its loudest frame."""
        return self.mix_level_db > self.mix_level_db.max() + ACTIVE_DB

    @property
    def signed_db(self) -> np.ndarray:
        """``(bands,)``, mean difference over the sung frames."""
        return self.difference_db[:, self.sung].mean(axis=1)

    @property
    def deviation_db(self) -> np.ndarray:
        """``(bands,)``, standard deviation of the difference over the sung frames."""
        return self.difference_db[:, self.sung].std(axis=1)


def measure_residual(pair: Pair, preset: Preset) -> Residual:
    """Render the preset on the raw vocal and measure it beside the mix.

    Parameters
    ----------
    pair : Pair
        Aligned.
    preset : Preset
        Acts on the raw vocal as it lies.
    """
    from ..audio import loudness_lufs

    result = render(pair.raw, PAIR_RATE, preset, tail_seconds=0.0).samples
    raw, result = (np.broadcast_to(a, (2, a.shape[1])) for a in (pair.raw, result))
    gain_db = loudness_lufs(pair.mixed, PAIR_RATE) - loudness_lufs(raw, PAIR_RATE)
    levelled = raw * np.float32(10.0 ** (gain_db / 20.0))
    ours, theirs = _spectrum(result), _spectrum(pair.mixed)
    mix_power, result_power, error_power = (
        _by_band(np.mean(magnitude**2, axis=0)) for magnitude in (theirs, ours, ours - theirs)
    )
    floor = mix_power.sum(axis=0).max() * 10.0 ** (FLOOR_DB / 10.0) + 1e-12
    return Residual(
        seconds=(np.arange(mix_power.shape[1]) * HOP) / PAIR_RATE,
        mix_db=_decibels(mix_power, floor),
        result_db=_decibels(result_power, floor),
        mix_band_db=_decibels(mix_power.mean(axis=1), floor * 1e-2),
        result_band_db=_decibels(result_power.mean(axis=1), floor * 1e-2),
        error_band_db=_decibels(error_power.mean(axis=1), floor * 1e-2),
        mix_level_db=_decibels(mix_power.sum(axis=0), floor),
        result_level_db=_decibels(result_power.sum(axis=0), floor),
        error_level_db=_decibels(error_power.sum(axis=0), floor),
        side_db=_side_db(pair.mixed) - _side_db(result),
        before=_terms(levelled, pair.mixed),
        after=_terms(result, pair.mixed),
    )


def _spectrum(audio: np.ndarray) -> np.ndarray:
    """Magnitudes ``(channels, bins, frames)``; their squares sum to the mean square."""
    import scipy.signal

    padded = np.pad(audio, ((0, 0), (0, max(0, FRAME - audio.shape[1]))))
    _, _, spectrum = scipy.signal.stft(
        padded, PAIR_RATE, nperseg=FRAME, noverlap=FRAME - HOP, scaling="psd"
    )
    return np.abs(spectrum) * np.sqrt(2.0 * PAIR_RATE / FRAME)


def _by_band(power: np.ndarray) -> np.ndarray:
    freq_hz = np.fft.rfftfreq(FRAME, 1.0 / PAIR_RATE)
    edges_hz = np.append(BANDS_HZ * 2.0 ** (-1.0 / 6.0), BANDS_HZ[-1] * 2.0 ** (1.0 / 6.0))
    # Shares of bins: the lowest bands are hardly wider than one.
    summed = np.vstack((np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)))
    step = freq_hz[1]
    place = np.clip(edges_hz / step + 0.5, 0.0, len(freq_hz))
    low = np.floor(place).astype(int)
    share = (place - low)[:, None]
    at_edge = summed[low] * (1.0 - share) + summed[np.minimum(low + 1, len(freq_hz))] * share
    return np.diff(at_edge, axis=0)


def _decibels(power: np.ndarray, floor: float) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(power, floor))


def _side_db(audio: np.ndarray) -> float:
    """Side over mid, −40 dB at least."""
    mid, side = audio[0] + audio[1], audio[0] - audio[1]
    ratio = np.sum(side.astype(np.float64) ** 2) / (np.sum(mid.astype(np.float64) ** 2) + 1e-20)
    return float(10.0 * np.log10(max(ratio, 1e-4)))


def _terms(audio: np.ndarray, mixed: np.ndarray) -> dict[str, float]:
    import torch

    ours, theirs = (
        torch.from_numpy(np.require(a, np.float32, ["C", "W"]))[None] for a in (audio, mixed)
    )
    with torch.inference_mode():
        return {k: float(v) for k, v in mix_distance_terms(ours, theirs, PAIR_RATE).items()}


def in_words(residual: Residual) -> list[str]:
    """Say what is left, one line each: tone, pauses, esses, width; nothing where little is left."""
    lines = _tone(residual)
    level = residual.mix_level_db
    difference = level - residual.result_level_db
    pauses = np.maximum(level, residual.result_level_db) < level.max() + PAUSE_DB
    if pauses.sum() >= 5 and abs(difference[pauses].mean()) > MENTIONED_DB:
        more = difference[pauses].mean()
        cause = "a delay, a longer reverb or noise" if more > 0 else "a gate or a fade"
        lines.append(f"the mix's pauses are {_more(more, 'louder', 'quieter')}: {cause}")
    high = BANDS_HZ >= ESS_HZ
    power = 10.0 ** (residual.mix_db / 10.0)
    share = power[high].sum(axis=0) / power.sum(axis=0)
    esses = residual.sung & (share > 0.5)
    if esses.sum() >= 5:
        over = residual.difference_db[high]
        more = float(over[:, esses].mean() - over[:, residual.sung & ~esses].mean())
        if more < -MENTIONED_DB:
            lines.append(f"the mix's esses are {_more(more, '', 'softer')}: a de-esser")
    if abs(residual.side_db) > MENTIONED_DB:
        more = _more(residual.side_db, "more", "less")
        lines.append(f"the mix has {more} side signal: doubling or a stereo effect")
    return lines


def _more(value: float, up: str, down: str) -> str:
    return f"{abs(value):.0f} dB {up if value > 0 else down}"


def _tone(residual: Residual) -> list[str]:
    """Runs of bands that differ to one side."""
    signed, lines, start = residual.signed_db, [], 0
    # What is 40 dB under the loudest band is not perceived as tone.
    signed = np.where(residual.mix_band_db > residual.mix_band_db.max() - 40.0, signed, 0.0)
    side = np.sign(signed) * (np.abs(signed) > MENTIONED_DB)
    for stop in range(1, len(side) + 1):
        if stop < len(side) and side[stop] == side[start]:
            continue
        if side[start]:
            more = _more(float(signed[start:stop].mean()), "more", "less")
            low, high = BANDS_HZ[start] * 2.0 ** (-1 / 6), BANDS_HZ[stop - 1] * 2.0 ** (1 / 6)
            lines.append(f"the mix has {more} from {_hertz(low)} to {_hertz(high)}")
        start = stop
    return lines


def _hertz(value: float) -> str:
    return f"{value / 1000.0:.2g} kHz" if value >= 1000.0 else f"{float(f'{value:.2g}'):.0f} Hz"
