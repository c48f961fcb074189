"""The works of process, predict and apply: one take of an archive each."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import PresetError
from ...strip.preset import Preset, find_preset
from ..enhance import Enhancer
from ..options import AudioOptions
from ..plan import TakeFiles
from .registry import Runner
from .rows import row_of
from .work import Result, Task, Work

if TYPE_CHECKING:
    from ...model.opening import AnyPredictor
    from ...model.predictor import Predictor
    from ...model.reference.prediction import Reference

__all__ = [
    "audio_options",
    "predictor_of",
    "prepare_apply",
    "prepare_predict",
    "prepare_process",
    "trained_predictor_of",
]


def audio_options(options: Mapping[str, Any], *, replace: bool) -> AudioOptions:
    """Return the options of the audio as a task's JSON has them, for one work."""
    chosen = dict(options.get("audio", {}))
    chosen["bypass"] = tuple(chosen.get("bypass", ()))
    return AudioOptions(**{**chosen, "force": replace})


def prepare_process(task: Task) -> Runner:
    """Return what does ``process``, with the model and the references loaded once.

    Options of the task: ``"model"`` (folder, or None for the shipped one), ``"model_name"``,
    ``"trust"``, ``"device"``, ``"references"``, ``"enhancer"``, ``"audio"``.
    """
    from ..process import process_take

    loaded, enhancer = _loaded(task), _enhancer(task)
    name = task.options["model_name"]

    def do(work: Work) -> Result:
        model, references = loaded()
        take = TakeFiles(
            Path(work.inputs["raw"]),
            Path(work.outputs["preset"]),
            Path(work.outputs["audio"]),
            *(Path(work.outputs[k]) if k in work.outputs else None for k in ("plot", "page")),
        )
        options = audio_options(task.options, replace=work.replace)
        preset, notices = process_take(model, name, take, options, references, enhancer)
        return Result(notices, _row(task, work, preset))

    return Runner(do, lambda work: _recalled(task, work), loaded)


def prepare_predict(task: Task) -> Runner:
    """Return what does ``predict``, loaded once; options as of ``process``.

    ``"full"`` takes the place of those of the audio.
    """
    from ..process import predict_file

    loaded, enhancer = _loaded(task), _enhancer(task)
    name, full = task.options["model_name"], bool(task.options.get("full"))

    def do(work: Work) -> Result:
        model, references = loaded()
        raw, target = Path(work.inputs["raw"]), Path(work.outputs["preset"])
        preset, notices = predict_file(model, name, raw, references, enhancer, full=full)
        preset.write(target, force=work.replace)
        return Result(notices, _row(task, work, preset))

    return Runner(do, lambda work: _recalled(task, work), loaded)


def prepare_apply(task: Task) -> Runner:
    """Read the preset once, for ``apply``.

    A work whose inputs have a ``"preset"`` gets that one; otherwise the task's ``"preset"`` is the
    text of the file. ``"audio"`` as of ``process``.
    """
    from ..process import apply_file, changed

    text = task.options.get("preset")
    shared = None if text is None else Preset.from_json(text)

    def preset_of(work: Work) -> Preset:
        if "preset" in work.inputs:
            path = Path(work.inputs["preset"])
            if not os.path.lexists(path):
                raise PresetError(
                    f"{path}: there is no preset for {work.name}; make one by predict, or leave "
                    "the take out"
                )
            return find_preset(path)
        assert shared is not None
        return shared

    def do(work: Work) -> Result:
        preset = preset_of(work)
        raw, out = Path(work.inputs["raw"]), Path(work.outputs["audio"])
        options = audio_options(task.options, replace=work.replace)
        shape, rate, notices = apply_file(raw, preset, out, options)
        data = {"seconds": shape[1] / rate, "channels": shape[0], "sample_rate": rate}
        notices = (*preset.notices, *notices)
        return Result(notices, _row(task, work, changed(preset, options)), data)

    def recall(work: Work) -> Result:
        options = audio_options(task.options, replace=work.replace)
        return Result((), _row(task, work, changed(preset_of(work), options)))

    return Runner(do, recall)


def predictor_of(task: Task) -> AnyPredictor:
    """Open the model of a task for predictions alone, without PyTorch where it can be."""
    from ...model.opening import open_predictor

    folder, device = task.options.get("model"), task.options.get("device", "cpu")
    return open_predictor(
        folder and Path(folder), device,
        trust_checkpoint=bool(task.options.get("trust")),
        with_references=bool(task.options.get("references")),
    )  # fmt: skip


def trained_predictor_of(task: Task) -> Predictor:
    """Load the model of a task as it is trained."""
    from ...model.predictor import Predictor

    folder, device = task.options.get("model"), task.options.get("device", "cpu")
    trust = bool(task.options.get("trust"))
    return Predictor.load(folder and Path(folder), device, trust_checkpoint=trust)


def _loaded(task: Task) -> Callable[[], tuple[AnyPredictor, Sequence[Reference]]]:
    """Return what loads model and references at its first call, and returns them."""
    return functools.cache(lambda: (predictor_of(task), _references(task)))


def _references(task: Task) -> Sequence[Reference]:
    wanted = task.options.get("references")
    if not wanted:
        return ()
    from ...model.reference.prediction import References, read_references

    paths = [Path(path) for path in wanted["paths"]]
    found = References(tuple(read_references(paths, wanted["weights"], wanted["aspects"])))
    return found if wanted["steps"] is None else found.with_steps(wanted["steps"])


def _enhancer(task: Task) -> Enhancer | None:
    wanted = task.options.get("enhancer")
    return None if wanted is None else Enhancer(wanted["command"], wanted["timeout_seconds"])


def _row(task: Task, work: Work, preset: Preset) -> dict[str, Any] | None:
    """The line of the table of results, where one is asked for."""
    return row_of(work, preset) if task.options.get("table") else None


def _recalled(task: Task, work: Work) -> Result:
    if not task.options.get("table"):
        return Result()
    return Result((), _row(task, work, Preset.read(Path(work.outputs["preset"]))))
