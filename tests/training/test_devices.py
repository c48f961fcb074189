"""Every job with a device: on a pretended GPU anywhere, and on a real one where there is one.

Tensors of two devices in one operation are an error on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole.console import Console
from diffconsole.console.render import render
from diffconsole.kernels import operators as kernels
from diffconsole.losses import MixTarget
from diffconsole.losses.weighting import _taps_at
from diffconsole.model.predictor import Predictor
from diffconsole.model.reference.prediction import Reference, predict_towards
from diffconsole.modules.reverb.noise import band_noise
from diffconsole.modules.reverb.process import _ramps
from diffconsole.strip.parameters import DEFAULT_PARAMETERS, PARAMETERS, denormalize
from diffconsole.strip.preset import Preset
from diffconsole.training.finetuning import labels, map_estimates, offsets
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune
from diffconsole.training.matching import postprocess, search, starts
from diffconsole.training.matching.match import MatchOptions, match
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain

from ..pretend_gpu import MixedDevicesError, WaitingError, pretend_gpu
from ..synthetic import RATE, mixed, pair, small_encoders, small_model, voice, write_people
from .finetuning.helpers import base_model, coarse_amounts, few_candidates, short_windows
from .pretraining.short_examples import short_examples

pytestmark = [
    pytest.mark.gpu,
    # The pretended device is called meta, which otherwise holds nothing that could be copied.
    pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter"),
]
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(autouse=True)
def constants_of_this_device() -> Iterator[None]:
    """Constants that tests on the real meta device have left hold no values."""
    kept: tuple[Any, ...] = (_taps_at, _ramps, band_noise)
    for each in kept:
        each.cache_clear()
    yield
    for each in kept:
        each.cache_clear()


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=ON_GPU)])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a device that is not the CPU."""
    if request.param == "cuda":
        yield "cuda"
        return
    with pretend_gpu() as name:
        yield name


SECONDS = 0.45
"""Of each take: little more than a block of the loudness."""


def small_reference_model() -> Predictor:
    model = small_model()
    torch.manual_seed(1)
    return Predictor(model.encoder, hidden=16, has_style=True).eval()


def test_mixed_devices_are_noticed() -> None:
    with pretend_gpu() as device:
        there = torch.ones(3).to(device)
        assert (2.0 * there + torch.tensor(1.0)).cpu().tolist() == [3.0, 3.0, 3.0]
        for mix in (lambda: there + torch.ones(3), lambda: torch.stack((torch.ones(3), there))):
            with pytest.raises(MixedDevicesError):
                mix()
    with pretend_gpu(waiting=False):
        for wait in (lambda: float(there.sum()), there.cpu, lambda: there[there > 0.0]):
            with pytest.raises(WaitingError):
                wait()


def test_what_is_computed_there_is_what_the_cpu_computes(device: str) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.03, (2, RATE // 2)).astype(np.float32)
    audio = torch.from_numpy(noise + np.stack([voice(0.5, 1), voice(0.5, 2)]))[None]
    point = torch.full((1, len(PARAMETERS)), 0.45)
    found = []
    for where in ("cpu", device):
        # The same implementation on both, but for the loops of a real GPU.
        with kernels.use("generic") if where == "cpu" else nullcontext():
            target = MixTarget(audio.to(where), RATE, stride=32, bounded=True)
            unit = point.to(where).requires_grad_()
            result = Console(RATE, reverb_seconds=1.0)(audio.to(where), denormalize(unit))
            distance = target.distance(result, part=(1, 2))
            (gradient,) = torch.autograd.grad(distance.sum(), unit)
        found.append((float(distance.detach()), gradient.cpu()))
    (cpu, slope), (there, same) = found
    assert there == pytest.approx(cpu, rel=5e-3)
    assert float((same - slope).norm() / slope.norm()) < (0.1 if device == "cuda" else 1e-3)


@pytest.mark.parametrize("bounded", [False, True])
def test_console_and_loss_wait_for_nothing(bounded: bool) -> None:
    """After a first step, in which constants are put on the device."""
    audio = torch.from_numpy(np.stack([voice(0.5, 1), voice(0.5, 2)]))[None]
    console = Console(RATE, reverb_seconds=1.0)

    def step(raw: torch.Tensor, target: MixTarget, unit: torch.Tensor) -> torch.Tensor:
        distance = target.distance(console(raw, console.denormalize(unit)), part=(1, 4))
        (gradient,) = torch.autograd.grad(distance.sum(), unit)
        return gradient

    def prepared(where: str) -> tuple[torch.Tensor, MixTarget, torch.Tensor]:
        raw = audio.to(where)
        # Gate and de-esser are off: where they have no kernel, their detector asks the device
        # whether it has settled.
        unit = torch.full((1, len(DEFAULT_PARAMETERS)), 0.45).to(where).requires_grad_()
        return raw, MixTarget(raw, RATE, stride=32, bounded=bounded), unit

    with pretend_gpu() as device:
        given = prepared(device)
        step(*given)
    with pretend_gpu(waiting=False):
        step(*given)
    if torch.cuda.is_available():
        given = prepared("cuda")
        step(*given)
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(*given)
        finally:
            torch.cuda.set_sync_debug_mode("default")


ACTING = {"gate.threshold_db": -25.0, "deesser.threshold_db": -30.0, "saturation.drive_db": 9.0}


def test_all_modules_together(device: str) -> None:
    """Gate, de-esser and saturation too, at settings at which they act: output and gradients."""
    audio = torch.from_numpy(np.stack([voice(0.5, 1), voice(0.5, 2)]))[None]
    console = Console(RATE, reverb_seconds=1.0)
    found = []
    for where in ("cpu", device):
        settings = denormalize(
            torch.full((1, len(PARAMETERS)), 0.45, dtype=torch.float64).to(where)
        )
        settings |= {
            key: torch.tensor([value], dtype=torch.float64).to(where).requires_grad_()
            for key, value in ACTING.items()
        }
        y = console(audio.to(where), settings)
        y.square().sum().backward()
        grads = [settings[key].grad for key in ACTING]
        found.append((y.detach().cpu(), [float(g.cpu()) for g in grads if g is not None]))
    (here, slopes), (there, same) = found
    assert float((there - here).norm() / here.norm()) < 1e-4
    assert all(slope != 0.0 for slope in slopes)
    assert same == pytest.approx(slopes, rel=1e-2)


def test_prediction(device: str) -> None:
    model = small_reference_model()
    raw, finished = voice(0.8, 1)[None], mixed(voice(0.8, 2), {})
    reference = [Reference("finished", finished, RATE, 1.0)]
    expected = model.predict(raw, RATE), predict_towards(model, raw, RATE, reference, steps=2)
    model.to(device)
    found = model.predict(raw, RATE), predict_towards(model, raw, RATE, reference, steps=2)
    for there, here in zip(found, expected, strict=True):
        for parameter in DEFAULT_PARAMETERS:
            ours, theirs = (
                parameter.to_normalised(p.settings[parameter.key]) for p in (there, here)
            )
            assert ours == pytest.approx(theirs, abs=1e-3), parameter.key


def test_rendering(device: str) -> None:
    preset = Preset.from_settings({p.key: p.default for p in PARAMETERS})
    raw = voice(0.5, 1)[None]
    here, there = (
        render(raw, RATE, preset, device=d, tail_seconds=0.5).samples for d in ("cpu", device)
    )
    assert np.abs(here - there).max() < 1e-4


def test_pretraining(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_encoders(monkeypatch.setattr)
    short_examples(monkeypatch.setattr)
    voices = write_people(tmp_path / "voices", {"anna": 1, "ben": 2, "carla": 3})
    options = PretrainOptions(
        str(voices), held_out=("ben",), batch=3, steps=2, style_strips=0, module_examples=0
    )
    losses = []

    def report(event: dict[str, float]) -> None:
        losses.append(event.get("loss"))

    figures = pretrain(options, tmp_path / "model", device=device, report=report, validation=1)
    assert all(np.isfinite(loss) for loss in losses if loss is not None)
    assert len([loss for loss in losses if loss is not None]) == 2
    assert {"fixed", "total", "style"} <= figures.keys()
    again = PretrainOptions(
        str(voices), held_out=("ben",), batch=3, steps=1, average=True,
        style_strips=0, module_examples=0,
        start_from=str(tmp_path / "model"),
    )  # fmt: skip
    pretrain(again, tmp_path / "mean", device=device, validation=1)
    assert Predictor.load(tmp_path / "mean").info["steps"] == 1


@pytest.mark.usefixtures("few_starts")
def test_finetuning(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages, labels by the search included."""
    short_windows(monkeypatch.setattr)
    coarse_amounts(monkeypatch.setattr)
    monkeypatch.setattr(map_estimates, "STEPS", 1)
    monkeypatch.setattr(labels, "plan_for", lambda _: short_plan(thorough=False))
    # What matching tests on its own, once.
    monkeypatch.setattr(search, "prune_inaudible", lambda *_, **__: frozenset())
    monkeypatch.setattr(search, "levelled", lambda _, point: point)
    monkeypatch.setattr(offsets, "ALPHAS", (1.0,))
    pairs = [pair(seed, seconds=SECONDS) for seed in range(3)]
    options = FinetuneOptions(
        studio_epochs=1, head_epochs=1, top_epochs=1, batch=2, top_stages=1, steps=3
    )
    result = finetune(base_model(), pairs[1:], pairs[:1], tmp_path, options, device=device)
    stages = [entry["stage"] for entry in result.history]
    assert {"before", "labels", "studio", "near", "ridge", "head", "top"} <= set(stages)
    assert result.steps == 3
    assert result.history[1]["labelled"] == 2


def short_plan(*, thorough: bool) -> search.Plan:
    return search.Plan((search.Round(1.0, 2, 0.05, 2, 1),), thorough)


@pytest.fixture
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that begins at few strips, and looks at few of their settings in the end."""
    few_candidates(monkeypatch.setattr)
    monkeypatch.setattr(starts, "EQ_STEPS", 2)
    held = tuple(key for key in postprocess.KEYS if key not in ("eq.peak_1.q", "reverb.decay_s"))
    monkeypatch.setattr(postprocess, "HELD", held)


@pytest.mark.usefixtures("few_starts")
@pytest.mark.parametrize("thorough", [False, True])
def test_matching(device: str, thorough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffconsole.training.matching import match as matching
    from diffconsole.training.matching import polish

    monkeypatch.setattr(matching, "plan_for", lambda _: short_plan(thorough=thorough))
    monkeypatch.setattr(polish, "STEPS", 1)
    if thorough:
        # What the quick search shows.
        monkeypatch.setattr(search, "prune_inaudible", lambda *_, **__: frozenset())
    # As near as the samples' differences want it, so that they are taken.
    monkeypatch.setattr(polish, "NEAR_WITHOUT_RETURN", 1e9)
    (found,) = match([pair(1, seconds=SECONDS)], MatchOptions(quick=not thorough), device=device)
    assert np.isfinite(found.distance)
    assert not found.stopped
