"""Reading a model's folder: nothing that its files state is believed before it is compared.

``model.json`` says which encoder to build and how wide; it is short, its numbers are bounded, and
what it describes is first built without memory (PyTorch's meta device) and held against the header
of ``model.safetensors``. Only then are weights read.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ..errors import ModelError
from ..strip.later import FIRST_SWITCHES
from ..strip.parameters import CHAIN
from .known import Known
from .rows import Names, RowTensors, at_places, file_names, padding, row_tensors
from .switches import RULES

if TYPE_CHECKING:
    from .predictor import Predictor

__all__ = ["SIDECAR", "WEIGHTS", "load_folder", "read_regular"]

SIDECAR, WEIGHTS = "model.json", "model.safetensors"
LARGEST_SIDECAR_BYTES = 1 << 20
LARGEST_NUMBER = 2**31
LARGEST_HIDDEN = 1 << 16
MOST_NAMES = 10_000
LEVELS = {p.key for m in CHAIN if m.place in ("input", "output") for p in m.parameters}
DEEPEST = 32
# What a network may have beside its weights: filters, windows, modules without weights.
SPARE_PARTS, SPARE_ELEMENTS = 10_000, 1 << 26
SHOWN = 3

Shapes = Mapping[str, tuple[int, ...]]
T = TypeVar("T")


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
        sidecar = _sidecar(folder, expected)
        path = folder / WEIGHTS
        _check_regular(path)
        shapes = _header(path)
        names = _names(folder, sidecar)
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


def read_regular(path: Path, largest_bytes: int) -> bytes:
    """Return the content of an ordinary file of at most so many bytes.

    Raises
    ------
    ValueError
        It is larger, or a folder, a device or a pipe.
    OSError
        It cannot be read.
    """
    _check_regular(path)
    with path.open("rb") as file:
        content = file.read(largest_bytes + 1)
    if len(content) > largest_bytes:
        raise ValueError(f"{path.name} has more than {largest_bytes >> 10} KiB")
    return content


def _check_regular(path: Path) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is not an ordinary file")
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _sidecar(folder: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Read the JSON that rebuilds a model, its numbers bounded."""
    text = read_regular(folder / SIDECAR, LARGEST_SIDECAR_BYTES).decode("utf-8")
    sidecar = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(sidecar, dict):
        raise ValueError(f"{SIDECAR} holds no object")
    if any(sidecar[key] != expected[key] for key in ("format", "version")):
        raise ModelError(
            f"{folder}: format {str(sidecar['format'])[:40]} {str(sidecar['version'])[:40]}; "
            f"this program reads {expected['format']} {expected['version']}"
        )
    hidden = sidecar["hidden"]
    if type(hidden) is not int or not 1 <= hidden <= LARGEST_HIDDEN:
        raise ValueError(f"hidden is {str(hidden)[:40]!r}, not 1 to {LARGEST_HIDDEN}")
    _check_numbers(sidecar["encoder"]["config"], "config", DEEPEST)
    if not isinstance(sidecar["encoder"]["name"], str):
        raise ValueError("the encoder's name is no text")
    return sidecar


def _names(folder: Path, sidecar: Mapping[str, Any]) -> Names:
    """Return what the rows of the heads stand for; models list no switches that list none."""
    keys: Any = sidecar.get("parameters")
    # Before there were modules of a later version, the switches of a head went without saying.
    switches = sidecar.get("switches", [name for name in FIRST_SWITCHES if name in RULES])
    for name, found in (("parameters", keys), ("switches", switches)):
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise ValueError(f"{name} is no list of names")
        if len(found) > MOST_NAMES:
            raise ValueError(f"{name} lists {len(found)} names, more than {MOST_NAMES}")
        if len(set(found)) != len(found):
            twice = next(each for each in found if found.count(each) > 1)
            raise ValueError(f"{name} lists {twice[:60]!r} twice")
    # Without these there is no level: everything that is predicted acts on the levelled vocal.
    needed = LEVELS - set(keys)
    if needed or not set(switches) & set(RULES):
        lacks = f" ({sorted(needed)[0]} is missing)" if needed else ""
        raise ModelError(
            f"{folder}: made for another table of parameters{lacks}; use a model of this program"
        )
    return {"parameters": keys, "switches": switches}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{SIDECAR} holds {name}")


def _check_numbers(value: Any, place: str, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"{place[:60]} lies too deep")
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"{place[:60]} is {str(value)[:20]}, more than {LARGEST_NUMBER}")
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, each in value.items() if isinstance(value, dict) else ():
        _check_numbers(each, f"{place}.{key}", depth - 1)


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights without reading them."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


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
            _compare(_in_file(empty, names), _renamed(empty, shapes), optional)
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


def _compare(wanted: Shapes, shapes: Shapes, optional: Collection[str]) -> None:
    """Hold the shapes of a model against those in the file."""
    wrong = []
    for name, shape in wanted.items():
        found = shapes.get(name)
        if found is None and not _is_optional(name, optional):
            wrong.append(f"{WEIGHTS} lacks {name}")
        elif found is not None and found != shape:
            wrong.append(f"{name} is {found}, not {shape}")
    wrong += [f"{WEIGHTS} holds {name[:60]}, which is no part" for name in shapes.keys() - wanted]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError("; ".join(wrong[:SHOWN]) + more)


def _is_optional(name: str, optional: Collection[str]) -> bool:
    part, _, rest = name.partition(".")
    return part != "encoder" and rest in optional


def _renamed(model: nn.Module, held: Mapping[str, T]) -> dict[str, T]:
    """Return what a file holds by the names of the model's state dict."""
    names = {former: name for name, former in file_names(model).items()}
    found = {names.get(name, name): each for name, each in held.items()}
    if len(found) < len(held):
        twice = next(name for name in held if name in names and names[name] in held)
        raise ValueError(f"{WEIGHTS} holds {twice} under both of its names")
    return found


def _fill(model: nn.Module, path: Path, optional: Collection[str], names: Names) -> None:
    """Read the weights into a model of the same shapes; numbers that are none are damage."""
    from safetensors.torch import load_file

    weights = _renamed(model, load_file(str(path)))
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
    weights = {**{name: fresh[name] for name in fresh if _is_optional(name, optional)}, **weights}
    model.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    )
