"""AnyEnhance's files: the weights, and the JSON configuration that is nearly JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ModelError
from .weights import read_bytes, read_state

__all__ = ["ENCODER", "find_weights", "read_config", "take_encoder"]

ENCODER = "audio_encoder."
TASK = "task_emb.weight"
ENHANCEMENT = 0
UNUSED = (f"{ENCODER}embed_proj.", f"{ENCODER}noisy_embed_provider.")
"""What the features do not pass through: maps for a loss of the training, and w2v-BERT's frames."""

CONFIG_BYTES = 1 << 20
MOST_CONFIGS = 50
NEEDED = ("n_fft", "hop_length", "win_length", "seq_len", "mlp_layers", "dim", "input_dim")
OPTIONAL = (
    "transformer_layers",
    "transformer_heads",
    "transformer_dim_head",
    "transformer_ff_mult",
    "num_transformer_paths",
    "use_rotary_pos_enc",
)
# What is not closed ends with the text: as a failure it would be looked for from every place again.
STRING = r'("(?:\\.|[^"\\])*(?:"|\\?\Z))'
COMMENT = re.compile(STRING + r"|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
TRAILING = re.compile(STRING + r"|,(?=\s*[}\]])")


def find_weights(source: str) -> Path:
    """Return the weights: a file as it is, or the ``model.pt`` in a folder or one level below.

    Raises
    ------
    ModelError
        The folder has none, or several.
    """
    path = Path(source)
    if not path.is_dir():
        return path
    if (path / "model.pt").is_file():
        return path / "model.pt"
    found = sorted(path.glob("*/model.pt"))
    if len(found) != 1:
        count = "no" if not found else f"{len(found)} times"
        raise ModelError(f"{path}: has {count} model.pt; give the file itself")
    return found[0]


def take_encoder(path: Path, *, trust: bool) -> tuple[dict[str, Any], bool, bool]:
    """Return the encoder's weights, whether it normalises magnitudes, whether it has tasks.

    Raises
    ------
    ModelError
        The file cannot be read, or holds no such encoder.
    """
    held = {
        key.removeprefix("module."): value
        for key, value in read_state(path, trust=trust).items()
        if isinstance(key, str)
    }
    state = {k: v for k, v in held.items() if k.startswith(ENCODER) and not k.startswith(UNUSED)}
    first = f"{ENCODER}mlp.0.weight"
    if not isinstance(state.get(first), Tensor):
        raise ModelError(f"{path}: no checkpoint of AnyEnhance: lacks {first}")
    tasks = held.get(TASK)
    if isinstance(tasks, Tensor) and tasks.ndim == 2 and len(tasks):
        state[f"{ENCODER}task.embedding"] = tasks[ENHANCEMENT]
    normalised = any(key.startswith(f"{ENCODER}batch_norm.") for key in state)
    return state, normalised, f"{ENCODER}task.embedding" in state


def read_config(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file that states a network's structure, and the encoder's arguments in it.

    It lies in the folder of the weights, or in the one above: ``config.json``, or the only file
    ``*.json`` with ``AudioEncoder`` in it.

    Raises
    ------
    ModelError
        There is none or there are several, or it states no encoder of this kind.
    """
    for folder in (path.parent, path.parent.parent):
        named = folder / "config.json"
        if named.is_file():
            return named, _arguments(_parsed(named), named)
        files = sorted(folder.glob("*.json"))[:MOST_CONFIGS]
        found = [(place, data) for place in files if "AudioEncoder" in (data := _tried(place))]
        if len(found) > 1:
            raise ModelError(
                f"{folder}: {found[0][0].name} and {found[1][0].name} both state an AudioEncoder; "
                "copy the one of the weights to config.json beside them"
            )
        if found:
            return found[0][0], _arguments(found[0][1], found[0][0])
    raise ModelError(
        f"{path}: its configuration is not beside it; copy it there as config.json "
        "(anyenhance_v1.json of the lighter model, anyenhance-360M-selfcritic-v2.json of the other)"
    )


def _parsed(place: Path) -> Mapping[str, Any]:
    """The part of a configuration that states the model; comments and last commas are allowed."""
    text = read_bytes(place, CONFIG_BYTES).decode("utf-8", errors="replace")
    plain = TRAILING.sub(_string, COMMENT.sub(_string, text))
    try:
        data = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place}: no JSON ({error})") from None
    if not isinstance(data, dict):
        raise ModelError(f"{place}: states no AudioEncoder")
    rate = data.get("dataset", {})
    rate = rate.get("sample_rate", 44100) if isinstance(rate, dict) else 44100
    if rate != 44100:
        raise ModelError(f"{place}: for {rate!r} Hz; only networks for 44100 Hz are known")
    model = data.get("model", data)
    return model if isinstance(model, dict) else {}


def _tried(place: Path) -> Mapping[str, Any]:
    """The same; nothing for what is no configuration."""
    try:
        return _parsed(place)
    except ModelError:
        return {}


def _string(match: re.Match[str]) -> str:
    return match[1] or ""


def _arguments(model: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """The constructor's arguments, checked against those that follow from them."""
    stated = model.get("AudioEncoder")
    if not isinstance(stated, dict):
        raise ModelError(f"{place}: states no AudioEncoder")
    missing = [key for key in NEEDED if key not in stated]
    if missing:
        raise ModelError(f"{place}: its AudioEncoder lacks {', '.join(missing)}")
    layers, n_fft = stated["mlp_layers"], stated["n_fft"]
    if not isinstance(layers, list) or len(layers) != 2:
        raise ModelError(f"{place}: mlp_layers is {layers!r}, not the widths of two linear maps")
    follows = {"dim": layers[1], "transformer_dim": layers[1]}
    if type(n_fft) is int:
        follows["input_dim"] = n_fft // 2 + 1
    for key, value in follows.items():
        if stated.get(key, 512 if key == "transformer_dim" else value) != value:
            raise ModelError(
                f"{place}: {key} is {stated.get(key)!r}; it can only be {value!r} here"
            )
    keys = (*NEEDED[:5], *(key for key in OPTIONAL if key in stated))
    return {key: stated[key] for key in keys}
