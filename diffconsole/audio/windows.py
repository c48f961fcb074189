"""Cut signals into windows, choose among them, and find the runs of a mask."""

from __future__ import annotations

import numpy as np

__all__ = [
    "faded_ends",
    "loud_windows",
    "repeated",
    "runs_of_true",
    "whole_windows",
    "spread_evenly",
    "window_starts",
]


def whole_windows(values: np.ndarray, size: int) -> np.ndarray:
    """Return the whole windows of a signal, ``(windows, size)``, as a view; the rest is left out.

    Parameters
    ----------
    values : ndarray
        ``(samples,)``.
    size : int
        Samples of a window, 1 at least.
    """
    return values[: len(values) // size * size].reshape(-1, size)


def window_starts(samples: int, length: int, count: int) -> np.ndarray:
    """Return where `count` windows begin that lie evenly over a signal, from its start to its end.

    Parameters
    ----------
    samples, length : int
        Of the signal and of a window, which is no longer.
    count : int
        How many; they overlap where the signal is shorter than all of them together.
    """
    return np.linspace(0, samples - length, count).astype(int)


def spread_evenly(count: int, most: int) -> np.ndarray:
    """Return the indices of at most so many of `count` items, evenly, the first and last included.

    Parameters
    ----------
    count : int
        Items that there are.
    most : int
        Items wanted. Of one the first is taken.
    """
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def loud_windows(powers: np.ndarray, below_db: float, most: int) -> np.ndarray:
    """Return the indices of windows that are not quiet, at most so many, spread evenly.

    Parameters
    ----------
    powers : ndarray
        ``(windows,)``, mean squares.
    below_db : float
        Negative; windows that are quieter against the loudest one are left out.
    most : int
        Windows wanted.
    """
    loud = np.flatnonzero(powers >= powers.max() * 10.0 ** (below_db / 10.0))
    return loud[spread_evenly(len(loud), most)]


def repeated(samples: np.ndarray, least: int) -> np.ndarray:
    """Return ``(channels, samples)`` repeated as a whole until it is long enough.

    Parameters
    ----------
    samples : ndarray
        One sample at least; what is long enough is returned as it is.
    least : int
        Samples of the result, or more.
    """
    if samples.shape[1] >= least:
        return samples
    return np.tile(samples, (1, -(-least // samples.shape[1])))


def faded_ends(length: int, edge: int) -> np.ndarray:
    """Return a gain of 1 with squared-sine fades of `edge` samples, ``(length,)`` float32."""
    fade = np.ones(length, np.float32)
    fade[:edge] = np.sin(0.5 * np.pi * (np.arange(edge) + 0.5) / edge) ** 2
    fade[length - edge :] = fade[:edge][::-1]
    return fade


def runs_of_true(mask: np.ndarray) -> np.ndarray:
    """Return first index and end of every run of true values, ``(runs, 2)``."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return edges.reshape(-1, 2)
