"""Pretrained encoders: one file a family, all with the interface of :class:`Encoder`.

A new family is one file here and one line in ``FAMILIES``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from .base import Encoder

__all__ = ["FAMILIES", "create"]

FAMILIES = {
    "logmel": ("logmel", "LogMelEncoder", "log-mel spectrogram and a small convolutional network"),
}
"""Key: (module, class, one line on what it is)."""


def create(name: str, config: Mapping[str, Any] | None = None) -> Encoder:
    """Build an encoder by its name.

    Parameters
    ----------
    name : str
        A key of ``FAMILIES``.
    config : mapping, optional
        The constructor's arguments, as :meth:`Encoder.config` returned them.

    Raises
    ------
    ModelError
        No such family, or arguments that it does not take.
    """
    if name not in FAMILIES:
        raise ModelError(f"unknown encoder {name!r}; there are: {', '.join(FAMILIES)}")
    module, class_name, _ = FAMILIES[name]
    family = getattr(importlib.import_module(f".{module}", __name__), class_name)
    try:
        return family(**(config or {}))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"encoder {name!r}: {error}") from None
