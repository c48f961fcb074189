"""The simplest strip that sounds the same on a vocal.

Modules and bands of the EQ without which the result stays the same are switched off, bands that
make one curve together become fewer (:mod:`.eq_search`), and values are rounded to what is dialled
by hand. The same means a bounded distance (:class:`diffconsole.losses.MixTarget`) of 0.05 at most
between the results of both strips, which is measured on up to three passages of the vocal: as much
as 0.15 dB at all frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..audio.take import Take, take_of
from ..audio.windows import window_starts
from ..kernels.threads import one_thread
from ..kernels.transforms import to_spectrum
from ..modules.reverb.kept import keep_rooms
from ..strip.finite import not_finite
from ..strip.later import LATER, missing_modules
from ..strip.parameters import BY_KEY, CHAIN, EQ_BANDS, PARAMETERS
from .comparison import Comparison, power_of
from .eq_audible import audible_of
from .eq_fit import Wanted
from .eq_search import Curve, fewest_bands
from .low_end import below_of, low_end_of
from .rounded_values import all_dialled, rounded, with_round_pre_delay
from .rounding import FINEST

if TYPE_CHECKING:
    from ..console.render import OneVocal

__all__ = ["SAME", "Simplified", "bands_of", "simplify", "simplify_take"]

SAME = 0.05
"""Largest distance between the results of a strip and of the simplified one."""

PASSAGES, PASSAGE_SECONDS, CHECKED, CHECKED_SECONDS = 7, 0.5, 3, 8.0
"""The search goes by the first passages, or by the whole of a short vocal. What it found is checked
on the longer ones, and looked for again, within as much less of the distance, where that is above.
"""

SEARCHES, FIRST_SHARE, NEXT_SHARE, CERTAIN, WHOLE = 4, 0.97, 0.98, 0.96, 0.99
NEW_BEGINNINGS = (0, 2)
"""The searches before which modules are switched off: where the first ones found nothing, that may
be what is audible elsewhere."""

SHARE_MODULES, SHARE_PRE_DELAY, SHARE_EQ, SHARE_EQ_ROUNDED = 0.5, 0.75, 0.96, 0.98
"""Of the limit, after each step. Errors of several kinds hardly add up: rounding the other modules
comes nearly for free."""

WET_AUDIBLE_DB, PEAKS_DB, REDUCED_DB = -35.0, 10.0, 1.5
"""A return from the first on is never inaudible in the pauses, nor is so much gain reduction at a
level so far above the mean. On ten voices, three ratios each, none was inaudible above 0.1 dB."""

RUMBLE_FRAMES, RUMBLE_SECONDS, NO_RUMBLE_DB = 100, 0.2, -60.0
INPUT, OUTPUT = "input_gain.gain_db", "output_gain.gain_db"
THRESHOLD = "compressor.threshold_db"
PRE_DELAY = "reverb.pre_delay_ms"
EQ_KEYS = tuple(p.key for p in PARAMETERS if p.section.startswith("eq."))

TRIED_OFF = ("pan", "reverb", "compressor")
"""Modules that are switched off where their part is inaudible, the first ones first; others that
lie in the signal's way or beside it follow."""


@dataclass(frozen=True)
class Simplified:
    """A strip that sounds the same with less.

    Attributes
    ----------
    settings : dict of str to float
        By key, physical units; those of what is off as they were, rounded.
    bypass : frozenset of str
        Modules and bands that are off.
    distance : float
        Between its result and that of the strip that it stands for, on passages of the vocal.
    """

    settings: dict[str, float]
    bypass: frozenset[str]
    distance: float


def simplify(
    settings: Mapping[str, float],
    samples: np.ndarray,
    sample_rate: int,
    *,
    bypass: Collection[str] = (),
) -> Simplified:
    """Find the simplest strip that sounds the same on a vocal.

    Parameters
    ----------
    settings : mapping of str to float
        By key, as :attr:`diffconsole.model.predictor.Prediction.settings`; a module without any is
        off.
    samples : ndarray
        ``(channels, samples)`` float32 as the file holds it.
    sample_rate : int
        Hz.
    bypass : collection of str
        What is off already, and stays off.

    Returns
    -------
    Simplified
        Deterministic: the same vocal and settings give the same strip.

    Raises
    ------
    AudioError
        Samples that are not finite.
    SettingsError
        A setting that is not finite, or one that is missing of a module that is on.

    Examples
    --------
    >>> import numpy as np
    >>> from diffconsole.strip.parameters import default_settings
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal((1, 44100)).astype(np.float32)
    >>> strip = simplify({**default_settings(), "eq.peak_2.gain_db": 6.0}, noise, 44100)
    >>> "eq.peak_3" in strip.bypass
    True
    """
    return simplify_take(settings, take_of(samples, sample_rate), bypass=bypass)


@one_thread()
@keep_rooms()
def simplify_take(
    settings: Mapping[str, float],
    take: Take,
    *,
    bypass: Collection[str] = (),
    vocal: OneVocal | None = None,
) -> Simplified:
    """Simplify the strip of a take that was analysed already, as :func:`simplify` does.

    With the `vocal` that the take is of, the strip that is returned has mostly been applied to it.
    """
    for key, value in settings.items():
        if not math.isfinite(value):
            raise not_finite(key, value)
    full, off = dict(settings), frozenset(bypass) | missing_modules(settings)
    off |= _idle(full, off)
    fine = all_dialled(full, FINEST, full)
    comparison = Comparison(take, full, off, PASSAGES, PASSAGE_SECONDS, vocal)
    if not comparison.is_audible:
        return Simplified(fine, off, 0.0)
    longer = comparison
    if comparison.is_part:
        longer = Comparison(take, full, off, CHECKED, CHECKED_SECONDS, vocal)
    share, most = FIRST_SHARE, (CERTAIN if longer.is_part else WHOLE) * SAME
    least = 0
    for number in range(SEARCHES):
        if number in NEW_BEGINNINGS:
            begun, least = _begun(comparison, full, off, share * SAME), 0
        found = _simplified(comparison, begun, share * SAME, least)
        found = replace(found, distance=longer.checked(found.settings, found.bypass))
        if found.distance <= most:
            return found
        # Fewer bands than were found were too far away for a larger share already.
        share, least = share * NEXT_SHARE * most / found.distance, bands_of(found.bypass)
    for pre_delay_ms in (fine[PRE_DELAY], round(full[PRE_DELAY], 3), full[PRE_DELAY]):
        tried = {**fine, PRE_DELAY: pre_delay_ms}
        distance = longer.checked(tried, off)
        if distance <= SAME:
            return Simplified(tried, off, distance)
    return Simplified(full, off, 0.0)


def _idle(settings: Mapping[str, float], off: frozenset[str]) -> frozenset[str]:
    """Modules that do nothing at their settings; of the EQ the bands are looked at."""
    return frozenset(
        module.key
        for module in CHAIN
        if module.key not in off and module.is_idle is not None and not module.bands
        if module.is_idle(module.own(settings), module.off_bands(off))
    )


@dataclass(frozen=True)
class _Begun:
    """A strip without inaudible modules, and the EQ's curve that fewer bands are to make."""

    settings: dict[str, float]
    off: frozenset[str]
    wanted: Wanted | None
    keep_high_pass: bool


def _begun(
    comparison: Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> _Begun:
    settings, off = _fewest_modules(comparison, settings, off, SHARE_MODULES * limit)
    settings = with_round_pre_delay(comparison, settings, off, SHARE_PRE_DELAY * limit)
    if "eq" in off:
        return _Begun(settings, off, None, False)
    take = comparison.take
    low_end = low_end_of(take.mono[0], take.sample_rate)
    below_hz = np.empty(0) if low_end is None else below_of(low_end.lowest_hz)[::3]
    audible = audible_of(comparison.full, comparison.target, comparison.sample_rate)
    keep_high_pass = "eq.high_pass" not in off and _holds_rumble_back(
        settings, take, math.inf if low_end is None else low_end.lowest_hz
    )
    wanted = Wanted.of(settings, off, audible, below_hz, comparison.sample_rate)
    return _Begun(settings, off, wanted, keep_high_pass)


def _simplified(comparison: Comparison, begun: _Begun, limit: float, least: int) -> Simplified:
    settings, off = begun.settings, begun.off
    if begun.wanted is not None:
        settings, off = _fewest_bands(comparison, begun, begun.wanted, limit, least)
    settings = rounded(comparison, settings, off, limit)
    return Simplified(settings, off, math.nan)


def bands_of(bypass: Collection[str]) -> int:
    """Return how many bands of an EQ are on."""
    if "eq" in bypass:
        return 0
    return sum(f"eq.{band}" not in bypass for band in EQ_BANDS)


def _fewest_modules(
    comparison: Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> tuple[dict[str, float], frozenset[str]]:
    """Switch off the modules whose part is inaudible on this voice."""
    later = (m.key for m in CHAIN if m.key in LATER and m.place in ("insert", "pan", "send"))
    for module in (*TRIED_OFF, *later):
        if module in off or not _may_be_idle(comparison, module, settings):
            continue
        result = comparison.render(settings, off | {module})
        gain_db = 0.0
        if "output_gain" not in off:
            gain_db = 10.0 * math.log10(comparison.power / power_of(result))
        gain = np.float32(10.0 ** (gain_db / 20.0))
        if comparison.target.distance(gain * result) <= limit:
            output_db = BY_KEY[OUTPUT].clip(settings[OUTPUT] + gain_db)
            settings, off = {**settings, OUTPUT: output_db}, off | {module}
    return settings, off


def _may_be_idle(comparison: Comparison, module: str, settings: Mapping[str, float]) -> bool:
    """Whether to try it is worth a rendering."""
    if module == "reverb":
        return settings["reverb.wet_db"] < WET_AUDIBLE_DB
    if module == "compressor":
        rms_db = 10.0 * math.log10(power_of(comparison.audio) + 1e-20) + settings[INPUT]
        over_db = rms_db - settings[THRESHOLD]
        return (1.0 - 1.0 / settings["compressor.ratio"]) * (over_db + PEAKS_DB) < REDUCED_DB
    return True


def _fewest_bands(
    comparison: Comparison, begun: _Begun, wanted: Wanted, limit: float, least: int
) -> tuple[dict[str, float], frozenset[str]]:
    settings, off = begun.settings, begun.off

    def strip(curve: Curve) -> tuple[dict[str, float], frozenset[str]]:
        offset_db = 0.0 if "input_gain" in off else curve.offset_db
        gain_db = BY_KEY[INPUT].clip(settings[INPUT] + offset_db)
        return {**settings, **curve.settings, INPUT: gain_db}, off | curve.off

    best = fewest_bands(
        wanted,
        lambda curve: comparison.distance(*strip(curve)),
        least=least,
        most=bands_of(off),
        limit=SHARE_EQ * limit,
        rounded_limit=SHARE_EQ_ROUNDED * limit,
        keep_high_pass=begun.keep_high_pass,
        has_offset="input_gain" not in off,
    )
    return (all_dialled(settings, FINEST, EQ_KEYS), off) if best is None else strip(best)


def _holds_rumble_back(settings: Mapping[str, float], take: Take, lowest_hz: float) -> bool:
    """Whether the high-pass takes away anything below the voice."""
    voice, rate = take.mono[0], take.sample_rate
    length = min(round(RUMBLE_SECONDS * rate), len(voice))
    starts = window_starts(len(voice), length, RUMBLE_FRAMES)
    window = np.hanning(length).astype(np.float32)
    # Of a short vocal they would overlap by most of their length.
    starts = starts[:: max(1, round(0.75 * length * len(starts) / len(voice)))]
    frames = np.stack([voice[start : start + length] for start in starts]) * window
    power = np.square(np.abs(to_spectrum(frames))).sum(axis=0, dtype=np.float64)
    freq_hz = np.fft.rfftfreq(length, 1.0 / rate)
    below = freq_hz < min(0.8 * lowest_hz, 2.0 * settings["eq.high_pass.freq_hz"])
    ratio = np.square(settings["eq.high_pass.freq_hz"] / np.maximum(freq_hz, 1e-3))
    taken = 1.0 - 1.0 / (1.0 + np.square(ratio))
    share = float((power * taken)[below].sum() / max(float(power.sum()), 1e-30))
    return share > 10.0 ** (NO_RUMBLE_DB / 10.0)
