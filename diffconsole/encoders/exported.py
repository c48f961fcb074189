"""Programs that ``torch.export`` wrote (``.pt2``), kept as a plain list of operations.

Reading a ``.pt2`` file unpickles, so it runs whatever its author put in: only files that are
trusted are read, and only once. What an encoder needs of them, the ATen operations in their order
and the weights, is rewritten as a safetensors file whose header holds the operations as JSON. A
saved model has that file: opening it runs operations on tensors and nothing else, whoever made it.

What a program demands of its input's sizes is kept, too, and met when it is run (``program.py``).
"""

from __future__ import annotations

import io
import json
import logging
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from .program import FORMAT, KINDS, NUMBERS

__all__ = ["is_exported", "rewritten"]

LONGEST_INPUT_SECONDS = 5
CHECKS = ("_assert", "sym_constrain_range", "_guards")


def is_exported(content: bytes) -> bool:
    """Whether these are the bytes of a ``.pt2`` file, not of a TorchScript file."""
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        return False
    return any(
        name.endswith(("archive_format", "serialized_exported_program.json")) for name in names
    )


def rewritten(content: bytes, sample_rate: int) -> bytes:
    """Turn a ``.pt2`` file into a program's file. This runs its author's code.

    Parameters
    ----------
    content : bytes
        What ``torch.export.save`` wrote.
    sample_rate : int
        Hz, to find how long an input a program takes.

    Raises
    ------
    ValueError
        Damaged, of a newer PyTorch, or not of one audio input and operations of ATen.
    """
    from safetensors.torch import save

    with _quietly():
        try:
            exported = torch.export.load(io.BytesIO(content))
        except Exception as error:  # noqa: BLE001 - what a damaged or strange file raises is open.
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise ValueError(
                f"is no exported program that can be loaded ({reason}); torch.export.save writes "
                "one"
            ) from None
    names, audio_input = _inputs(exported)
    weights, tied = _weights(exported, names)
    nodes = []
    for node in exported.graph.nodes:
        if node.op == "call_function" and not _is_check(node.target):
            _refuse_training(node)
            args, kwargs = _coded(list(node.args)), _coded(dict(node.kwargs))
            nodes.append([node.name, _target_name(node.target), args, kwargs])
        elif node.op not in ("placeholder", "output", "call_function"):
            raise ValueError(f"has {node.op} {node.target}: only operations on tensors can be kept")
    program = {
        "format": FORMAT,
        "input": audio_input.name,
        "shape": _demands(exported, audio_input, sample_rate),
        "tensors": tied,
        "weights": [[key, isinstance(weights[key], nn.Parameter)] for key in weights],
        "nodes": nodes,
        "output": _coded(_output(exported)),
    }
    text = json.dumps(program, allow_nan=False, separators=(",", ":"))
    kept = {key: value.detach().clone().contiguous() for key, value in weights.items()}
    return save(kept, metadata={"program": text})


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what PyTorch logs about old and damaged files: it is reported in one line instead."""
    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _inputs(exported: Any) -> tuple[dict[str, str], Any]:
    """What each placeholder stands for, but the audio, and the audio's node."""
    placeholders = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    names, audio = {}, []
    for spec in exported.graph_signature.input_specs:
        if spec.kind.name in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            names[spec.arg.name] = spec.target
        elif isinstance(placeholders[spec.arg.name].meta.get("val"), Tensor):
            audio.append(placeholders[spec.arg.name])
    if len(audio) != 1:
        raise ValueError(f"takes {len(audio)} tensors; an encoder takes one, the audio")
    return names, audio[0]


def _weights(exported: Any, names: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by their keys, and for each placeholder its key; what is one tensor has one."""
    weights: dict[str, Tensor] = {}
    keys: dict[tuple[Any, ...], str] = {}
    tied = {}
    place = {node: i for i, node in enumerate(exported.graph.nodes)}
    used = {
        node.name: min((place[user] for user in node.users), default=len(place))
        for node in place
        if node.name in names
    }
    # In the order in which sound comes by: the parts are frozen from the bottom.
    for placeholder in sorted(names, key=lambda name: used[name]):
        key = names[placeholder]
        value = exported.state_dict.get(key, exported.constants.get(key))
        if not isinstance(value, Tensor):
            raise ValueError(f"holds no tensor {key}")
        same = (value.data_ptr(), value.dtype, value.shape, value.stride())
        tied[placeholder] = keys.setdefault(same, key) if value.numel() else key
        weights.setdefault(tied[placeholder], value)
    return weights, tied


def _output(exported: Any) -> Any:
    """The node of the first output that is not a changed buffer."""
    (node,) = (node for node in exported.graph.nodes if node.op == "output")
    for spec, value in zip(exported.graph_signature.output_specs, node.args[0], strict=True):
        if spec.kind.name == "USER_OUTPUT":
            return value
    raise ValueError("has no output")


def _demands(exported: Any, audio_input: Any, sample_rate: int) -> list[list[int | None]]:
    """Of each axis least, most (None without bound), and what it is a multiple of."""
    demands: list[list[int | None]] = []
    for size in audio_input.meta["val"].shape:
        if isinstance(size, int):
            demands.append([size, size, 1])
            continue
        expression = size.node.expr
        multiple, symbol = expression.as_coeff_Mul()
        if not symbol.is_Symbol:
            raise ValueError(f"takes sizes of {expression}; export it with simpler dynamic shapes")
        bounds = exported.range_constraints.get(symbol)
        least, most = 1, None
        if bounds is not None:
            least = int(bounds.lower)
            most = int(bounds.upper) if bounds.upper.is_Integer else None
        factor = int(multiple)
        demands.append([least * factor, None if most is None else most * factor, factor])
    if len(demands) not in (2, 3):
        raise ValueError(f"takes {len(demands)} axes; an encoder takes (batch, samples)")
    least, most, _ = cast(tuple[int, "int | None", int], demands[-1])
    if most is not None and least != most and most < LONGEST_INPUT_SECONDS * sample_rate:
        raise ValueError(
            f"takes {most / sample_rate:.2g} s at most; export it for {LONGEST_INPUT_SECONDS} s or "
            "without a bound"
        )
    return demands


def _is_check(target: Any) -> bool:
    name = getattr(target, "__name__", str(target))
    return name.split(".")[0].startswith(CHECKS)


def _refuse_training(node: Any) -> None:
    """Dropout, and statistics of the batch, are no part of what a vocal sounds like."""
    schema = getattr(node.target, "_schema", None)
    for i, argument in enumerate(schema.arguments if schema else ()):
        value = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
        if argument.name in ("train", "training") and value is True:
            raise ValueError("was exported in training mode; call .eval() before torch.export")


def _target_name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        name = target.name()
        return name if "." in name else f"{name}.default"
    for name, function in NUMBERS.items():
        if target is function:
            return name
    raise ValueError(f"uses {target}, which is no operation of ATen; only such can be kept")


def _coded(value: Any) -> Any:
    """An argument as JSON: lists stay, all that JSON has no word for is an object of one key."""
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, (list, tuple)):
        return [_coded(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _coded(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.device):
        # Where the audio is, wherever that was when the program was exported.
        return {"device": None}
    for kind, of in KINDS.items():
        if isinstance(value, of):
            return {kind: str(value).removeprefix("torch.")}
    raise ValueError(f"holds {type(value).__name__} {value}, which cannot be kept")
