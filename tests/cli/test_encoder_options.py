"""finetune --encoder: a whole run on each family, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from diffconsole import Predictor
from diffconsole.strip.preset import find_preset

from ..commands import contents, done, refused, write_model, write_take
from ..encoders.tiny import RATE as ENCODER_RATE
from ..encoders.tiny import Convolutions, network, scripted, write
from ..synthetic import RATE, STUDIO, mixed, voice
from ..training.finetuning.helpers import coarse_searches, short_windows


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three pairs of a studio."""
    root = tmp_path_factory.mktemp("studio")
    for name in ("raw", "mixed"):
        (root / name).mkdir()
    for seed in range(3):
        sung = voice(1.2, seed)
        for folder, samples in (("raw", sung), ("mixed", mixed(sung, STUDIO).T)):
            soundfile.write(root / folder / f"{seed}.wav", samples, RATE, "FLOAT")
    return root / "raw", root / "mixed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logmel", "wav2vec2", "wavlm", "script"])
def test_finetune_on_each_family(tmp_path, folders, monkeypatch, name):
    coarse_searches(monkeypatch.setattr)
    short_windows(monkeypatch.setattr)
    choice = {"rock_lead": find_preset("rock_lead")}
    monkeypatch.setattr("diffconsole.jobs.evaluate.factory_presets", lambda: choice)
    source = tmp_path / "source"
    source.mkdir()
    if name == "logmel":
        spec, rate = f"logmel:{write_model(source / 'model')}", ()
    elif name == "script":
        (source / "theirs.pt").write_bytes(scripted(Convolutions()))
        spec, rate = f"script:{source / 'theirs.pt'}", ("--encoder-rate", ENCODER_RATE)
    else:
        kind = "base" if name == "wav2vec2" else "wavlm"
        spec, rate = f"wav2vec2:{write(source / 'w.pt', network(kind).state_dict())}", ()
    raw, mix = folders
    # By steps, not by the clock: a machine that is busy trains as much.
    run = ("finetune", "--raw", raw, "--mixed", mix, "--steps", "3", "-o", tmp_path / "studio")
    data = json.loads(done(*run, "--encoder", spec, *rate, "--json").stdout)
    family = spec.partition(":")[0]
    assert data["base"].startswith(f"encoder {family}: ")
    assert "licence" in data["base"]
    assert data["distance"]["after"] <= data["distance"]["before"]
    extra = {"encoder.pt"} if name == "script" else set()
    found = set(contents(tmp_path / "studio"))
    report = {"README.md", "finetune.jsonl", "finetune.png"}
    assert found == {"model.json", "model.safetensors"} | report | extra

    # A model is a folder: it works elsewhere, without what it was made from.
    for path in sorted(source.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    moved = (tmp_path / "studio").rename(tmp_path / "moved")
    chosen = ("--model", moved, *(("--trust-checkpoint",) if name == "script" else ()))
    if name == "script":
        assert "add --trust-checkpoint" in refused("models", "info", "--model", moved)
    told = json.loads(done("models", "info", *chosen, "--json").stdout)
    assert told["encoder"] == family
    take = write_take(tmp_path / "take.wav", seconds=1.0)
    done("predict", take, "-o", tmp_path / "p.json", *chosen)
    assert Predictor.load(moved, trust_checkpoint=True).encoder.licence == told["licence"]


def test_what_excludes_each_other_is_wrong_use(tmp_path, folders):
    raw, mix = folders
    run = ("finetune", "--raw", raw, "--mixed", mix, "-o", tmp_path / "studio")
    line = refused(*run, "--model", "studio", "--encoder", "logmel", code=2)
    assert "--model and --encoder exclude each other" in line
    assert "--encoder script:FILE" in refused(*run, "--encoder-rate", "16000", code=2)
    assert "--encoder-rate" in refused(
        *run, "--encoder", "script:x.pt", "--encoder-rate", "9", code=2
    )
    assert contents(tmp_path) == {}


def test_an_encoder_that_is_none_is_refused_before_any_work(tmp_path, folders):
    raw, mix = folders
    run = ("finetune", "--raw", raw, "--mixed", mix, "-o", tmp_path / "studio", "--encoder")
    assert "unknown encoder 'wavelet'" in refused(*run, "wavelet")
    assert "no such file" in refused(*run, f"wav2vec2:{tmp_path / 'w.pt'}")
    (tmp_path / "theirs.pt").write_bytes(scripted(Convolutions()))
    assert "give it by --encoder-rate" in refused(*run, f"script:{tmp_path / 'theirs.pt'}")
    assert set(contents(tmp_path)) == {"theirs.pt"}


def test_listing_encoders_loads_none():
    """Neither torch nor torchaudio: the list is there at once."""
    code = (
        "import sys; from diffconsole.cli import main; main(['encoders', 'list', '-q'], "
        "standalone_mode=False); bad = {'torch', 'torchaudio'} & set(sys.modules); "
        "sys.exit(f'loaded {bad}' if bad else 0)"
    )
    done_ = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done_.returncode == 0, done_.stderr
