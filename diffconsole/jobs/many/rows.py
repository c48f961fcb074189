"""A line of the table of an archive: settings, loudness and uncertainty of one take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...strip.parameters import PARAMETERS
from ...strip.preset import Preset
from .work import Work

__all__ = ["BEFORE", "columns", "row_of"]

BEFORE = (
    "name", "state", "failure", "preset", "audio", "seconds", "sample_rate", "channels",
    "raw_loudness_lufs", "processed_loudness_lufs", "model", "notices", "off",
)  # fmt: skip
"""The first columns; ``off`` lists the modules and bands that are not on, with spaces between."""


def columns() -> tuple[str, ...]:
    """Return all columns: the first ones, every setting, its interval as ``.low``, ``.high``."""
    keys = [parameter.key for parameter in PARAMETERS]
    return (*BEFORE, *keys, *(f"{key}.{end}" for key in keys for end in ("low", "high")))


def row_of(work: Work, preset: Preset) -> dict[str, Any]:
    """Return the figures of a take whose results are written.

    Loudness is measured by ITU-R BS.1770, in LUFS: of the raw take as the prediction states it, of
    the processed audio from its file. A silent one has none.
    """
    row: dict[str, Any] = {"off": " ".join(sorted(preset.bypass())), **preset.settings()}
    known: Mapping[str, Any] = preset.provenance
    row["model"] = known.get("model", "")
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
