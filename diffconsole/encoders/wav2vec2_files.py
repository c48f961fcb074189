"""State dicts of torchaudio's wav2vec 2.0, HuBERT and WavLM: read, tell the architecture, check.

Shapes tell nearly all of the architecture. What they cannot tell is taken from what all published
networks share, or from a JSON file beside the weights (``weights.json`` for ``weights.pt``), whose
keys are the arguments of torchaudio's ``wav2vec2_model`` and ``wavlm_model`` and those of
``OWN_HINTS``.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError

__all__ = ["architecture_of", "read_hints", "read_weights", "refuse_differences", "take_weights"]

OWN_HINTS = ("normalize_waveform", "sample_rate", "licence", "layer")
ARCHITECTURE = (
    "extractor_mode",
    "extractor_conv_layer_config",
    "extractor_conv_bias",
    "encoder_embed_dim",
    "encoder_pos_conv_kernel",
    "encoder_pos_conv_groups",
    "encoder_num_layers",
    "encoder_num_heads",
    "encoder_ff_interm_features",
    "encoder_layer_norm_first",
)
WAVLM_ONLY = ("encoder_num_buckets", "encoder_max_distance")
OF_TRAINING = (
    "encoder_projection_dropout",
    "encoder_attention_dropout",
    "encoder_ff_interm_dropout",
    "encoder_dropout",
    "encoder_layer_drop",
    "aux_num_out",
)
"""Arguments that do not touch the features; a file may name them."""

WRAPPERS = ("state_dict", "model_state_dict", "model")
EXTRACTOR, ENCODER = "feature_extractor.conv_layers.", "encoder."
LAYERS = "encoder.transformer.layers."
FIRST_CONV = f"{EXTRACTOR}0.conv.weight"
PROJECTION = "encoder.feature_projection.projection.weight"
POSITIONS = "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1"
FIRST_FEED = f"{LAYERS}0.feed_forward.intermediate_dense.weight"
TELLING = {FIRST_CONV: 3, PROJECTION: 2, POSITIONS: 3, FIRST_FEED: 2}
"""Weights that the architecture is read from, and how many axes they have."""

OLD_NAMES = {
    "pos_conv_embed.conv.weight_g": "pos_conv_embed.conv.parametrizations.weight.original0",
    "pos_conv_embed.conv.weight_v": "pos_conv_embed.conv.parametrizations.weight.original1",
}
"""How PyTorch before 2.0, and so the published files, named the parts of a normalised weight."""

FIRST_STRIDE, STRIDE = 5, 2
HEADS = {1280: 16, 1920: 16}
FEATURES_PER_HEAD = 64
MAX_DISTANCE = 800
MOST_NAMED = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict; nothing in the file is run.

    Parameters
    ----------
    path : Path
        Safetensors, or what ``torch.save`` wrote of a state dict.

    Returns
    -------
    dict of str to Tensor
        By torchaudio's names of today, float32; what is not of the network's features is left out.

    Raises
    ------
    ModelError
        No such file, damaged, or something else than a state dict of this family.
    """
    return take_weights(_tensors(path), str(path))


def take_weights(held: Mapping[str, Tensor], shown: str) -> dict[str, Tensor]:
    """Take the network's weights out of a state dict, by torchaudio's names of today, float32.

    Wrappers of the network put a word before each name; heads and the like are left out.

    Raises
    ------
    ModelError
        It is none of this family, or holds NaN.
    """
    prefix = next((k.removesuffix(FIRST_CONV) for k in held if k.endswith(FIRST_CONV)), None)
    if prefix is not None and f"{prefix}feature_projection.projection.weight" in held:
        raise ModelError(
            f"{shown}: has the names of Hugging Face's Transformers; convert it with "
            "torchaudio.models.wav2vec2.utils.import_huggingface_model and save its state_dict()"
        )
    state = {}
    for key, value in held.items():
        name = key.removeprefix(prefix or "")
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
        if key.startswith(prefix or "") and name.startswith((EXTRACTOR, ENCODER)):
            state[name] = value.float()
    lacking = [k for k, rank in TELLING.items() if k not in state or state[k].ndim != rank]
    if lacking:
        raise ModelError(
            f"{shown}: no state dict of torchaudio's wav2vec 2.0, HuBERT or WavLM: "
            f"it lacks {_some(lacking)}"
        )
    wrong = [k for k, v in state.items() if not bool(v.isfinite().all())]
    if wrong:
        raise ModelError(f"{shown}: {_some(wrong)} holds NaN or infinity; get the file again")
    return state


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: no such file; give a state dict, .safetensors or .pt")
    try:
        if path.suffix == ".safetensors":
            return load_file(str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = torch.load(str(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not re.search("unsupported global|allowlisted", str(error), re.IGNORECASE):
            raise ModelError(f"{path}: damaged, or no state dict; get the file again") from None
        raise ModelError(
            f"{path}: refused: it holds more than tensors, and loading it could run code; "
            "save the model's state_dict() instead"
        ) from None
    except (OSError, SafetensorError, RuntimeError, ValueError, LookupError, EOFError) as error:
        if "TorchScript" in str(error):
            raise ModelError(f"{path}: is TorchScript; use it as --encoder script:FILE") from None
        raise ModelError(f"{path}: damaged, or no state dict; get the file again") from None
    for wrapper in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    if not isinstance(held, Mapping):
        raise ModelError(f"{path}: holds a {type(held).__name__}, no state dict")
    return {k: v for k, v in held.items() if isinstance(k, str) and isinstance(v, Tensor)}


def read_hints(path: Path) -> dict[str, Any]:
    """Read the JSON beside a state dict, if there is one.

    Raises
    ------
    ModelError
        It is no JSON object, or names what no argument is called.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        hints = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{beside}: cannot be read as JSON ({error})") from None
    known = (*ARCHITECTURE, *WAVLM_ONLY, *OF_TRAINING, *OWN_HINTS)
    if not isinstance(hints, dict):
        raise ModelError(f"{beside}: is no JSON object; give one with keys as encoder_num_heads")
    for key in hints:
        if key not in known:
            raise ModelError(f"{beside}: unknown key {key!r}; there are: {', '.join(known)}")
    return hints


def architecture_of(
    state: Mapping[str, Tensor], hints: Mapping[str, Any], shown: str
) -> dict[str, Any]:
    """Tell the architecture from the shapes, and from hints what shapes do not tell.

    Parameters
    ----------
    state : mapping
        As :func:`read_weights` returned it.
    hints : mapping
        As :func:`read_hints` returned it; they win over the shapes.
    shown : str
        Name of the file for errors.

    Returns
    -------
    dict
        The arguments of ``torchaudio.models.wavlm_model`` if it has ``encoder_num_buckets``, else
        of ``wav2vec2_model``, without those of training.

    Raises
    ------
    ModelError
        The number of attention heads is not known.
    """
    convs = [f"{EXTRACTOR}{i}.conv.weight" for i in _numbered(state, EXTRACTOR, ".conv.weight")]
    relative = state.get(f"{LAYERS}0.attention.rel_attn_embed.weight")
    odd = [k for k in (*convs, *TELLING) if 0 in state[k].shape or state[k].ndim < 2]
    odd += [k for k in convs if state[k].ndim != 3]
    if odd or (relative is not None and relative.ndim != 2):
        raise ModelError(f"{shown}: {_some(odd) or 'rel_attn_embed'} has a shape that cannot be")
    shapes = [tuple(state[k].shape) for k in convs]
    normed = len(_numbered(state, EXTRACTOR, ".layer_norm.weight")) > 1
    embed_dim, group, kernel = state[POSITIONS].shape
    found: dict[str, Any] = {
        "extractor_mode": "layer_norm" if normed else "group_norm",
        "extractor_conv_layer_config": [
            [width, size, STRIDE if i else FIRST_STRIDE]
            for i, (width, _, size) in enumerate(shapes)
        ],
        "extractor_conv_bias": f"{EXTRACTOR}0.conv.bias" in state,
        "encoder_embed_dim": embed_dim,
        "encoder_pos_conv_kernel": kernel,
        "encoder_pos_conv_groups": embed_dim // group,
        "encoder_num_layers": len(_numbered(state, LAYERS, ".final_layer_norm.weight")),
        "encoder_num_heads": HEADS.get(embed_dim, embed_dim // FEATURES_PER_HEAD),
        "encoder_ff_interm_features": state[FIRST_FEED].shape[0],
        "encoder_layer_norm_first": normed,
    }
    if relative is not None:
        buckets, heads = relative.shape
        found.update(
            encoder_num_heads=heads, encoder_num_buckets=buckets, encoder_max_distance=MAX_DISTANCE
        )
    found.update({k: hints[k] for k in found if k in hints})
    heads = found["encoder_num_heads"]
    unstated = relative is None and "encoder_num_heads" not in hints
    if unstated and (heads == 0 or embed_dim % heads or embed_dim % FEATURES_PER_HEAD):
        raise ModelError(
            f"{shown}: {embed_dim} features do not tell the number of attention heads; put "
            f'{{"encoder_num_heads": N}} into {Path(shown).with_suffix(".json").name} beside it'
        )
    return found


def _numbered(state: Iterable[str], start: str, end: str) -> list[int]:
    """The numbers between a start and an end that names have, ascending."""
    pattern = re.compile(re.escape(start) + r"(\d+)" + re.escape(end))
    return sorted(int(m.group(1)) for m in map(pattern.fullmatch, state) if m)


def refuse_differences(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], shown: str
) -> None:
    """Raise a ModelError that names what is missing, too much, or of another shape."""
    missing = [k for k in wanted if k not in state]
    strange = [k for k in state if k not in wanted]
    others = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in state and state[k].shape != v.shape
    ]
    said = [
        f"{word} {_some(keys)}"
        for word, keys in (("lacks", missing), ("has", others), ("has unknown", strange))
        if keys
    ]
    if said:
        raise ModelError(
            f"{shown}: does not fit the architecture that it seems to be: {'; '.join(said)}; "
            f"{Path(shown).with_suffix('.json').name} beside it can tell the architecture"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
