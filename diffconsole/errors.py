"""The package's own exceptions: each message names the thing, the value and the remedy.

The command line prints the message as one line and exits with ``exit_code``.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "DiffconsoleError",
    "EnhanceError",
    "ExportError",
    "ModelError",
    "OutputError",
    "PageSizeError",
    "PairError",
    "PresetError",
    "SettingsError",
    "explained",
]


class DiffconsoleError(Exception):
    """Base of all errors that diffconsole raises on purpose."""

    exit_code = 1


class AudioError(DiffconsoleError):
    """An audio file or buffer cannot be used."""


class PresetError(DiffconsoleError):
    """A preset cannot be read, or holds something that the format does not allow."""


class SettingsError(DiffconsoleError):
    """A console call got a setting or an audio shape that it cannot use."""


class PairError(DiffconsoleError):
    """Raw and mixed files cannot be paired, or are not the same performance."""


class ModelError(DiffconsoleError):
    """A model folder is missing, damaged, or of another kind."""


class ExportError(DiffconsoleError):
    """A preset cannot be written for other software, or read back from it."""


class EnhanceError(DiffconsoleError):
    """A program that should clean a take is missing, failed, or wrote nothing that can be used."""


class OutputError(DiffconsoleError):
    """A result cannot be written."""


class PageSizeError(OutputError):
    """An audition page would be too large to open well."""


def explained(error: Exception) -> str | None:
    """Return what to say to the user of an error; None of what only a bug can cause."""
    if isinstance(error, DiffconsoleError):
        return str(error)
    # torch says "DefaultCPUAllocator: can't allocate memory" in a RuntimeError.
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocat" in str(error)
    ):
        return "not enough memory; try shorter files"
    if isinstance(error, ValueError) and "null" in str(error) and "embedded" in str(error):
        return "a file name holds a NUL character, which no system takes; rename it in the list"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return None
