"""Settings that are no finite numbers, refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import SettingsError
from .parameter import Parameter
from .parameters import BY_KEY

__all__ = ["allowed_range", "not_finite", "refuse_not_finite"]


def allowed_range(parameter: Parameter) -> str:
    """Return the range of a parameter in words: ``"0.2 to 10 s"``."""
    unit = parameter.unit if parameter.unit in ("", ":1") else f" {parameter.unit}"
    return f"{parameter.low:g} to {parameter.high:g}{unit}"


def not_finite(key: str, value: float) -> SettingsError:
    """Return the error of a setting that is infinite or not a number.

    Parameters
    ----------
    key : str
        Of the parameter: ``"reverb.decay_s"``.
    value : float
        What was given.
    """
    return SettingsError(
        f"setting {key!r} is {value}; it must be finite: give a value from "
        f"{allowed_range(BY_KEY[key])}"
    )


def refuse_not_finite(settings: Mapping[str, Any]) -> None:
    """Refuse settings that are infinite or not a number.

    The values are copied from their device, so call it where they are needed as plain numbers
    anyway, or where something has gone wrong.

    Parameters
    ----------
    settings : mapping of str to Tensor or ndarray
        ``(batch,)`` each, by key.

    Raises
    ------
    SettingsError
        Names the first such setting, its value and the range.
    """
    for key, values in settings.items():
        for value in values.tolist():
            if not math.isfinite(value):
                raise not_finite(key, value)
