"""Fine-tuning and evaluating as Python users call them: what is written, returned and reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffconsole import Predictor
from diffconsole.errors import ModelError, OutputError
from diffconsole.jobs import evaluate, finetune
from diffconsole.jobs.evaluate import evaluate_on_pairs
from diffconsole.jobs.finetune import FinetunedModel, finetune_on_pairs
from diffconsole.pairs import Pair
from diffconsole.pairs.evaluation import model_distance
from diffconsole.strip.preset import find_preset
from diffconsole.training.finetuning import labels
from diffconsole.training.finetuning.finetune import STATE_FILES, FinetuneOptions, FinetuneResult

from ..synthetic import pair
from ..training.finetuning.helpers import base_model, known_labels, short_windows

OPTIONS = FinetuneOptions(minutes=20.0, steps=3, held_out=0.3)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """Four short pairs of a studio, searches and choices being short as well."""
    short_windows(monkeypatch.setattr)
    monkeypatch.setattr(labels, "_search", known_labels)
    monkeypatch.setattr(evaluate, "factory_presets", lambda: {"rap": find_preset("rap")})
    return [pair(seed, seconds=1.0) for seed in range(4)]


def test_a_python_call_writes_the_model_and_returns_its_distances(tmp_path: Path, pairs):
    reported: list[tuple[str, float]] = []
    lines: list[str] = []
    made = finetune_on_pairs(
        pairs, tmp_path / "studio", OPTIONS, model=base_model(), base="tiny",
        progress=lambda label, done, _: reported.append((label, done)), messages=lines.append,
    )  # fmt: skip
    assert isinstance(made, FinetunedModel)
    assert lines == ["3 pairs to train on, 1 held out"]
    assert list(dict.fromkeys(label for label, _ in reported)) == [
        "fine-tuning", "choosing the fixed preset", "measuring",
    ]  # fmt: skip
    shares = [done for label, done in reported if label == "fine-tuning"]
    assert shares == sorted(shares)
    assert max(shares) <= 1.0

    assert (made.trained, len(made.names), made.crossed) == (3, 1, False)
    assert list(made.table()) == ["level only", "one preset (rap)", "before", "after"]
    before, after = (made.distances[key][0] for key in ("before", "after"))
    assert after < before
    info = json.loads((tmp_path / "studio" / "model.json").read_text(encoding="utf-8"))["info"]
    assert info["base"] == "tiny"
    assert info["distances"][made.names[0]]["after"] == pytest.approx(after, abs=1e-4)
    assert not {path.name for path in (tmp_path / "studio").iterdir()} & set(STATE_FILES)
    (held,) = (each for each in pairs if each.name in made.names)
    read = Predictor.load(tmp_path / "studio")
    # Weights are written in half precision.
    assert model_distance(held, read) == pytest.approx(after, rel=0.02)


def test_modules_that_the_mixes_showed_are_named(tmp_path: Path, pairs, monkeypatch):
    """On the terminal, in the record that `models info` prints, and in the card."""
    own = {"time_ms": 120.0, "feedback": 0.1, "low_cut_hz": 200.0, "high_cut_hz": 6000.0,
           "width": 0.0, "wet_db": -18.0, "reverb_send_db": -60.0}  # fmt: skip
    history = [
        {"stage": "before", "held_out": 1.0},
        {"stage": "labels", "labelled": 3, "pairs": 3},
        {"stage": "modules", "closer": {"delay": 2}, "asked": {"delay": 3}},
        {"stage": "studio", "epoch": 0, "held_out": 0.5},
    ]
    scores = {"before": 1.0, "studio": 0.5}

    def done(*_args, **_kwargs) -> FinetuneResult:
        return FinetuneResult(history, 0, 1.0, scores, modules={"delay": own})

    monkeypatch.setattr(finetune, "finetune", done)
    lines: list[str] = []
    made = finetune_on_pairs(
        pairs, tmp_path / "studio", OPTIONS, model=base_model(), messages=lines.append
    )
    words = "Delay: in 2 of 3 mixes, echoes every 120 ms at −18 dB, each 10 % of the one before"
    assert lines[-1] == f"found in the mixes: {words}"
    assert made is not None
    kept = json.loads((made.folder / "model.json").read_text(encoding="utf-8"))["info"]["modules"]
    assert kept == {"delay": {"settings": own, "closer": 2, "asked": 3, "words": words}}
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert f"\n\nModules that the mixes showed:\n\n- {words}\n\n" in card


def test_a_finished_model_is_replaced_on_request_only(tmp_path: Path, pairs, monkeypatch):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a model already"):
        finetune_on_pairs(pairs, tmp_path, OPTIONS, model=base_model())
    assert (tmp_path / "model.json").read_text() == "{}"

    def stop(_model, _train, _held, folder, *_args, **_kwargs):
        (folder / STATE_FILES[0]).write_bytes(b"")
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "finetune", stop)
    with pytest.raises(ModelError, match=r"stopped; the state is in .*to resume"):
        finetune_on_pairs(pairs, tmp_path, OPTIONS, model=base_model(), force=True)


def test_evaluate_measures_what_the_run_measured(tmp_path: Path, pairs):
    model = base_model().eval()
    labels_seen: list[str] = []
    found = evaluate_on_pairs(pairs, model, progress=lambda label, *_: labels_seen.append(label))
    assert [row["pair"] for row in found["pairs"]] == [each.name for each in pairs]
    assert found["fixed_preset"] == "rap"
    for row, each in zip(found["pairs"], pairs, strict=True):
        assert row["model"] == model_distance(each, model)
    assert found["mean"]["model"] == pytest.approx(sum(r["model"] for r in found["pairs"]) / 4)
    assert set(labels_seen) == {"choosing the fixed preset", "measuring"}
