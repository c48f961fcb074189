"""Curves of an EQ with fewer bands: many fits at once by damped least squares.

Each fit has its own set of bands. What is minimised is the estimated distance that the error of
the curve makes (:mod:`.eq_audible`), what the curve lifts below the voice, and a small L2 penalty
towards the settings at the start and towards small gains. Absolute values are majorised by squares
of the present weights, as in iteratively reweighted least squares; a step solves the normal
equations with Marquardt's damping (1963), and is taken where it lowers the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..modules.equalizer.process import equalizer_sections, response
from ..strip.parameters import BY_KEY, EQ_BANDS
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
    settings = {
        key: torch.from_numpy(np.ascontiguousarray(BY_KEY[key].to_physical(points[:, row, column])))
        for row, column, key in _places()
    }
    sections = equalizer_sections(sample_rate, settings)
    found = response(sections, sample_rate, torch.from_numpy(freq_hz))
    power = found.real.square() + found.imag.square()
    curves: np.ndarray = (10.0 * torch.log10(power + 1e-24)).numpy()
    return curves


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
        self.freq_hz = np.concatenate((wanted.audible.freq_hz, wanted.below_hz))
        self.inside = len(wanted.audible.freq_hz)
        weights = wanted.audible.bins + wanted.audible.energy
        self.effort = EFFORT * weights / max(float(weights.sum()), 1e-20)
        self.works = np.array([not band.endswith("pass") for band in EQ_BANDS])
        movable = np.zeros((self.bands, len(NAMES)), bool)
        for row, column, _ in _places():
            movable[row, column] = NAMES[column] not in held
        self.free = (movable & on[:, :, None]).reshape(count, -1)
        stay = np.full((self.bands, len(NAMES)), STAY)
        stay[[row for row, band in enumerate(EQ_BANDS) if band == "high_pass"], 0] = STAY_CUT
        small = np.zeros((self.bands, len(NAMES)))
        small[:, NAMES.index("gain_db")] = SMALL
        self.stay, self.small = stay.ravel(), small.ravel()
        self.points = np.clip(starts, self.low, self.high) if not held else starts.copy()
        self.offset_db = np.zeros(count) if offset_db is None else offset_db.copy()

    def _curves(self, points: np.ndarray) -> np.ndarray:
        on = np.tile(self.on, (len(points) // len(self.on), 1))
        return band_curves_db(points, self.freq_hz, self.wanted.sample_rate) * on[:, :, None]

    def _errors(self, curve_db: np.ndarray, offset_db: np.ndarray) -> np.ndarray:
        """Of the curve where the voice is, then what it is too high by below it."""
        inside = curve_db[:, : self.inside] + offset_db[:, None] - self.wanted.curve_db
        below = np.maximum(curve_db[:, self.inside :] - self.wanted.allowed_db, 0.0)
        return np.concatenate((inside, below), axis=1)

    def _cost(
        self,
        points: np.ndarray,
        offset_db: np.ndarray,
        errors: np.ndarray,
        curves_db: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        distance = self.wanted.audible.distance(errors[:, : self.inside])
        flat, start = (p.reshape(len(p), -1) for p in (points, self.starts))
        penalties = self.stay * np.square(flat - start) + self.small * np.square(flat - 0.5)
        cost = distance + (self.free * penalties).sum(axis=1)
        cost += (SMALL_OFFSET + EFFORT) * np.square(offset_db)
        worked = np.square(curves_db[:, self.works, : self.inside]).sum(axis=1)
        cost += worked @ self.effort
        return distance, cost + BELOW * np.abs(errors[:, self.inside :]).sum(axis=1)

    def _solved(
        self, own_db: np.ndarray, errors: np.ndarray, damping: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The step that the normal equations give, of the settings and of the offset."""
        count, size = self.free.shape
        slopes = np.zeros((count, len(self.freq_hz), size + 1))
        # All moves in one call: most of a call's time goes into its many small operations.
        steps = np.where(self.points < 0.5, STEP, -STEP).transpose(2, 0, 1)
        moved = np.tile(self.points, (len(NAMES), 1, 1, 1))
        for column in range(len(NAMES)):
            moved[column, :, :, column] += steps[column]
        curves_db = self._curves(moved.reshape(-1, *self.points.shape[1:]))
        curves_db = curves_db.reshape(len(NAMES), *own_db.shape)
        for column, step in enumerate(steps):
            change = (curves_db[column] - own_db) / step[:, :, None]
            slopes[:, :, column : size : len(NAMES)] = change.transpose(0, 2, 1)
        slopes[:, :, :size] *= self.free[:, None, :]
        slopes[:, : self.inside, size] = 1.0
        audible, inside = self.wanted.audible, errors[:, : self.inside]
        spread = np.sqrt(1.5 * (audible.energy * np.square(inside)).sum(axis=1)) + 1e-4
        weights = np.concatenate(
            (
                NEPERS * (
                    audible.bins / np.sqrt(np.square(inside) + SMALLEST_DB**2)
                    + 1.5 * audible.energy / spread[:, None]
                ),
                BELOW * (errors[:, self.inside :] > 0.0)
                / np.maximum(errors[:, self.inside :], SMALLEST_DB),
            ),
            axis=1,
        )  # fmt: skip
        moving = inside @ audible.motion.T
        moving_weights = 3.0 * NEPERS / len(audible.motion)
        moving_weights = moving_weights / np.sqrt(np.square(moving) + SMALLEST_DB**2)
        moving_slopes = audible.motion @ slopes[:, : self.inside]
        weighed = slopes * weights[:, :, None]
        moving_weighed = moving_slopes * moving_weights[:, :, None]
        normal = weighed.transpose(0, 2, 1) @ slopes
        normal += moving_weighed.transpose(0, 2, 1) @ moving_slopes
        gradient = (weighed * errors[:, :, None]).sum(axis=1)
        gradient += (moving_weighed * moving[:, :, None]).sum(axis=1)
        flat, start = (p.reshape(count, -1) for p in (self.points, self.starts))
        weight = 2.0 * self.free
        gradient[:, :size] += weight * (self.stay * (flat - start) + self.small * (flat - 0.5))
        gradient[:, size] += 2.0 * (SMALL_OFFSET + EFFORT) * self.offset_db
        self._add_effort(normal, gradient, slopes[:, : self.inside, :size], own_db)
        diagonal = np.arange(size + 1)
        normal[:, diagonal[:-1], diagonal[:-1]] += weight * (self.stay + self.small)
        normal[:, size, size] += 2.0 * (SMALL_OFFSET + EFFORT)
        # What lies at an end of its range and would go on stays.
        low, high = self.low.ravel(), self.high.ravel()
        stopped = ((flat <= low) & (gradient[:, :size] > 0.0)) | (
            (flat >= high) & (gradient[:, :size] < 0.0)
        )
        moves = np.concatenate((self.free & ~stopped, np.ones((count, 1), bool)), axis=1)
        normal *= moves[:, :, None] & moves[:, None, :]
        gradient *= moves
        scale = np.maximum(normal[:, diagonal, diagonal], 1e-6)
        normal[:, diagonal, diagonal] += np.where(moves, damping[:, None] * scale, 1.0)
        step = -np.linalg.solve(normal, gradient[:, :, None])[:, :, 0]
        moved = np.clip(step[:, :size], -LONGEST_STEP, LONGEST_STEP)
        return moved.reshape(self.points.shape), step[:, size]

    def _add_effort(
        self, normal: np.ndarray, gradient: np.ndarray, slopes: np.ndarray, own_db: np.ndarray
    ) -> None:
        """Add what the effort has in the normal equations: each band for itself."""
        for row in np.flatnonzero(self.works):
            own = slice(row * len(NAMES), (row + 1) * len(NAMES))
            weighed = 2.0 * self.effort[:, None] * slopes[:, :, own]
            normal[:, own, own] += weighed.transpose(0, 2, 1) @ slopes[:, :, own]
            curve_db = own_db[:, row, : self.inside, None]
            gradient[:, own] += (weighed * curve_db).sum(axis=1)

    def run(self, steps: int) -> Fits:
        """Take steps until nothing is gained by any fit."""
        curves_db = self._curves(self.points)
        errors = self._errors(curves_db.sum(axis=1), self.offset_db)
        distance, cost = self._cost(self.points, self.offset_db, errors, curves_db)
        damping = np.full(len(cost), FIRST_DAMPING)
        for _ in range(steps):
            step, offset_step = self._solved(curves_db, errors, damping)
            points = np.where(
                step == 0.0, self.points, np.clip(self.points + step, self.low, self.high)
            )
            offset_db = self.offset_db + offset_step
            new_curves_db = self._curves(points)
            new_errors = self._errors(new_curves_db.sum(axis=1), offset_db)
            new_distance, new_cost = self._cost(points, offset_db, new_errors, new_curves_db)
            better = new_cost < cost
            gained = float(np.max(cost - new_cost))
            for old, new in (
                (self.points, points), (self.offset_db, offset_db), (curves_db, new_curves_db),
                (errors, new_errors), (distance, new_distance), (cost, new_cost),
            ):  # fmt: skip
                old[better] = new[better]
            damping = np.clip(np.where(better, LOWER * damping, HIGHER * damping), 1e-7, 1e5)
            if gained < LEAST_GAIN and not (damping < 1e-1).any():
                break
        return Fits(self.points, self.on, self.offset_db, distance, cost)
