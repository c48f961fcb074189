"""The simplest strip that sounds the same on a vocal.

Modules and bands of the EQ without which the result stays the same are switched off, bands that
make one curve together become fewer (:mod:`.eq_search`), and values are rounded to what is dialled
by hand. The same means a bounded distance (:class:`diffconsole.losses.MixTarget`) of 0.05 at most
between the results of both strips, which is measured on up to three passages of the vocal: as much
as 0.15 dB at all frequencies.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..audio.take import Take, take_of
from ..audio.windows import faded_ends, window_starts
from ..console import Console
from ..kernels.threads import one_thread
from ..losses import MixTarget
from ..modules.reverb.kept import keep_rooms
from ..strip.later import LATER, missing_modules
from ..strip.parameters import BY_KEY, CHAIN, EQ_BANDS, PARAMETERS, is_on
from .eq_audible import audible_of
from .eq_fit import Wanted
from .eq_search import Curve, fewest_bands
from .low_end import below_of, low_end_of
from .rounding import COARSE, FINE, FINEST, Digits, dialled

__all__ = ["SAME", "Simplified", "bands_of", "simplify", "simplify_take"]

SAME = 0.05
"""Largest distance between the results of a strip and of the simplified one."""

PASSAGES, PASSAGE_SECONDS, CHECKED, CHECKED_SECONDS = 7, 0.5, 3, 8.0
SHORTEST_SECONDS, WHOLE_SECONDS, FADE_SECONDS = 1.0, 6.0, 0.01
"""The search goes by the first passages, or by the whole of a short vocal. What it found is checked
on the longer ones, and looked for again, within as much less of the distance, where that is above.
"""

SEARCHES, FIRST_SHARE, NEXT_SHARE, CERTAIN, WHOLE = 4, 0.97, 0.98, 0.96, 0.99
SHARE_MODULES, SHARE_PRE_DELAY, SHARE_EQ, SHARE_EQ_ROUNDED = 0.5, 0.75, 0.96, 0.98
"""Of the limit, after each step. Errors of several kinds hardly add up: rounding the other modules
comes nearly for free."""

STRIDE = 32

WET_AUDIBLE_DB, REDUCED_DB = -35.0, 3.0
"""A return from the first on is never inaudible in the pauses, nor is so much gain reduction."""

RUMBLE_FRAMES, RUMBLE_SECONDS, NO_RUMBLE_DB = 100, 0.2, -60.0
INPUT, OUTPUT = "input_gain.gain_db", "output_gain.gain_db"
THRESHOLD, MAKEUP = "compressor.threshold_db", "compressor.makeup_db"
PRE_DELAY, WET = "reverb.pre_delay_ms", "reverb.wet_db"
LEVELS, TIMES = (INPUT, WET), ("compressor.release_ms", "reverb.decay_s")
OTHERS = tuple(
    p.key
    for p in PARAMETERS
    if p.module not in ("input_gain", "eq", "output_gain")
    and p.key not in (THRESHOLD, MAKEUP, PRE_DELAY, *LEVELS, *TIMES)
)
"""Levels and times are what is audible first."""

ROUNDINGS = (
    (0.8, COARSE, COARSE, COARSE),
    (0.88, FINE, COARSE, COARSE),
    (0.97, FINE, FINE, COARSE),
    (math.inf, FINE, FINE, FINE),
    (math.inf, FINEST, FINEST, FINEST),
)
"""How levels, times and the others are rounded, if the distance before is at most such a share of
the limit. On 30 voices none was rounded so far from a larger one."""

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
        Values that are not finite.

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


@torch.inference_mode()
@one_thread()
@keep_rooms()
def simplify_take(
    settings: Mapping[str, float], take: Take, *, bypass: Collection[str] = ()
) -> Simplified:
    """Simplify the strip of a take that was analysed already, as :func:`simplify` does."""
    full, off = dict(settings), frozenset(bypass) | missing_modules(settings)
    off |= _idle(full, off)
    fine = _dialled(full, FINEST, full)
    comparison = _Comparison(take, full, off, PASSAGES, PASSAGE_SECONDS)
    if not comparison.is_audible:
        return Simplified(fine, off, 0.0)
    longer = (
        _Comparison(take, full, off, CHECKED, CHECKED_SECONDS) if comparison.is_part else comparison
    )
    share, most = FIRST_SHARE, (CERTAIN if longer.is_part else WHOLE) * SAME
    for _ in range(SEARCHES):
        found = _simplified(comparison, full, off, share * SAME)
        found = replace(found, distance=longer.distance(found.settings, found.bypass))
        if found.distance <= most:
            return found
        share *= NEXT_SHARE * most / found.distance
    for pre_delay_ms in (fine[PRE_DELAY], round(full[PRE_DELAY], 3), full[PRE_DELAY]):
        tried = {**fine, PRE_DELAY: pre_delay_ms}
        distance = longer.distance(tried, off)
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


def _simplified(
    comparison: _Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> Simplified:
    settings, off = _fewest_modules(comparison, settings, off, SHARE_MODULES * limit)
    settings = _with_round_pre_delay(comparison, settings, off, SHARE_PRE_DELAY * limit)
    if "eq" not in off:
        settings, off = _fewest_bands(comparison, settings, off, limit)
    settings = _rounded(comparison, settings, off, limit)
    return Simplified(settings, off, math.nan)


def bands_of(bypass: Collection[str]) -> int:
    """Return how many bands of an EQ are on."""
    if "eq" in bypass:
        return 0
    return sum(f"eq.{band}" not in bypass for band in EQ_BANDS)


class _Comparison:
    """Passages of a vocal, what the full strip makes of them, and distances to that."""

    def __init__(
        self,
        take: Take,
        settings: Mapping[str, float],
        off: frozenset[str],
        passages: int,
        seconds: float,
    ) -> None:
        self.take, self.sample_rate = take, take.sample_rate
        self.console = Console(take.sample_rate)
        passage = _passages(take.mono[0], take.sample_rate, passages, seconds)
        self.is_part = len(passage) < take.mono.shape[1]
        self.audio = torch.from_numpy(passage)[None, None]
        self.full = self.render(settings, off)
        self.power = _power(self.full)
        self.is_audible = 1e-20 < self.power < math.inf
        self.known: dict[tuple[object, ...], tuple[float, float]] = {}

    @functools.cached_property
    def target(self) -> MixTarget:
        return MixTarget(self.full, self.sample_rate, stride=STRIDE, bounded=True)

    def render(self, settings: Mapping[str, float], off: Collection[str]) -> Tensor:
        off = set(off)
        if all(f"eq.{band}" in off for band in EQ_BANDS):
            off.add("eq")
        tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
        return self.console(self.audio, tensors, off).expand(-1, 2, -1)

    def distance(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """Of a strip's result to that of the full strip."""
        return self._measured(settings, off)[0]

    def power_of(self, settings: Mapping[str, float], off: Collection[str]) -> float:
        """Mean square of a strip's result."""
        return self._measured(settings, off)[1]

    def _measured(self, settings: Mapping[str, float], off: Collection[str]) -> tuple[float, float]:
        key = (frozenset(off), *(settings.get(p.key) for p in PARAMETERS))
        if key not in self.known:
            result = self.render(settings, off)
            self.known[key] = float(self.target.distance(result)), _power(result)
        return self.known[key]


def _power(result: Tensor) -> float:
    return max(float(result.square().mean()), 1e-30)


def _passages(voice: np.ndarray, sample_rate: int, count: int, seconds: float) -> np.ndarray:
    """Passages from all over the voice, one after the other; all of a short one."""
    length = round(seconds * sample_rate)
    if len(voice) <= max(count * length, round(WHOLE_SECONDS * sample_rate)):
        shortest = round(SHORTEST_SECONDS * sample_rate)
        repeated = np.tile(voice, -(-shortest // max(len(voice), 1)))
        return np.ascontiguousarray(repeated, np.float32)
    fade = faded_ends(length, round(FADE_SECONDS * sample_rate))
    starts = window_starts(len(voice), length, 2 * count + 1)[1::2]
    return np.concatenate([voice[start : start + length] * fade for start in starts])


def _fewest_modules(
    comparison: _Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> tuple[dict[str, float], frozenset[str]]:
    """Switch off the modules whose part is inaudible on this voice."""
    later = (m.key for m in CHAIN if m.key in LATER and m.place in ("insert", "pan", "send"))
    for module in (*TRIED_OFF, *later):
        if module in off or not _may_be_idle(comparison, module, settings):
            continue
        result = comparison.render(settings, off | {module})
        gain_db = 0.0
        if "output_gain" not in off:
            gain_db = 10.0 * math.log10(comparison.power / _power(result))
        if float(comparison.target.distance(result * 10.0 ** (gain_db / 20.0))) <= limit:
            output_db = BY_KEY[OUTPUT].clip(settings[OUTPUT] + gain_db)
            settings, off = {**settings, OUTPUT: output_db}, off | {module}
    return settings, off


def _may_be_idle(comparison: _Comparison, module: str, settings: Mapping[str, float]) -> bool:
    """Whether to try it is worth a rendering."""
    if module == "reverb":
        return settings["reverb.wet_db"] < WET_AUDIBLE_DB
    if module == "compressor":
        rms_db = (
            10.0 * math.log10(float(comparison.audio.square().mean()) + 1e-20) + settings[INPUT]
        )
        over_db = rms_db - settings[THRESHOLD]
        return (1.0 - 1.0 / settings["compressor.ratio"]) * over_db < REDUCED_DB
    return True


def _fewest_bands(
    comparison: _Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> tuple[dict[str, float], frozenset[str]]:
    take = comparison.take
    low_end = low_end_of(take.mono[0], take.sample_rate)
    below_hz = np.empty(0) if low_end is None else below_of(low_end.lowest_hz)[::3]
    audible = audible_of(comparison.full, comparison.sample_rate)
    wanted = Wanted.of(settings, off, audible, below_hz, comparison.sample_rate)
    keep_high_pass = "eq.high_pass" not in off and _holds_rumble_back(
        settings, take, math.inf if low_end is None else low_end.lowest_hz
    )

    def strip(curve: Curve) -> tuple[dict[str, float], frozenset[str]]:
        offset_db = 0.0 if "input_gain" in off else curve.offset_db
        gain_db = BY_KEY[INPUT].clip(settings[INPUT] + offset_db)
        return {**settings, **curve.settings, INPUT: gain_db}, off | curve.off

    best = fewest_bands(
        wanted,
        lambda curve: comparison.distance(*strip(curve)),
        most=bands_of(off),
        limit=SHARE_EQ * limit,
        rounded_limit=SHARE_EQ_ROUNDED * limit,
        keep_high_pass=keep_high_pass,
    )
    return (_dialled(settings, FINEST, EQ_KEYS), off) if best is None else strip(best)


def _holds_rumble_back(settings: Mapping[str, float], take: Take, lowest_hz: float) -> bool:
    """Whether the high-pass takes away anything below the voice."""
    voice, rate = take.mono[0], take.sample_rate
    length = min(round(RUMBLE_SECONDS * rate), len(voice))
    starts = window_starts(len(voice), length, RUMBLE_FRAMES)
    window = np.hanning(length).astype(np.float32)
    power = np.zeros(length // 2 + 1)
    for start in dict.fromkeys(starts.tolist()):
        power += np.square(np.abs(np.fft.rfft(voice[start : start + length] * window)))
    freq_hz = np.fft.rfftfreq(length, 1.0 / rate)
    below = freq_hz < min(0.8 * lowest_hz, 2.0 * settings["eq.high_pass.freq_hz"])
    ratio = np.square(settings["eq.high_pass.freq_hz"] / np.maximum(freq_hz, 1e-3))
    taken = 1.0 - 1.0 / (1.0 + np.square(ratio))
    share = float((power * taken)[below].sum() / max(float(power.sum()), 1e-30))
    return share > 10.0 ** (NO_RUMBLE_DB / 10.0)


def _rounded(
    comparison: _Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> dict[str, float]:
    """Round what is no band of the EQ, as far as the distance allows."""
    power = comparison.power_of(settings, off)
    start = _with_round_levels(settings, off)
    idle = {
        p.key: dialled(p, start[p.key], COARSE)
        for p in PARAMETERS
        if p.key in start and not is_on(p.section, off)
    }
    start.update(idle)
    present = comparison.distance(settings, off)
    for most, levels, times, others in ROUNDINGS:
        if present > most * limit:
            continue
        tried = _dialled(_dialled(start, levels, LEVELS), times, TIMES)
        tried = _dialled(tried, others, OTHERS)
        result = comparison.render(tried, off)
        exact_db = tried[OUTPUT]
        if "output_gain" not in off:
            exact_db += 10.0 * math.log10(power / _power(result))
        # The finest step of the gain first: where that is too far away, coarser ones mostly are.
        for digits in (FINEST, COARSE, FINE):
            output_db = dialled(BY_KEY[OUTPUT], exact_db, digits)
            gain = 10.0 ** ((output_db - tried[OUTPUT]) / 20.0) if "output_gain" not in off else 1.0
            near = float(comparison.target.distance(gain * result)) <= limit
            if digits is FINEST and not near:
                break
            if digits is not FINEST and near:
                return {**tried, OUTPUT: output_db}
        else:
            return {**tried, OUTPUT: dialled(BY_KEY[OUTPUT], exact_db, FINEST)}
    return {**tried, OUTPUT: dialled(BY_KEY[OUTPUT], exact_db, FINEST)}


def _with_round_pre_delay(
    comparison: _Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> dict[str, float]:
    """Round the pre-delay, which turns the phase of the return against the voice.

    Before the EQ, so that what it costs is there yet. Under a loud return hundredths of a
    millisecond may be too coarse.
    """
    if "reverb" in off:
        return settings
    for digits in (FINE, FINEST):
        tried = _dialled(settings, digits, (PRE_DELAY,))
        if comparison.distance(tried, off) <= limit:
            return tried
    return {**settings, PRE_DELAY: round(settings[PRE_DELAY], 3)}


def _dialled(
    settings: Mapping[str, float], digits: Digits, keys: Collection[str]
) -> dict[str, float]:
    there = (key for key in keys if key in settings)
    return {**settings, **{key: dialled(BY_KEY[key], settings[key], digits) for key in there}}


def _with_round_levels(settings: Mapping[str, float], off: frozenset[str]) -> dict[str, float]:
    """Round threshold and makeup; the gains before and after the compressor take up the rest."""
    found = dict(settings)
    if "compressor" in off:
        return found
    if off & {"input_gain", "output_gain"}:
        return _dialled(found, FINEST, (THRESHOLD, MAKEUP))
    threshold_db = dialled(BY_KEY[THRESHOLD], found[THRESHOLD], COARSE)
    makeup_db = dialled(BY_KEY[MAKEUP], found[MAKEUP], COARSE)
    louder_db = threshold_db - found[THRESHOLD]
    moved = {
        THRESHOLD: threshold_db,
        MAKEUP: makeup_db,
        INPUT: found[INPUT] + louder_db,
        OUTPUT: found[OUTPUT] - louder_db + found[MAKEUP] - makeup_db,
    }
    inside = all(BY_KEY[key].clip(value) == value for key, value in moved.items())
    return {**found, **moved} if inside else _dialled(found, FINEST, (THRESHOLD, MAKEUP))
