"""Models on the Hub: the library itself, against a small Hub on this machine."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffconsole import Predictor
from diffconsole.errors import ModelError
from diffconsole.jobs.hub import is_hub_id

from ..synthetic import small_model
from .hub_server import Hub, Repo, hub_server

constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")

ID = "studio/warm-vocals"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with hub_server() as served:
        place = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        served.tokens.add("secret")
        yield served


def model_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    small_model().save(tmp_path / "small", {"seed": 0, "held_out": ["a"]}, "# A card\n")
    return tmp_path / "small"


def test_what_is_pushed_is_read_again(hub: Hub, written: Path, tmp_path: Path):
    first = Predictor.from_pretrained(written)
    commit = first.push_to_hub(ID, token="secret")
    assert hub.repos[ID].private
    assert commit == hub.repos[ID].branches["main"]
    uploaded = hub.repos[ID].commits[commit]
    assert uploaded["model.safetensors"] == (written / "model.safetensors").read_bytes()
    assert uploaded["README.md"].startswith(b"---\nlibrary_name: diffconsole\n")

    read = Predictor.from_pretrained(ID, token="secret")
    assert read.base == f"{ID}@{commit}"
    assert read.info == {"seed": 0, "held_out": ["a"]}
    read.save_pretrained(tmp_path / "again")
    again = model_files(tmp_path / "again")
    assert again["model.safetensors"] == uploaded["model.safetensors"]
    assert again["model.json"] == uploaded["model.json"]


def test_a_revision_stays_the_model_that_it_was(hub: Hub, written: Path):
    model = Predictor.from_pretrained(written)
    first = model.push_to_hub(ID, token="secret", private=False)
    assert not hub.repos[ID].private
    hub.repos[ID].commits[first]["encoder.pt"] = b"of a former model"
    model.info = {"seed": 1}
    second = model.push_to_hub(ID, token="secret")
    assert "encoder.pt" not in hub.repos[ID].commits[second], "nothing of the former model is left"
    assert Predictor.from_pretrained(ID).info == {"seed": 1}
    assert Predictor.from_pretrained(ID, revision=first).info["seed"] == 0
    with pytest.raises(ModelError, match="no such revision"):
        Predictor.from_pretrained(ID, revision="v9")


def test_without_a_network_the_cache_serves(hub: Hub, written: Path, monkeypatch):
    commit = Predictor.from_pretrained(written).push_to_hub(ID, token="secret", private=False)
    Predictor.from_pretrained(ID)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    asked = len(hub.asked)
    assert Predictor.from_pretrained(ID).base == f"{ID}@{commit}"
    assert Predictor.from_pretrained(ID, local_files_only=True).base == f"{ID}@{commit}"
    assert len(hub.asked) == asked
    with pytest.raises(ModelError, match=r"studio/other: is not in the cache, and the Hub cannot"):
        Predictor.from_pretrained("studio/other")
    with pytest.raises(ModelError, match=r"not in the cache; leave local_files_only out"):
        Predictor.from_pretrained("studio/other", local_files_only=True)


def test_only_a_model_of_ours_is_downloaded(hub: Hub, written: Path):
    files = {**model_files(written), "modeling.py": b"raise SystemExit", "big.bin": b"0" * 99}
    hub.repos[ID] = Repo(private=False)
    hub.repos[ID].commit(files)
    Predictor.from_pretrained(ID)
    fetched = {line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line}
    assert fetched == set(model_files(written))

    other = hub.repos["studio/other"] = Repo(private=False)
    other.commit({"config.json": b"{}", "pytorch_model.bin": b"\x80\x02."})
    hub.asked.clear()
    with pytest.raises(ModelError, match=r"no model of diffconsole \(model.json is missing\)"):
        Predictor.from_pretrained("studio/other")
    other.commit({**files, "model.json": b" " * (2 << 20)})
    with pytest.raises(ModelError, match=r"model.json of 2097152 bytes, at most 1048576"):
        Predictor.from_pretrained("studio/other")
    assert not any("/resolve/" in line for line in hub.asked)


def test_code_of_a_model_needs_trust(hub: Hub, written: Path):
    files = model_files(written)
    about = json.loads(files["model.json"])
    script = torch.jit.script(torch.nn.Conv1d(1, 4, 512, 256))
    script.save(written / "encoder.pt")
    files["encoder.pt"] = (written / "encoder.pt").read_bytes()
    config = {"sample_rate": 44100, "sha256": hashlib.sha256(files["encoder.pt"]).hexdigest()}
    about["encoder"] = {"name": "script", "config": config}
    files["model.json"] = json.dumps(about).encode()
    hub.repos[ID] = Repo(private=False)
    hub.repos[ID].commit(files)
    with pytest.raises(ModelError, match="is TorchScript, which runs code"):
        Predictor.from_pretrained(ID)


def test_what_is_refused_says_why(hub: Hub, written: Path):
    with pytest.raises(ModelError, match="no such model on the Hub, or it is private"):
        Predictor.from_pretrained("studio/none")
    model = Predictor.from_pretrained(written)
    with pytest.raises(ModelError, match=f"{ID}: .*(401|token)"):
        model.push_to_hub(ID, token="wrong")
    with pytest.raises(ModelError, match="give the owner and a name"):
        model.push_to_hub("warm-vocals")
    with pytest.raises(ModelError, match="no name of a model"):
        Predictor.from_pretrained("studio/a--b")
    assert hub.repos == {}


def test_a_folder_comes_before_the_hub(hub: Hub, written: Path, monkeypatch):
    monkeypatch.chdir(written.parent.parent)
    name = f"{written.parent.name}/{written.name}"
    assert is_hub_id(name)
    assert Predictor.from_pretrained(name).base == "small"
    assert hub.asked == []
    with pytest.raises(ModelError, match="no model here"):
        Predictor.from_pretrained("./studio/none")


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    needs = r"studio/warm: a model on the Hub needs the extra: pip install 'diffconsole\[hub\]'"
    with pytest.raises(ModelError, match=needs):
        Predictor.from_pretrained("studio/warm")
    assert Predictor.from_pretrained().base == "vocal-1"
