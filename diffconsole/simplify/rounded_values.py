"""What is no band of the EQ, in values that are dialled by hand, as far as the distance allows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from ..strip.parameters import BY_KEY, PARAMETERS, is_on
from .comparison import Comparison, power_of
from .rounding import COARSE, FINE, FINEST, Digits, dialled

__all__ = ["all_dialled", "rounded", "with_round_pre_delay"]

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
    (0.85, FINE, COARSE, COARSE),
    (0.97, FINE, FINE, COARSE),
    (math.inf, FINE, FINE, FINE),
    (math.inf, FINEST, FINEST, FINEST),
)
"""How levels, times and the others are rounded, if the distance before is at most such a share of
the limit. On 70 vocals a third were near enough just below the first of these shares, and one in
seven just above the second."""

MOST_GAIN_DB, OF_A_DECIBEL = 0.12, 0.345
"""By which rounding may change the gain, and the distance that a decibel of gain alone makes: three
times its nepers, by two spectral terms of one and a half."""

SMALL_SHIFT_MS, MOST_SHIFT_MS = 0.0004, 0.0009
"""Rounding of the pre-delay times the amplitude of the return, up to which it is near enough, and
up to which it is worth rendering. On 70 vocals the distance was 31 to 91 times as large, so at most
0.036 of the first; of 59 that were larger than 0.0008 none was near enough."""


def rounded(
    comparison: Comparison, settings: dict[str, float], off: frozenset[str], limit: float
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
        tried = all_dialled(all_dialled(start, levels, LEVELS), times, TIMES)
        tried = all_dialled(tried, others, OTHERS)
        result = comparison.render(tried, off)
        if "output_gain" in off:
            if comparison.target.distance(result) <= limit:
                break
            continue
        exact_db = tried[OUTPUT] + 10.0 * math.log10(power / power_of(result))
        output_db, near = _round_gain(comparison, result, tried[OUTPUT], exact_db, limit)
        tried[OUTPUT] = output_db
        if near:
            break
    return tried


def _round_gain(
    comparison: Comparison, result: np.ndarray, made_db: float, exact_db: float, limit: float
) -> tuple[float, bool]:
    """Round the output gain of a result that was made with another, and say if that is near enough.

    Where the fine step is too far away by more than its gain, the finest one is, too.
    """
    finest_db, fine_db, coarse_db = (
        dialled(BY_KEY[OUTPUT], exact_db, digits) for digits in (FINEST, FINE, COARSE)
    )

    def distance(output_db: float) -> float:
        return comparison.target.distance(
            np.float32(10.0 ** ((output_db - made_db) / 20.0)) * result
        )

    at_fine = distance(fine_db)
    is_other = coarse_db != fine_db and abs(coarse_db - exact_db) <= MOST_GAIN_DB
    if is_other and distance(coarse_db) <= limit:
        return coarse_db, True
    if at_fine <= limit:
        return fine_db, True
    # Two results that differ by a gain alone are no further apart.
    least = at_fine - OF_A_DECIBEL * abs(finest_db - fine_db)
    return finest_db, least <= limit and distance(finest_db) <= limit


def with_round_pre_delay(
    comparison: Comparison, settings: dict[str, float], off: frozenset[str], limit: float
) -> dict[str, float]:
    """Round the pre-delay, which turns the phase of the return against the voice.

    Before the EQ, so that what it costs is there yet. Under a loud return hundredths of a
    millisecond may be too coarse.
    """
    if "reverb" in off:
        return settings
    for digits in (FINE, FINEST):
        tried = all_dialled(settings, digits, (PRE_DELAY,))
        shift_ms = abs(tried[PRE_DELAY] - settings[PRE_DELAY])
        moved = shift_ms * 10.0 ** (settings[WET] / 20.0)
        if moved <= SMALL_SHIFT_MS:
            return tried
        if moved <= MOST_SHIFT_MS and comparison.distance(tried, off) <= limit:
            return tried
    return {**settings, PRE_DELAY: round(settings[PRE_DELAY], 3)}


def all_dialled(
    settings: Mapping[str, float], digits: Digits, keys: Collection[str]
) -> dict[str, float]:
    """Return settings of which those of some keys are rounded."""
    there = (key for key in keys if key in settings)
    return {**settings, **{key: dialled(BY_KEY[key], settings[key], digits) for key in there}}


def _with_round_levels(settings: Mapping[str, float], off: frozenset[str]) -> dict[str, float]:
    """Round threshold and makeup; the gains before and after the compressor take up the rest."""
    found = dict(settings)
    if "compressor" in off:
        return found
    if off & {"input_gain", "output_gain"}:
        return all_dialled(found, FINEST, (THRESHOLD, MAKEUP))
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
    return {**found, **moved} if inside else all_dialled(found, FINEST, (THRESHOLD, MAKEUP))
