"""Modules that a model learns apart: their rows alone change, and answer what the voice needs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from diffconsole.encoders import create
from diffconsole.errors import ModelError
from diffconsole.model.known import Known
from diffconsole.model.predictor import Predictor, default_model
from diffconsole.model.rows import row_tensors
from diffconsole.strip.anchor import anchor
from diffconsole.strip.later import FIRST_PARAMETERS, UNTRAINED, rest_value
from diffconsole.strip.parameters import BY_KEY, PARAMETERS
from diffconsole.training.pretraining.module_rows import learn_modules, learnable_modules
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain
from diffconsole.training.pretraining.simulate import Voices, load_voices
from diffconsole.training.pretraining.strips import Strips

from ...synthetic import RATE, small_encoders, voice, write_people
from .short_examples import short_examples

MODULES = ("gate", "deesser")


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """How well they are learnt is not looked at."""
    with pytest.MonkeyPatch.context() as patch:
        small_encoders(patch.setattr)
        short_examples(patch.setattr)
        yield


def new_model() -> Predictor:
    torch.manual_seed(3)
    model = Predictor(create("logmel"), has_style=True)
    for head in (model.head, model.style):
        assert head is not None
        head.start_at(anchor())
    model.known = Known.of(FIRST_PARAMETERS)
    return model.eval()


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Voices:
    return load_voices(write_people(tmp_path_factory.mktemp("v") / "voices", {"anna": 1, "ben": 2}))


def learnt(voices: Voices) -> tuple[Predictor, dict]:
    model = new_model()
    figures = learn_modules(
        model, MODULES, voices.of(["anna"]), voices.of(["ben"]), [], Strips.around_anchor(),
        examples=16, seed=1,
    )  # fmt: skip
    return model, figures


@pytest.fixture(scope="module")
def model_and_figures(voices: Voices) -> tuple[Predictor, dict]:
    return learnt(voices)


def test_gate_and_de_esser_can_be_learnt():
    assert learnable_modules() == MODULES
    with pytest.raises(ModelError, match="saturation.*gate, deesser"):
        learn_modules(new_model(), ("saturation",), None, None, [], None)  # type: ignore[arg-type]


def test_everything_else_stays_as_it_is(model_and_figures):
    model, before = model_and_figures[0], new_model()
    rows = row_tensors(model)
    old = [i for i, p in enumerate(PARAMETERS) if p.module not in MODULES]
    now, then = model.state_dict(), before.state_dict()
    for name, value in then.items():
        if name in rows and rows[name][0] == "parameters":
            assert torch.equal(now[name][old], value[old]), name
        elif name.endswith("switch_line"):
            assert not torch.equal(now["head.switch_line"], then["head.switch_line"])
            assert torch.equal(now["style.switch_line"], then["style.switch_line"])
        elif not name.endswith(("voice_mean", "voice_std")):
            assert torch.equal(now[name], value), name


def test_what_is_known_grows_by_the_modules(model_and_figures):
    model, figures = model_and_figures
    assert {BY_KEY[key].module for key in model.known.unknown}.isdisjoint(MODULES)
    assert model.off == {"compressor_2", "saturation", "delay"}
    assert list(figures) == list(MODULES)
    for found in figures.values():
        assert 0.0 <= found["decided"] <= 1.0 and found["errors"].keys() == found["medians"].keys()


def test_the_second_head_leaves_them_at_rest(model_and_figures):
    model = model_and_figures[0]
    pooled = torch.randn(3, 2 * model.encoder.dim)
    mean, log_variance = model.predict_style_from_pooled(pooled, pooled.flip(0))
    for place, p in enumerate(PARAMETERS):
        if p.module in MODULES:
            rest = p.to_normalised(rest_value(p))
            assert torch.allclose(mean[:, place], torch.tensor(rest).float(), atol=2e-4), p.key
            assert (log_variance[:, place] <= -9.0).all()


def test_it_is_kept_in_the_model_and_seeded(model_and_figures, voices, tmp_path):
    model = model_and_figures[0]
    model.save(tmp_path / "m", {})
    again = Predictor.load(tmp_path / "m")
    assert again.off == model.off
    take = voice(3.0, 5)
    one, other = (each.predict(np.atleast_2d(take), RATE).settings for each in (model, again))
    assert one.keys() == other.keys()
    for key in one:
        assert BY_KEY[key].to_normalised(one[key]) == pytest.approx(
            BY_KEY[key].to_normalised(other[key]), abs=2e-3
        )
    repeated, _ = learnt(voices)
    assert torch.equal(repeated.head.mean.weight, model.head.mean.weight)


def test_what_is_not_clearly_needed_does_nothing():
    known = Known(frozenset(key for key in UNTRAINED if BY_KEY[key].module not in MODULES))
    settings = {p.key: p.default for p in PARAMETERS if p.key not in known.unknown}
    decided = known.decided(settings, {"gate": 0.79, "deesser": 0.8})
    assert not [key for key in decided if key.startswith("gate.")]
    # The mean over voices that need it and voices that do not, over the share that do.
    assert decided["deesser.range_db"] == pytest.approx(settings["deesser.range_db"] / 0.8)
    same = {k: v for k, v in settings.items() if BY_KEY[k].module not in MODULES}
    assert {k: decided[k] for k in same} == same


def test_what_is_forgotten_is_as_if_it_had_never_been_there(model_and_figures):
    before, model = new_model(), copy.deepcopy(model_and_figures[0])
    model.forget(before.known)
    before.forget(before.known)
    now, then = model.state_dict(), before.state_dict()
    for name, (what, _) in row_tensors(before).items():
        if what == "parameters":
            assert torch.equal(now[name], then[name]), name
    take = np.atleast_2d(voice(3.0, 5))
    assert model.predict(take, RATE).settings == before.predict(take, RATE).settings


def test_the_shipped_model_learns_them_alone(tmp_path: Path):
    folder = write_people(tmp_path / "voices", {"nora": 4, "otto": 6})
    options = PretrainOptions(
        str(folder), validation=("otto",), start_from="shipped", only_modules=True,
        module_examples=8,
    )  # fmt: skip
    shares: list[float] = []
    figures = pretrain(
        options, tmp_path / "new", report=lambda event: shares.append(event["modules"])
    )
    assert shares == sorted(shares) and shares[-1] == 1.0
    new, old = Predictor.load(tmp_path / "new"), Predictor.load(default_model())
    assert list(new.info["modules"]["figures"]) == list(MODULES) == list(figures["modules"])
    assert torch.equal(new.head.body[0].weight, old.head.body[0].weight)
    card = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "**Gate and De-esser** were learnt" in card and "--only-modules" in card


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start_from": None}, "name the model to start from"),
        ({"module_examples": 0}, "give some hundreds"),
        ({"module_examples": 7}, "8 at least"),
    ],
)
def test_what_cannot_be_done_is_refused(changes, words, tmp_path):
    facts = {"start_from": "shipped", "only_modules": True, **changes}
    with pytest.raises(ModelError, match=words):
        pretrain(PretrainOptions("nowhere", **facts), tmp_path / "m")
    assert not (tmp_path / "m").exists()
