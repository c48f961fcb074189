"""Training states on disk: a run that goes on is the run that was never stopped."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from diffconsole.errors import ModelError, OutputError
from diffconsole.training.checkpoint import load_checkpoint, save_checkpoint


def small_network(seed: int = 0, width: int = 5) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": list(model[0].parameters()), "lr": 0.05},
        {"params": [*model[1].parameters(), *model[2].parameters()], "lr": 0.01},
    ]
    return torch.optim.AdamW(groups, weight_decay=0.1)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    model.train()
    for step in range(first, last):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x[:, :2]).square().mean().backward()
        optimizer.step()


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def test_everything_comes_back(path: Path) -> None:
    model = small_network()
    optimizer = optimizer_of(model)
    train(model, optimizer, 0, 3)
    progress = {"step": 3, "best": 0.25, "history": [{"stage": "head"}], "name": "é"}
    best = {k: v + 1 for k, v in model.state_dict().items()}
    save_checkpoint(path, model, optimizer, progress, best)

    again = small_network(1)
    back = optimizer_of(again)
    found, found_best = load_checkpoint(path, again, back)
    assert found == progress
    assert same(again, model)
    assert set(found_best) == set(best)
    assert all(torch.equal(found_best[k], v) for k, v in best.items())
    saved, loaded = optimizer.state_dict(), back.state_dict()
    assert saved["state"].keys() == loaded["state"].keys()
    for index, values in saved["state"].items():
        for name, value in values.items():
            assert torch.equal(loaded["state"][index][name], value), (index, name)
    for ours, theirs in zip(saved["param_groups"], loaded["param_groups"], strict=True):
        assert {k: v for k, v in ours.items() if k != "betas"} == {
            k: v for k, v in theirs.items() if k != "betas"
        }
        assert tuple(ours["betas"]) == tuple(theirs["betas"])


@pytest.mark.parametrize("stop", [1, 5, 9])
def test_going_on_is_never_having_stopped(path: Path, stop: int) -> None:
    whole = small_network()
    train(whole, optimizer_of(whole), 0, 10)

    first = small_network()
    optimizer = optimizer_of(first)
    train(first, optimizer, 0, stop)
    save_checkpoint(path, first, optimizer, {"step": stop})

    second = small_network(7)
    optimizer = optimizer_of(second)
    progress, best = load_checkpoint(path, second, optimizer)
    train(second, optimizer, progress["step"], 10)
    assert same(second, whole)
    assert best == {}


def test_without_an_optimizer(path: Path) -> None:
    model = small_network()
    save_checkpoint(path, model, None, {})
    again = small_network(1)
    assert load_checkpoint(path, again) == ({}, {})
    assert same(again, model)


def test_what_is_saved_does_not_move_with_the_training(path: Path) -> None:
    model = small_network()
    optimizer = optimizer_of(model)
    train(model, optimizer, 0, 1)
    save_checkpoint(path, model, optimizer, {}, model.state_dict())
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    train(model, optimizer, 1, 4)
    again = small_network(1)
    _, best = load_checkpoint(path, again)
    for state in (again.state_dict(), best):
        assert all(torch.equal(state[k], v) for k, v in kept.items())


def test_a_later_state_replaces_an_earlier_whole(path: Path) -> None:
    model = small_network()
    save_checkpoint(path, model, None, {"step": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, model, None, {"step": object()})
    assert path.read_bytes() == before
    save_checkpoint(path, model, None, {"step": 2})
    assert load_checkpoint(path, model)[0] == {"step": 2}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        save_checkpoint(tmp_path / "none" / "state.safetensors", small_network(), None, {})


# Damage


def refused(path: Path, model: nn.Module) -> str:
    with pytest.raises(ModelError) as caught:
        load_checkpoint(path, model, optimizer_of(model))
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot resume from this checkpoint")
    assert "remove it to start again" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("keep", [0, 6, 60, 400, -4])
def test_a_truncated_state(path: Path, keep: int) -> None:
    model = small_network()
    optimizer = optimizer_of(model)
    train(model, optimizer, 0, 1)
    save_checkpoint(path, model, optimizer, {})
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, model)


def test_no_state_at_all(path: Path) -> None:
    refused(path, small_network())


def test_the_state_of_another_network(path: Path) -> None:
    save_checkpoint(path, small_network(width=6), None, {})
    refused(path, small_network())


def test_weights_without_progress(path: Path) -> None:
    from safetensors.torch import save_file

    state = {f"model.{k}": v for k, v in small_network().state_dict().items()}
    save_file(state, path)
    refused(path, small_network())


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_is_refused_unread(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    torch.save({"model": Bomb(mark)}, path)
    refused(path, small_network())
    path.write_bytes(pickle.dumps(Bomb(mark)))
    refused(path, small_network())
    assert not mark.exists()


PROGRESS = {"step": 3, "seconds": 1.5, "scores": {"before": 2.5}, "fingerprint": "a"}


@pytest.mark.parametrize(
    "progress",
    [
        {},
        {**PROGRESS, "step": "3"},
        {**PROGRESS, "step": 3.5},
        {**PROGRESS, "step": True},
        {**PROGRESS, "seconds": None},
        {**PROGRESS, "seconds": float("nan")},
        {**PROGRESS, "scores": []},
        {**PROGRESS, "scores": {"before": "low"}},
        {**PROGRESS, "fingerprint": 7},
    ],
    ids=str,
)
def test_damaged_progress_is_one_line(path: Path, progress: dict[str, Any]) -> None:
    model = small_network()
    save_checkpoint(path, model, None, progress)
    with pytest.raises(ModelError, match=r"its progress is damaged\); remove it"):
        load_checkpoint(path, model, None, PROGRESS)
    save_checkpoint(path, model, None, PROGRESS)
    assert load_checkpoint(path, model, None, PROGRESS)[0] == PROGRESS


@pytest.mark.parametrize("part", ["best.0.weight", "best.top/0.weight", "optimizer.0.exp_avg"])
def test_other_shapes_anywhere_leave_the_model_as_it_was(path: Path, part: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    model = small_network()
    optimizer = optimizer_of(model)
    train(model, optimizer, 0, 1)
    state = {f"top/{k}": v for k, v in model.state_dict().items()} | model.state_dict()
    save_checkpoint(path, model, optimizer, {}, state)
    with safe_open(str(path), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert part in tensors, sorted(tensors)
    for damaged in (torch.zeros(3, 5), torch.full_like(tensors[part], float("nan"))):
        if part.startswith("optimizer") and damaged.isnan().any():
            continue
        save_file({**tensors, part: damaged}, path, metadata)
        again = small_network(1)
        before = {k: v.clone() for k, v in again.state_dict().items()}
        refused(path, again)
        assert all(torch.equal(v, before[k]) for k, v in again.state_dict().items())


@pytest.mark.parametrize("groups", ["{}", "[]", '[{"lr": "fast"}]', "7", "null"])
def test_damaged_groups_of_the_optimizer(path: Path, groups: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    model = small_network()
    optimizer = optimizer_of(model)
    train(model, optimizer, 0, 1)
    save_checkpoint(path, model, optimizer, {})
    with safe_open(str(path), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {"progress": "{}", "groups": groups})
    refused(path, model)
