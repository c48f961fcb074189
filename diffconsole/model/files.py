"""Reading a model's folder: nothing that its files state is believed before it is compared.

``model.json`` says which encoder to build and how wide; it is short, its numbers are bounded, and
what it describes is first built without memory (PyTorch's meta device) and held against the header
of ``model.safetensors``. Only then are weights read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ..errors import ModelError
from .folder import (
    SIDECAR,
    WEIGHTS,
    Shapes,
    check_regular,
    compare_shapes,
    is_optional,
    names_in,
    read_header,
    read_regular,
    read_sidecar,
    renamed,
)
from .known import Known
from .rows import Names, RowTensors, at_places, file_names, padding, row_tensors

if TYPE_CHECKING:
    from .predictor import Predictor

__all__ = ["SIDECAR", "WEIGHTS", "load_folder", "read_regular"]

# What a network may have beside its weights: filters, windows, modules without weights.
SPARE_PARTS, SPARE_ELEMENTS = 10_000, 1 << 26


class _TooLarge(ModelError):
    """What is described is far larger than the weights that are there."""


def load_folder(
    kind: type[Predictor],
    folder: Path,
    optional: Collection[str],
    expected: Mapping[str, Any],
    *,
    trust: bool,
) -> Predictor:
    """Read a model folder.

    Parameters
    ----------
    kind : type
        The class to build.
    folder : Path
        What its ``save`` wrote.
    optional : collection of str
        Tensors of a head that older models lack.
    expected : mapping
        What ``format`` and ``version`` must be.
    trust : bool
        Also open an encoder's own file that runs its author's code.

    Raises
    ------
    ModelError
        Missing, damaged, without the strip's gains among its parameters, or in need of trust.
    """
    from safetensors import SafetensorError

    try:
        sidecar = read_sidecar(folder, expected)
        path = folder / WEIGHTS
        check_regular(path)
        shapes = read_header(path)
        names = names_in(folder, sidecar)
        model = _built(kind, folder, sidecar, shapes, optional, trust, names)
        _fill(model, path, optional, names)
        model.known = Known.of(names["parameters"])
        model.info = dict(sidecar.get("info", {}))
    except NotADirectoryError:
        raise ModelError(
            f"{folder}: is a file; give the folder of a model, as finetune or pretrain wrote it"
        ) from None
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: no model here ({Path(error.filename or SIDECAR).name} is missing); give a "
            "folder that finetune or pretrain wrote"
        ) from None
    except _TooLarge as error:
        raise ModelError(f"{folder}: damaged model ({error})") from None
    except (
        OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError,
        AttributeError, IndexError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"{folder}: damaged model ({reason})") from None
    return model


def _built(
    kind: type[Predictor],
    folder: Path,
    sidecar: Mapping[str, Any],
    shapes: Shapes,
    optional: Collection[str],
    trust: bool,
    names: Names,
) -> Predictor:
    """Build the model: without memory first where that can be done, and compare the shapes."""
    from ..encoders import create, has_own_file

    name, config = sidecar["encoder"]["name"], sidecar["encoder"]["config"]
    size = int(sidecar["hidden"]), bool(sidecar.get("style", False))
    encoder = None
    with _bounded(shapes):
        if has_own_file(name):
            encoder = skeleton = create(name, config, folder, trust=trust)
        else:
            try:
                with torch.device("meta"):
                    skeleton = create(name, config, folder)
            except _TooLarge:
                raise
            except Exception:  # noqa: BLE001 - some networks compute while they are built.
                encoder = skeleton = create(name, config, folder)
        with torch.device("meta"):
            empty = kind(skeleton, *size)
        try:
            compare_shapes(_in_file(empty, names), renamed(file_names(empty), shapes), optional)
        except ValueError:
            if encoder is None:
                # A network may know why its weights have other names.
                held = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
                with suppress(RuntimeError):
                    empty.load_state_dict(held, assign=True)
            raise
        return kind(encoder or create(name, config, folder), *size)


@contextmanager
def _bounded(shapes: Shapes) -> Iterator[None]:
    """Stop what builds more parts or elements than the weights in the file could fill."""
    parts = SPARE_PARTS + 20 * len(shapes)
    elements = SPARE_ELEMENTS + 4 * sum(_elements(shape) for shape in shapes.values())

    def count_module(*_: Any) -> None:
        nonlocal parts
        parts -= 1
        if parts < 0:
            raise _TooLarge(f"{SIDECAR} describes many more parts than {WEIGHTS} holds")

    def count_tensor(_: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal elements
        count_module()
        elements -= 0 if value is None else value.numel()
        if elements < 0:
            raise _TooLarge(f"{SIDECAR} describes larger parts than {WEIGHTS} holds ({name[:40]})")

    hooks = [
        torch_module.register_module_module_registration_hook(count_module),
        torch_module.register_module_parameter_registration_hook(count_tensor),
        torch_module.register_module_buffer_registration_hook(count_tensor),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _in_file(model: nn.Module, names: Names) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a model's tensors have in a file with rows of these names."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name, (kind, dim) in row_tensors(model).items():
        shapes[name] = (*shapes[name][:dim], len(names[kind]), *shapes[name][dim + 1 :])
    return shapes


def _fill(model: nn.Module, path: Path, optional: Collection[str], names: Names) -> None:
    """Read the weights into a model of the same shapes; numbers that are none are damage."""
    from safetensors.torch import load_file

    weights = renamed(file_names(model), load_file(str(path)))
    learnt = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, value in weights.items():
        if not value.is_floating_point():
            continue
        bad = (~value.isfinite() if name in learnt else value.isnan()).any()
        if bool(bad):
            raise ValueError(f"{WEIGHTS}: {name} holds values that are no numbers")
    fresh = model.state_dict()
    rows: RowTensors = row_tensors(model)
    weights = {
        name: at_places(value, rows[name], names, padding(name, fresh[name]))
        if name in rows
        else value
        for name, value in weights.items()
    }
    weights = {**{name: fresh[name] for name in fresh if is_optional(name, optional)}, **weights}
    model.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    )
