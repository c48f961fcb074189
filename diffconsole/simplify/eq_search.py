"""The fewest bands of an EQ that sound the same on a vocal.

For each number of bands, the smallest first, all choices of bands are fitted to the curve
(:mod:`.eq_fit`), and those of the smallest estimated distance are rendered. Values are then rounded
to what is dialled by hand, those that are not rounded yet fitted again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..strip.parameters import BY_KEY, EQ_BANDS
from .eq_fit import NAMES, Fits, Wanted, band_curves_db, fit, settings_of
from .rounding import COARSE, FINE, FINEST, Digits, dialled

__all__ = ["Curve", "fewest_bands"]

SCREENING, FINISHING, ROUNDING, LEVELLING = 5, 12, 5, 3
FINISHED, TRIED = 5, 4
WORTH_RENDERING, WORTH_A_START = 1.05, 2.5
"""Estimated distances up to so many times the limit. Of 254 estimates on 30 voices one was larger
than the distance, by 3 %."""

MOST_ESTIMATE = 3.0
"""By how many times the estimate two curves' results may be apart."""

LIFTED_DB = 0.04
"""Above what is allowed below the voice; nothing between the points is higher than 0.1 dB."""

GAIN = NAMES.index("gain_db")
HIGH_PASS = EQ_BANDS.index("high_pass")


@dataclass(frozen=True)
class Curve:
    """An EQ that sounds the same.

    Attributes
    ----------
    settings : dict of str to float
        Of the bands that are on, by key.
    off : frozenset of str
        ``"eq.peak_2"`` and so on.
    offset_db : float
        Gain that it needs on top.
    """

    settings: dict[str, float]
    off: frozenset[str]
    offset_db: float


def fewest_bands(
    wanted: Wanted,
    distance_of: Callable[[Curve], float],
    *,
    least: int,
    most: int,
    limit: float,
    rounded_limit: float,
    keep_high_pass: bool,
    has_offset: bool,
) -> Curve | None:
    """Find the curve with the fewest bands within a distance.

    Parameters
    ----------
    wanted : Wanted
        The curve of all bands.
    distance_of : callable
        Renders a curve and returns its distance.
    least : int
        Bands of the first curves that are looked for.
    most : int
        Bands that make the curve now; no more than one less are looked for, or as many where only
        their values are rounded.
    limit, rounded_limit : float
        Largest distance, before values are rounded and after.
    keep_high_pass : bool
        Whether every curve has the high-pass.
    has_offset : bool
        Whether what is rendered has the curve's offset, or there is no gain to take it up.

    Returns
    -------
    Curve or None
        None where all bands are needed as they are.
    """
    trial = _Trial(wanted, distance_of, limit, rounded_limit, has_offset)
    for size in range(max(int(keep_high_pass), least), most):
        choices = _choices(size, wanted, keep_high_pass)
        starts = np.repeat(wanted.point[None], len(choices), axis=0)
        found = _fitted(starts, choices, wanted)
        for curve in trial.near(found):
            return curve
        if not size or found.distance.min() > WORTH_A_START * limit:
            continue
        starts, choices = _other_starts(found, wanted, keep_high_pass)
        if not len(starts):
            continue
        again = _fitted(starts, choices, wanted)
        if again.cost.min() < found.cost.min():
            for curve in trial.near(again):
                return curve
    return None


def _choices(size: int, wanted: Wanted, keep_high_pass: bool) -> np.ndarray:
    """All sets of so many of the bands, ``(sets, bands)``."""
    fixed = (HIGH_PASS,) if keep_high_pass else ()
    others = [row for row in np.flatnonzero(wanted.bands).tolist() if row not in fixed]
    sets = list(itertools.combinations(others, size - len(fixed)))
    on = np.zeros((len(sets), len(EQ_BANDS)), bool)
    for row, chosen in enumerate(sets):
        on[row, [*fixed, *chosen]] = True
    return on


def _fitted(starts: np.ndarray, on: np.ndarray, wanted: Wanted) -> Fits:
    """Fits in order of their cost, the first ones finished."""
    found = fit(starts, on, wanted, steps=SCREENING)
    found = found[np.argsort(found.cost, kind="stable")[:FINISHED]]
    found = fit(found.points, found.on, wanted, steps=FINISHING, offset_db=found.offset_db)
    return found[np.argsort(found.cost, kind="stable")]


def _other_starts(
    found: Fits, wanted: Wanted, keep_high_pass: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Starts in which one band of the best fits goes where most is missing.

    From the settings that a band has the way to the best ones may be barred.
    """
    starts, choices = [], []
    freq_hz = wanted.audible.freq_hz
    weight = wanted.audible.bins + wanted.audible.energy
    for row in range(min(3, len(found.cost))):
        point, on = found.points[row], found.on[row]
        curves_db = band_curves_db(point[None], freq_hz, wanted.sample_rate)[0]
        for left in np.flatnonzero(on):
            if left == HIGH_PASS and keep_high_pass:
                continue
            kept = on.copy()
            kept[left] = False
            missing_db = wanted.curve_db - found.offset_db[row] - kept @ curves_db
            for band in np.flatnonzero(wanted.bands):
                if kept[band] or EQ_BANDS[band].endswith("pass"):
                    continue
                frequency = BY_KEY[f"eq.{EQ_BANDS[band]}.freq_hz"]
                inside = (freq_hz >= frequency.low) & (freq_hz <= frequency.high)
                place = int(np.argmax(np.where(inside, weight * np.abs(missing_db), -1.0)))
                moved, chosen = point.copy(), kept.copy()
                chosen[band] = True
                moved[band, 0] = frequency.to_normalised(frequency.clip(float(freq_hz[place])))
                gain = BY_KEY[f"eq.{EQ_BANDS[band]}.gain_db"]
                moved[band, GAIN] = gain.to_normalised(gain.clip(float(missing_db[place])))
                starts.append(moved)
                choices.append(chosen)
    return np.array(starts), np.array(choices)


class _Trial:
    """Renders fits, and knows the curves that were too far away."""

    def __init__(
        self,
        wanted: Wanted,
        distance_of: Callable[[Curve], float],
        limit: float,
        rounded_limit: float,
        has_offset: bool,
    ) -> None:
        self.wanted, self.distance_of, self.has_offset = wanted, distance_of, has_offset
        self.limit, self.rounded_limit = limit, rounded_limit
        self.far: list[tuple[np.ndarray, float]] = []

    def near(self, found: Fits) -> Iterator[Curve]:
        """Render the best fits and give those that are near enough, rounded.

        Rounded ones first: mostly they are. Where they are not, the fit itself is looked at.
        """
        for row in range(min(TRIED, len(found.cost))):
            one = found[np.array([row])]
            if one.distance[0] > WORTH_RENDERING * self.limit or _lifts(one, self.wanted):
                continue
            is_near = None
            for rounded in _rounded(one, self.wanted, self.rounded_limit):
                if self._is_near(rounded, self.rounded_limit):
                    yield _curve(rounded)
                elif is_near is None:
                    is_near = self._is_near(one, self.limit)
                if is_near is False:
                    break
            if is_near is None:
                is_near = self._is_near(one, self.limit)
            if is_near:
                curve = _curve(one)
                settings = {k: dialled(BY_KEY[k], v, FINEST) for k, v in curve.settings.items()}
                yield replace(curve, settings=settings)

    def _is_near(self, one: Fits, limit: float) -> bool:
        """Whether a fit is within a distance; it is not if a far one makes the same curve."""
        audible = self.wanted.audible
        curves_db = band_curves_db(one.points, audible.freq_hz, self.wanted.sample_rate)[0]
        curve_db = one.on[0] @ curves_db
        if self.has_offset:
            curve_db = curve_db + one.offset_db[0]
        for far_db, far in self.far:
            if far - MOST_ESTIMATE * float(audible.distance(curve_db - far_db)) > limit:
                return False
        distance = self.distance_of(_curve(one))
        if distance > limit:
            self.far.append((curve_db, distance))
        return distance <= limit


def _lifts(one: Fits, wanted: Wanted) -> bool:
    if not len(wanted.below_hz):
        return False
    curve_db = one.on[0] @ band_curves_db(one.points, wanted.below_hz, wanted.sample_rate)[0]
    return bool((curve_db > wanted.allowed_db + LIFTED_DB).any())


def _curve(one: Fits) -> Curve:
    bands = [f"eq.{band}" for band, on in zip(EQ_BANDS, one.on[0], strict=True) if on]
    # Six digits take back what the way through 0…1 leaves behind of round values.
    settings = {
        key: BY_KEY[key].clip(float(f"{value:.6g}"))
        for key, value in settings_of(one.points[0]).items()
        if BY_KEY[key].section in bands
    }
    off = frozenset(f"eq.{band}" for band in EQ_BANDS) - frozenset(bands)
    return Curve(settings, off, float(one.offset_db[0]))


def _rounded(one: Fits, wanted: Wanted, limit: float) -> Iterator[Fits]:
    """Fits of rounded values that are worth rendering, the roundest first."""
    for gains, finer in ((COARSE, FINE), (FINE, FINE), (FINEST, FINEST)):
        fitted = _with_gains(one, wanted, gains)
        for others in dict.fromkeys((finer if gains is FINEST else COARSE, finer)):
            points = fitted.points.copy()
            for row, band in enumerate(EQ_BANDS):
                for column in (0, 1):
                    parameter = BY_KEY[f"eq.{band}.{NAMES[column]}"]
                    value = float(parameter.to_physical(points[0, row, column]))
                    points[0, row, column] = parameter.to_normalised(
                        dialled(parameter, value, others)
                    )
            levelled = fit(
                points, fitted.on, wanted, steps=LEVELLING, held=NAMES, offset_db=fitted.offset_db
            )
            if levelled.distance[0] <= WORTH_RENDERING * limit and not _lifts(levelled, wanted):
                yield levelled


def _with_gains(one: Fits, wanted: Wanted, digits: Digits) -> Fits:
    """The fit with rounded gains, each up or down, whichever the others follow best."""
    rows = [row for row in np.flatnonzero(one.on[0]) if not EQ_BANDS[row].endswith("pass")]
    if not rows:
        return one
    ends = []
    for row in rows:
        parameter = BY_KEY[f"eq.{EQ_BANDS[row]}.gain_db"]
        step = digits.decibels
        exact = float(parameter.to_physical(one.points[0, row, GAIN])) / step
        both = sorted({step * np.floor(exact), step * np.ceil(exact)})
        if digits is not COARSE:
            both = [step * round(exact)]
        ends.append([parameter.to_normalised(parameter.clip(float(value))) for value in both])
    combinations = np.array(list(itertools.product(*ends)))
    starts = np.repeat(one.points, len(combinations), axis=0)
    starts[:, rows, GAIN] = combinations
    on = np.repeat(one.on, len(combinations), axis=0)
    # A gain of 0 dB is no band.
    on[:, rows] &= np.abs(combinations - 0.5) > 1e-9
    offset_db = np.repeat(one.offset_db, len(combinations))
    found = fit(starts, on, wanted, steps=ROUNDING, held=("gain_db",), offset_db=offset_db)
    return found[np.argsort(found.cost, kind="stable")[:1]]
