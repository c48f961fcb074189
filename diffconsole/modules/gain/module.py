"""The gains as modules of the chain."""

from __future__ import annotations

from .process import gain as process

__all__ = ["process", "takes_arrays"]

takes_arrays = True
