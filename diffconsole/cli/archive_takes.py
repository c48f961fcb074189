"""The commands process, predict, apply and export on many files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .archive import Archive, folder_option_is_no_file, found_files, run_archive
from .common import OF_MODEL, TRUST, Report, read_preset
from .enhance_options import files_of_enhancer
from .model_notices import model_notices
from .reference_options import load_references, parse_weights

if TYPE_CHECKING:
    from ..jobs.enhance import Enhancer
    from ..jobs.many import Task, Work
    from ..jobs.many.paths import Found
    from ..jobs.options import AudioOptions

__all__ = ["apply_many", "export_many", "model_of", "predict_many", "process_many"]

FILE_ENDINGS = (".json", ".wav", ".flac", ".aif", ".aiff")


def process_many(
    report: Report,
    archive: Archive,
    raws: Sequence[Path],
    output: Path | None,
    model: Path | None,
    enhancer: Enhancer | None,
    references: tuple[tuple[Path, ...], tuple[str, ...], int | None],
    audio: AudioOptions,
    *,
    plot: bool,
    page: bool,
) -> None:
    """Do what ``process`` does, for an archive."""
    from ..jobs.plan import ENDINGS

    wanted = zip(
        ("preset", "audio", "plot", "page"), ENDINGS, (True, True, plot, page), strict=True
    )
    endings = {role: ending for role, ending, is_wanted in wanted if is_wanted}
    options = {**model_of(model, audio.device), "audio": _audio(audio)}
    _predict(
        report, archive, "process", raws, output, model, enhancer, references, options, endings,
        audio.force,
    )  # fmt: skip


def predict_many(
    report: Report,
    archive: Archive,
    raws: Sequence[Path],
    output: Path,
    model: Path | None,
    enhancer: Enhancer | None,
    references: tuple[tuple[Path, ...], tuple[str, ...], int | None],
    *,
    full: bool,
    device: str,
    force: bool,
) -> None:
    """Do what ``predict`` does, for an archive."""
    from ..jobs.plan import ENDINGS

    options = {**model_of(model, device), "full": full}
    _predict(
        report, archive, "predict", raws, output, model, enhancer, references, options,
        {"preset": ENDINGS[0]}, force,
    )  # fmt: skip


def _predict(
    report: Report,
    archive: Archive,
    command: str,
    raws: Sequence[Path],
    output: Path | None,
    model: Path | None,
    enhancer: Enhancer | None,
    references: tuple[tuple[Path, ...], tuple[str, ...], int | None],
    options: dict[str, Any],
    endings: Mapping[str, str],
    force: bool,
) -> None:
    from ..files.results import files_of_model
    from ..model.shipped import default_model

    found = found_files(raws, archive, output)
    folder_option_is_no_file(output, FILE_ENDINGS)
    paths, weights, steps = references
    inputs = [*paths, *files_of_model(model), *files_of_enhancer(enhancer)]
    options["references"] = _references(paths, weights, steps, report)
    options["enhancer"] = None if enhancer is None else asdict(enhancer)
    works = _works_of_takes(found, output, endings)
    _run(
        report, archive, command, options, works, found, raws, output, force, inputs,
        read=[*inputs, *files_of_model(default_model() if model is None else None)],
    )  # fmt: skip


def apply_many(
    report: Report,
    archive: Archive,
    raws: Sequence[Path],
    preset: Path,
    output: Path,
    audio: AudioOptions,
) -> None:
    """Do what ``apply`` does, for an archive: one preset, or a folder with one for each take."""
    from ..jobs.many import Work
    from ..jobs.plan import ENDINGS

    found = found_files(raws, archive, output)
    folder_option_is_no_file(output, FILE_ENDINGS)
    works = _works_of_takes(found, output, {"audio": ENDINGS[1]})
    options: dict[str, Any] = {"audio": _audio(audio)}
    inputs = [preset]
    if preset.is_dir():
        own = [preset / entry.place.parent / f"{entry.path.stem}{ENDINGS[0]}"
               for entry in found.inputs]  # fmt: skip
        works = [
            Work(work.number, work.name, {**work.inputs, "preset": str(path)}, work.outputs)
            for work, path in zip(works, own, strict=True)
        ]
    else:
        options["preset"] = read_preset(report, preset).to_json()
    _run(report, archive, "apply", options, works, found, raws, output, audio.force, inputs)


def export_many(
    report: Report,
    archive: Archive,
    presets: Sequence[Path],
    key: str,
    output: Path,
    *,
    sample_rate: int,
    channels: int,
    force: bool,
) -> None:
    """Do what ``export`` does, for an archive of presets."""
    from ..export import find_format
    from ..jobs.many import Work

    form = find_format(key)
    found = found_files(presets, archive, output, presets=True)
    folder_option_is_no_file(output, (".json", *([form.ending] if form.ending else [])))
    works = []
    for number, entry in enumerate(found.inputs):
        stem = entry.path.name.removesuffix(".json").removesuffix(".preset")
        name = f"{stem}_{key}" if form.is_folder else f"{stem}{form.ending}"
        target = output / entry.place.parent / name
        paths = {"preset": str(entry.path)}
        works.append(Work(number, str(entry.path), paths, {"export": str(target)}))
    options = {"format": key, "sample_rate": sample_rate, "channels": channels}
    _run(report, archive, "export", options, works, found, presets, output, force, [])


def _run(
    report: Report,
    archive: Archive,
    command: str,
    options: dict[str, Any],
    works: Sequence[Work],
    found: Found,
    given: Sequence[Path],
    output: Path | None,
    force: bool,
    inputs: Sequence[Path],
    read: Sequence[Path] = (),
) -> None:
    from ..jobs.many.fingerprint import task_of
    from ..jobs.many.plan import manifest_folder, plan_works
    from ..jobs.many.rows import columns, texts
    from ..jobs.many.table import check_table

    if archive.results is not None:
        files = [*inputs, *(entry.path for entry in found.inputs)]
        check_table(archive.results, replace=force or archive.resume, output=output, inputs=files)
        options["table"] = True
    task: Task = task_of(command, options, read)
    planned = plan_works(
        works, manifest_folder(output, given), output, force=force, resume=archive.resume,
        inputs=inputs, shard=archive.part,
    )  # fmt: skip
    run_archive(
        report, archive, task, planned, output, columns=columns(command), texts=texts(command),
        force=force, problems=found.problems,
    )  # fmt: skip


def _works_of_takes(found: Found, output: Path | None, endings: Mapping[str, str]) -> list[Work]:
    from ..jobs.many import Work
    from ..jobs.many.plan import outputs_at

    return [
        Work(
            number, str(entry.path), {"raw": str(entry.path)},
            outputs_at(output, entry.path, entry.place, endings),
        )
        for number, entry in enumerate(found.inputs)
    ]  # fmt: skip


def model_of(folder: Path | None, device: str) -> dict[str, Any]:
    """Return the options of a task that name its model; keep what is to be said of it."""
    from ..model.shipped import default_model

    context = click.get_current_context(silent=True)
    trust = bool(context is not None and context.meta.get(TRUST, False))
    place = folder or default_model()
    if context is not None:
        context.meta[OF_MODEL] = model_notices(place)
    name = place.resolve().name
    path = None if folder is None else str(folder)
    return {"model": path, "model_name": name, "trust": trust, "device": device}


def _audio(audio: AudioOptions) -> dict[str, Any]:
    return {**asdict(audio), "bypass": list(audio.bypass), "force": False}


def _references(
    paths: tuple[Path, ...], weights: tuple[str, ...], steps: int | None, report: Report
) -> dict[str, Any] | None:
    """The references as JSON has them, once they are read and found usable."""
    # What reads references brings PyTorch with it.
    if not (paths or weights or steps is not None):
        return None
    if not load_references(paths, weights, steps, report, silent=True):
        return None
    whole, aspects = parse_weights(weights)
    return {"paths": [str(p) for p in paths], "weights": whole, "aspects": aspects, "steps": steps}
