"""Training states on disk: weights, optimizer and progress in safetensors and JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import ModelError
from ..files import atomic_path

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    progress: Mapping[str, Any],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write everything that a run needs to go on, whole or not at all.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file; replaced if it exists.
    model : Module
        Its weights, in full precision.
    optimizer : Optimizer, optional
        Its state.
    progress : mapping
        Anything that JSON holds.
    best : mapping, optional
        Weights of the best state so far.
    """
    # Copies: the format refuses weights that two parts of a network share.
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    tensors = {f"model.{k}": v for k, v in weights.items()}
    if best is not None:
        tensors.update({f"best.{k}": v.contiguous().clone() for k, v in best.items()})
    groups: list[dict[str, Any]] = []
    if optimizer is not None:
        state = optimizer.state_dict()
        groups = state["param_groups"]
        for index, values in state["state"].items():
            for name, value in values.items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).clone().contiguous()
    metadata = {"progress": json.dumps(progress), "groups": json.dumps(groups)}
    with atomic_path(path, force=True) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what :func:`save_checkpoint` wrote into `model` and `optimizer`.

    Returns
    -------
    progress : dict
        As it was saved.
    best : dict of str to Tensor
        The best weights, empty if there were none.

    Raises
    ------
    ModelError
        Damaged, or of another model.
    """
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            parts[kind][rest] = value
        model.load_state_dict(parts["model"])
        if optimizer is not None and parts["optimizer"]:
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in parts["optimizer"].items():
                index, field = name.split(".", 1)
                state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict(
                {"state": state, "param_groups": json.loads(metadata["groups"])}
            )
        return json.loads(metadata["progress"]), parts["best"]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path}: cannot go on from this checkpoint ({reason}); remove it to start anew"
        ) from None
