"""Pretraining: it finishes in its time, says what it measured, and goes on when stopped."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole.errors import AudioError, ModelError
from diffconsole.model.predictor import Predictor
from diffconsole.strip.anchor import anchor_settings
from diffconsole.strip.later import FIRST_PARAMETERS
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.pretraining import pretrain as pretraining
from diffconsole.training.pretraining import training_run
from diffconsole.training.pretraining.examples import POOL, Example, Pool, Schedule
from diffconsole.training.pretraining.pretrain import (
    CHECKPOINT,
    PretrainOptions,
    held_out_examples,
    mean_with,
    pretrain,
)
from diffconsole.training.pretraining.simulate import load_voices

from ...synthetic import RATE, small_encoders, voice, write_people
from .short_examples import short_examples

FIGURES = {"total", "likelihood", "error", "curve_db"}
TASKS = {"listen", "style", "match", "sum"}


@pytest.fixture(scope="module", autouse=True)
def quick_runs() -> Iterator[None]:
    """By the training's clock a step takes a second: no machine does more or fewer of them."""
    clock, plain = SimpleNamespace(seconds=0.0), Pool.batch

    def batch(*arguments: Any) -> list[torch.Tensor]:
        clock.seconds += 1.0
        return plain(*arguments)

    def monotonic() -> float:
        clock.seconds += 1e-6
        return clock.seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "batch", batch)
        patch.setattr(training_run, "time", SimpleNamespace(monotonic=monotonic))
        # Of eight seconds each the simulated strips take longer than the training.
        short = functools.partial(pretraining.fit_model_statistics, seconds=2.0)
        patch.setattr(pretraining, "fit_model_statistics", short)
        small_encoders(patch.setattr)
        short_examples(patch.setattr)
        yield


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> PretrainOptions:
    """Three people, one held out; three examples a step, time for six steps."""
    people = {"anna": 1, "ben": 2, "carla": 3}
    folder = write_people(tmp_path_factory.mktemp("data") / "voices", people)
    return PretrainOptions(
        str(folder),
        held_out=("ben",),
        minutes=6.0 / 60.0,
        batch=3,
        style_strips=5,
        module_examples=0,
    )


def stop_after(steps: int) -> Any:
    def report(event: dict[str, Any]) -> None:
        if event.get("step") == steps and "loss" in event:
            raise KeyboardInterrupt

    return report


@pytest.fixture(scope="module")
def finished(
    options: PretrainOptions, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """A run that was interrupted in its third step and gone on with."""
    folder = tmp_path_factory.mktemp("runs") / "model"
    with pytest.raises(KeyboardInterrupt):
        pretrain(options, folder, report=stop_after(3), validation=2)
    assert [p.name for p in folder.iterdir()] == [CHECKPOINT]
    events: list[dict[str, Any]] = []
    figures = pretrain(options, folder, report=events.append, validation=2)
    return folder, figures, events


def test_a_stopped_run_goes_on(finished: tuple[Path, dict[str, Any], list[dict[str, Any]]]) -> None:
    """With the next step, and with the time that is left."""
    steps = [event for event in finished[2] if "loss" in event]
    assert steps[0]["step"] == 4
    assert steps[0]["fraction"] > 0.0
    assert [event["step"] for event in steps] == [4, 5, 6]
    assert all(np.isfinite(event["loss"]) for event in steps)
    assert all(0.0 <= event["fraction"] < 1.0 for event in steps)


def test_a_run_that_is_stopped_after_its_training_resumes_there(
    options: PretrainOptions, tmp_path: Path
) -> None:
    short = replace(options, minutes=1.0, steps=2)

    def stop(event: dict[str, Any]) -> None:
        if "statistics" in event:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(short, tmp_path / "model", report=stop, validation=2)
    assert [p.name for p in (tmp_path / "model").iterdir()] == [CHECKPOINT]
    events: list[dict[str, Any]] = []
    # The statistics are no part of the training: they may be left out now.
    again = replace(short, style_strips=0, module_examples=0)
    pretrain(again, tmp_path / "model", report=events.append, validation=2)
    assert not [event for event in events if "loss" in event]
    assert Predictor.load(tmp_path / "model").info["steps"] == 2


def test_figures_stand_beside_those_of_a_fixed_strip(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
) -> None:
    figures = finished[1]
    assert set(figures) == {*FIGURES, *TASKS, "fixed"}
    assert set(figures["fixed"]) == FIGURES
    for part in (figures, figures["fixed"]):
        assert all(np.isfinite(part[name]) for name in FIGURES)
        assert part["error"] > 0.0 and part["curve_db"] > 0.0
    # After a few steps it is still about where it started: at that strip.
    assert figures["error"] == pytest.approx(figures["fixed"]["error"], rel=0.5)


def test_the_model_loads_and_predicts(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]], options: PretrainOptions
) -> None:
    folder, figures, events = finished
    assert not (folder / CHECKPOINT).exists()
    model = Predictor.load(folder)
    assert model.info["held_out"] == figures
    assert model.info["steps"] == max(event.get("step", 0) for event in events)
    assert model.info["options"]["held_out"] == ["ben"]
    assert model.info["options"]["voices"] == "voices", "not where it lies on this machine"
    assert options.voices not in (folder / "model.json").read_text()
    found = model.predict(voice(1.0, 9)[None], RATE)
    assert set(found.settings) == {*FIRST_PARAMETERS, "compressor.mix"}
    assert all(p.low <= found.settings[p.key] <= p.high for p in PARAMETERS
               if p.key in FIRST_PARAMETERS)  # fmt: skip
    # The anchor is what it starts from.
    strip = anchor_settings()
    assert found.settings["compressor.ratio"] == pytest.approx(strip["compressor.ratio"], rel=0.2)
    assert found.settings["reverb.wet_db"] == pytest.approx(strip["reverb.wet_db"], abs=6.0)
    assert model.info["anchor_share"] == options.anchor_share
    table = model.style_statistics
    assert table is not None
    assert table.embedding_dim == 2 * model.encoder.dim
    assert "5 strips, 4 singers of 2 each" in table.source
    assert table.source.endswith("5 strips for validation by ben")
    assert events[-1] == {"statistics": 1.0}
    assert table.source in " ".join((folder / "README.md").read_text().split())


def test_another_run_does_not_go_on_with_this_one(options: PretrainOptions, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        pretrain(options, tmp_path, report=stop_after(1), validation=1)
    content = (tmp_path / CHECKPOINT).read_bytes()
    for other in (replace(options, held_out=("anna",)), replace(options, seed=1)):
        with pytest.raises(ModelError, match="unfinished run with other data or options"):
            pretrain(other, tmp_path, validation=1)
    assert (tmp_path / CHECKPOINT).read_bytes() == content


def test_goes_on_from_a_model(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
    options: PretrainOptions,
    tmp_path: Path,
) -> None:
    """Its weights are where the run begins, and the card tells of both runs."""
    start = finished[0]
    # Without a step what is written is what it began with, anchored and calibrated again.
    other = replace(
        options, start_from=str(start), steps=0, seed=7, learning_rate=2e-4, style_strips=0
    )
    pretrain(other, tmp_path, validation=2)
    before, after = Predictor.load(start), Predictor.load(tmp_path)
    for name, weights in before.state_dict().items():
        if name == "head.mean.bias":
            assert torch.allclose(weights, after.state_dict()[name], atol=0.5), name
        elif name == "head.mean.weight":
            assert torch.allclose(weights, after.state_dict()[name], atol=1e-3), name
        elif not name.endswith(("log_scale", "switch_line")):
            assert torch.equal(weights, after.state_dict()[name]), name
    assert after.info["started_from"]["steps"] == before.info["steps"]
    assert after.info["started_from"]["options"] == before.info["options"]
    assert after.info["options"]["start_from"] == start.name
    # The card says how good the start was, so that nobody takes a worse model for a better one.
    figures = after.info["started_from"]["held_out"]
    assert set(figures) == {*FIGURES, "style"}
    assert figures["error"] == pytest.approx(after.info["held_out"]["error"], rel=0.05)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.count("diffconsole pretrain ") == 2
    assert f"--start-from {start.name}" in card
    assert f"{before.info['steps']} steps" in card
    assert f"--learning-rate {other.learning_rate:g}" in card
    assert "| model | start | anchor |" in card.replace("| |", "|")


def test_a_model_to_start_from_must_not_know_whom_it_is_measured_on(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
    options: PretrainOptions,
    tmp_path: Path,
) -> None:
    for names in ({"held_out": ("anna",)}, {"validation": ("anna",)}):
        other = replace(options, start_from=str(finished[0]), **names)
        with pytest.raises(ModelError, match="was trained on 'anna', who is to be held out"):
            pretrain(other, tmp_path, validation=1)
    with pytest.raises(ModelError, match="no model here"):
        pretrain(replace(options, start_from=str(tmp_path / "none")), tmp_path, validation=1)
    with pytest.raises(ModelError, match="was trained on 'kathleen'"):
        pretrain(
            replace(options, start_from="shipped", held_out=("kathleen",)), tmp_path, validation=1
        )
    assert not any(tmp_path.iterdir())
    # Of a model that does not say whom it was trained on, it may be all whom it did not spare.
    known = Predictor.load(finished[0])
    silent = {name: value for name, value in known.info.items() if name != "people"}
    known.save(tmp_path / "silent", silent)
    other = replace(options, start_from=str(tmp_path / "silent"), held_out=("dora",))
    with pytest.raises(ModelError, match="was trained on 'dora'"):
        pretrain(other, tmp_path / "m", validation=1)
    # Nor may whoever an earlier run was trained on.
    later = {**known.info, "people": ["carla"], "started_from": known.info}
    known.save(tmp_path / "later", later)
    other = replace(options, start_from=str(tmp_path / "later"), held_out=("anna",))
    with pytest.raises(ModelError, match="was trained on 'anna'"):
        pretrain(other, tmp_path / "m", validation=1)
    # Whom no run has heard may be held out.
    with pytest.raises(ModelError, match="no folder 'dora' to hold out"):
        pretrain(
            replace(options, start_from=str(finished[0]), held_out=("dora",)),
            tmp_path / "m", validation=1,
        )  # fmt: skip


def test_validation_speakers_may_validate_again_but_are_no_test_speakers(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
    options: PretrainOptions,
    tmp_path: Path,
) -> None:
    known = Predictor.load(finished[0])
    recorded = {**known.info["options"], "held_out": [], "validation": ["ben"]}
    # The key of earlier versions.
    recorded["judges"] = recorded.pop("validation")
    known.save(tmp_path / "validated", {**known.info, "options": recorded})
    start = str(tmp_path / "validated")
    with pytest.raises(ModelError, match="was chosen by 'ben'"):
        pretrain(replace(options, start_from=start), tmp_path / "m", validation=1)
    again = replace(
        options, held_out=(), validation=("ben",), start_from=start, minutes=1e-9, style_strips=0
    )
    pretrain(again, tmp_path / "m", validation=1)
    assert Predictor.load(tmp_path / "m").info["people"] == ["anna", "carla"]


@pytest.mark.parametrize("what", ["fine-tuned", "another size"])
def test_only_what_pretrain_wrote_is_gone_on_from(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
    options: PretrainOptions,
    tmp_path: Path,
    what: str,
) -> None:
    """Said before the voices are read, not when the time is over."""
    known = Predictor.load(finished[0])
    start, info = tmp_path / "start", dict(known.info)
    if what == "fine-tuned":
        del info["steps"], info["trained"]
    else:
        known = Predictor(known.encoder, hidden=known.hidden // 2, has_style=True)
    known.save(start, info)
    word = "not a model that pretrain wrote" if what == "fine-tuned" else "of another size"
    with pytest.raises(ModelError, match=word):
        pretrain(replace(options, start_from=str(start)), tmp_path / "m", validation=1)


def test_the_mean_of_start_and_end(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
    options: PretrainOptions,
    tmp_path: Path,
) -> None:
    # Two runs that end in the same state; one leaves the mean with its start.
    other = replace(
        options, start_from=str(finished[0]), minutes=1e-9, average=True, style_strips=0
    )
    figures = pretrain(other, tmp_path / "same", validation=2)
    start, same = Predictor.load(finished[0]), Predictor.load(tmp_path / "same")
    for name, weights in start.state_dict().items():
        if not name.startswith("head.mean.") and not name.endswith(("log_scale", "switch_line")):
            assert torch.equal(weights, same.state_dict()[name]), "the mean of twice the same"
    assert set(figures) == {*FIGURES, "style", "fixed"}
    assert "--average" in (tmp_path / "same" / "README.md").read_text(encoding="utf-8")
    moved, ends = Predictor.load(finished[0]), Predictor.load(finished[0])
    with torch.no_grad():
        for weights in ends.state_dict().values():
            if weights.is_floating_point():
                weights.add_(1.0)
    mean_with(moved, ends)
    for name, weights in start.state_dict().items():
        if weights.is_floating_point():
            assert torch.allclose(moved.state_dict()[name], weights + 0.5, atol=1e-4), name
    with pytest.raises(ModelError, match="needs a start"):
        pretrain(replace(options, average=True), tmp_path / "none", validation=1)
    with pytest.raises(ModelError, match="0 steps leave weights of chance"):
        pretrain(replace(options, steps=0), tmp_path / "none", validation=1)


def test_a_run_that_goes_on_from_a_model_is_gone_on_with(
    finished: tuple[Path, dict[str, Any], list[dict[str, Any]]],
    options: PretrainOptions,
    tmp_path: Path,
) -> None:
    other = replace(options, start_from=str(finished[0]), learning_rate=1e-9, style_strips=0)
    with pytest.raises(KeyboardInterrupt):
        pretrain(other, tmp_path, report=stop_after(2), validation=2)
    steps: list[dict[str, Any]] = []
    pretrain(other, tmp_path, report=steps.append, validation=2)
    assert next(event["step"] for event in steps if "loss" in event) == 3
    before, after = (Predictor.load(folder) for folder in (finished[0], tmp_path))
    assert after.info["started_from"]["steps"] == before.info["steps"]
    # So low a rate moves nothing that half precision would show.
    weights = (model.head.body[0].weight for model in (before, after))
    assert torch.allclose(*weights, atol=1e-4)


def test_people_that_cannot_be_held_out(options: PretrainOptions, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder 'dora' to hold out"):
        pretrain(replace(options, held_out=("dora",)), tmp_path)
    with pytest.raises(ModelError, match="no folder 'dora' to validate on"):
        pretrain(replace(options, validation=("dora",)), tmp_path)
    with pytest.raises(ModelError, match="all speakers are held out"):
        pretrain(replace(options, held_out=("anna", "ben"), validation=("carla",)), tmp_path)
    with pytest.raises(AudioError, match="not a folder"):
        pretrain(replace(options, voices=str(tmp_path / "none")), tmp_path)


@pytest.mark.parametrize(
    "lines",
    ["person,seconds\nanna,3\n", "person,licence,source_repo,seconds\nanna,CC0,here,long\n"],
)
def test_a_manifest_that_cannot_be_read_is_told_before_the_training(
    tmp_path: Path, lines: str
) -> None:
    voices = write_people(tmp_path / "voices", {"anna": 1}, seconds=1.5)
    (voices / "manifest.csv").write_text(lines)
    with pytest.raises(AudioError, match=r"manifest\.csv: needs the columns person, licence"):
        pretrain(PretrainOptions(str(voices)), tmp_path / "m", validation=1)


def test_what_is_judged_is_always_the_same(options: PretrainOptions) -> None:
    """Whoever trains, for however long: the same examples of the people held out."""
    strangers = load_voices(options.voices).of(options.held_out)
    first, again = (list(held_out_examples(strangers, [], 2)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.raw, b.raw)
        assert a.settings == b.settings
    assert not np.array_equal(first[0].raw, first[1].raw)


def example(number: int) -> Example:
    return torch.tensor([[float(number)]]), torch.tensor([float(number)])


def test_the_pool_mixes_fresh_examples_with_earlier_ones() -> None:
    """Every batch holds all that is fresh; nothing else is heard before it was made."""
    schedule = Schedule(0, fresh=2, size=6)
    pool = Pool(schedule)
    seen: set[float] = set()
    for step in range(5):
        fresh = [2.0 * step, 2.0 * step + 1.0]
        sounds, target = pool.batch(step, {n: example(n) for n in schedule.fresh_in(step)})
        assert sounds[:2, 0, 0].tolist() == fresh
        assert torch.equal(sounds[:, 0, 0], target[:, 0])
        assert set(sounds[2:, 0, 0].tolist()) <= seen
        assert len(sounds) == (2 if step == 0 else 6)
        seen |= set(fresh)
    assert len(pool.kept) == 10


def test_the_pool_forgets_the_oldest() -> None:
    schedule = Schedule(0, fresh=100, size=100)
    pool = Pool(schedule)
    for step in range(POOL // 100 + 1):
        pool.batch(step, {n: example(n) for n in schedule.fresh_in(step)})
    assert len(pool.kept) == POOL
    assert min(pool.kept) == 100
