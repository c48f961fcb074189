"""The package's own exceptions: each message names the thing, the value and the remedy.

The command line prints the message as one line and exits with ``exit_code``.
"""

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
