"""Fine-tuning: a studio's sound is learnt, the best state kept, an interrupted run gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole import predictor
from diffconsole.errors import ModelError, PairError
from diffconsole.pairs import Pair
from diffconsole.parameters import PARAMETERS
from diffconsole.predictor import Predictor
from diffconsole.training import finetune as module
from diffconsole.training import segments
from diffconsole.training.finetune import (
    CHECKPOINT,
    FinetuneOptions,
    FinetuneResult,
    finetune,
    split_pairs,
)

from ..synthetic import pair, small_model

QUICK = FinetuneOptions(head_epochs=2, top_epochs=1, batch=2, top_stages=1)


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of a second instead of five: a step takes a fifth of the time."""
    for place in (predictor, segments, module):
        monkeypatch.setattr(place, "WINDOW_SECONDS", 1.0)
    monkeypatch.setattr(module, "LEAD_SECONDS", 0.25)


@pytest.fixture(scope="module")
def studio() -> list[Pair]:
    return [pair(seed, seconds=1.0) for seed in range(4)]


def base_model() -> Predictor:
    """As pretraining leaves it: it answers with the defaults, whatever it hears."""
    model = small_model()
    model.head.start_at(torch.tensor([p.to_normalised(p.default) for p in PARAMETERS]))
    return model


def weights_of(model: Predictor) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[k], theirs[k]) for k in theirs)


def run(
    studio: Sequence[Pair],
    folder: Path,
    options: FinetuneOptions = QUICK,
    report: Callable[[dict[str, Any]], None] = lambda _: None,
    held: int = 1,
) -> tuple[Predictor, FinetuneResult]:
    model = base_model()
    result = finetune(model, studio[held:], studio[:held], folder, options, report=report)
    return model, result


def stopper(epochs: int) -> Callable[[dict[str, Any]], None]:
    """A report that interrupts in the first step after some epochs, as Ctrl-C does."""
    done = 0

    def report(event: dict[str, Any]) -> None:
        nonlocal done
        done += "held_out" in event and "fraction" in event
        if done == epochs and "loss" in event:
            raise KeyboardInterrupt

    return report


# Learning


@pytest.mark.slow
def test_a_studios_sound_is_learnt(tmp_path: Path) -> None:
    """Pairs made by one strip: mixes that were held out come clearly nearer."""
    pairs = [pair(seed) for seed in range(10)]
    options = FinetuneOptions(head_epochs=8, top_epochs=2, head_rate=8e-3, batch=3)
    model, result = run(pairs, tmp_path, options, held=3)
    before = result.history[0]["held_out"]
    after = min(entry["held_out"] for entry in result.history)
    assert after < 0.75 * before
    # And by the program's own measure, over whole files.
    from diffconsole.evaluation import model_distance

    ours = np.mean([model_distance(p, model) for p in pairs[:3]])
    theirs = np.mean([model_distance(p, base_model()) for p in pairs[:3]])
    assert ours < 0.8 * theirs


def test_one_epoch_comes_nearer(studio: list[Pair], tmp_path: Path) -> None:
    options = replace(QUICK, head_epochs=1, top_epochs=1, head_rate=5e-3, batch=1)
    model, result = run(studio, tmp_path, options)
    assert [entry["stage"] for entry in result.history] == ["before", "head", "top"]
    assert result.history[1]["held_out"] < result.history[0]["held_out"] - 0.02
    assert result.epochs == 2
    assert result.seconds > 0.0
    assert not model.training


def test_first_the_head_then_the_top_and_never_the_bottom(
    studio: list[Pair], tmp_path: Path
) -> None:
    start = weights_of(base_model())
    seen: dict[str, dict[str, torch.Tensor]] = {}
    model = base_model()

    def report(event: dict[str, Any]) -> None:
        if "loss" in event:
            seen[event["stage"]] = weights_of(model)

    finetune(model, studio[1:], studio[:1], tmp_path, QUICK, report=report)
    for name, value in start.items():
        if name.startswith(("head.body", "head.mean")):
            assert not torch.equal(seen["head"][name], value), name
        elif name.startswith("encoder.project"):
            assert torch.equal(seen["head"][name], value), name
            assert not torch.equal(seen["top"][name], value), name
        elif name.startswith("encoder."):
            assert torch.equal(seen["top"][name], value), name


def test_the_model_can_be_trained_further(studio: list[Pair], tmp_path: Path) -> None:
    model, _ = run(studio, tmp_path)
    assert all(p.requires_grad for p in model.parameters())


def test_the_best_state_counts(studio: list[Pair], tmp_path: Path) -> None:
    """At a rate that ruins the model at once, it stops after its patience and is as it was."""
    options = replace(QUICK, head_epochs=9, top_epochs=9, head_rate=3.0, top_rate=3.0, patience=2)
    model, result = run(studio, tmp_path, options)
    distances = [entry["held_out"] for entry in result.history]
    assert min(distances) == distances[0]
    assert [entry["stage"] for entry in result.history[1:]] == ["head"] * 2 + ["top"] * 2
    assert same(weights_of(model), weights_of(base_model()))


def test_no_time_is_no_training(studio: list[Pair], tmp_path: Path) -> None:
    model, result = run(studio, tmp_path, replace(QUICK, minutes=1e-9))
    assert result.epochs == 0
    assert same(weights_of(model), weights_of(base_model()))


# Interruption


@pytest.mark.parametrize("epochs", [1, 2])
def test_going_on_is_never_having_stopped(studio: list[Pair], tmp_path: Path, epochs: int) -> None:
    """Interrupted in the head's second epoch, or in the top's first: the same in the end."""
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    options = replace(QUICK, head_rate=5e-3)
    whole, expected = run(studio, tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        run(studio, tmp_path / "parts", options, stopper(epochs))
    assert (tmp_path / "parts" / CHECKPOINT).is_file()
    torch.manual_seed(99)
    steps: list[str] = []
    model, result = run(
        studio,
        tmp_path / "parts",
        options,
        lambda e: steps.append(e["stage"]) if "loss" in e else None,
    )
    assert len(steps) == (3 - epochs) * 2, "only what was missing is trained"
    assert same(weights_of(model), weights_of(whole))
    assert result.history == expected.history
    assert not same(weights_of(model), weights_of(base_model()))


def test_the_callers_random_numbers_are_left_alone(studio: list[Pair], tmp_path: Path) -> None:
    model = base_model()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    finetune(model, studio[2:], studio[:1], tmp_path, replace(QUICK, top_epochs=0))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("what", ["pairs", "options", "model"])
def test_an_unfinished_run_of_something_else(studio: list[Pair], tmp_path: Path, what: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(studio, tmp_path, QUICK, stopper(1))
    content = (tmp_path / CHECKPOINT).read_bytes()
    model, pairs, options = base_model(), studio, QUICK
    if what == "pairs":
        pairs = [*studio[:-1], pair(77)]
    elif what == "options":
        options = replace(QUICK, seed=1)
    else:
        model = small_model(4)
    with pytest.raises(
        ModelError, match="unfinished run of other pairs, options or model"
    ) as caught:
        finetune(model, pairs[1:], pairs[:1], tmp_path, options)
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert "--force" in str(caught.value)
    assert (tmp_path / CHECKPOINT).read_bytes() == content


def test_a_damaged_checkpoint(studio: list[Pair], tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"no state at all")
    with pytest.raises(ModelError, match="cannot go on from this checkpoint"):
        run(studio, tmp_path)


# The split


def numbered(count: int) -> list[Pair]:
    empty = np.zeros((1, 1), np.float32)
    return [Pair(str(i), empty, empty, 0.0, 1, 1.0) for i in range(count)]


@pytest.mark.parametrize(
    ("count", "share", "held"),
    [(2, 0.2, 1), (10, 0.2, 2), (50, 0.2, 10), (3, 0.9, 2), (4, 0.01, 1)],
)
def test_some_pairs_are_held_out(count: int, share: float, held: int) -> None:
    pairs = numbered(count)
    train, rest = split_pairs(pairs, FinetuneOptions(held_out=share))
    assert len(rest) == held
    assert sorted(p.name for p in (*train, *rest)) == sorted(p.name for p in pairs)


def test_the_seed_decides_which() -> None:
    pairs = numbered(20)
    names = [[p.name for p in split_pairs(pairs, FinetuneOptions(seed=s))[1]] for s in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs(count: int) -> None:
    with pytest.raises(PairError, match=rf"{count} usable pair\(s\); fine-tuning needs 2"):
        split_pairs(numbered(count), FinetuneOptions())
