"""Tensors with a row for each parameter, by the parameters' keys instead of their places.

A head (:class:`diffconsole.model.head.Head`) has as many rows as the table has parameters, and
everything that trains it or uses its answers may rely on that. Files hold the rows of the
parameters that were known when they were written, and list their keys. When a file is read, its
rows go to their places by key; the places of parameters that it does not know are padded with rows
that answer the parameter's rest value, surely, for every voice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..kernels.arrays import Numbers, math_of
from ..strip.later import normalised_rest
from ..strip.parameters import PARAMETERS
from .head_rows import FILE_NAMES, LEAST_LOG_VARIANCE, PARAMETER_ROWS, SWITCH_COLUMNS
from .switches import RULES

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "KEYS",
    "Names",
    "RowTensors",
    "at_places",
    "file_names",
    "file_names_of_heads",
    "padding",
    "row_tensors",
    "rows_of_heads",
    "taken_out",
]

KEYS = tuple(p.key for p in PARAMETERS)
"""Of the rows, in the order of the table."""

Names = Mapping[str, Sequence[str]]
"""By ``"parameters"`` and ``"switches"``, what the rows of a file stand for, in its order."""

RowTensors = Mapping[str, tuple[str, int]]
"""By the name of a tensor in a state dict, what its rows stand for and along which dimension."""

TABLE: Names = {"parameters": KEYS, "switches": tuple(RULES)}


def row_tensors(network: nn.Module) -> dict[str, tuple[str, int]]:
    """Return which tensors of a network's state dict have rows of parameters or of switches."""
    return rows_of_heads(_heads(network))


def rows_of_heads(starts: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return the same by how the names of each head's tensors begin, as ``"head."``."""
    found = {}
    for start in starts:
        found.update({f"{start}{name}": ("parameters", 0) for name in PARAMETER_ROWS})
        found.update({f"{start}{name}": ("switches", 1) for name in SWITCH_COLUMNS})
    return found


def file_names(network: nn.Module) -> dict[str, str]:
    """Return the names in model files by those in a network's state dict, where they differ.

    The names of version 1 of the model format stay in files, so that any version of the program
    reads them.
    """
    return file_names_of_heads(_heads(network))


def file_names_of_heads(starts: Iterable[str]) -> dict[str, str]:
    """Return the same by how the names of each head's tensors begin."""
    return {start + name: start + former for start in starts for name, former in FILE_NAMES.items()}


def _heads(network: nn.Module) -> list[str]:
    from .head import Head

    heads = (path for path, module in network.named_modules() if isinstance(module, Head))
    return [f"{path}." if path else "" for path in heads]


def at_places(value: Numbers, rows: tuple[str, int], names: Names, padded: Numbers) -> Numbers:
    """Return a tensor with the rows of the table, from one with the rows of a file.

    Parameters
    ----------
    value : Tensor or ndarray
        As the file has it.
    rows : tuple
        What its rows stand for, and along which dimension.
    names : mapping
        What the rows of the file stand for.
    padded : Tensor or ndarray
        With the rows of the table: those that the file lacks are taken from it.
    """
    kind, dim = rows
    if tuple(names[kind]) == tuple(TABLE[kind]):
        return value
    there = {name: place for place, name in enumerate(names[kind])}
    behind = len(names[kind])
    places = [there.get(name, behind + place) for place, name in enumerate(TABLE[kind])]
    m = math_of(value)
    return m.taken(m.concatenate((value, m.cast(padded, value)), dim), dim, places)


def taken_out(value: Numbers, rows: tuple[str, int], names: Names) -> Numbers:
    """Return the rows of a tensor of the table's that a file holds, in the order of its names."""
    kind, dim = rows
    if tuple(names[kind]) == tuple(TABLE[kind]):
        return value
    places = [TABLE[kind].index(name) for name in names[kind]]
    return math_of(value).taken(value, dim, places)


def padding(name: str, like: Numbers) -> Numbers:
    """Return the rows of parameters that a file does not know, for a tensor of a head.

    Parameters
    ----------
    name : str
        Of the tensor in a state dict: ``"head.mean.bias"``.
    like : Tensor or ndarray
        Of the shape that is wanted.
    """
    m = math_of(like)
    part = ".".join(name.split(".")[-2:])
    if part == "mean.bias":
        rest = m.at_most(m.at_least(m.like(normalised_rest(KEYS), like), 0.005), 0.995)
        return m.logit(rest)
    zeros = m.cast(m.filled(like, 0.0), like)
    if part == "log_variance.bias":
        return zeros + LEAST_LOG_VARIANCE
    if name.endswith("switch_line"):
        return zeros + m.like([[1.0], [0.0]], like)
    return zeros
