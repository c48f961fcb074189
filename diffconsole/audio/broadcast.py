"""The time reference of broadcast WAV files (BWF): where in the day, or the session, a take begins.

Source: EBU Tech 3285, the ``bext`` chunk.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

__all__ = ["clock_text", "stamp_time_reference", "time_lost"]

KEEPS_TIME = ".wav"
"""Ending of the files that keep a time reference."""

_SET_BROADCAST_INFO = 0x10F1
# Texts, date and time; two bytes before the next number, as a C compiler puts them; the version;
# identifier, loudness and reserved bytes; the length of the history, and room for it.
_LAYOUT = struct.Struct("=338s2xQH254s2xI256s")
_VERSION = 1


def stamp_time_reference(file: Any, time_reference: int) -> None:
    """Give a WAV file that is being written its time reference, before its first sample.

    Parameters
    ----------
    file : soundfile.SoundFile
        Open for writing.
    time_reference : int
        Samples since midnight.
    """
    import soundfile

    content = _LAYOUT.pack(bytes(338), time_reference, _VERSION, bytes(254), 0, bytes(256))
    buffer = soundfile._ffi.from_buffer(bytearray(content))
    soundfile._snd.sf_command(file._file, _SET_BROADCAST_INFO, buffer, len(content))


def clock_text(time_reference: int, sample_rate: int) -> str:
    """Return a time reference as hours, minutes, seconds."""
    seconds, rest = divmod(time_reference, sample_rate)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{1000 * rest // sample_rate:03}"


def time_lost(out: Path, time_reference: int | None, sample_rate: int) -> tuple[str, ...]:
    """Say that a file of another kind than WAV does not keep a take's time reference."""
    if time_reference is None or out.suffix.lower() == KEEPS_TIME:
        return ()
    clock = clock_text(time_reference, sample_rate)
    return (f"{out}: does not keep the take's time reference, {clock}; write .wav",)
