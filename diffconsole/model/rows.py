"""Tensors with a row for each parameter, by the parameters' keys instead of their places.

A head (:class:`diffconsole.model.head.Head`) has as many rows as the table has parameters, and
everything that trains it or uses its answers may rely on that. Files hold the rows of the
parameters that were known when they were written, and list their keys. When a file is read, its
rows go to their places by key; the places of parameters that it does not know are padded with rows
that answer the parameter's rest value, surely, for every voice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..strip.later import normalised_rest
from ..strip.parameters import PARAMETERS
from .head import FILE_NAMES, LEAST_LOG_VARIANCE, PARAMETER_ROWS, SWITCH_COLUMNS, Head
from .switches import RULES

__all__ = [
    "KEYS",
    "Names",
    "RowTensors",
    "at_places",
    "file_names",
    "padding",
    "row_tensors",
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
    found = {}
    for path, module in network.named_modules():
        if isinstance(module, Head):
            start = f"{path}." if path else ""
            found.update({f"{start}{name}": ("parameters", 0) for name in PARAMETER_ROWS})
            found.update({f"{start}{name}": ("switches", 1) for name in SWITCH_COLUMNS})
    return found


def file_names(network: nn.Module) -> dict[str, str]:
    """Return the names in model files by those in a network's state dict, where they differ.

    The names of version 1 of the model format stay in files, so that any version of the program
    reads them.
    """
    found = {}
    for path, module in network.named_modules():
        if isinstance(module, Head):
            start = f"{path}." if path else ""
            found.update({start + name: start + former for name, former in FILE_NAMES.items()})
    return found


def at_places(value: Tensor, rows: tuple[str, int], names: Names, padded: Tensor) -> Tensor:
    """Return a tensor with the rows of the table, from one with the rows of a file.

    Parameters
    ----------
    value : Tensor
        As the file has it.
    rows : tuple
        What its rows stand for, and along which dimension.
    names : mapping
        What the rows of the file stand for.
    padded : Tensor
        With the rows of the table: those that the file lacks are taken from it.
    """
    kind, dim = rows
    if tuple(names[kind]) == tuple(TABLE[kind]):
        return value
    there = {name: place for place, name in enumerate(names[kind])}
    both = [(place, there[name]) for place, name in enumerate(TABLE[kind]) if name in there]
    ours, theirs = (torch.tensor(places, dtype=torch.long) for places in zip(*both, strict=True))
    return padded.to(value).index_copy(dim, ours, value.index_select(dim, theirs))


def taken_out(value: Tensor, rows: tuple[str, int], names: Names) -> Tensor:
    """Return the rows of a tensor of the table's that a file holds, in the order of its names."""
    kind, dim = rows
    if tuple(names[kind]) == tuple(TABLE[kind]):
        return value
    places = torch.tensor([TABLE[kind].index(name) for name in names[kind]], dtype=torch.long)
    return value.index_select(dim, places.to(value.device))


def padding(name: str, like: Tensor) -> Tensor:
    """Return the rows of parameters that a file does not know, for a tensor of a head.

    Parameters
    ----------
    name : str
        Of the tensor in a state dict: ``"head.mean.bias"``.
    like : Tensor
        Of the shape that is wanted.
    """
    part = ".".join(name.split(".")[-2:])
    if part == "mean.bias":
        rest = torch.tensor(normalised_rest(KEYS)).clamp(0.005, 0.995)
        return torch.logit(rest).to(like)
    if part == "log_variance.bias":
        return torch.full_like(like, LEAST_LOG_VARIANCE)
    if name.endswith("switch_line"):
        return like.new_tensor([[1.0], [0.0]]).expand_as(like).clone()
    return torch.zeros_like(like)
