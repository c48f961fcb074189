"""Endings of the files that are taken for audio; what lies behind them, the reader decides."""

from __future__ import annotations

from pathlib import Path

__all__ = ["AUDIO_SUFFIXES", "FOREIGN_SUFFIXES", "MPEG_SUFFIXES", "has_audio_ending"]

MPEG_SUFFIXES = (".mp3", ".mpga", ".mpeg")
"""Of MPEG audio; such a file may begin in the middle of a frame."""

FOREIGN_SUFFIXES = (
    ".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".alac", ".webm", ".mka", ".mkv", ".wma",
    ".ape", ".wv", ".tta", ".dsf", ".amr", ".ac3", ".au", ".snd",
)  # fmt: skip
"""Read where an ffmpeg is installed; without one the reader says how to convert them."""

AUDIO_SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".flac", ".ogg", ".oga", ".opus",
    ".aif", ".aiff", ".aifc", ".caf", *MPEG_SUFFIXES, *FOREIGN_SUFFIXES,
)  # fmt: skip
"""Lower case, with their dot: the one list for folders of pairs, voices and takes."""


def has_audio_ending(path: Path) -> bool:
    """Whether a name ends like an audio file's, in any case."""
    return path.suffix.lower() in AUDIO_SUFFIXES
