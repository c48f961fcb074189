"""What lies in a folder of Transformers beside the weights, and how a folder's layer is named."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .weights import read_bytes

__all__ = [
    "UNKNOWN_LICENCE",
    "licence_of",
    "rate_of",
    "read_front",
    "read_json",
    "split_layer",
]

LARGEST_TEXT = 16 << 20
UNKNOWN_LICENCE = "not stated; ask who published the weights"
LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)


def split_layer(source: str) -> tuple[Path, int | None]:
    """Split ``FOLDER[:LAYER]``; a folder may have colons in its name, as behind a drive's letter.

    Raises
    ------
    ModelError
        There is no such folder, or the layer is no number.
    """
    folder, colon, layer = source.rpartition(":")
    path, number = Path(source), None
    if colon and folder and not path.is_dir():
        if re.fullmatch(r"\d{1,4}", layer):
            path, number = Path(folder), int(layer)
        elif Path(folder).is_dir():
            raise ModelError(f"hf:{source}: layer {layer!r} is no whole number")
    if not path.is_dir():
        raise ModelError(
            f"{path}: no such folder; nothing is downloaded: get the model's files first "
            "('hf download NAME --local-dir FOLDER'), then give hf:FOLDER"
        )
    return path, number


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    ModelError
        There is none.
    """
    try:
        held = json.loads(read_bytes(path, LARGEST_TEXT))
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise ModelError(f"{path}: damaged, or no JSON of Transformers")
    return held


def read_front(folder: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the feature extractor's numbers, which newer versions keep among a processor's.

    Raises
    ------
    ModelError
        There are none.
    """
    file = folder / "preprocessor_config.json"
    front: Any = None
    if file.is_file():
        front = read_json(file)
    elif (folder / "processor_config.json").is_file():
        front = read_json(folder / "processor_config.json").get("feature_extractor")
    elif said["model_type"] == "dac":
        front = {}
    if not isinstance(front, dict):
        raise ModelError(f"{file}: missing; it describes the network's input, get it too")
    return {k: v for k, v in front.items() if k not in ("mel_filters", "auto_map")}


def rate_of(
    front: Mapping[str, Any], said: Mapping[str, Any], rate: int | None, folder: Path
) -> Any:
    """Return the sample rate in Hz that the files state, or that the user says where they do not.

    Raises
    ------
    ModelError
        Neither states it, or each another one.
    """
    found = front.get("sampling_rate", said.get("sampling_rate"))
    if found is None and rate is None:
        raise ModelError(f"{folder}: does not state its sample rate; give it by --encoder-rate")
    if found is not None and rate not in (None, found):
        raise ModelError(f"{folder}: takes {found} Hz; leave --encoder-rate out")
    return rate if found is None else found


def licence_of(folder: Path) -> str:
    """Return the licence in the model's card, non-commercial ones marked as such."""
    with contextlib.suppress(OSError):
        found = LICENCE.search((folder / "README.md").read_text("utf-8", errors="replace")[:65536])
        if found:
            return found[1] + (", non-commercial" if "-nc" in found[1].lower() else "")
    return UNKNOWN_LICENCE
