"""The command line: parse, call, report. Everything heavy loads inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import __version__
from .archive import Archive, archive_options
from .audition import audition
from .common import (
    PATH,
    Program,
    Report,
    audio_options,
    command,
    device_option,
    force_option,
    full_option,
    in_words,
    load_model,
    model_option,
    open_model,
    read_preset,
)
from .enhance_options import enhance_options, files_of_enhancer
from .export import export, import_
from .listing import encoders, models, presets
from .match import match
from .pretrain import pretrain
from .reference_options import load_references, reference_options
from .training import evaluate, finetune
from .warmup import warmup

if TYPE_CHECKING:
    from ..jobs.enhance import Enhancer
    from ..jobs.options import AudioOptions

__all__ = ["main"]

PROCESS_MANY = "diffconsole process archive/ --recursive -o mixed/ --jobs 8 --no-plot --no-page"
PREDICT_MANY = "diffconsole predict archive/ --recursive -o presets/ --jobs 8 --results all.csv"
APPLY_MANY = "diffconsole apply archive/ presets/ --recursive -o mixed/ --jobs 8 --resume"


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="diffconsole")
def main() -> None:
    """A raw vocal in, a channel strip out: settings to read and edit, and the processed audio."""


@command("process", "diffconsole process take.wav -o mixed/", PROCESS_MANY)
@click.argument("raws", metavar="RAW...", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder for the results.  [default: beside RAW]")
@model_option
@enhance_options
@reference_options
@full_option
@click.option("--no-plot", is_flag=True, help="Write no picture.")
@click.option("--no-page", is_flag=True, help="Write no page.")
@archive_options
@audio_options
def process(
    report: Report,
    raws: tuple[Path, ...],
    output: Path | None,
    model: Path | None,
    enhancer: Enhancer | None,
    reference: tuple[Path, ...],
    reference_weights: tuple[str, ...],
    reference_steps: int | None,
    full: bool,
    no_plot: bool,
    no_page: bool,
    archive: Archive,
    audio: AudioOptions,
) -> None:
    """Predict a vocal's channel strip, apply it, and write preset, audio, plot and page.

    Writes take.preset.json, take.processed.wav, take.png and take.html, the page to listen to and
    to edit, for take.wav; of a recording above about six minutes the page holds three. With
    --reference the strip leads to the style of another, finished vocal. What makes no audible
    difference on this vocal is switched off, and values are round; --full keeps everything.

    A RAW may be a folder or a pattern. Of a folder of takes each failure is one line, and a summary
    ends it; repeat the command with --resume to go on after a stop.
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from ..files import results_folder
    from ..files.results import files_of_model
    from ..jobs.many.paths import is_many
    from ..jobs.picture_process import pictures_beside
    from ..jobs.plan import plan_takes
    from ..jobs.process import process_take
    from ..progress import steps
    from .archive_takes import process_many

    if archive.is_asked or is_many(raws):
        process_many(
            report, archive, raws, output, model, enhancer,
            (reference, reference_weights, reference_steps), replace(audio, full=full),
            plot=not no_plot, page=not no_page,
        )  # fmt: skip
        return
    inputs = [*reference, *files_of_model(model), *files_of_enhancer(enhancer)]
    takes = plan_takes(raws, output, audio.force, inputs, plot=not no_plot, page=not no_page)
    towards = load_references(
        reference, reference_weights, reference_steps, report,
        silent=report.silent or len(raws) > 1,
    )  # fmt: skip
    chosen = replace(audio, full=full)
    done = []
    with ExitStack() as block:
        pictures = block.enter_context(pictures_beside(not no_plot))
        predictor, name = open_model(model, audio.device, references=bool(towards))
        block.enter_context(results_folder(output))
        # One bar at a time: of the takes, or of a single long one.
        without_bar = report.silent or len(takes) > 1
        for take in steps(takes, "process", silent=report.silent or len(takes) == 1):
            with report.attempt(take.raw):
                preset, notices = process_take(
                    predictor, name, take, chosen, towards, enhancer, silent=without_bar,
                    pictures=pictures,
                )  # fmt: skip
                written = {key: path for key, path in take.results.items() if path.exists()}
                report.say(
                    *(f"Note: {notice}" for notice in notices),
                    f"{take.raw}: {in_words(preset)}",
                    *(f"  → {path}" for path in written.values()),
                )
                files = {"raw": take.raw, **written}
                done.append({key: str(path) for key, path in files.items()})
    report.result({"files": done, "failed": report.failed})


@command("predict", "diffconsole predict take.wav -o take.preset.json", PREDICT_MANY)
@click.argument("raws", metavar="RAW...", nargs=-1, required=True, type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True, help="Preset; a folder if there are several RAWs."
)
@model_option
@enhance_options
@reference_options
@full_option
@archive_options
@device_option
@force_option
def predict(
    report: Report,
    raws: tuple[Path, ...],
    output: Path,
    model: Path | None,
    enhancer: Enhancer | None,
    reference: tuple[Path, ...],
    reference_weights: tuple[str, ...],
    reference_steps: int | None,
    full: bool,
    archive: Archive,
    device: str,
    force: bool,
) -> None:
    """Predict a vocal's settings only, as a JSON preset.

    With --reference the settings that bring it to the style of another, finished vocal. What makes
    no audible difference on this vocal is switched off, and values are round; --full keeps
    everything. A RAW may be a folder or a pattern; its presets then have the same places in -o.
    """
    from ..files import results_folder
    from ..files.results import files_of_model
    from ..jobs.many.paths import is_many
    from ..jobs.options import check_device
    from ..jobs.plan import plan_presets
    from ..jobs.process import predict_file
    from ..progress import steps
    from .archive_takes import predict_many

    check_device(device)
    if archive.is_asked or is_many(raws):
        predict_many(
            report, archive, raws, output, model, enhancer,
            (reference, reference_weights, reference_steps), full=full, device=device, force=force,
        )  # fmt: skip
        return
    inputs = [*reference, *files_of_model(model), *files_of_enhancer(enhancer)]
    targets = plan_presets(raws, output, force, inputs)
    towards = load_references(
        reference, reference_weights, reference_steps, report,
        silent=report.silent or len(raws) > 1,
    )  # fmt: skip
    predictor, name = open_model(model, device, references=bool(towards))
    done = []
    several = len(targets) > 1
    with results_folder(output if several else None):
        for raw in steps(list(targets), "predict", silent=report.silent or not several):
            with report.attempt(raw):
                preset, notices = predict_file(predictor, name, raw, towards, enhancer, full=full)
                preset.write(targets[raw], force=force)
                for notice in notices:
                    report.say(f"Note: {notice}")
                done.append({"raw": str(raw), "preset": str(targets[raw])})
                report.say(f"{raw}: {in_words(preset)}", f"  → {targets[raw]}")
    report.result({"files": done, "failed": report.failed})


class _Raws(click.Argument):
    """The takes before the preset: the one name that is given may be either."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name both."""
        return "'RAW... PRESET'"


@command("apply", "diffconsole apply take.wav lead_vocal_pop -o take.processed.wav", APPLY_MANY)
@click.argument("raws", metavar="RAW...", nargs=-1, required=True, type=PATH, cls=_Raws)
@click.argument("preset", type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True,
    help="WAV, FLAC or AIFF; a folder if there are several RAWs.",
)  # fmt: skip
@archive_options
@audio_options
def apply(
    report: Report,
    raws: tuple[Path, ...],
    preset: Path,
    output: Path,
    archive: Archive,
    audio: AudioOptions,
) -> None:
    """Apply a preset file, or a factory preset by its key, to a vocal.

    Of several RAWs, folders and patterns -o gets take.processed.wav for take.wav. PRESET may then
    be a folder that holds take.preset.json for each take.
    """
    from ..jobs.many.paths import is_many
    from ..jobs.process import apply_file

    if archive.is_asked or len(raws) > 1 or is_many(raws):
        from .archive_takes import apply_many

        apply_many(report, archive, raws, preset, output, audio)
        return
    raw = raws[0]
    strip = read_preset(report, preset)
    (channels, samples), rate, notices = apply_file(
        raw, strip, output, audio, [preset], silent=report.silent
    )
    for notice in notices:
        report.say(f"Note: {notice}")
    layout = "mono" if channels == 1 else "stereo"
    report.say(f"→ {output}: {samples / rate:.2f} s, {layout}, {rate} Hz")
    data = {
        "audio": str(output),
        "seconds": samples / rate,
        "channels": channels,
        "sample_rate": rate,
        "notices": [*strip.notices, *notices],
    }
    report.result(data)


@command("plot", "diffconsole plot take.preset.json --raw take.wav -o take.png")
@click.argument("presets", metavar="[PRESET]...", nargs=-1, type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="PNG, SVG or PDF by its ending.")
@click.option("--raw", type=PATH, help="Also levels, gain reduction and spectra of this vocal.")
@click.option(
    "--over-time", is_flag=True, help="How --model's settings change along --raw, without PRESET."
)
@click.option("--run", type=PATH, help="Training curves of a folder that finetune wrote.")
@model_option
@force_option
def plot(
    report: Report,
    presets: tuple[Path, ...],
    output: Path,
    raw: Path | None,
    over_time: bool,
    run: Path | None,
    model: Path | None,
    force: bool,
) -> None:
    """Draw the curve of every module that is on in some presets, one over the other.

    Or how a model's settings change along a song (--over-time --raw take.wav --model studio/), or
    the training curves of a run (--run studio/).
    """
    from ..audio import read_audio_file
    from ..files.results import check_results, files_of_model
    from ..plots import StripView, plot_presets
    from ..plots.names import apart
    from ..training.log import LOG

    if sum((bool(presets), over_time, run is not None)) != 1:
        raise click.UsageError("give PRESETs, or --over-time, or --run")
    if over_time and raw is None:
        raise click.UsageError("--over-time needs --raw, the song")
    if model is not None and not over_time:
        raise click.UsageError("--model goes with --over-time")
    inputs = [*presets, *files_of_model(model), *([run / LOG] if run else [])]
    check_results([output], [raw] if raw else [], force, inputs=inputs)
    if run is not None:
        _plot_run(run, output, force)
    elif over_time and raw is not None:
        for line in _plot_over_time(raw, model, output, force):
            report.say(f"Note: {line}")
    if not presets:
        report.say(f"→ {output}")
        report.result({"plot": str(output)})
        return
    found = [read_preset(report, path) for path in presets]
    names = apart([f.name or p.stem for f, p in zip(found, presets, strict=True)], presets)
    views = [
        StripView(name, preset.settings(), preset.bypass())
        for name, preset in zip(names, found, strict=True)
    ]
    take = None
    if raw is not None:
        file = read_audio_file(raw)
        take = file.samples, file.sample_rate
        for line in file.messages:
            report.say(f"Note: {line}")
    plot_presets(views, output, raw=take, force=force)
    report.say(f"→ {output}")
    report.result({"plot": str(output)})


def _plot_over_time(raw: Path, model: Path | None, output: Path, force: bool) -> tuple[str, ...]:
    from ..jobs.takes import read_take_file
    from ..model.timeline import predict_timeline
    from ..plots.over_time import plot_over_time

    file = read_take_file(raw)
    predictor, name = load_model(model)
    timeline = predict_timeline(predictor, file.samples, file.sample_rate)
    title = f"{raw.stem}: settings by {name}"
    plot_over_time(timeline, (file.samples, file.sample_rate), output, title=title, force=force)
    return file.messages + tuple(f"{raw}: {line}" for line in timeline.whole.messages)


def _plot_run(run: Path, output: Path, force: bool) -> None:
    from ..plots.training import plot_training
    from ..training.log import read_history

    plot_training(read_history(run), output, force=force)


main.add_command(process)
main.add_command(predict)
main.add_command(apply)
main.add_command(match)
main.add_command(finetune)
main.add_command(evaluate)
main.add_command(plot)
main.add_command(audition)
main.add_command(export)
main.add_command(import_)
main.add_command(presets)
main.add_command(encoders)
main.add_command(models)
main.add_command(pretrain)
main.add_command(warmup)

if __name__ == "__main__":
    main()
