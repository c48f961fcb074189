"""A line of the table of an archive: settings, loudness and uncertainty of one take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...strip.parameters import PARAMETERS
from ...strip.preset import Preset
from .work import Work

__all__ = ["columns", "row_of", "texts"]

FIRST = ("name", "state", "failure")
OF_TAKES = (
    "preset", "audio", "seconds", "sample_rate", "channels", "raw_loudness_lufs",
    "processed_loudness_lufs", "model", "off",
)  # fmt: skip
OF_EXPORTS = ("format", "export")
OF_MATCHES = (
    "preset", "picture", "distance", "level_distance", "explained", "lag_seconds", "polarity",
    "correlation", "off",
)  # fmt: skip
OF_EVALUATIONS = ("level_only", "fixed", "model", "match", "lag_seconds", "polarity")
TEXTS = ("name", "state", "failure", "preset", "audio", "picture", "export", "format", "off",
         "notices")  # fmt: skip


def columns(command: str) -> tuple[str, ...]:
    """Return the columns of a command's table.

    Where there are settings, all of them are columns by their keys, and the ends of the interval of
    each, which is its uncertainty, as ``KEY.low`` and ``KEY.high``.
    """
    keys = [parameter.key for parameter in PARAMETERS]
    intervals = [f"{key}.{end}" for key in keys for end in ("low", "high")]
    own: dict[str, Sequence[str]] = {
        "export": OF_EXPORTS,
        "evaluate": OF_EVALUATIONS,
        "match": (*OF_MATCHES, *keys, *intervals),
    }
    return (*FIRST, *own.get(command, (*OF_TAKES, *keys, *intervals)), "notices")


def texts(command: str) -> tuple[str, ...]:
    """Return the columns that hold text; those of evaluate name the model's distance ``model``.

    ``off`` lists the modules and bands that are not on, with spaces between.
    """
    return TEXTS if command == "evaluate" else (*TEXTS, "model")


def row_of(work: Work, preset: Preset) -> dict[str, Any]:
    """Return the figures of a take whose results are written.

    Loudness is measured by ITU-R BS.1770, in LUFS: of the raw take as the prediction states it, of
    the processed audio from its file. A silent one has none.
    """
    row: dict[str, Any] = {"off": " ".join(sorted(preset.bypass())), **preset.settings()}
    known: Mapping[str, Any] = preset.provenance
    row["model"] = known.get("model")
    row["raw_loudness_lufs"] = known.get("raw_loudness_lufs")
    intervals = known.get("uncertainty", {})
    for key, interval in intervals.items() if isinstance(intervals, Mapping) else ():
        if isinstance(interval, list) and len(interval) == 2:
            row[f"{key}.low"], row[f"{key}.high"] = interval
    if "audio" in work.outputs:
        row.update(_measured(Path(work.outputs["audio"])))
    return row


def _measured(path: Path) -> dict[str, Any]:
    from ...audio import loudness_lufs
    from ...audio.blocks import in_memory, is_long, open_source

    source = open_source(path)
    channels, samples = source.shape
    rate = source.sample_rate
    found: dict[str, Any] = {
        "seconds": round(samples / rate, 3), "sample_rate": rate, "channels": channels,
    }  # fmt: skip
    if not is_long(source):
        loudness = loudness_lufs(*in_memory(source))
        found["processed_loudness_lufs"] = round(loudness, 2) if math.isfinite(loudness) else None
    return found
