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
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["FORMAT", "KINDS", "NUMBERS", "Program", "holds_program"]

FORMAT = "diffconsole.program-1"
MOST_NODES = 100_000
MOST_ELEMENTS = 1 << 30
"""Of all tensors that a run holds at one time; more is no encoder for a vocal."""
LARGEST_NUMBER = 2**63
DEEPEST = 16
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
_ON_NUMBERS = frozenset(NUMBERS.values())


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
            _check_numbers([node[2:] for node in nodes], DEEPEST)
            self.nodes = [(str(n), _target(t), args, dict(k)) for n, t, args, k in nodes]
            self.output = program["output"]
            _check_numbers([self.output, self.demands], DEEPEST)
            if len(self.demands) not in (2, 3) or min(c for *_, c in self.demands) < 1:
                raise ValueError(f"damaged program (shape {self.demands})")
            self.weights = nn.Module()
            for key, learnt in program["weights"]:
                _place(self.weights, key, weights[key], bool(learnt))
        except (
            KeyError, TypeError, AttributeError, RuntimeError, OverflowError, IndexError,
        ) as error:  # fmt: skip
            reason = " ".join(str(error).split())[:100]
            raise ValueError(f"damaged program ({reason})") from None
        # Up to which operation each value is wanted.
        self.last: dict[str, int] = {}
        for i, (_, _, args, kwargs) in enumerate(self.nodes):
            self.last.update(dict.fromkeys(_names([args, list(kwargs.values())]), i))
        self.last.update(dict.fromkeys(_names(self.output), len(self.nodes)))
        self.changes = any(getattr(getattr(t, "_schema", None), "is_mutable", False)
                           for _, t, _, _ in self.nodes)  # fmt: skip
        # The shapes of audio for which the sizes of all results are known to be bounded.
        self.bounded: set[tuple[int, ...]] = set()
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
                f"it takes {self.length} samples and no more, which does not distinguish frames "
                "from features; export it with a dynamic length"
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
        shape = tuple(audio.shape)
        room = None if shape in self.bounded else _Room(values)
        for i, (name, target, args, kwargs) in enumerate(self.nodes):
            used = {k: _decoded(v, values, audio.device) for k, v in kwargs.items()}
            given = _decoded(args, values, audio.device)
            if target in _ON_NUMBERS:
                result = _number(target, given, used)
            else:
                if room is not None:
                    room.make(target, given, used)
                result = target(*given, **used)
            if self.last.get(name, -1) > i:
                values[name] = result
                if room is not None:
                    room.keep(name, result)
            for gone in _names([args, list(kwargs.values())]):
                if self.last[gone] == i:
                    values.pop(gone, None)
                    if room is not None:
                        room.free(gone)
        self.bounded.add(shape)
        found: Tensor = _decoded(self.output, values, audio.device)
        return found


class _Room:
    """What the tensors of a run take together, known before each result is made."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.held = {name: _elements(value) for name, value in values.items()}
        self.total = sum(self.held.values())

    def make(self, target: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Refuse an operation whose result would be too large.

        Raises
        ------
        ValueError
            It would.
        """
        try:
            # Without memory; what depends on the numbers themselves has no size beforehand.
            given = _without_memory(kwargs)
            if any(argument.name == "device" for argument in cast(Any, target)._schema.arguments):
                given["device"] = torch.device("meta")
            result = target(*_without_memory(args), **given)
        except Exception:  # noqa: BLE001 - the operation itself says what is wrong, when it runs.
            return
        self._check(_elements(result))

    def keep(self, name: str, result: Any) -> None:
        """Count a result that was made."""
        self.held[name] = _elements(result)
        self.total += self.held[name]
        self._check(0)

    def free(self, name: str) -> None:
        """Count no more what is gone."""
        self.total -= self.held.pop(name, 0)

    def _check(self, more: int) -> None:
        if self.total + more > MOST_ELEMENTS:
            raise ValueError(
                f"holds {self.total + more} numbers at one time, {MOST_ELEMENTS} are allowed"
            )


def _elements(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return sum(_elements(each) for each in value)
    return value.numel() if isinstance(value, Tensor) else 0


def _without_memory(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_memory(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_without_memory(each) for each in value])
    if isinstance(value, torch.device):
        return torch.device("meta")
    return value.to("meta") if isinstance(value, Tensor) else value


def _number(target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run an operation on sizes: on numbers alone, and to numbers that a tensor can have.

    Raises
    ------
    ValueError
        Something else goes in, or a larger number comes out.
    """
    values = [*args, *kwargs.values()]
    picks = target is operator.getitem and len(args) == 2 and isinstance(args[0], (list, tuple))
    if not all(isinstance(v, (bool, int, float)) for v in (values[1:] if picks else values)):
        raise ValueError("damaged program (an operation on sizes of something else)")
    if target is operator.pow and (
        abs(values[0]) > 1 and abs(values[1]) * math.log2(abs(values[0])) > 64
    ):
        raise ValueError("damaged program (a size without bound)")
    try:
        result = target(*args, **kwargs)
    except ArithmeticError as error:
        raise ValueError(f"damaged program ({error})") from None
    if isinstance(result, (int, float)) and abs(result) > LARGEST_NUMBER:
        raise ValueError("damaged program (a size without bound)")
    return result


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


def _check_numbers(value: Any, depth: int) -> None:
    """Refuse what no size is, and lists without end.

    Raises
    ------
    ValueError
        There is such.
    """
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ValueError(f"damaged program (a number of {value.bit_length()} bits)")
    if isinstance(value, (list, tuple, dict)):
        if depth == 0:
            raise ValueError("damaged program (lists in lists)")
        for each in value.values() if isinstance(value, dict) else value:
            _check_numbers(each, depth - 1)


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
