"""What pretraining trains by: its examples, and the recognition of one strip among others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.encoders import create
from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.pretraining.examples import SOUNDS, Stream
from diffconsole.training.pretraining.pretrain_model import PretrainModel, match_loss
from diffconsole.training.pretraining.simulate import load_voices
from diffconsole.training.pretraining.strips import Strips

from ...synthetic import write_people

GAIN = [p.key for p in PARAMETERS].index("output_gain.gain_db")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, torch.Tensor]:
    people = {"anna": 1, "ben": 2, "carla": 3}
    voices = load_voices(write_people(tmp_path_factory.mktemp("voices"), people))
    encoder = create("logmel")
    assert isinstance(encoder, LogMelEncoder)
    stream = Stream(voices, [], Strips.around_anchor(), encoder.mel, 0)
    made = [stream.example((0, number)) for number in range(4)]
    sounds, targets = map(torch.stack, zip(*made, strict=True))
    return sounds, targets


def but_gain(target: torch.Tensor) -> torch.Tensor:
    return torch.cat((target[..., :GAIN], target[..., GAIN + 1 :]), dim=-1)


def test_three_voices_share_a_strip_and_the_first_meets_another(
    examples: tuple[torch.Tensor, torch.Tensor],
) -> None:
    sounds, targets = examples
    assert sounds.shape[:2] == (4, SOUNDS)
    assert targets.shape == (4, SOUNDS, len(PARAMETERS))
    rest = but_gain(targets)
    for number in (2, 3, 4):
        assert torch.equal(rest[:, 1], rest[:, number])
    assert ((rest[:, 1] - rest[:, 5]).abs().amax(dim=1) > 0.1).all()
    assert ((rest[:, 1] - rest[:, 0]).abs().amax(dim=1) > 0.1).all()
    # The same passage before the strip, after it, and after the other one.
    for one, other in ((1, 3), (1, 5), (3, 5)):
        a, b = (sounds[:, n].float().flatten(1) for n in (one, other))
        assert ((a - b).abs().mean(dim=1) > 0.05).all()
        assert min(np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)) > 0.5


def test_every_task_trains_the_encoder(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    pretrain_model = PretrainModel(half_digits=False)
    losses = pretrain_model(*examples)
    assert {"total", "listen", "style", "match", "sum"} <= losses.keys()
    for name in ("total", "listen", "style", "match"):
        assert losses[name].shape == (4,)
        pretrain_model.zero_grad()
        losses[name].mean().backward(retain_graph=True)
        grown = sum(
            float(w.grad.abs().sum())
            for w in pretrain_model.model.encoder.parameters()
            if w.grad is not None
        )
        assert grown > 0.0, name


def test_a_strip_is_recognised_by_what_its_voices_share() -> None:
    rng = torch.Generator().manual_seed(0)
    strips, singers, others = (torch.randn(6, 32, generator=rng) for _ in range(3))
    heard = strips + 0.1 * torch.randn(6, 32, generator=rng)
    found = match_loss(strips, heard, heard, others)
    assert found.shape == (6,)
    assert float(found.max()) < 0.1
    # An embedding of the singer finds itself after another strip, not the other singers.
    assert float(match_loss(singers, heard, heard, singers).min()) > 1.0


def test_the_same_singer_after_another_strip_counts_as_one_more_that_is_wrong() -> None:
    equal = torch.ones(4, 8)
    np.testing.assert_allclose(match_loss(equal, equal, equal, equal), np.log(5.0), rtol=1e-5)
    apart = -equal
    np.testing.assert_allclose(match_loss(equal, equal, equal, apart), np.log(4.0), rtol=1e-3)
