"""The last stage of pretraining: the usual voice gets the anchor, others a share more or less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffconsole.model.head import Head
from diffconsole.strip.anchor import anchor
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.pretraining.anchoring import pooled_raw_vocals, settle, undo_anchoring
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
    return torch.logit(head.predict_from_pooled(pooled)[0])


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_departures_shrink_about_the_strip(head: Head, share: float) -> None:
    pooled, other = torch.randn(12, 2 * DIM), torch.randn(5, 2 * DIM)
    before = logits(head, other) - logits(head, pooled).mean(dim=0)
    strip = torch.full((len(PARAMETERS),), 0.3)
    head.anchor_at(strip, pooled, share)
    centre = logits(head, pooled).mean(dim=0)
    assert torch.allclose(centre, torch.logit(strip), atol=1e-4)
    assert torch.allclose(logits(head, other) - centre, share * before, atol=1e-4)


@torch.no_grad()
def test_the_linear_maps_shrink_too(head: Head) -> None:
    pooled, other = torch.randn(12, 2 * DIM), torch.randn(5, 2 * DIM)
    head.skip.weight.normal_(0.0, 0.1)
    before = logits(head, other) - logits(head, pooled).mean(dim=0)
    head.anchor_at(torch.full((len(PARAMETERS),), 0.6), pooled, 0.5)
    after = logits(head, other) - logits(head, pooled).mean(dim=0)
    assert torch.allclose(after, 0.5 * before, atol=1e-4)


@torch.no_grad()
def test_what_is_chosen_for_the_usual_voice_is_the_anchor(tmp_path: Path) -> None:
    torch.manual_seed(4)
    pretrain_model = PretrainModel(half_digits=False).eval()
    people = write_people(tmp_path, {"anna": 1, "ben": 2})
    voices, strips = load_voices(people), Strips.around_anchor()
    pooled = pooled_raw_vocals(pretrain_model.model.encoder, voices, [], strips, seed=0, count=6)
    again = pooled_raw_vocals(pretrain_model.model.encoder, voices, [], strips, seed=0, count=6)
    assert torch.equal(pooled, again)
    mels = pretrain_model.model.encoder.config()["mels"]
    validation_set = ValidationSet(
        torch.randn(4, SOUNDS, mels, 20).half(), torch.rand(4, SOUNDS, len(PARAMETERS))
    )
    before = logits(pretrain_model.model.head, pooled)
    settle(pretrain_model, pooled, validation_set, 0.4)
    mean, log_variance = pretrain_model.model.head.predict_from_pooled(pooled)
    chosen = pretrain_model.model.point_estimate(mean, (0.5 * log_variance).exp()).mean(dim=0)
    assert float((chosen - anchor()).abs().max()) < 0.05
    # And back: a run that goes on from here has what it had learnt.
    pretrain_model.model.info["anchor_share"] = 0.4
    undo_anchoring(pretrain_model.model, voices, [], strips, seed=0, count=6)
    after = logits(pretrain_model.model.head, pooled)
    spread = (before - before.mean(dim=0), after - after.mean(dim=0))
    assert torch.allclose(*spread, atol=1e-2)
