"""Training states on disk: weights, optimizer and progress in safetensors and JSON, no pickle.

A state lists what the rows of a model's heads stand for; they are found by these names when it is
read, by the order of the first version of the strip in states of before they were listed. Rows of
parameters that a state does not know stay as they are in the model.

The optimizer is flattened here: ``torch.distributed.checkpoint`` does so too, but its groups hold
tuples and None that go into no tensor file, it imports 685 more modules (0.7 s), and by its names
no run that was stopped before could be resumed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import ModelError
from ..files import atomic_path
from ..model.rows import KEYS, Names, at_places, file_names, row_tensors
from ..model.switches import RULES
from ..strip.later import FIRST_PARAMETERS, FIRST_SWITCHES

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    progress: Mapping[str, Any],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write everything that a run needs to resume, whole or not at all.

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
    names = {"parameters": KEYS, "switches": tuple(RULES)}
    metadata = {
        "progress": json.dumps(progress), "groups": json.dumps(groups), "names": json.dumps(names)
    }  # fmt: skip
    with atomic_path(path, force=True) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    like: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what :func:`save_checkpoint` wrote into `model` and `optimizer`.

    All of it is compared first: where something is wrong, both stay as they are.

    Parameters
    ----------
    path : Path
        The file.
    model : Module
        Gets the weights.
    optimizer : Optimizer, optional
        Gets its state.
    like : mapping, optional
        Progress as it is at the beginning: what is read has its entries, of the same kinds; None
        stands for anything.

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
        if path.exists() and not path.is_file():
            raise ValueError("not an ordinary file")
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress = json.loads(metadata["progress"])
        if not isinstance(progress, dict) or not all(
            key in progress and _alike(value, progress[key]) for key, value in (like or {}).items()
        ):
            raise ValueError("its progress is damaged")
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        former = {there: name for name, there in file_names(model).items()}
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            parts[kind][_renamed(rest, former)] = value
        _to_places(model, optimizer, parts, _names(metadata))
        _compare(model, parts["model"], parts["best"])
        if optimizer is not None and parts["optimizer"]:
            _load_optimizer(optimizer, parts["optimizer"], json.loads(metadata["groups"]))
        model.load_state_dict(parts["model"])
        return progress, parts["best"]
    except (
        OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError, IndexError,
        AttributeError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path}: cannot resume from this checkpoint ({reason}); remove it to start again"
        ) from None


def _renamed(name: str, former: Mapping[str, str]) -> str:
    """Return the name of a tensor in the model's state dict, which may have been another."""
    state, slash, key = name.rpartition("/")
    return state + slash + former.get(key, key)


def _names(metadata: Mapping[str, str]) -> Names:
    """Return what the rows of a state's heads stand for."""
    first = {"parameters": FIRST_PARAMETERS, "switches": [s for s in FIRST_SWITCHES if s in RULES]}
    names = json.loads(metadata["names"]) if "names" in metadata else first
    for kind, known in (("parameters", KEYS), ("switches", RULES)):
        if len(set(names[kind])) != len(names[kind]) or not set(names[kind]) & set(known):
            raise ValueError(f"its list of {kind} is damaged")
    return {kind: [str(name) for name in names[kind]] for kind in first}


def _to_places(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    parts: Mapping[str, dict[str, Tensor]],
    names: Names,
) -> None:
    """Bring the rows of a state's tensors to their places in the model's."""
    if all(
        tuple(names[kind]) == of for kind, of in (("parameters", KEYS), ("switches", tuple(RULES)))
    ):
        return
    fresh, rows = model.state_dict(), row_tensors(model)
    for kind in ("model", "best"):
        for name, value in parts[kind].items():
            key = name.rpartition("/")[2]
            if key in rows:
                _check_rows(name, value, rows[key], names)
                parts[kind][name] = at_places(value, rows[key], names, fresh[key].cpu())
    if optimizer is None:
        return
    keys = {id(p): name for name, p in model.named_parameters(remove_duplicate=False)}
    trained = [keys[id(p)] for group in optimizer.param_groups for p in group["params"]]
    for name, value in parts["optimizer"].items():
        key = trained[int(name.partition(".")[0])]
        if key in rows and value.ndim:
            _check_rows(name, value, rows[key], names)
            none = torch.zeros_like(fresh[key], device="cpu")
            parts["optimizer"][name] = at_places(value, rows[key], names, none)


def _check_rows(name: str, value: Tensor, rows: tuple[str, int], names: Names) -> None:
    kind, dim = rows
    if value.ndim <= dim or value.shape[dim] != len(names[kind]):
        raise ValueError(f"{name[:80]} has not a row for each of its {kind}")


def _compare(model: nn.Module, weights: Mapping[str, Tensor], best: Mapping[str, Tensor]) -> None:
    """Hold names, shapes and numbers against those of a model.

    A best state may be one of several, each under a name before a slash.
    """
    wanted = model.state_dict()
    if weights.keys() != wanted.keys():
        other = sorted(weights.keys() ^ wanted.keys())[0]
        raise ValueError(f"it is of another model: {other[:80]}")
    for name, value in (*weights.items(), *best.items()):
        key = name.rpartition("/")[2]
        if key not in wanted or value.shape != wanted[key].shape:
            raise ValueError(f"{name[:80]} has another shape, or no place")
        if value.is_floating_point() and bool(value.isnan().any()):
            raise ValueError(f"{name[:80]} holds NaN")


def _load_optimizer(
    optimizer: torch.optim.Optimizer, values: Mapping[str, Tensor], groups: Any
) -> None:
    """Set an optimizer's state, which PyTorch compares with the weights only when it steps."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in values.items():
        index, field = name.split(".", 1)
        if value.ndim and value.shape != parameters[int(index)].shape:
            raise ValueError(f"optimizer.{name[:60]} has another shape")
        state.setdefault(int(index), {})[field] = value
    own = optimizer.state_dict()["param_groups"]
    if not _alike(own, groups) or len(own) != len(groups):
        raise ValueError("the optimizer's groups are damaged")
    for ours, theirs in zip(own, groups, strict=True):
        if ours["params"] != theirs["params"]:
            raise ValueError("the optimizer is one of other weights")
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _alike(wanted: Any, found: Any) -> bool:
    """Whether a value is of the same kind as another, and has what that has."""
    if wanted is None:
        return True
    if isinstance(wanted, Mapping):
        return isinstance(found, dict) and all(
            key in found and _alike(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, list) and all(
            _alike(ours, theirs) for ours, theirs in zip(wanted, found, strict=False)
        )
    if isinstance(wanted, bool) or isinstance(found, bool):
        return type(wanted) is type(found)
    if isinstance(wanted, (int, float)):
        whole = isinstance(found, int) or not isinstance(wanted, int)
        return whole and isinstance(found, (int, float)) and math.isfinite(found)
    return isinstance(found, type(wanted))
