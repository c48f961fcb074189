"""EnCodec's three file formats: read, and the network that each describes.

- PyPI's ``encodec`` 0.1.1 publishes flat state dicts, ``encodec_24khz-d7cc33bc.th`` and
  ``encodec_48khz-7e698e3e.th``, with the start of the file's SHA-256 in the name. Shapes tell the
  network; of the two, only the one for 48 kHz has group norms, so these tell the rest.
- AudioCraft exports ``compression_state_dict.bin``: ``best_state``, a state dict by the same names,
  and ``xp.cfg``, the configuration as YAML in which ``${name}`` stands for another entry.
- Transformers has a folder: ``config.json``, which leaves out what is as in the 24 kHz network,
  and ``model.safetensors`` or ``pytorch_model.bin``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import ModelError
from .weights import load_exactly, read_bytes, read_state

__all__ = ["Found", "load_network", "read_encodec"]

AUDIOCRAFT_FILE = "compression_state_dict.bin"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
NAMED_HASH = re.compile(r".+-([0-9a-f]{8})\.th")
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
LARGEST_TEXT = 4 << 20
WHAT = "encoder of EnCodec"
MOST_LAYERS = 256
FORMATS = (
    "a file of PyPI's encodec (.th), AudioCraft's compression_state_dict.bin, or a folder of "
    "Transformers with config.json"
)

OF_24_KHZ = {
    "audio_channels": 1, "hidden_size": 128, "num_filters": 32, "upsampling_ratios": [8, 5, 4, 2],
    "num_residual_layers": 1, "kernel_size": 7, "last_kernel_size": 7, "residual_kernel_size": 3,
    "dilation_growth_rate": 2, "compress": 2, "num_lstm_layers": 2, "use_causal_conv": True,
    "pad_mode": "reflect", "norm_type": "weight_norm", "use_conv_shortcut": True,
    "sampling_rate": 24000, "normalize": False, "chunk_length_s": None, "overlap": None,
}  # fmt: skip
"""What Transformers takes where ``config.json`` is silent."""

OF_AUDIOCRAFT = {
    "channels": 1, "dimension": 128, "n_filters": 32, "ratios": [8, 5, 4, 2],
    "n_residual_layers": 3, "kernel_size": 7, "last_kernel_size": 7, "residual_kernel_size": 3,
    "dilation_base": 2, "compress": 2, "lstm": 0, "causal": False, "pad_mode": "reflect",
    "norm": "none", "true_skip": True, "activation": "ELU", "activation_params": {"alpha": 1.0},
    "disable_norm_outer_blocks": 0,
}  # fmt: skip
"""What AudioCraft takes where its configuration is silent."""

PAD_MODES = {"reflect": True, "constant": False, "zero": False}
NORMS = {"none": False, "weight_norm": False, "time_group_norm": True}


class Found(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    arguments : dict
        The constructor's, but for what the network is called.
    state : dict of str to Tensor
        Weights by the file's names, normalised ones multiplied out.
    original : bool
        Whether the names are those of PyPI's and AudioCraft's, else of Transformers'.
    shown : str
        The file, for messages.
    """

    arguments: dict[str, Any]
    state: dict[str, Tensor]
    original: bool
    shown: str


def read_encodec(path: Path, sample_rate: int | None, *, trust: bool = False) -> Found:
    """Read any of the three formats.

    Parameters
    ----------
    path : Path
        File or folder.
    sample_rate : int, optional
        Hz, as the user says; only a flat state dict does not state it.
    trust : bool
        Also read files that hold more than numbers.

    Raises
    ------
    ModelError
        It is none of them, damaged, or of another network.
    """
    if path.is_dir():
        if (path / AUDIOCRAFT_FILE).is_file() and not (path / "config.json").is_file():
            return read_encodec(path / AUDIOCRAFT_FILE, sample_rate, trust=trust)
        found = _of_transformers(path, trust)
    elif path.name in WEIGHT_FILES and path.with_name("config.json").is_file():
        found = _of_transformers(path.parent, trust)
    else:
        _check_hash(path)
        held = read_state(path, trust=trust)
        if isinstance(held.get("pretrained"), str):
            raise ModelError(
                f"{path}: only names {held['pretrained']!r} and holds no weights; get those, "
                f"{FORMATS}"
            )
        if "xp.cfg" in held:
            found = _of_audiocraft(held, str(path))
        else:
            return _flat(held, sample_rate, str(path))
    rate = found.arguments["sample_rate"]
    if sample_rate not in (None, rate):
        raise ModelError(f"{found.shown}: takes {rate} Hz; leave --encoder-rate out")
    return found


def load_network(module: nn.Module, found: Found) -> None:
    """Load the encoder's weights from what was found.

    Raises
    ------
    ModelError
        Some are missing or have another shape.
    """
    rename = _original_name if found.original else str
    load_exactly(module, found.state, found.shown, WHAT, "encoder.", rename)


def _original_name(key: str) -> str:
    """PyPI's and AudioCraft's name of a weight; the convolution and its norm lie one deeper."""
    return re.sub(r"\.(conv|norm)\.", r".conv.\1.", key.replace("layers.", "model.", 1))


def _check_hash(path: Path) -> None:
    named = NAMED_HASH.fullmatch(path.name)
    if named is None:
        return
    found = hashlib.sha256(read_bytes(path)).hexdigest()[:8]
    if found != named[1]:
        raise ModelError(
            f"{path}: damaged: its SHA-256 starts with {found}, not with {named[1]} as its name "
            "says; get the file again"
        )


def _multiplied_out(held: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors, each normalised weight as the product that the network uses."""
    state = {k: v for k, v in held.items() if isinstance(k, str) and isinstance(v, Tensor)}
    for sizes, directions in (
        (".weight_g", ".weight_v"),
        (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    ):
        for key in [k for k in state if k.endswith(sizes)]:
            stem = key.removesuffix(sizes)
            size, direction = state[key], state.get(stem + directions)
            if direction is None or size.shape != (len(direction), *[1] * (direction.ndim - 1)):
                continue  # Then the weight is among those that are missing.
            full = direction.double()
            lengths = full.flatten(1).norm(dim=1).view(size.shape)
            state[f"{stem}.weight"] = (size.double() * full / lengths).float()
    return state


def _of_transformers(folder: Path, trust: bool) -> Found:
    file = folder / "config.json"
    try:
        config = json.loads(read_bytes(file, LARGEST_TEXT))
    except ValueError:
        raise ModelError(f"{file}: damaged, or no JSON") from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "encodec":
        raise ModelError(f"{file}: its model_type is {kind!r}, not 'encodec'; give {FORMATS}")
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{folder}: has neither {' nor '.join(WEIGHT_FILES)}")
    said = {**OF_24_KHZ, **config}
    chosen = _chosen(said, file, ("pad_mode", PAD_MODES), ("norm_type", NORMS))
    network = {
        "channels": said["audio_channels"],
        "dim": said["hidden_size"],
        "filters": said["num_filters"],
        "ratios": _reversed(said["upsampling_ratios"]),
        "residual_layers": said["num_residual_layers"],
        "kernel": said["kernel_size"],
        "last_kernel": said["last_kernel_size"],
        "residual_kernel": said["residual_kernel_size"],
        "dilation_base": said["dilation_growth_rate"],
        "compress": said["compress"],
        "lstm_layers": said["num_lstm_layers"],
        "causal": said["use_causal_conv"],
        "reflect": chosen[0],
        "group_norm": chosen[1],
        "conv_shortcut": said["use_conv_shortcut"],
    }
    arguments = {
        "network": network,
        "sample_rate": said["sampling_rate"],
        "normalize": said["normalize"],
        # Without an overlap the library takes no chunks.
        "chunk_seconds": None if said["overlap"] is None else said["chunk_length_s"],
        "overlap": said["overlap"] or 0.0,
    }
    return Found(arguments, _multiplied_out(read_state(weights, trust=trust)), False, str(weights))


def _of_audiocraft(held: Mapping[str, Any], shown: str) -> Found:
    config = held["xp.cfg"]
    if isinstance(config, str):
        config = _yaml(config, shown)
    state = held.get("best_state")
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(config, Mapping) or not isinstance(state, Mapping):
        raise ModelError(f"{shown}: lacks best_state or a configuration in xp.cfg; give {FORMATS}")
    kind = config.get("compression_model")
    if kind != "encodec" or not isinstance(config.get("seanet"), Mapping):
        raise ModelError(f"{shown}: its compression_model is {kind!r}, not 'encodec'")
    seanet = dict(config["seanet"])
    own = seanet.pop("encoder", None)
    said = {
        key: _resolved(value, config)
        for key, value in {**OF_AUDIOCRAFT, **seanet, **(own or {})}.items()
    }
    outer = dict(config["encodec"]) if isinstance(config.get("encodec"), Mapping) else {}
    rate = _resolved(outer.get("sample_rate", config.get("sample_rate")), config)
    alpha = said["activation_params"] if isinstance(said["activation_params"], Mapping) else {}
    if said["activation"] != "ELU" or alpha.get("alpha", 1.0) != 1.0:
        raise ModelError(f"{shown}: its activation is not the ELU of EnCodec's published networks")
    chosen = _chosen(said, Path(shown), ("pad_mode", PAD_MODES), ("norm", NORMS))
    if chosen[1] and said["disable_norm_outer_blocks"]:
        raise ModelError(f"{shown}: group norms in some levels only are not supported")
    network = {
        "channels": said["channels"],
        "dim": said["dimension"],
        "filters": said["n_filters"],
        "ratios": _reversed(said["ratios"]),
        "residual_layers": said["n_residual_layers"],
        "kernel": said["kernel_size"],
        "last_kernel": said["last_kernel_size"],
        "residual_kernel": said["residual_kernel_size"],
        "dilation_base": said["dilation_base"],
        "compress": said["compress"],
        "lstm_layers": said["lstm"],
        "causal": said["causal"],
        "reflect": chosen[0],
        "group_norm": chosen[1],
        "conv_shortcut": not said["true_skip"],
    }
    normalize = bool(_resolved(outer.get("renormalize", False), config))
    arguments = {"network": network, "sample_rate": rate, "normalize": normalize}
    return Found(arguments, _multiplied_out(state), True, shown)


def _flat(held: Mapping[str, Any], sample_rate: int | None, shown: str) -> Found:
    """A state dict alone: its shapes tell the network, its norms which of the two it is like."""
    state = _multiplied_out(held)
    if any(key.startswith("encoder.layers.") for key in state):
        raise ModelError(
            f"{shown}: has the names of Transformers; give its folder, config.json too"
        )
    start = "encoder.model."
    network: dict[str, Any] = {"dilation_base": 2, "residual_layers": 0, "lstm_layers": 0}
    ratios: list[int] = []
    sizes: list[Any] = []
    for n in range(MOST_LAYERS):
        inner = state.get(f"{start}{n}.block.1.conv.conv.weight")
        conv = state.get(f"{start}{n}.conv.conv.weight")
        if inner is not None and inner.ndim == 3:
            network["residual_kernel"] = inner.shape[2]
            network["compress"] = max(1, inner.shape[1] // max(1, inner.shape[0]))
            network["residual_layers"] += not ratios
        elif conv is not None and conv.ndim == 3:
            sizes.append(conv.shape)
            ratios += [conv.shape[2] // 2] if len(sizes) > 1 else []
        elif f"{start}{n}.lstm.weight_ih_l0" in state:
            found = sum(key.startswith(f"{start}{n}.lstm.weight_ih_l") for key in state)
            network["lstm_layers"] = found
    if len(sizes) < 3 or "compress" not in network:
        raise ModelError(f"{shown}: no {WHAT}: it lacks {start}0.conv.conv.weight_v and the like")
    first, last = sizes[0], sizes[-1]
    normalised = f"{start}0.conv.norm.weight" in state
    network.update(
        channels=first[1], filters=first[0], kernel=first[2], dim=last[0], last_kernel=last[2],
        ratios=ratios[:-1], causal=not normalised, reflect=True, group_norm=normalised,
        conv_shortcut=f"{start}1.shortcut.conv.conv.weight" in state,
    )  # fmt: skip
    arguments: dict[str, Any] = {"network": network, "normalize": normalised}
    if normalised:
        arguments["chunk_seconds"] = 1.0
    arguments["sample_rate"] = sample_rate or (48000 if normalised else 24000)
    return Found(arguments, state, True, shown)


def _chosen(
    said: Mapping[str, Any], file: Path, *choices: tuple[str, dict[str, bool]]
) -> list[bool]:
    for key, known in choices:
        if not isinstance(said[key], str) or said[key] not in known:
            raise ModelError(f"{file}: {key} is {said[key]!r}; known are {', '.join(known)}")
    return [known[said[key]] for key, known in choices]


def _reversed(ratios: Any) -> Any:
    """From the input up: files give them in the decoder's order."""
    return list(ratios)[::-1] if hasattr(ratios, "__iter__") else ratios


def _resolved(value: Any, config: Mapping[str, Any], depth: int = 8) -> Any:
    """What an entry stands for, where it names another."""
    named = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if named is None or not depth:
        return value
    place: Any = config
    for part in named[1].split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return _resolved(place, config, depth - 1)


def _yaml(text: str, shown: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ModelError(
            f'{shown}: its configuration is YAML; pip install "diffconsole[encodec]" reads it'
        ) from None
    if len(text) > LARGEST_TEXT:
        raise ModelError(f"{shown}: its configuration is longer than any of AudioCraft's")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        raise ModelError(f"{shown}: its configuration, xp.cfg, is no YAML") from None
