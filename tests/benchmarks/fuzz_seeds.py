"""Small valid files of every kind that the program reads, and how it reads them."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import torch

from diffconsole import Predictor, Preset
from diffconsole.audio import read_audio_file, write_audio
from diffconsole.strip.parameters import BY_KEY, PARAMETERS

from ..synthetic import small_model, voice

__all__ = ["KINDS", "Kind", "pairs", "seeds_of"]

SECONDS = 0.3


class Kind(NamedTuple):
    """How large a part of the cases, and what reads them."""

    share: float
    read: Callable[[Path], None]


def _read_audio(path: Path) -> None:
    file = read_audio_file(path)
    assert file.samples.ndim == 2
    assert file.samples.shape[1] > 0
    assert np.isfinite(file.samples).all()
    assert all("\n" not in message for message in file.messages)


def _check(preset: Preset, path: Path) -> None:
    """What was read is a preset, whole in its ranges, and can be written and read again."""
    settings = preset.settings()
    for key, value in settings.items():
        assert BY_KEY[key].low <= value <= BY_KEY[key].high, (key, value)
    out = path.parent / "again.json"
    preset.write(out)
    for key, value in Preset.read(out).settings().items():
        # The file holds rounded values.
        assert abs(value - settings[key]) <= 2e-3 * (BY_KEY[key].high - BY_KEY[key].low), key


def _read_preset(path: Path) -> None:
    _check(Preset.read(path), path)


def _read_import(path: Path) -> None:
    from diffconsole.export import import_preset

    preset, _ = import_preset(path)
    _check(preset, path)


def _read_model(path: Path) -> None:
    model = Predictor.load(path)
    found = model.predict(voice(0.6)[None], 44100)
    for key, value in found.settings.items():
        assert BY_KEY[key].low <= value <= BY_KEY[key].high, (key, value)


def _read_log(path: Path) -> None:
    from diffconsole.plots.training import draw_training
    from diffconsole.training.log import LOG, read_history

    path.rename(path.with_name(LOG))
    draw_training(read_history(path.parent))


def _read_labels(path: Path) -> None:
    from diffconsole.training.distributed import SINGLE_PROCESS
    from diffconsole.training.finetuning.labels import kept_or_found

    def found(group: object, _: object) -> list[torch.Tensor]:
        return [torch.full((len(PARAMETERS),), 0.5)]

    labels = kept_or_found(
        ["a-0", "b-0"], [[0], [1]], path, found, on_gpu=False, workers=SINGLE_PROCESS,
        over=lambda: False, report=lambda *_: None,
    )  # fmt: skip
    assert labels.shape == (2, len(PARAMETERS))
    assert bool(((labels >= 0) & (labels <= 1)).all())


def _network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    return network, torch.optim.AdamW(network.parameters())


PROGRESS = {"step": 3, "seconds": 1.5, "scores": {"before": 2.5}, "history": [{"stage": "labels"}]}


def _step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network(torch.ones(1, 4)).sum().backward()
    optimizer.step()


def _read_checkpoint(path: Path) -> None:
    from diffconsole.training.checkpoint import load_checkpoint

    network, optimizer = _network()
    progress, _ = load_checkpoint(path, network, optimizer, PROGRESS)
    assert progress.keys() >= PROGRESS.keys()
    _step(network, optimizer)


def _read_pairs(path: Path) -> None:
    from diffconsole.pairs import read_pair_list

    assert all(pair.raw and pair.mixed for pair in read_pair_list(path))


KINDS = {
    "audio": Kind(42, _read_audio),
    "phone": Kind(2, _read_audio),
    "preset": Kind(15, _read_preset),
    "import": Kind(20, _read_import),
    "model": Kind(6, _read_model),
    "log": Kind(2, _read_log),
    "labels": Kind(4, _read_labels),
    "checkpoint": Kind(4, _read_checkpoint),
    "pairs": Kind(5, _read_pairs),
}


def seeds_of(folder: Path) -> dict[str, list[Path]]:
    """Write the seeds of each kind."""
    return {
        "audio": _audio(folder / "audio"),
        "phone": _phone(folder / "phone"),
        "preset": _presets(folder / "preset"),
        "import": _exports(folder / "import"),
        "model": _model(folder / "model"),
        "log": _lines(folder / "log", "log.jsonl", [
            {"stage": "before", "held_out": 3.0},
            {"stage": "labels", "labelled": 3, "pairs": 4},
            {"stage": "ridge", "strength": 0.1, "held_out": 2.5},
            {"stage": "head", "epoch": 1, "train": 2.1, "held_out": 2.2},
        ]),
        "labels": _lines(folder / "labels", "labels.jsonl", [
            {"pair": f"{name}-0", "settings": [round(0.02 * i, 3) for i in range(len(PARAMETERS))]}
            for name in "abc"
        ]),
        "checkpoint": _checkpoint(folder / "checkpoint"),
        "pairs": pairs(folder / "pairs"),
    }  # fmt: skip


def _audio(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    sung = voice(SECONDS, rate=44100)
    sides = np.stack((sung, 0.5 * sung), axis=1)
    kinds = {
        "16.wav": ("WAV", "PCM_16"), "24.wav": ("WAV", "PCM_24"), "float.wav": ("WAV", "FLOAT"),
        "adpcm.wav": ("WAV", "MS_ADPCM"), "x.wav": ("WAVEX", "PCM_24"),
        "a.rf64": ("RF64", "PCM_16"),
        "a.w64": ("W64", "PCM_16"), "a.aiff": ("AIFF", "PCM_16"), "f.aiff": ("AIFF", "FLOAT"),
        "a.caf": ("CAF", "PCM_16"), "a.flac": ("FLAC", "PCM_16"), "a.ogg": ("OGG", "VORBIS"),
        "a.mp3": ("MP3", "MPEG_LAYER_III"),
    }  # fmt: skip
    for name, (major, subtype) in kinds.items():
        sf.write(folder / name, sides, 44100, format=major, subtype=subtype)
    sf.write(folder / "a.opus", sides, 48000, format="OGG", subtype="OPUS")
    write_audio(folder / "bext.wav", sides.T, 44100, time_reference=5)
    (folder / "joined.mp3").write_bytes(2 * (folder / "a.mp3").read_bytes())
    (folder / "chained.ogg").write_bytes(2 * (folder / "a.ogg").read_bytes())
    (folder / "bw64.wav").write_bytes(b"BW64" + (folder / "a.rf64").read_bytes()[4:])
    return sorted(folder.iterdir())


def _phone(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    source = folder / "source.wav"
    sf.write(source, voice(SECONDS, rate=44100), 44100)
    if shutil.which("ffmpeg"):
        for name in ("a.m4a", "a.webm", "a.wma", "a.aac"):
            command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(source), str(folder / name)]
            subprocess.run(command, check=False)
    return sorted(folder.iterdir())


def _strip() -> Preset:
    from diffconsole.strip.preset import factory_presets

    return next(iter(factory_presets().values()))


def _presets(folder: Path) -> list[Path]:
    from diffconsole.strip.preset import factory_presets

    folder.mkdir(parents=True)
    for key, preset in list(factory_presets().items())[:3]:
        preset.write(folder / f"{key}.json")
    return sorted(folder.iterdir())


def _exports(folder: Path) -> list[Path]:
    from diffconsole.errors import DiffconsoleError
    from diffconsole.export import export_preset, formats

    folder.mkdir(parents=True)
    for key, form in formats().items():
        if form.read is None:
            continue
        target = folder / f"{key}{'' if form.is_folder else form.ending}"
        with contextlib.suppress(DiffconsoleError):
            export_preset(_strip(), key, target, sample_rate=44100)
    return sorted(folder.iterdir())


def _model(folder: Path) -> list[Path]:
    small_model().save(folder / "model", {"trained": "today"})
    return [folder / "model"]


def _lines(folder: Path, name: str, entries: list[dict]) -> list[Path]:
    folder.mkdir(parents=True)
    (folder / name).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return [folder / name]


def _checkpoint(folder: Path) -> list[Path]:
    from diffconsole.training.checkpoint import save_checkpoint

    folder.mkdir(parents=True)
    network, optimizer = _network()
    _step(network, optimizer)
    state = {f"before/{k}": v for k, v in network.state_dict().items()}
    save_checkpoint(folder / "state.safetensors", network, optimizer, PROGRESS, state)
    return [folder / "state.safetensors"]


def pairs(folder: Path) -> list[Path]:
    """Write a list of pairs."""
    folder.mkdir(parents=True)
    rows = "".join(f"raw/{i}.wav,mixed/{i}.wav\n" for i in range(5))
    (folder / "pairs.csv").write_text("raw,mixed\n" + rows)
    return [folder / "pairs.csv"]
