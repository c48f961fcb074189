"""Statistics of the settings of real mixes: to sample from, and as a prior.

A Gaussian copula: each setting's quantiles, and the rank correlations between them. The shipped
file was made by :func:`fit` from the 435 vocal mixes fitted by the DiffVox project (Yu et al.,
DAFx 2025, MIT), whose pairs were levelled to −18 LUFS.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ModelError
from .later import start_settings
from .parameters import BY_KEY, PARAMETERS

__all__ = ["SettingsStatistics", "fit", "load"]

QUANTILES = 41
FEWEST_ROWS = 2
# Large enough to outlast the rounding of the saved correlations.
LEAST_EIGENVALUE = 0.01
SHIPPED = Path(__file__).parent / "data" / "settings_statistics.json"
RISE_TIME = 2.197
"""10–90 % rise time of a one-pole, in time constants."""

# The fits' reverb level is the energy of the response before its own send EQ, which takes away
# about this much.
SEND_EQ_DB = -8.0
PEAK_SLOTS = ("peak_1", "peak_2", "peak_3", "peak_4")
NEEDED = (
    *(f"peak{number}_{name}" for number in (1, 2) for name in ("gain_db", "freq_hz", "q")),
    *(f"{band}_shelf_{name}" for band in ("low", "high") for name in ("gain_db", "freq_hz")),
    *(f"{band}_pass_{name}" for band in ("low", "high") for name in ("freq_hz", "q")),
    *(f"comp_{name}" for name in ("threshold_db", "ratio", "makeup_db")),
    *(f"comp_{name}_ms_10_90" for name in ("attack", "release")),
    *(f"reverb_t60_{band}_s" for band in ("low", "mid", "high")),
    "reverb_level_db",
)
"""Columns that a strip is made from."""


@dataclass(frozen=True)
class SettingsStatistics:
    """Quantiles and rank correlations of the columns of a table of real settings.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns.
    quantiles : ndarray
        ``(columns, points)``, at equal steps of probability from 0 to 1.
    correlation : ndarray
        ``(columns, columns)``, of the normal scores.
    """

    columns: tuple[str, ...]
    quantiles: np.ndarray
    correlation: np.ndarray

    def sample(self, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float]]:
        """Draw one channel strip.

        Returns
        -------
        settings : dict
            Every parameter of the table by key, inside its range.
        ranks : dict
            The probability, 0…1, that each column was drawn at.
        """
        from scipy.special import ndtr

        root = np.linalg.cholesky(self.correlation + 1e-6 * np.eye(len(self.columns)))
        ranks = ndtr(root @ rng.standard_normal(len(self.columns)))
        points = np.linspace(0.0, 1.0, self.quantiles.shape[1])
        row = {
            name: float(np.interp(rank, points, values))
            for name, rank, values in zip(self.columns, ranks, self.quantiles, strict=True)
        }
        settings = _to_strip(row, rng)
        return settings, dict(zip(self.columns, map(float, ranks), strict=True))

    def middle(self, seed: int = 0) -> dict[str, float]:
        """Return the median strip, setting by setting, of 400 drawn ones."""
        rng = np.random.default_rng((seed, 1))
        drawn = [self.sample(rng)[0] for _ in range(400)]
        return {p.key: float(np.median([d[p.key] for d in drawn])) for p in PARAMETERS}

    def save(self, path: str | Path, source: str = "") -> None:
        """Write as JSON, with a line on where the settings come from."""
        data = {
            "source": source,
            "columns": list(self.columns),
            "quantiles": [[float(f"{v:.5g}") for v in row] for row in self.quantiles],
            "correlation": [[round(float(v), 4) for v in row] for row in self.correlation],
        }
        Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def fit(table: str | Path) -> SettingsStatistics:
    """Fit to a CSV with one mix a row and a header naming the settings.

    Raises
    ------
    ModelError
        The file is missing, holds something else, or fewer than two mixes.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    try:
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if any(None in row for row in rows):
            raise ValueError("a row has more cells than the header")
        columns = tuple(name for name in rows[0] if name != "source") if rows else ()
        values = np.array([[float(row[name]) for name in columns] for row in rows])
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ModelError(f"{table}: not a table of settings ({error})") from None
    _check_columns(table, columns)
    if len(values) < FEWEST_ROWS or not np.isfinite(values).all():
        raise ModelError(
            f"{table}: {len(values)} row(s); at least {FEWEST_ROWS} are needed, every value finite"
        )
    scores = ndtri((rankdata(values, axis=0) - 0.5) / len(values))
    quantiles = np.quantile(values, np.linspace(0.0, 1.0, QUANTILES), axis=0).T
    return SettingsStatistics(columns, quantiles, _correlation(scores))


def _correlation(scores: np.ndarray) -> np.ndarray:
    """Correlations of the columns, positive definite also for few rows or a constant column."""
    centred = scores - scores.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    unit = centred / np.where(norms > 0.0, norms, 1.0)
    correlation = unit.T @ unit
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] >= LEAST_EIGENVALUE:
        return correlation
    mended = (vectors * values.clip(LEAST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(mended))
    return mended / np.outer(scale, scale)


def _check_columns(path: str | Path, columns: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise ModelError(f"{path}: not a table of settings (no column {missing[0]!r})")


def load(path: str | Path = SHIPPED) -> SettingsStatistics:
    """Read what :meth:`SettingsStatistics.save` wrote; by default the shipped file.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        columns = tuple(data["columns"])
        quantiles = np.array(data["quantiles"], float)
        correlation = np.array(data["correlation"], float)
        count = len(columns)
        if quantiles.shape != (count, QUANTILES) or correlation.shape != (count, count):
            raise ValueError(f"{count} columns do not fit their figures")
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not statistics of settings ({reason})") from None
    _check_columns(path, columns)
    return SettingsStatistics(columns, quantiles, correlation)


def _to_strip(row: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Turn one row of the fits into this console's parameters; they know no later module."""
    strip = start_settings()
    for slot, number in _peak_slots(row).items():
        for name in ("freq_hz", "gain_db", "q"):
            strip[f"eq.{slot}.{name}"] = row[f"peak{number}_{name}"]
    for band in ("low_shelf", "high_shelf"):
        strip[f"eq.{band}.freq_hz"] = row[f"{band}_freq_hz"]
        strip[f"eq.{band}.gain_db"] = row[f"{band}_gain_db"]
    for band in ("high_pass", "low_pass"):
        strip[f"eq.{band}.freq_hz"] = row[f"{band}_freq_hz"]
        strip[f"eq.{band}.q"] = row[f"{band}_q"]
    strip["compressor.threshold_db"] = row["comp_threshold_db"]
    strip["compressor.ratio"] = row["comp_ratio"]
    strip["compressor.attack_ms"] = row["comp_attack_ms_10_90"] / RISE_TIME
    strip["compressor.release_ms"] = row["comp_release_ms_10_90"] / RISE_TIME
    strip["compressor.makeup_db"] = row["comp_makeup_db"]
    strip["compressor.knee_db"] = rng.uniform(0.0, 12.0)
    mid = row["reverb_t60_mid_s"]
    strip["reverb.decay_s"] = mid
    strip["reverb.low_ratio"] = row["reverb_t60_low_s"] / mid
    strip["reverb.high_ratio"] = row["reverb_t60_high_s"] / mid
    strip["reverb.wet_db"] = row["reverb_level_db"] + SEND_EQ_DB
    strip["reverb.pre_delay_ms"] = rng.uniform(0.0, 60.0)
    strip["reverb.low_cut_hz"] = 20.0 * 20.0 ** rng.uniform(0.0, 1.0)
    strip["reverb.high_cut_hz"] = 4000.0 * 4.0 ** rng.uniform(0.0, 1.0)
    strip["reverb.width"] = rng.uniform(0.5, 1.0)
    return {p.key: p.clip(strip[p.key]) for p in PARAMETERS}


def _peak_slots(row: Mapping[str, float]) -> dict[str, int]:
    """Give each of the fits' two peaks the free slot whose range centre is nearest."""
    slots: dict[str, int] = {}
    for number in (1, 2):
        log_freq = np.log(row[f"peak{number}_freq_hz"])

        def distance(slot: str, log_freq: float = log_freq) -> float:
            freq = BY_KEY[f"eq.{slot}.freq_hz"]
            outside = max(np.log(freq.low) - log_freq, log_freq - np.log(freq.high), 0.0)
            return 10.0 * outside + abs(log_freq - np.log(freq.low * freq.high) / 2)

        slots[min((s for s in PEAK_SLOTS if s not in slots), key=distance)] = number
    return slots
