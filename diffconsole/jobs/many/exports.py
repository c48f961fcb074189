"""The works of export: one preset of an archive each."""

from __future__ import annotations

from pathlib import Path

from ...strip.preset import find_preset
from .registry import Runner
from .work import Result, Task, Work

__all__ = ["prepare_export"]


def prepare_export(task: Task) -> Runner:
    """Return what writes a preset for other software.

    Options of the task: ``"format"``, ``"sample_rate"``, ``"channels"``.
    """
    from ...export import export_preset, find_format

    key = task.options["format"]
    find_format(key)

    def do(work: Work) -> Result:
        path = Path(work.inputs["preset"])
        preset = find_preset(path)
        files, losses = export_preset(
            preset,
            key,
            work.outputs["export"],
            sample_rate=task.options["sample_rate"],
            channels=task.options["channels"],
            force=work.replace,
            inputs=[path],
        )
        notices = (*preset.notices, *losses)
        return Result(notices, {"format": key}, {"files": [str(file) for file in files]})

    return Runner(do, lambda work: Result((), {"format": key}))
