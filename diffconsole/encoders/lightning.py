"""Lightning's checkpoints: the weights among what a training writes beside them.

A training's checkpoint holds hyperparameters, callbacks and optimisers too, often with classes of
the project that trained. None is needed here, and none is imported: reading puts an empty stand-in
in the place of whatever is no number, text or container, so that nothing of a file can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from .weights import load_pickle, read_bytes, read_state

__all__ = ["read_lightning"]

MAPPINGS = ("builtins.dict", "collections.defaultdict")


class _StandIn:
    """Takes whatever a class is made from, and keeps nothing."""

    def __new__(cls, *_: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Items:
    """In the place of a class of dictionaries: a plain one, since it is filled item by item."""

    def __new__(cls, *_: Any) -> Any:
        return {}


def read_lightning(path: Path, *, trust: bool = False) -> Mapping[str, Any]:
    """Return the state dict of a checkpoint, or of a file that holds nothing else.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or what ``torch.save`` wrote.
    trust : bool
        Run the file's own code where stand-ins do not suffice.

    Raises
    ------
    ModelError
        The file cannot be read, or holds no state dict.
    """
    held: Any
    if path.suffix == ".safetensors":
        held = read_state(path)
    else:
        held = _with_stand_ins(path)
        if held is None:
            held = load_pickle(read_bytes(path), str(path), trust=trust)
    state = held.get("state_dict", held) if isinstance(held, Mapping) else None
    if not isinstance(state, Mapping):
        raise ModelError(f"{path}: holds no state dict, so it is no checkpoint of a network")
    return state


def _with_stand_ins(path: Path) -> Any:
    """What the file holds without its objects; None if that cannot be found out."""
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        stand_ins: list[Any] = [(_stand_in(name), name) for name in unknown]
        with torch.serialization.safe_globals(stand_ins):
            # Mapped: most of such a file is the optimiser's, which nobody asks for.
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # What is wrong is said by the plain reading that follows.
        return None


def _stand_in(name: str) -> type:
    is_mapping = name in MAPPINGS or name.endswith(".AttributeDict")
    return _Items if is_mapping else _StandIn
