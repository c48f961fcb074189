"""Curves of an EQ with fewer bands: many fits at once by damped least squares.

Each fit has its own set of bands. What is minimised is the estimated distance that the error of
the curve makes (:mod:`.eq_audible`), what the curve lifts below the voice, and a small L2 penalty
towards the settings at the start and towards small gains. Absolute values are majorised by squares
of the present weights, as in iteratively reweighted least squares; a step solves the normal
equations with Marquardt's damping (1963), and is taken where it lowers the whole.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..modules.equalizer.cpu_coefficients import coefficients_of_many
from ..modules.equalizer.kinds import KINDS
from ..modules.equalizer.process import FILTER_OF_BAND
from ..strip.channel_strip import HIGHEST_FREQUENCY
from ..strip.parameters import BY_KEY, EQ_BANDS
from .cpu_fit import add_curves, costs, steps
from .eq_audible import NEPERS, Audible

__all__ = ["NAMES", "Fits", "Wanted", "band_curves_db", "fit", "point_of", "settings_of"]

NAMES = ("freq_hz", "q", "gain_db")
"""Of a band's settings, in the order of a point's last axis."""

STEP, LONGEST_STEP, LEAST_GAIN = 1e-4, 0.15, 1e-5
SMALLEST_DB, AIM_DB = 0.02, 0.05
BELOW, STAY, STAY_CUT, SMALL, SMALL_OFFSET = 0.3, 0.003, 0.02, 0.02, 2e-4
EFFORT = 2.5e-4
"""Distance that a mean square of 1 dB² is worth: of fits as good as each other, the calmer one."""

FIRST_DAMPING, LOWER, HIGHER = 1e-2, 0.4, 4.0
Q_RANGES = {"peak": (0.4, 4.0), "shelf": (0.4, 1.2), "pass": (0.4, 1.2)}
"""Beside these only what the strip has already."""


@dataclass(frozen=True)
class Wanted:
    """A curve to be reached.

    Attributes
    ----------
    point : ndarray
        ``(bands, 3)``, the settings that make it, in 0…1; see :data:`NAMES`.
    bands : ndarray of bool
        ``(bands,)``, those that make it.
    curve_db : ndarray
        ``(points,)`` at the frequencies of `audible`.
    audible : Audible
        What of it counts.
    below_hz, allowed_db : ndarray
        Where the voice has nothing, and up to where the curve may go there.
    sample_rate : int
        Hz.
    """

    point: np.ndarray
    bands: np.ndarray
    curve_db: np.ndarray
    audible: Audible
    below_hz: np.ndarray
    allowed_db: np.ndarray
    sample_rate: int

    @classmethod
    def of(
        cls,
        settings: Mapping[str, float],
        bypass: Collection[str],
        audible: Audible,
        below_hz: np.ndarray,
        sample_rate: int,
    ) -> Wanted:
        """Build from settings by key; bands in `bypass` have no part in the curve."""
        point = point_of(settings)
        there = np.array([f"eq.{band}" not in bypass for band in EQ_BANDS])
        everywhere_hz = np.concatenate((audible.freq_hz, below_hz))
        curve_db = there @ band_curves_db(point[None], everywhere_hz, sample_rate)[0]
        points = len(audible.freq_hz)
        allowed_db = np.maximum(curve_db[points:], AIM_DB)
        return cls(point, there, curve_db[:points], audible, below_hz, allowed_db, sample_rate)


@dataclass(frozen=True)
class Fits:
    """What was found, one row for each fit.

    Attributes
    ----------
    points : ndarray
        ``(fits, bands, 3)`` in 0…1.
    on : ndarray
        ``(fits, bands)``, which bands have a part.
    offset_db : ndarray
        ``(fits,)``, the gain that the curve needs on top.
    distance : ndarray
        ``(fits,)``, estimated.
    cost : ndarray
        ``(fits,)``, what was minimised.
    """

    points: np.ndarray
    on: np.ndarray
    offset_db: np.ndarray
    distance: np.ndarray
    cost: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Fits:
        return Fits(*(value[rows] for value in vars(self).values()))


def point_of(settings: Mapping[str, float]) -> np.ndarray:
    """Return the EQ's settings in 0…1, ``(bands, 3)``; a cut's gain is 0 dB."""
    point = np.full((len(EQ_BANDS), len(NAMES)), 0.5)
    for row, column, key in _places():
        point[row, column] = BY_KEY[key].to_normalised(settings[key])
    return point


def settings_of(point: np.ndarray) -> dict[str, float]:
    """Return physical settings by key of ``(bands, 3)`` in 0…1."""
    return {
        key: BY_KEY[key].clip(float(BY_KEY[key].to_physical(float(point[row, column]))))
        for row, column, key in _places()
    }


def _places() -> list[tuple[int, int, str]]:
    keys = ((r, c, f"eq.{b}.{n}") for r, b in enumerate(EQ_BANDS) for c, n in enumerate(NAMES))
    return [place for place in keys if place[2] in BY_KEY]


def band_curves_db(points: np.ndarray, freq_hz: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return what each band of ``(fits, bands, 3)`` does: ``(fits, bands, frequencies)`` in dB."""
    curves_db = np.empty((*points.shape[:2], len(freq_hz)))
    every = np.ones(points.shape[:2], bool)
    add_curves(_sections(points, sample_rate), every, _phi(freq_hz, sample_rate), curves_db)
    return curves_db


def _sections(points: np.ndarray, sample_rate: int) -> np.ndarray:
    """Coefficients of the bands, ``(fits, bands, 5)``."""
    rows, columns, low, ratio, is_log = _scales()
    at = points[:, rows, columns].T
    settings = np.where(is_log, low * ratio**at, low + ratio * at)
    kinds = [KINDS.index(FILTER_OF_BAND[band]) for band in EQ_BANDS]
    return coefficients_of_many(settings, kinds, sample_rate, HIGHEST_FREQUENCY * sample_rate)


@functools.cache
def _scales() -> tuple[np.ndarray, ...]:
    """Where each row of the sections' settings stands in a point, and its range."""
    places = sorted(_places(), key=lambda place: place[1])
    rows, columns = ([place[k] for place in places] for k in range(2))
    parameters = [BY_KEY[key] for *_, key in places]
    low = np.array([p.low for p in parameters])[:, None]
    high = np.array([p.high for p in parameters])[:, None]
    is_log = np.array([p.scale == "log" for p in parameters])[:, None]
    # Of a linear one the range, which may begin at or below 0.
    return np.array(rows), np.array(columns), low, np.where(is_log, high / low, high - low), is_log


def _phi(freq_hz: np.ndarray, sample_rate: int) -> np.ndarray:
    """``4·sin²(ω/2)``; see :mod:`.cpu_fit`."""
    phi: np.ndarray = 4.0 * np.square(np.sin(np.pi * freq_hz / sample_rate))
    return phi


def _bounds(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.zeros(start.shape), np.ones(start.shape)
    for row, column, key in _places():
        if NAMES[column] == "q":
            kind = EQ_BANDS[row].rpartition("_")[2]
            ends = Q_RANGES["peak" if kind.isdigit() else kind]
            own = start[row, column]
            low[row, column] = min(BY_KEY[key].to_normalised(ends[0]), own)
            high[row, column] = max(BY_KEY[key].to_normalised(ends[1]), own)
    return low, high


def fit(
    starts: np.ndarray,
    on: np.ndarray,
    wanted: Wanted,
    *,
    steps: int,
    held: Collection[str] = (),
    offset_db: np.ndarray | None = None,
) -> Fits:
    """Fit curves, each with its own bands.

    Parameters
    ----------
    starts : ndarray
        ``(fits, bands, 3)`` in 0…1.
    on : ndarray of bool
        ``(fits, bands)``, the bands of each fit.
    wanted : Wanted
        The curve.
    steps : int
        At most.
    held : collection of str
        Names of settings that stay, as ``"gain_db"``.
    offset_db : ndarray, optional
        ``(fits,)``, of the gain on top at the start; 0 dB by default.

    Returns
    -------
    Fits
        In the order of the starts.
    """
    return _Fit(starts, on, wanted, held, offset_db).run(steps)


class _Fit:
    """State of several fits."""

    def __init__(
        self,
        starts: np.ndarray,
        on: np.ndarray,
        wanted: Wanted,
        held: Collection[str],
        offset_db: np.ndarray | None,
    ) -> None:
        count, self.bands = on.shape
        self.wanted, self.on, self.starts = wanted, on, starts
        self.low, self.high = _bounds(wanted.point)
        freq_hz = np.concatenate((wanted.audible.freq_hz, wanted.below_hz))
        self.phi = _phi(freq_hz, wanted.sample_rate)
        weights = wanted.audible.bins + wanted.audible.energy
        self.effort = EFFORT * weights / max(float(weights.sum()), 1e-20)
        self.works = np.array([not band.endswith("pass") for band in EQ_BANDS])
        movable = np.zeros((self.bands, len(NAMES)), bool)
        for row, column, _ in _places():
            movable[row, column] = NAMES[column] not in held
        self.free = movable & on[:, :, None]
        self.stay = np.full((self.bands, len(NAMES)), STAY)
        self.stay[[r for r, band in enumerate(EQ_BANDS) if band == "high_pass"], 0] = STAY_CUT
        self.small = np.zeros((self.bands, len(NAMES)))
        self.small[:, NAMES.index("gain_db")] = SMALL
        self.points = np.clip(starts, self.low, self.high) if not held else starts.copy()
        self.offset_db = np.zeros(count) if offset_db is None else offset_db.copy()

    def _looked_at(self, points: np.ndarray, offset_db: np.ndarray) -> list[np.ndarray]:
        """Sections, curves, errors, distances and costs of settings."""
        sections = _sections(points, self.wanted.sample_rate)
        curves_db = np.empty((*self.on.shape, len(self.phi)))
        add_curves(sections, self.on, self.phi, curves_db)
        errors = np.empty((len(points), len(self.phi)))
        distance, cost = np.empty(len(points)), np.empty(len(points))
        audible = self.wanted.audible
        costs(
            curves_db, self.on, offset_db, self.wanted.curve_db, self.wanted.allowed_db,
            audible.bins, audible.energy, audible.motion, self.effort, self.works, NEPERS, BELOW,
            SMALL_OFFSET + EFFORT, errors, distance, cost,
        )  # fmt: skip
        penalties = self.stay * np.square(points - self.starts) + self.small * np.square(
            points - 0.5
        )
        cost += (self.free * penalties).sum(axis=(1, 2))
        return [sections, curves_db, errors, distance, cost]

    def _step(
        self,
        sections: np.ndarray,
        curves_db: np.ndarray,
        errors: np.ndarray,
        damping: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The step that the normal equations give, of the settings and of the offset."""
        moves = np.where(self.points < 0.5, STEP, -STEP).transpose(2, 0, 1)
        moved = np.tile(self.points, (len(NAMES), 1, 1, 1))
        for column in range(len(NAMES)):
            moved[column, :, :, column] += moves[column]
        moved_sections = _sections(
            moved.reshape(-1, *self.points.shape[1:]), self.wanted.sample_rate
        ).reshape(len(NAMES), *sections.shape)
        step, offset_step = np.empty(self.points.shape), np.empty(len(self.points))
        audible = self.wanted.audible
        steps(
            self.points, self.starts, self.low, self.high, self.free, sections, moved_sections,
            np.ascontiguousarray(moves), curves_db, errors, self.offset_db, damping, self.phi,
            audible.bins, audible.energy, audible.motion, self.effort, self.works, self.stay,
            self.small, NEPERS, BELOW, SMALLEST_DB, SMALL_OFFSET + EFFORT, LONGEST_STEP, step,
            offset_step,
        )  # fmt: skip
        return step, offset_step

    def run(self, most: int) -> Fits:
        """Take steps until nothing is gained by any fit."""
        present = self._looked_at(self.points, self.offset_db)
        damping = np.full(len(self.points), FIRST_DAMPING)
        for _ in range(most):
            sections, curves_db, errors, _, cost = present
            step, offset_step = self._step(sections, curves_db, errors, damping)
            points = np.where(
                step == 0.0, self.points, np.clip(self.points + step, self.low, self.high)
            )
            offset_db = self.offset_db + offset_step
            tried = self._looked_at(points, offset_db)
            new_cost = tried[-1]
            better = new_cost < cost
            gained = float(np.max(cost - new_cost))
            for old, new in zip(
                (self.points, self.offset_db, *present), (points, offset_db, *tried), strict=True
            ):
                old[better] = new[better]
            damping = np.clip(np.where(better, LOWER * damping, HIGHER * damping), 1e-7, 1e5)
            if gained < LEAST_GAIN and not (damping < 1e-1).any():
                break
        return Fits(self.points, self.on, self.offset_db, *present[-2:])
