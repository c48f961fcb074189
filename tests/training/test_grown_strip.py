"""Files and seeds of before, read and run by a strip that has new modules and parameters."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from diffconsole.console import Console
from diffconsole.model.predictor import Predictor
from diffconsole.model.rows import row_tensors
from diffconsole.model.switches import RULES
from diffconsole.pairs import Pair
from diffconsole.strip.anchor import anchor_settings
from diffconsole.strip.later import FIRST_PARAMETERS, FIRST_SWITCHES, UNTRAINED, normalised_rest
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.by_key import by_key
from diffconsole.training.checkpoint import load_checkpoint, save_checkpoint
from diffconsole.training.finetuning.finetune_options import FinetuneOptions
from diffconsole.training.finetuning.finetune_state import run_fingerprint
from diffconsole.training.finetuning.labels import keep_labels

from ..synthetic import voice
from . import grown_strip

KEYS = [p.key for p in PARAMETERS]
NEW = ("shade.freq_hz", "shade.gain_db", "shine.gain_db", "pan.spread")
ROWS = normalised_rest(KEYS)
for place, key in enumerate(KEYS):
    if key in FIRST_PARAMETERS:
        ROWS[place] = place / len(KEYS)
ROWS = torch.tensor(ROWS).tolist()


@pytest.fixture(scope="module")
def pair() -> Pair:
    raw = voice(2.0, 1)[None]
    settings = {key: torch.tensor([value]) for key, value in anchor_settings().items()}
    with torch.no_grad():
        mixed = Console(44100)(torch.from_numpy(raw)[None], settings)[0].numpy()
    return Pair("pair", raw, mixed, 0.0, 1, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Path:
    """Files of the strip as it is, and what the grown strip made of them."""
    folder = tmp_path_factory.mktemp("grown")
    np.save(folder / "mixed.npy", pair.mixed)
    labels = folder / "labels.jsonl"
    # As it was written before: by position.
    first = [row for row, key in zip(ROWS, KEYS, strict=True) if key in FIRST_PARAMETERS]
    labels.write_text("\n" + json.dumps({"pair": "by position", "settings": first}) + "\n")
    keep_labels(labels, {"by key": by_key(ROWS), "unknown": {**by_key(ROWS), "x.gain_db": 0.5}})
    model = Predictor.load()
    save_checkpoint(folder / "before.safetensors", model, grown_strip.trained(model), {})
    # As it was written before: rows of the modules of version 1.0, without their names.
    tensors = first_rows(model, load_file(folder / "before.safetensors"))
    with safe_open(folder / "before.safetensors", "pt") as file:
        metadata = {k: v for k, v in file.metadata().items() if k in ("progress", "groups")}
    (folder / "by position.safetensors").write_bytes(save(tensors, metadata))
    subprocess.run(
        [sys.executable, "-m", grown_strip.HERE, str(folder)], check=True, timeout=300,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return folder


def first_rows(model: Predictor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors with the rows of the parameters of version 1.0 alone."""
    first = {"parameters": (KEYS, FIRST_PARAMETERS), "switches": (RULES, FIRST_SWITCHES)}
    places = {
        kind: torch.tensor([place for place, key in enumerate(all_keys) if key in kept])
        for kind, (all_keys, kept) in first.items()
    }
    rows, names = row_tensors(model), dict(enumerate(n for n, _ in model.head.named_parameters()))
    found = {}
    for name, value in tensors.items():
        part, _, key = name.partition(".")
        if part == "optimizer":
            key = f"head.{names[int(key.partition('.')[0])]}"
        of, dim = rows.get(key, ("", 0))
        taken = of and value.ndim
        found[name] = value.index_select(dim, places[of]).contiguous() if taken else value
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "found.json").read_text())


def plain(value: Any) -> Any:
    """As JSON has it."""
    return json.loads(json.dumps(value))


def without_new(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in NEW}


def test_the_strip_has_grown(found: dict[str, Any]) -> None:
    assert [key for key in found["parameters"] if key not in NEW] == KEYS
    places = [found["parameters"].index(key) for key in NEW]
    assert all(0 < place < len(KEYS) for place in places), "none of them comes last"


def test_the_shipped_model_predicts_what_it_did(found: dict[str, Any]) -> None:
    ours, grown = plain(grown_strip.predicted(Predictor.load())), found["predicted"]
    assert ours["notices"] == [
        "does not know Compressor 2, Saturation, Delay: off in what it predicts",
        "does not know compressor.mix: at its default in what it predicts",
    ]
    assert grown["notices"] == [
        "does not know Shade, Shine, Compressor 2, Saturation, Delay: off in what it predicts",
        "does not know compressor.mix, pan.spread: at its default in what it predicts",
    ]
    # The processor's matrix product may round a row's last bit by how many rows there are.
    same = functools.partial(pytest.approx, rel=4.0 * float(np.finfo(np.float32).eps), abs=0.0)
    assert grown["settings"] == same({**ours["settings"], "pan.spread": 0.25})
    assert set(grown["strip"]) == set(ours["strip"]), "what is absent is off"
    assert set(grown["off"]) == {*ours["off"], *grown_strip.ADDED}
    assert without_new(grown["simple"]) == ours["simple"]
    assert grown["uncertainty"].keys() == ours["uncertainty"].keys()
    for key, interval in ours["uncertainty"].items():
        assert grown["uncertainty"][key] == same(interval)
    assert grown["switches"] == same(ours["switches"])


def test_the_model_is_written_as_it_was(folder: Path, tmp_path: Path) -> None:
    Predictor.load().save(tmp_path / "ours", {})
    for name in ("model.safetensors", "model.json"):
        assert (folder / "again" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()


def test_a_new_model_knows_what_the_anchor_knows(found: dict[str, Any]) -> None:
    assert found["new"]["parameters"] == [key for key in KEYS if key not in UNTRAINED]


def test_a_search_finds_what_it_found(found: dict[str, Any], pair: Pair) -> None:
    ours, grown = plain(grown_strip.searched(pair)), found["searched"]
    assert grown["settings"] == {**ours["settings"], "pan.spread": 0.25}
    for name in ("off", "uncertainty"):
        assert grown[name] == ours[name]
    assert without_new(grown["label"]) == ours["label"]
    # As little as they can: the gains rest at 0 dB, not at their defaults.
    assert grown["label"]["shade.gain_db"] == grown["label"]["shine.gain_db"] == 0.5


def test_seeds_draw_what_they_drew(found: dict[str, Any]) -> None:
    ours, grown = plain(grown_strip.examples()), found["examples"]
    assert [without_new(each) for each in grown["wide"]] == ours["wide"]
    for name in ("then", "raw", "mix"):
        assert grown[name] == ours[name], name
    for name in ("drawn", "settings"):
        assert without_new(grown[name]) == ours[name]
        assert grown[name]["shade.gain_db"] == pytest.approx(0.0)


def test_a_module_with_a_range_to_draw_from_is_trained(found: dict[str, Any]) -> None:
    drawn = [each["shine.gain_db"] for each in found["examples"]["wide"]]
    assert all(-6.0 <= gain <= -3.0 for gain in drawn)
    assert len(set(drawn)) == len(drawn)
    assert {each["shade.gain_db"] for each in found["examples"]["wide"]} == {0.0}
    assert found["ran"] == 1


def test_an_inaudible_module_is_switched_off(found: dict[str, Any]) -> None:
    assert found["idle"] is True


def test_labels_of_before_are_read(found: dict[str, Any]) -> None:
    for name in ("by position", "by key"):
        assert without_new(found["kept"][name]) == by_key(ROWS)
        assert found["kept"][name]["shine.gain_db"] == 0.5
    for name in ("missing", "unknown"):
        assert all(np.isnan(value) for value in found["kept"][name].values()), "is searched"


def test_labels_are_read_here(folder: Path) -> None:
    kept = grown_strip.kept(folder / "labels.jsonl", ["by position", "by key", "unknown"])
    assert kept["by position"] == kept["by key"] == by_key(ROWS)
    assert all(np.isnan(value) for value in kept["unknown"].values())


def test_a_run_is_the_same_run(found: dict[str, Any]) -> None:
    assert found["fingerprint"] == run_fingerprint(
        Predictor.load(), ["a"], ["b"], FinetuneOptions()
    )


@pytest.mark.parametrize("name", ["before", "by position"])
def test_checkpoints_go_there_and_back(folder: Path, name: str) -> None:
    """Read by the grown strip, written with its rows, and read here again."""
    states = []
    for path in ("before", name, f"{name}, grown"):
        model = Predictor.load()
        optimizer = grown_strip.trained(model)
        with torch.no_grad():
            for weights in model.head.parameters():
                weights.zero_()
        load_checkpoint(folder / f"{path}.safetensors", model, optimizer)
        state = {f"model.{key}": value for key, value in model.state_dict().items()}
        for number, values in optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{part}": value for part, value in values.items()}
        states.append(first_rows(model, state))
    rows = load_file(folder / f"{name}, grown.safetensors")["model.head.mean.weight"]
    assert len(rows) == len(KEYS) + len(NEW)
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        for key, value in states[0].items():
            assert torch.equal(state[key], value), key
