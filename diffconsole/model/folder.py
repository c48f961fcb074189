"""What lies in a model's folder, without PyTorch: nothing that it states is believed.

``model.json`` says which encoder to build and how wide; it is short, and its numbers are bounded.
The header of ``model.safetensors`` states the shapes of the weights, which are held against what
``model.json`` describes before any are read.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ModelError
from ..strip.later import FIRST_SWITCHES
from ..strip.parameters import CHAIN
from .rows import Names
from .switches import RULES

__all__ = [
    "FORMAT",
    "SIDECAR",
    "VERSION",
    "WEIGHTS",
    "Shapes",
    "check_regular",
    "compare_shapes",
    "is_optional",
    "names_in",
    "read_header",
    "read_regular",
    "read_sidecar",
    "renamed",
]

FORMAT = "diffconsole.predictor"
VERSION = 1
SIDECAR, WEIGHTS = "model.json", "model.safetensors"
LARGEST_SIDECAR_BYTES = 1 << 20
LARGEST_NUMBER = 2**31
LARGEST_HIDDEN = 1 << 16
MOST_NAMES = 10_000
LEVELS = {p.key for m in CHAIN if m.place in ("input", "output") for p in m.parameters}
DEEPEST = 32
SHOWN = 3

Shapes = Mapping[str, tuple[int, ...]]
T = TypeVar("T")


def read_regular(path: Path, largest_bytes: int) -> bytes:
    """Return the content of an ordinary file of at most so many bytes.

    Raises
    ------
    ValueError
        It is larger, or a folder, a device or a pipe.
    OSError
        It cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(largest_bytes + 1)
    if len(content) > largest_bytes:
        raise ValueError(f"{path.name} has more than {largest_bytes >> 10} KiB")
    return content


def check_regular(path: Path) -> None:
    """Refuse what is no ordinary file that may be read.

    Raises
    ------
    ValueError
        A folder, a device or a pipe.
    OSError
        It is not there, or may not be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is not an ordinary file")
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def read_sidecar(folder: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
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


def names_in(folder: Path, sidecar: Mapping[str, Any]) -> Names:
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


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights without reading them."""
    from safetensors import safe_open

    with safe_open(str(path), "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def compare_shapes(wanted: Shapes, shapes: Shapes, optional: Collection[str]) -> None:
    """Hold the shapes of a model against those in the file."""
    wrong = []
    for name, shape in wanted.items():
        found = shapes.get(name)
        if found is None and not is_optional(name, optional):
            wrong.append(f"{WEIGHTS} lacks {name}")
        elif found is not None and found != shape:
            wrong.append(f"{name} is {found}, not {shape}")
    wrong += [f"{WEIGHTS} holds {name[:60]}, which is no part" for name in shapes.keys() - wanted]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError("; ".join(wrong[:SHOWN]) + more)


def is_optional(name: str, optional: Collection[str]) -> bool:
    """Return whether a file may lack a tensor: one of a head, of a name that is optional."""
    part, _, rest = name.partition(".")
    return part != "encoder" and rest in optional


def renamed(file_names: Mapping[str, str], held: Mapping[str, T]) -> dict[str, T]:
    """Return what a file holds by the names of the model's state dict.

    Parameters
    ----------
    file_names : mapping of str to str
        Names in files by those in the state dict, where they differ.
    held : mapping
        By the names in the file.

    Raises
    ------
    ValueError
        The file has something under both of its names.
    """
    names = {former: name for name, former in file_names.items()}
    found = {names.get(name, name): each for name, each in held.items()}
    if len(found) < len(held):
        twice = next(name for name in held if name in names and names[name] in held)
        raise ValueError(f"{WEIGHTS} holds {twice} under both of its names")
    return found
