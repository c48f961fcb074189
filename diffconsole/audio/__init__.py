"""Audio files in and out, containers, resampling, loudness, alignment.

The names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import (
        MAX_SAMPLE_RATE,
        MIN_SAMPLE_RATE,
        AudioFile,
        loudness_lufs,
        peak_dbfs,
        read_audio,
        read_audio_file,
        resample,
        write_audio,
    )

__all__ = [
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioFile",
    "loudness_lufs",
    "peak_dbfs",
    "read_audio",
    "read_audio_file",
    "resample",
    "write_audio",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".files", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
