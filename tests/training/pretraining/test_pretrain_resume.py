"""A pretraining run that was stopped hears what it would have heard, and ends the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole.model.predictor import Predictor
from diffconsole.training.interrupts import uninterrupted
from diffconsole.training.pretraining import examples
from diffconsole.training.pretraining import pretrain as pretraining
from diffconsole.training.pretraining.examples import Pool, Schedule, Stream
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain

from ...synthetic import small_encoders, write_people
from .short_examples import short_examples

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Numbered(Stream):
    """Examples that are their numbers, made in no time."""

    def __init__(self, seed: int, first: int, schedule: Schedule) -> None:
        super().__init__(None, [], None, None, seed, first, schedule)  # type: ignore[arg-type]

    def example(self, seed: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([float(seed[1])]), torch.tensor([float(seed[1])])


def heard(schedule: Schedule, first: int, until: int, workers: int) -> list[list[float]]:
    """What the steps from `first` on hear, in order, made by so many processes."""
    loader = torch.utils.data.DataLoader(
        Numbered(0, first, schedule), None, num_workers=workers, prefetch_factor=2
    )
    pool, found = Pool(schedule), []
    for step, made in zip(range(first, until), loader, strict=False):
        found.append(pool.batch(step, made)[0][:, 0].tolist())
    return found


@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_several_processes_skip_and_repeat_nothing(stopped: int) -> None:
    schedule = Schedule(5, fresh=2, size=6)
    whole = heard(schedule, 0, 9, workers=3)
    assert [numbers[:2] for numbers in whole] == [[2.0 * i, 2.0 * i + 1.0] for i in range(9)]
    assert heard(schedule, stopped, 9, workers=3) == whole[stopped:]
    assert heard(schedule, stopped, 9, workers=2) == whole[stopped:]


def test_what_has_been_forgotten_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "POOL", 8)
    schedule = Schedule(5, fresh=2, size=6)
    pool = Pool(schedule)
    lost = schedule.fresh_in(50).start
    for step, made in zip(range(50, 70), iter(Numbered(0, 50, schedule)), strict=False):
        again = set(made) - set(schedule.fresh_in(step))
        assert all(lost - 8 <= number < lost for number in again)
        pool.batch(step, made)
        assert len(pool.kept) <= 8


@pytest.mark.slow
def test_a_stopped_run_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three processes that make examples; stopped twice."""
    monkeypatch.setattr(pretraining, "VALIDATIONS", 2)
    small_encoders(monkeypatch.setattr)
    short_examples(monkeypatch.setattr)
    voices = write_people(tmp_path / "voices", {"anna": 1, "ben": 2, "carla": 3})
    options = PretrainOptions(
        str(voices), held_out=("ben",), batch=8, steps=5, style_strips=0, module_examples=0
    )

    batches: list[list[torch.Tensor]] = []
    plain = Pool.batch

    def noted(pool: Pool, step: int, made: Any, rows: slice) -> list[torch.Tensor]:
        batches.append(plain(pool, step, made, rows))
        return batches[-1]

    monkeypatch.setattr(Pool, "batch", noted)

    def run(folder: Path, stop: int = 0) -> list[float]:
        losses: list[float] = []

        def report(event: dict[str, Any]) -> None:
            losses.extend([event["loss"]] if "loss" in event else [])
            if event["step"] == stop:
                raise KeyboardInterrupt

        pretrain(options, folder, workers=3, report=report, validation=2)
        return losses

    whole = run(tmp_path / "whole")
    expected = list(batches)
    batches.clear()
    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", stop)
    assert run(tmp_path / "stopped") == pytest.approx(whole[3:], rel=1e-4)
    assert len(batches) == len(expected) == 5
    for ours, theirs in zip(batches, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert Predictor.load(tmp_path / "stopped").info["steps"] == 5
    assert Predictor.load(tmp_path / "stopped").info["budget"] == "steps"


def test_ctrl_c_waits_for_the_end_of_a_step() -> None:
    import signal

    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append(np.float64(1.0))
    assert done == [1.0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
