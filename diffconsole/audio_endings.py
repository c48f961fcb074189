"""Endings of the files that are taken for audio; what lies behind them, the reader decides."""

from __future__ import annotations

from pathlib import Path

__all__ = ["AUDIO_SUFFIXES", "has_audio_ending"]

AUDIO_SUFFIXES = (
    # Read by libsndfile.
    ".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".flac", ".ogg", ".oga", ".opus",
    ".mp3", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd",
    # Read where an ffmpeg is installed; without one the reader says how to convert them.
    ".m4a", ".m4b", ".mp4", ".aac", ".alac", ".webm", ".mka",
)  # fmt: skip
"""Lower case, with their dot: the one list for folders of pairs, voices and takes."""


def has_audio_ending(path: Path) -> bool:
    """Whether a name ends like an audio file's, in any case."""
    return path.suffix.lower() in AUDIO_SUFFIXES
