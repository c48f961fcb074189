"""The last stage of pretraining: the usual voice gets the anchor, others a share more or less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffconsole.model.head import Head
from diffconsole.strip.anchor import anchor
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.pretraining.anchoring import settle, undo_anchoring, usual_voices
from diffconsole.training.pretraining.examples import SOUNDS
from diffconsole.training.pretraining.pretrain_model import PretrainModel, ValidationSet
from diffconsole.training.pretraining.simulate import load_voices
from diffconsole.training.pretraining.strips import Strips

from ...synthetic import write_people

DIM = 8


@pytest.fixture
def head() -> Head:
    torch.manual_seed(2)
    return Head(DIM, 16).eval()


def logits(head: Head, pooled: torch.Tensor) -> torch.Tensor:
    return torch.logit(head.answer(pooled)[0])


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_departures_shrink_about_the_strip(head: Head, share: float) -> None:
    usual, other = torch.randn(12, 2 * DIM), torch.randn(5, 2 * DIM)
    before = logits(head, other) - logits(head, usual).mean(dim=0)
    strip = torch.full((len(PARAMETERS),), 0.3)
    head.anchor_at(strip, usual, share)
    centre = logits(head, usual).mean(dim=0)
    assert torch.allclose(centre, torch.logit(strip), atol=1e-4)
    assert torch.allclose(logits(head, other) - centre, share * before, atol=1e-4)


@torch.no_grad()
def test_the_linear_maps_shrink_too(head: Head) -> None:
    usual, other = torch.randn(12, 2 * DIM), torch.randn(5, 2 * DIM)
    head.skip.weight.normal_(0.0, 0.1)
    before = logits(head, other) - logits(head, usual).mean(dim=0)
    head.anchor_at(torch.full((len(PARAMETERS),), 0.6), usual, 0.5)
    after = logits(head, other) - logits(head, usual).mean(dim=0)
    assert torch.allclose(after, 0.5 * before, atol=1e-4)


@torch.no_grad()
def test_what_is_chosen_for_the_usual_voice_is_the_anchor(tmp_path: Path) -> None:
    torch.manual_seed(4)
    pretrain_model = PretrainModel(half_digits=False).eval()
    people = write_people(tmp_path, {"anna": 1, "ben": 2})
    voices, strips = load_voices(people), Strips.usual()
    usual = usual_voices(pretrain_model.model.encoder, voices, [], strips, seed=0, count=6)
    again = usual_voices(pretrain_model.model.encoder, voices, [], strips, seed=0, count=6)
    assert torch.equal(usual, again)
    mels = pretrain_model.model.encoder.config()["mels"]
    validation_set = ValidationSet(
        torch.randn(4, SOUNDS, mels, 20).half(), torch.rand(4, SOUNDS, len(PARAMETERS))
    )
    before = logits(pretrain_model.model.head, usual)
    settle(pretrain_model, usual, validation_set, 0.4)
    mean, log_variance = pretrain_model.model.head.answer(usual)
    chosen = pretrain_model.model.choose(mean, (0.5 * log_variance).exp()).mean(dim=0)
    assert float((chosen - anchor()).abs().max()) < 0.05
    # And back: a run that goes on from here has what it had learnt.
    pretrain_model.model.info["anchor_share"] = 0.4
    undo_anchoring(pretrain_model.model, voices, [], strips, seed=0, count=6)
    after = logits(pretrain_model.model.head, usual)
    spread = (before - before.mean(dim=0), after - after.mean(dim=0))
    assert torch.allclose(*spread, atol=1e-2)
