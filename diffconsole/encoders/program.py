"""A network as a plain list of ATen's operations: what is kept of an exported program.

The file is safetensors whose header holds the operations as JSON; whoever made it, opening it runs
operations on tensors and nothing else. What the program demands of its input's sizes is met here: a
fixed number of rows, a length that is a multiple of something, or a fixed length, of which longer
audio is made of one piece after another.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FORMAT", "KINDS", "NUMBERS", "Program", "holds_program"]

FORMAT = "diffconsole.program-1"
MOST_NODES = 100_000
LARGEST_HEADER_BYTES = 1 << 25
KINDS = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}
NUMBERS: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(operator, name)
        for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "getitem",
                     "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_")
    },
    **{name: getattr(math, name) for name in ("ceil", "floor", "trunc")},
    **{name: getattr(torch, name) for name in ("sym_max", "sym_min", "sym_int", "sym_float")},
}  # fmt: skip
"""Beside ATen's operations: those on sizes."""


def holds_program(content: bytes) -> bool:
    """Whether these are the bytes that :func:`diffconsole.encoders.exported.rewritten` returns."""
    return content[8:9] == b"{" and FORMAT.encode() in content[: 8 + LARGEST_HEADER_BYTES]


class Program(nn.Module):
    """The operations, run one after another.

    Parameters
    ----------
    content : bytes
        What :func:`diffconsole.encoders.exported.rewritten` returned.

    Raises
    ------
    ValueError
        Damaged, or of operations that this PyTorch has not, or that are more than that.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        program, weights = _read(content)
        try:
            self.input = str(program["input"])
            self.demands = [(int(a), b if b is None else int(b), int(c))
                            for a, b, c in program["shape"]]  # fmt: skip
            self.tensors = dict(program["tensors"])
            nodes = program["nodes"]
            if len(nodes) > MOST_NODES:
                raise ValueError(f"{len(nodes)} operations")
            self.nodes = [(n, _target(t), args, kwargs) for n, t, args, kwargs in nodes]
            self.output = program["output"]
            if len(self.demands) not in (2, 3) or min(c for *_, c in self.demands) < 1:
                raise ValueError(f"damaged program (shape {self.demands})")
            self.weights = nn.Module()
            for key, learnt in program["weights"]:
                _place(self.weights, key, weights[key], bool(learnt))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged program ({error})") from None
        # Up to which operation each value is wanted.
        self.last: dict[str, int] = {}
        for i, (_, _, args, kwargs) in enumerate(self.nodes):
            self.last.update(dict.fromkeys(_names([args, list(kwargs.values())]), i))
        self.last.update(dict.fromkeys(_names(self.output), len(self.nodes)))
        self.changes = any(getattr(getattr(t, "_schema", None), "is_mutable", False)
                           for _, t, _, _ in self.nodes)  # fmt: skip
        lengths = self.demands[-1]
        self.length = lengths[1] if lengths[0] == lengths[1] else None

    def forward(self, audio: Tensor) -> Tensor:
        """Run the program on ``(batch, samples)`` or ``(batch, 1, samples)``, as it was made for.

        Raises
        ------
        ValueError
            It was made for the other.
        """
        if audio.ndim != len(self.demands):
            raise ValueError(f"it takes {len(self.demands)} axes")
        if audio.ndim == 3:
            audio = audio.expand(-1, max(1, self.demands[1][0]), -1)
        least, _, multiple = self.demands[-1]
        samples = max(audio.shape[-1], least)
        step = self.length or multiple
        audio = nn.functional.pad(audio, (0, -(-samples // step) * step - audio.shape[-1]))
        if self.length is None:
            return self._rows(audio)
        found = [self._rows(piece) for piece in audio.split(self.length, dim=-1)]
        if found[0].ndim != 2:
            raise ValueError(
                f"it hears {self.length} samples and no more, which does not tell frames from "
                "features; export it with a dynamic length"
            )
        return torch.stack(found, dim=1)

    def _rows(self, audio: Tensor) -> Tensor:
        """Run on as many rows at a time as the program takes."""
        least, most, multiple = self.demands[0]
        step = most or max(len(audio), least)
        found = []
        for rows in audio.split(step):
            wanted = -(-max(len(rows), least) // multiple) * multiple
            filled = torch.cat((rows, rows.new_zeros(wanted - len(rows), *rows.shape[1:])))
            found.append(self._run(filled)[: len(rows)])
        return torch.cat(found)

    def _run(self, audio: Tensor) -> Tensor:
        held: dict[str, Tensor] = dict(self.weights.named_buffers())
        if self.changes:
            # What the program changes it finds unchanged the next time.
            held = {key: value.clone() for key, value in held.items()}
        held |= dict(self.weights.named_parameters())
        values: dict[str, Any] = {name: held[key] for name, key in self.tensors.items()}
        values[self.input] = audio
        for i, (name, target, args, kwargs) in enumerate(self.nodes):
            used = {k: _decoded(v, values, audio.device) for k, v in kwargs.items()}
            values[name] = target(*_decoded(args, values, audio.device), **used)
            for gone in _names([args, list(kwargs.values())]):
                if self.last[gone] == i:
                    values.pop(gone, None)
        found: Tensor = _decoded(self.output, values, audio.device)
        return found


def _read(content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        program = json.loads(header["__metadata__"]["program"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"damaged program ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(program, dict) or program.get("format") != FORMAT:
        raise ValueError(f"no program of the format {FORMAT}")
    return program, weights


def _target(name: str) -> Callable[..., Any]:
    """The operation of a name; none but ATen's on tensors, and those on sizes."""
    if name in NUMBERS:
        return NUMBERS[name]
    namespace, _, rest = name.partition("::")
    operation, _, overload = rest.partition(".")
    packet = getattr(torch.ops.aten, operation, None) if namespace == "aten" else None
    found = getattr(packet, overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        raise ValueError(f"needs the operation {name}, which this PyTorch has not; update it")
    if any(argument.name == "filename" for argument in found._schema.arguments):
        raise ValueError(f"uses {name}, which opens files")
    return found


def _place(root: nn.Module, key: str, value: Tensor, learnt: bool) -> None:
    """Put a weight where its key says, in modules as its author had them."""
    *path, leaf = key.split(".")
    for name in path:
        if name not in root._modules:
            root.add_module(name, nn.Module())
            if name.isdigit():
                # As the children of a list are: each is a part of its own.
                root.original_name = "ModuleList"  # type: ignore[assignment]
        root = root.get_submodule(name)
    if learnt:
        root.register_parameter(leaf, nn.Parameter(value))
    else:
        root.register_buffer(leaf, value)


def _names(value: Any) -> list[str]:
    """The nodes that an argument names."""
    if isinstance(value, dict):
        return [value["node"]] if "node" in value else []
    return [name for v in value for name in _names(v)] if isinstance(value, list) else []


def _decoded(value: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    if isinstance(value, list):
        return [_decoded(v, values, device) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "node":
        return values[held]
    if kind == "device":
        return device
    if kind == "float":
        return float(held)
    found = getattr(torch, held)
    if not isinstance(found, KINDS[kind]):
        raise ValueError(f"damaged program ({kind} {held})")
    return found
