"""The bands of a strip for the filters of another equalizer, however many those are.

Where every filter has a place, each is taken as it is. Otherwise those are taken that leave the
least of the whole curve, in mean square over a logarithmic frequency axis; what is left out, and
what is taken with another value, is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..modules.equalizer.process import equalizer_sections, response
from ..strip.parameters import BY_KEY, EQ_BANDS

__all__ = ["Filter", "Fitted", "fit_bands"]

RATE = 96000.0
GRID_HZ = np.geomspace(20.0, 20000.0, 240)
MOST_FILTERS = 256
MOST_NAMED = 6
MOST_TRIED = 16
FLAT_DB = 0.005
BELLS = tuple(band for band in EQ_BANDS if band.startswith("peak"))
SHOWN_BAND = {"bell": "peak_1"}


@dataclass(frozen=True)
class Filter:
    """One filter of another equalizer, in the terms of the Audio EQ Cookbook.

    Attributes
    ----------
    kind : str
        ``"bell"``, ``"high_pass"``, ``"low_pass"``, ``"low_shelf"`` or ``"high_shelf"``.
    freq_hz, gain_db, q : float
        Its values; the gain of a pass is 0.
    on : bool
        Whether it acts.
    """

    kind: str
    freq_hz: float
    gain_db: float
    q: float
    on: bool = True

    def __str__(self) -> str:
        gain = "" if self.kind.endswith("pass") else f" {self.gain_db:+.3g} dB"
        return f"{self.kind.replace('_', '-')} {self.freq_hz:.5g} Hz{gain} Q {self.q:.3g}".replace(
            "-0 dB", "0 dB"
        )

    def settings(self, band: str) -> dict[str, float]:
        """Return its values by the keys of a band."""
        values = {"freq_hz": self.freq_hz, "gain_db": self.gain_db, "q": self.q}
        keys = {f"eq.{band}.{name}": value for name, value in values.items()}
        return {key: value for key, value in keys.items() if key in BY_KEY}

    def within(self, band: str) -> Filter:
        """Return the filter with every value as near as a band of the strip can have it."""
        held = {key: BY_KEY[key].clip(value) for key, value in self.settings(band).items()}
        return replace(
            self,
            freq_hz=held[f"eq.{band}.freq_hz"],
            gain_db=held.get(f"eq.{band}.gain_db", self.gain_db),
            q=held[f"eq.{band}.q"],
        )

    def curve_db(self) -> np.ndarray:
        """Return its magnitude over the frequencies that the fit looks at."""
        band = SHOWN_BAND.get(self.kind, self.kind)
        settings = {
            key: np.array([value], np.float64) for key, value in self.settings(band).items()
        }
        off = [f"eq.{other}" for other in EQ_BANDS if other != band]
        gain = response(equalizer_sections(RATE, settings, off), RATE, GRID_HZ)
        found: np.ndarray = 20.0 * np.log10(np.maximum(np.abs(gain[0, 0]), 1e-5))
        return found


@dataclass(frozen=True)
class Fitted:
    """What a strip takes of some filters.

    Attributes
    ----------
    settings : dict of str to float
        By key.
    off : frozenset of str
        Bands that are there but switched off: ``"eq.peak_1"``.
    notes : tuple of str
        What is left out or taken with another value, one line each.
    """

    settings: dict[str, float]
    off: frozenset[str]
    notes: tuple[str, ...]


def fit_bands(filters: Sequence[Filter], *, lowest: bool = False) -> Fitted:
    """Choose bands of the strip for filters.

    Parameters
    ----------
    filters : sequence of Filter
        At most 256 are looked at; their frequencies and Q are positive and finite.
    lowest : bool
        Whether a bell goes to the lowest band that reaches it, not to the one whose middle is
        closest.
    """
    chosen = _all_in_place(filters, lowest)
    notes: list[str] = []
    if chosen is None:
        acting = [f for f in filters[:MOST_FILTERS] if f.on and _acts(f)]
        chosen = _all_in_place(acting, lowest) or _best(acting)
        notes = _said(acting, chosen)
    settings: dict[str, float] = {}
    for band, (_, taken) in chosen.items():
        settings |= taken.settings(band)
    off = frozenset(f"eq.{band}" for band, (_, taken) in chosen.items() if not taken.on)
    return Fitted(settings, off, tuple(notes))


Chosen = dict[str, tuple[Filter, Filter]]
"""By band the filter as it was, and as the band has it."""


def _acts(one: Filter) -> bool:
    return one.kind.endswith("pass") or abs(one.gain_db) > FLAT_DB


def _all_in_place(filters: Sequence[Filter], lowest: bool) -> Chosen | None:
    """Return every filter in a band whose ranges hold it; None where that cannot be."""
    if len(filters) > len(EQ_BANDS):
        return None
    bells = [one for one in filters if one.kind == "bell"]
    others = {one.kind: (one, one) for one in filters if one.kind != "bell"}
    if len(bells) > len(BELLS) or len(others) + len(bells) < len(filters):
        return None
    order = _order([bell.freq_hz for bell in bells], lowest)
    if order is None:
        return None
    chosen = others | {band: (bell, bell) for band, bell in zip(order, bells, strict=True)}
    return chosen if all(one.within(band) == one for band, (one, _) in chosen.items()) else None


def _order(freqs_hz: Sequence[float], lowest: bool) -> tuple[str, ...] | None:
    """Bells of a strip for those of a file: in their order if they fit, else the nearest."""

    def reach(bands: tuple[str, ...]) -> float:
        return sum(_reach(band, freq_hz) for band, freq_hz in zip(bands, freqs_hz, strict=True))

    if lowest:
        orders = itertools.permutations(BELLS, len(freqs_hz))
        return next((bands for bands in orders if math.isfinite(reach(bands))), None)
    if len(freqs_hz) == len(BELLS) and math.isfinite(reach(BELLS)):
        return BELLS
    best = min(itertools.permutations(BELLS, len(freqs_hz)), key=reach)
    return best if math.isfinite(reach(best)) else None


def _reach(band: str, freq_hz: float) -> float:
    """Return octaves, or so, from the middle of a band's range; infinity beyond its ends."""
    own = BY_KEY[f"eq.{band}.freq_hz"]
    if not own.low <= freq_hz <= own.high:
        return math.inf
    return abs(math.log(freq_hz / math.sqrt(own.low * own.high)))


def _best(filters: Sequence[Filter]) -> Chosen:
    """Return the bands that leave the least of the curve: the others first, then the bells."""
    curves = [one.curve_db() for one in filters]
    rest = np.sum(curves, axis=0) if curves else np.zeros(len(GRID_HZ))
    chosen: Chosen = {}
    for band in EQ_BANDS:
        tried = [
            (_power(rest - fitting[1]), place, fitting)
            for place, one in enumerate(filters)
            if one.kind == band and (fitting := _fitting(one, curves[place], band)) is not None
        ]
        if tried and min(tried)[0] < _power(rest):
            _, place, (taken, curve) = min(tried, key=lambda each: each[:2])
            chosen[band] = (filters[place], taken)
            rest = rest - curve
    return chosen | _best_bells(filters, curves, rest)


def _fitting(one: Filter, curve: np.ndarray, band: str) -> tuple[Filter, np.ndarray] | None:
    """Return a filter as a band can have it, None where its range makes another one of it."""
    taken = one.within(band)
    own = curve if taken == one else taken.curve_db()
    return (taken, own) if _power(curve - own) <= 0.5 * _power(curve) else None


def _best_bells(filters: Sequence[Filter], curves: list[np.ndarray], rest: np.ndarray) -> Chosen:
    """Try every choice of the strongest bells in every choice of places for them."""
    places = [place for place, one in enumerate(filters) if one.kind == "bell"]
    places = sorted(places, key=lambda place: -_power(curves[place]))[:MOST_TRIED]
    places.sort(key=lambda place: filters[place].freq_hz)
    fitting = {
        (place, band): _fitting(filters[place], curves[place], band)
        for place in places
        for band in BELLS
    }
    best: Chosen = {}
    least = _power(rest), 0.0
    for count in range(1, len(BELLS) + 1):
        # The bands' ranges go up, so bells in order of their frequency are enough.
        for some in itertools.combinations(places, count):
            for bands in itertools.combinations(BELLS, count):
                pairs = [fitting[pair] for pair in zip(some, bands, strict=True)]
                found = [pair for pair in pairs if pair is not None]
                if len(found) < count:
                    continue
                error = _power(rest - sum(curve for _, curve in found))
                off = sum(
                    _reach(band, taken.freq_hz)
                    for band, (taken, _) in zip(bands, found, strict=True)
                )
                close = error <= least[0] * (1.0 + 1e-9) and len(best) == count
                if error < least[0] * (1.0 - 1e-9) or (close and off < least[1]):
                    least = error, off
                    best = {
                        band: (filters[place], taken)
                        for band, place, (taken, _) in zip(bands, some, found, strict=True)
                    }
    return best


def _power(curve_db: np.ndarray) -> float:
    return float(curve_db @ curve_db)


def _said(filters: Sequence[Filter], chosen: Chosen) -> list[str]:
    """Say what is left out or taken with another value, and how far the curve is off."""
    lines = []
    kept = [one for one, _ in chosen.values()]
    left = [one for one in filters if not any(one is other for other in kept)]
    if left:
        more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
        lines.append("left out: " + ", ".join(map(str, left[:MOST_NAMED])) + more)
    lines += [f"{one} is taken as {taken}" for one, taken in chosen.values() if one != taken]
    if lines:
        curves = [one.curve_db() for one in filters], [t.curve_db() for _, t in chosen.values()]
        off_db = np.sum(curves[0], axis=0) - (np.sum(curves[1], axis=0) if curves[1] else 0.0)
        lines.append(f"the EQ's curve is off by up to {np.abs(off_db).max():.1f} dB for that")
    return lines
