"""Fine-tuning: a studio's sound is learnt in stages, the best counts, a killed run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open

from diffconsole.errors import ModelError, PairError
from diffconsole.model.predictor import Predictor
from diffconsole.pairs import Pair
from diffconsole.training.finetuning import labels
from diffconsole.training.finetuning.finetune import (
    CHECKPOINT,
    FinetuneOptions,
    FinetuneResult,
    finetune,
    split_pairs,
)
from diffconsole.training.log import LOG

from ...synthetic import pair, small_model
from .helpers import (
    base_model,
    coarse_amounts,
    few_candidates,
    known_labels,
    quick_runs,
    short_windows,
)

QUICK = FinetuneOptions(
    studio_epochs=1, head_epochs=2, top_epochs=1, batch=2, top_stages=1, top_rate=1e-3
)
STAGES = ("labels", "studio", "near", "head", "top")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Windows of a second instead of five, and no search for the labels where none is needed."""
    if "real_labels" in request.fixturenames:
        short_windows(monkeypatch.setattr)
        coarse_amounts(monkeypatch.setattr)
        few_candidates(monkeypatch.setattr)
    else:
        quick_runs(monkeypatch.setattr)


@pytest.fixture
def real_labels() -> None:
    """The labels are searched for."""


@pytest.fixture(scope="module")
def studio() -> list[Pair]:
    return [pair(seed, seconds=1.0) for seed in range(6)]


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
    folder.mkdir(exist_ok=True)
    result = finetune(model, studio[held:], studio[:held], folder, options, report=report)
    return model, result


class Killed(BaseException):
    """Nothing in the run may catch it and tidy up."""


class Course(NamedTuple):
    """A run that nothing stopped.

    Attributes
    ----------
    killed : dict of str to Path
        What a process leaves that is killed in the middle of a stage's last epoch.
    weights : dict of str to dict
        Those of the model there.
    ends : dict of str to dict
        Those after the last step of each stage.
    drawn : Tensor
        The random number that is drawn next.
    """

    model: Predictor
    result: FinetuneResult
    folder: Path
    killed: dict[str, Path]
    weights: dict[str, dict[str, torch.Tensor]]
    ends: dict[str, dict[str, torch.Tensor]]
    drawn: torch.Tensor


@pytest.fixture(scope="module")
def whole(studio: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Course:
    base = tmp_path_factory.mktemp("whole")
    folder = base / "run"
    folder.mkdir()
    killed: dict[str, Path] = {}
    weights, ends = dict[str, dict[str, torch.Tensor]](), dict[str, dict[str, torch.Tensor]]()
    model = base_model()

    def report(event: dict[str, Any]) -> None:
        if "loss" not in event:
            return
        stage = event["stage"]
        ends[stage] = weights_of(model)
        if event["fraction"] > 0.5 and stage not in killed:
            killed[stage] = Path(shutil.copytree(folder, base / stage))
            weights[stage] = ends[stage]

    with pytest.MonkeyPatch.context() as patch:
        quick_runs(patch.setattr)
        torch.manual_seed(5)
        result = finetune(model, studio[1:], studio[:1], folder, QUICK, report=report)
    return Course(model, result, folder, killed, weights, ends, torch.rand(1))


def kept_in(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, bytes]]:
    """All that a run keeps, but the time that it took."""
    with safe_open(folder / CHECKPOINT, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = {name: json.loads(value) for name, value in file.metadata().items()}
    assert facts["progress"].pop("seconds") > 0.0
    others = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CHECKPOINT}
    return tensors, facts, others


def killer(stage: str) -> Callable[[dict[str, Any]], None]:
    """A report that ends the run in the middle of a stage's last epoch."""

    def report(event: dict[str, Any]) -> None:
        if event["stage"] == stage and "loss" in event and event["fraction"] > 0.5:
            raise Killed

    return report


# Learning


@pytest.mark.slow
@pytest.mark.usefixtures("real_labels")
def test_a_studios_sound_is_learnt(tmp_path: Path) -> None:
    """Pairs made by one strip: mixes that were held out come clearly nearer."""
    pairs = [pair(seed, seconds=1.0) for seed in range(6)]
    options = replace(QUICK, batch=4)
    model, result = run(pairs, tmp_path, options, held=2)
    assert result.scores[result.best] < 0.5 * result.scores["before"]
    # And by the program's own measure, over whole files.
    from diffconsole.pairs.evaluation import model_distance

    ours = np.mean([model_distance(p, model) for p in pairs[:2]])
    theirs = np.mean([model_distance(p, base_model()) for p in pairs[:2]])
    assert ours < 0.6 * theirs


def test_each_stage_is_told_and_the_best_counts(whole: Course) -> None:
    start, model, result = weights_of(base_model()), whole.model, whole.result
    stages = [entry["stage"] for entry in result.history]
    assert stages == ["before", "labels", "studio", "studio", "near", "ridge",
                      "head", "head", "top"]  # fmt: skip
    assert result.history[1] == {"stage": "labels", "labelled": 5, "pairs": 5}
    held = [entry["held_out"] for entry in result.history if "held_out" in entry]
    assert result.scores[result.best] == min(result.scores.values())
    assert result.scores[result.best] <= min(held) + 2e-4
    assert result.scores[result.best] < 0.7 * result.scores["before"]
    assert result.epochs == 4
    assert result.seconds > 0.0
    assert not model.training
    # All but the linear maps, which pretraining leaves at zero, can be trained further.
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["head.skip.weight", "head.voice.weight"]

    # First the head, then the top, and never the bottom.
    for name, value in start.items():
        if name.startswith("encoder.project"):
            assert torch.equal(whole.ends["head"][name], value), name
            assert not torch.equal(whole.ends["top"][name], value), name
        elif name.startswith("encoder."):
            assert torch.equal(whole.ends["top"][name], value), name
    lines = (whole.folder / LOG).read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history


def test_what_ruins_the_model_does_not_count(studio: list[Pair], tmp_path: Path) -> None:
    """At rates that ruin everything at once, it is as the labels left it."""
    options = replace(QUICK, studio_rate=9.0, head_rate=9.0, top_rate=9.0, head_epochs=9)
    model, result = run(studio, tmp_path, options)
    assert result.best in ("studio", "ridge")
    assert sum(entry["stage"] == "head" for entry in result.history) == options.patience
    _, again = run(studio, tmp_path / "again", replace(options, minutes=1e-9))
    assert again.scores["before"] > result.scores[result.best]


def test_no_time_is_no_training(studio: list[Pair], tmp_path: Path) -> None:
    model, result = run(studio, tmp_path, replace(QUICK, minutes=1e-9))
    assert result.epochs == 0
    assert same(weights_of(model), weights_of(base_model()))


# Interruption


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_ends_as_it_would_have(
    studio: list[Pair], tmp_path: Path, whole: Course, stage: str
) -> None:
    """Up to where the next kill would find it, from where the next of these tests goes on."""
    folder = Path(shutil.copytree(whole.killed[stage], tmp_path / "run"))
    assert (folder / CHECKPOINT).is_file()
    following = dict(zip(STAGES, STAGES[1:], strict=False)).get(stage)
    stop = killer(following) if following else lambda _: None
    model, reported = base_model(), list[str]()

    def report(event: dict[str, Any]) -> None:
        reported.append(event["stage"])
        stop(event)

    torch.manual_seed(99)
    if following is None:
        result = finetune(model, studio[1:], studio[:1], folder, QUICK, report=report)
        assert same(weights_of(model), weights_of(whole.model))
        assert result.history == whole.result.history
        assert result.scores == whole.result.scores
    else:
        with pytest.raises(Killed):
            finetune(model, studio[1:], studio[:1], folder, QUICK, report=report)
        assert same(weights_of(model), whole.weights[following])
        ours, theirs = kept_in(folder), kept_in(whole.killed[following])
        assert ours[0].keys() == theirs[0].keys()
        assert same(ours[0], theirs[0])
        assert ours[1:] == theirs[1:]
    assert reported[0] == stage, "only what was missing is done"


def test_a_killed_run_keeps_its_labels(
    studio: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group is searched at a time here; what was written is not searched again."""
    monkeypatch.setattr(labels, "QUICK_TOGETHER", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    found: list[str] = []

    def search(pairs: list[Pair], *rest: Any) -> list[torch.Tensor]:
        if len(found) == 2:
            raise Killed
        found.extend(pair.name for pair in pairs)
        return known_labels(pairs, *rest)

    monkeypatch.setattr(labels, "_search", search)
    with pytest.raises(Killed):
        run(studio, tmp_path)
    with open(tmp_path / labels.LABELS, "a") as file:
        file.write('{"pair": "half a li')
    names: list[str] = []

    def again(pairs: list[Pair], *rest: Any) -> list[torch.Tensor]:
        names.extend(pair.name for pair in pairs)
        return known_labels(pairs, *rest)

    monkeypatch.setattr(labels, "_search", again)
    with pytest.raises(Killed):
        run(studio, tmp_path, QUICK, killer("studio"))
    assert found == ["take_1", "take_2"]
    assert names == ["take_3", "take_4", "take_5"]
    assert json.loads((tmp_path / LOG).read_text().splitlines()[1])["labelled"] == 5


def test_the_callers_random_numbers_are_left_alone(whole: Course) -> None:
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), whole.drawn)


@pytest.mark.parametrize("what", ["pairs", "options", "model"])
def test_an_unfinished_run_of_something_else(studio: list[Pair], tmp_path: Path, what: str) -> None:
    with pytest.raises(Killed):
        run(studio, tmp_path, QUICK, killer("labels"))
    content = (tmp_path / CHECKPOINT).read_bytes()
    model, pairs, options = base_model(), studio, QUICK
    if what == "pairs":
        pairs = [*studio[:-1], pair(77, seconds=1.0)]
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
    with pytest.raises(ModelError, match="cannot resume from this checkpoint"):
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
