"""The command line: parse, call, report. Everything heavy loads inside the commands."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from . import __version__
from .errors import DiffconsoleError, OutputError

__all__ = ["main"]

FILE = click.Path(path_type=Path)


class Report:
    """Where a command's words go: people's to stderr, results to stdout, JSON alone if asked."""

    def __init__(self, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self.failed = False

    def say(self, line: str) -> None:
        """Tell a person something."""
        if not self.quiet and not self.as_json:
            click.echo(line, err=True)

    def fail(self, line: str) -> None:
        """Tell of an error and go on; the command ends with exit code 1."""
        self.failed = True
        click.echo(f"Error: {line}", err=True)

    def result(self, data: Any, text: str = "") -> None:
        """Give the result: JSON if asked, else text."""
        if self.as_json:
            click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        elif text and not self.quiet:
            click.echo(text)

    @property
    def silent(self) -> bool:
        """Whether no progress bar is wanted."""
        return self.quiet or self.as_json

    def end(self) -> None:
        """Leave with exit code 1 if anything failed."""
        if self.failed:
            raise click.exceptions.Exit(1)


def command(group: click.Group, name: str, example: str) -> Callable[..., Any]:
    """Register a command with the options that all have, an example, and one-line errors."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, quiet: bool, as_json: bool, **kwargs: Any) -> None:
            report = Report(quiet, as_json)
            try:
                function(report, *args, **kwargs)
            except DiffconsoleError as error:
                click.echo(f"Error: {error}", err=True)
                raise click.exceptions.Exit(error.exit_code) from None
            except KeyboardInterrupt:
                click.echo("Error: stopped", err=True)
                raise click.exceptions.Exit(1) from None
            except MemoryError:
                click.echo("Error: not enough memory; try shorter files", err=True)
                raise click.exceptions.Exit(1) from None
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                click.echo(f"Error: {where}{error.strerror or error}", err=True)
                raise click.exceptions.Exit(1) from None
            report.end()

        # click shows options in the order of the decorators, topmost first: these come last.
        run.__click_params__ = [  # type: ignore[attr-defined]
            click.Option(["--json", "as_json"], is_flag=True, help="Results as JSON on stdout."),
            click.Option(["-q", "--quiet"], is_flag=True, help="No progress, only errors."),
            *getattr(run, "__click_params__", []),
        ]
        epilog = f"\b\nExample:\n  {example}"
        return group.command(name, epilog=epilog, short_help=_first_line(function))(run)

    return decorate


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().splitlines()[0].rstrip(".")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="diffconsole")
def main() -> None:
    """A raw vocal in, a channel strip out: settings to read and edit, and the processed audio."""


def add_options(function: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """Add several options, shown in this order."""
    for option in reversed(options):
        function = option(function)
    return function


force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
device_option = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True
)
seed_option = click.option("--seed", type=int, default=0, show_default=True)
model_option = click.option(
    "--model", type=FILE, help="Folder that finetune or pretrain wrote.  [default: the shipped one]"
)


def audio_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of everything that writes audio, gathered as `audio`."""

    @functools.wraps(function)
    def run(
        *args: Any,
        amount: float,
        bypass: str,
        bit_depth: str,
        normalize: bool,
        tail: float | None,
        no_tail: bool,
        device: str,
        seed: int,
        force: bool,
        **kwargs: Any,
    ) -> None:
        from .workflow import AudioOptions, check_device, split_bypass

        if tail is not None and no_tail:
            raise click.UsageError("--tail and --no-tail exclude each other")
        audio = AudioOptions(
            amount=amount,
            bypass=split_bypass(bypass),
            bit_depth=bit_depth,
            normalize=normalize,
            tail_seconds=0.0 if no_tail else tail,
            device=check_device(device),
            seed=seed,
            force=force,
        )
        function(*args, audio=audio, **kwargs)

    return add_options(
        run,
        click.option(
            "--amount", type=click.FloatRange(0.0, 1.5), default=1.0, show_default=True,
            help="How much of what the strip does.",
        ),
        click.option("--bypass", default="", metavar="NAMES", help="Switch off, as eq,reverb."),
        click.option(
            "--bit-depth", type=click.Choice(["16", "24", "32f"]), default="32f", show_default=True
        ),
        click.option("--normalize", is_flag=True, help="Turn down what would clip, to -1 dBFS."),
        click.option(
            "--tail", type=click.FloatRange(0.0, 120.0), metavar="SECONDS",
            help="Room for the reverb to ring out.  [default: all of it]",
        ),
        click.option("--no-tail", is_flag=True, help="Keep the input's length."),
        device_option,
        seed_option,
        force_option,
    )  # fmt: skip


def _load_model(folder: Path | None, device: str = "cpu") -> tuple[Any, str]:
    from .predictor import Predictor, default_model

    model = Predictor.load(folder, device)
    return model, (folder or default_model()).resolve().name


@command(main, "process", "diffconsole process take.wav -o mixed/")
@click.argument("raws", metavar="RAW...", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", type=FILE, help="Folder for the results.  [default: beside RAW]")
@model_option
@audio_options
def process(
    report: Report, raws: tuple[Path, ...], output: Path | None, model: Path | None, audio: Any
) -> None:
    """Predict a vocal's channel strip, apply it, and write preset, processed audio and plot.

    Writes take.preset.json, take.processed.wav and take.png for take.wav.
    """
    from .progress import steps
    from .workflow import plan_takes, process_take

    takes = plan_takes(raws, output, audio.force)
    predictor, name = _load_model(model, audio.device)
    done = []
    for take in steps(takes, "process", silent=report.silent or len(takes) == 1):
        try:
            preset, notices = process_take(predictor, name, take, audio)
        except DiffconsoleError as error:
            report.fail(str(error))
            continue
        for notice in notices:
            report.say(f"Note: {notice}")
        files = {"raw": take.raw, "preset": take.preset, "audio": take.audio, "plot": take.plot}
        done.append({k: str(v) for k, v in files.items()})
        report.say(f"{take.raw}: {_in_words(preset)}")
        report.say(f"  → {take.preset}\n  → {take.audio}\n  → {take.plot}")
    report.result({"files": done})


def _in_words(preset: Any) -> str:
    s, off = preset.settings(), preset.bypass()
    words = [f"input {s['input_gain.gain_db']:+.1f} dB"]
    if "eq" not in off:
        words.append(f"high-pass {s['eq.high_pass.freq_hz']:.0f} Hz")
    if "compressor" not in off:
        words.append(
            f"compressor {s['compressor.ratio']:.1f}:1 over {s['compressor.threshold_db']:.0f} dBFS"
        )
    if "reverb" not in off:
        words.append(f"reverb {s['reverb.decay_s']:.1f} s at {s['reverb.wet_db']:.0f} dB")
    return ", ".join(words)


@command(main, "predict", "diffconsole predict take.wav -o take.preset.json")
@click.argument("raws", metavar="RAW...", nargs=-1, required=True, type=FILE)
@click.option(
    "-o", "--output", type=FILE, required=True, help="Preset; a folder if there are several RAWs."
)
@model_option
@device_option
@force_option
def predict(
    report: Report,
    raws: tuple[Path, ...],
    output: Path,
    model: Path | None,
    device: str,
    force: bool,
) -> None:
    """Predict a vocal's settings only, as a JSON preset."""
    from .audio import read_audio
    from .files import check_output
    from .progress import steps
    from .workflow import check_device, make_folder, predict_preset

    targets = {raws[0]: output}
    if len(raws) > 1 or output.is_dir():
        make_folder(output)
        targets = {raw: output / f"{raw.stem}.preset.json" for raw in raws}
        if len(set(targets.values())) < len(raws):
            raise OutputError("two RAWs have the same stem; rename one or use different folders")
    for target in targets.values():
        check_output(target, force=force)
    predictor, name = _load_model(model, check_device(device))
    done = []
    for raw in steps(list(targets), "predict", silent=report.silent or len(targets) == 1):
        try:
            samples, rate = read_audio(raw)
            preset = predict_preset(predictor, samples, rate, name=raw.name, model_name=name)
            preset.write(targets[raw], force=force)
        except DiffconsoleError as error:
            report.fail(str(error))
            continue
        done.append({"raw": str(raw), "preset": str(targets[raw])})
        report.say(f"{raw}: {_in_words(preset)}\n  → {targets[raw]}")
    report.result({"files": done})


@command(main, "apply", "diffconsole apply take.wav lead_vocal_pop -o take.processed.wav")
@click.argument("raw", type=FILE)
@click.argument("preset", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="WAV, FLAC or AIFF.")
@audio_options
def apply(report: Report, raw: Path, preset: Path, output: Path, audio: Any) -> None:
    """Apply a preset file, or a factory preset by its key, to a vocal."""
    from .preset import find_preset
    from .workflow import apply_file

    result, rate, notices = apply_file(raw, find_preset(preset), output, audio)
    for notice in notices:
        report.say(f"Note: {notice}")
    seconds = result.samples.shape[1] / rate
    report.say(f"{output}: {seconds:.2f} s, {result.samples.shape[0]} channel(s), {rate} Hz")
    report.result({"audio": str(output), "seconds": seconds, "notices": list(notices)})


@command(main, "plot", "diffconsole plot take.preset.json --raw take.wav -o take.png")
@click.argument("presets", metavar="PRESET...", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="PNG, SVG or PDF by its ending.")
@click.option("--raw", type=FILE, help="Also levels, gain reduction and spectra of this vocal.")
@force_option
def plot(
    report: Report, presets: tuple[Path, ...], output: Path, raw: Path | None, force: bool
) -> None:
    """Draw EQ curve, compressor curve and reverb decay of presets, one over the other."""
    from .audio import read_audio
    from .files import check_output
    from .plots import StripView, plot_presets
    from .preset import find_preset
    from .render import render

    check_output(output, force=force)
    read = [(path, find_preset(path)) for path in presets]
    views = [StripView(p.name or path.stem, p.settings(), p.bypass()) for path, p in read]
    take = read_audio(raw) if raw else None
    processed = render(*take, read[0][1]).samples if take else None
    plot_presets(
        views,
        output,
        raw=take,
        processed=processed,
        sample_rate=take[1] if take else 48000,
        force=force,
    )
    report.say(f"→ {output}")
    report.result({"plot": str(output)})


@main.group()
def presets() -> None:
    """Show the presets that come with the program."""


@command(presets, "list", "diffconsole presets list")
def presets_list(report: Report) -> None:
    """List the factory presets, each with what it is for."""
    from .preset import factory_presets

    found = factory_presets()
    rows = [
        {"key": key, "name": p.name, "description": p.provenance.get("description", "")}
        for key, p in found.items()
    ]
    width = max(map(len, found), default=0)
    lines = [f"{r['key']:<{width}}  {r['name']}: {r['description']}" for r in rows]
    report.result({"presets": rows}, "\n".join(lines))


@command(presets, "show", "diffconsole presets show lead_vocal_pop > mine.preset.json")
@click.argument("preset", type=FILE)
def presets_show(report: Report, preset: Path) -> None:
    """Print a preset as JSON, to read or to start from."""
    from .preset import find_preset

    click.echo(find_preset(preset).to_json(), nl=False)


@main.group()
def encoders() -> None:
    """Show the pretrained encoders that a model can be built on."""


@command(encoders, "list", "diffconsole encoders list")
def encoders_list(report: Report) -> None:
    """List the encoder families."""
    from .encoders import FAMILIES

    rows = [{"name": name, "description": line} for name, (_, _, line) in FAMILIES.items()]
    report.result({"encoders": rows}, "\n".join(f"{r['name']}  {r['description']}" for r in rows))


@main.group()
def models() -> None:
    """Show what a model is made of."""


@command(models, "info", "diffconsole models info --model studio/")
@model_option
def models_info(report: Report, model: Path | None) -> None:
    """Tell a model's encoder, size, training and measured figures."""
    predictor, name = _load_model(model)
    weights = sum(p.numel() for p in predictor.parameters())
    data = {
        "model": name,
        "encoder": predictor.encoder.name,
        "sample_rate": predictor.encoder.sample_rate,
        "parameters": weights,
        "info": predictor.info,
    }
    text = (
        f"{name}: encoder {predictor.encoder.name} at {predictor.encoder.sample_rate} Hz, "
        f"{weights / 1e6:.2f} million parameters\n"
        f"{json.dumps(predictor.info, indent=2, ensure_ascii=False)}"
    )
    report.result(data, text)


def _register_training() -> None:
    from . import cli_training  # noqa: F401


_register_training()

if __name__ == "__main__":
    sys.exit(main())
