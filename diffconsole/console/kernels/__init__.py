"""The recursions under the processors: one interface, two implementations.

``sections(audio, coefficients)`` runs a cascade of second-order sections and
``compress(audio, ...)`` the compressor; both are differentiable in everything. The processors
call these two and do not know which implementation answers:

- CPU tensors with numba installed: time-domain loops (:mod:`.cpu`);
- anything else: torch operations that run on every device (:mod:`.generic`).

``DIFFCONSOLE_KERNEL=generic`` in the environment, or :func:`use`, forces the second.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType

from torch import Tensor

from ...errors import SettingsError

__all__ = ["NAMES", "compress", "name_for", "sections", "use"]

NAMES = ("cpu", "generic")

_forced: ContextVar[str] = ContextVar("kernel", default="")


@contextlib.contextmanager
def use(name: str) -> Iterator[None]:
    """Force ``"cpu"`` or ``"generic"`` kernels inside a ``with`` block."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def name_for(audio: Tensor) -> str:
    """Return the name of the implementation that serves this tensor."""
    forced = _forced.get() or os.environ.get("DIFFCONSOLE_KERNEL", "")
    if forced:
        return forced
    return "cpu" if audio.device.type == "cpu" and _has_numba() else "generic"


def sections(audio: Tensor, coefficients: Tensor) -> Tensor:
    """Run each item through its cascade of second-order sections, from silence.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``, float32 or float64.
    coefficients : Tensor
        ``(batch, sections, 5)`` float64: b0, b1, b2, a1, a2 with a0 = 1.

    Returns
    -------
    Tensor
        The shape and type of `audio`.
    """
    return _module(name_for(audio)).sections(audio, coefficients)


def compress(
    audio: Tensor,
    attack: Tensor,
    release: Tensor,
    threshold_db: Tensor,
    slope: Tensor,
    knee_db: Tensor,
    makeup_db: Tensor,
) -> Tensor:
    """Run the compressor of :mod:`diffconsole.console.compressor`.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``, float32 or float64.
    attack, release : Tensor
        ``(batch,)`` float64, the one-pole coefficients ``exp(−1/(τ·fs))``.
    threshold_db, slope, knee_db, makeup_db : Tensor
        ``(batch,)`` float64; ``slope = 1/ratio − 1``.

    Returns
    -------
    Tensor
        The shape and type of `audio`.
    """
    kernel = _module(name_for(audio))
    return kernel.compress(audio, attack, release, threshold_db, slope, knee_db, makeup_db)


@functools.cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def _module(name: str) -> ModuleType:
    if name not in NAMES:
        raise SettingsError(f"no kernel is called {name!r}; choose one of {', '.join(NAMES)}")
    return importlib.import_module(f"{__name__}.{name}")
