"""What all commands share: where words go, one-line errors, common options."""

from __future__ import annotations

import functools
import gc
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError, explained
from ..files.signals import like_ctrl_c
from .terminal import flushed, make_writable

if TYPE_CHECKING:
    from ..model.opening import AnyPredictor
    from ..model.predictor import Predictor
    from ..strip.preset import Preset

__all__ = [
    "PATH",
    "FiniteRange",
    "Program",
    "Report",
    "add_options",
    "audio_options",
    "command",
    "device_option",
    "force_option",
    "in_words",
    "load_model",
    "model_folder_option",
    "model_option",
    "one_line",
    "read_preset",
    "seed_option",
]

LONGEST_LINE, LINE_END = 2000, 300
"""Characters of a line that is said, and those of its end, which holds the remedy."""


class FileName(click.Path):
    """A file or a folder; what is wrong with it is said where it is used, in one line."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert as click does; refuse what no system takes as a name, and a pipe."""
        if "\0" in os.fspath(value):
            self.fail("A name cannot hold a NUL character.", param, ctx)
        if os.fspath(value) == "-":
            self.fail(
                "Pipes are not read or written; give a file (./- if it is called -).", param, ctx
            )
        made = super().convert(value, param, ctx)
        # Without its folder libsndfile takes the name for a pipe.
        return Path.cwd() / "-" if os.fspath(made) == "-" else made


PATH = FileName(path_type=Path, readable=False)


class FiniteRange(click.FloatRange):
    """A number between bounds; "nan" and "inf" are none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert as click does, and refuse what is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Program(click.Group):
    """The program: wrong use ends with one line on stderr and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Show the commands in the order in which they were added: the main job first."""
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as click does: leave with the exit code, unless `standalone_mode` is off."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        make_writable()
        # What is loaded stays: looking for garbage in it takes a tenth of the start.
        gc.set_threshold(20_000, 20, 20)
        os.environ["MPLBACKEND"] = "agg"  # pictures are drawn without a screen
        # Where no settings folder can be written, matplotlib says so in its own words.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        try:
            with like_ctrl_c():
                code = super().main(args, prog_name, complete_var, False, **extra)
        except click.UsageError as error:
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()
            else:
                click.echo(f"Error: {one_line(_usage(error))}", err=True)
            code = error.exit_code
        except click.Abort:
            click.echo("Error: stopped", err=True)
            code = 1
        raise SystemExit(flushed(code if isinstance(code, int) else 0))


def _usage(error: click.UsageError) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption) and not error.option_name.startswith("--"):
        message += "; names of files that start with a dash go after --"
    program = error.ctx.command_path if error.ctx else "diffconsole"
    return f"{message} (see '{program} --help')"


def printable(text: str) -> str:
    """Escape line breaks, terminal codes and what else cannot be printed; names may hold any."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Make a line that can be printed, of a length that can be read: the middle goes first."""
    # Escapes are longer than what they stand for, and a text may have megabytes.
    return _shortened(printable(_shortened(text)))


def _shortened(text: str) -> str:
    middle = " … "
    if len(text) <= LONGEST_LINE:
        return text
    return f"{text[: LONGEST_LINE - LINE_END - len(middle)]}{middle}{text[-LINE_END:]}"


def describe(error: Exception) -> str | None:
    """Put an error into one line for the user; None for what only a bug can cause."""
    line = explained(error)
    return None if line is None else one_line(line)


class Report:
    """Where the text of a command goes: messages to stderr, results to stdout, JSON alone if asked.

    Parameters
    ----------
    quiet : bool
        Say nothing but errors and results.
    as_json : bool
        Give the results as JSON.
    """

    def __init__(self, quiet: bool, as_json: bool) -> None:
        self.silent = quiet or as_json
        self.as_json = as_json
        self.failed: list[str] = []

    def say(self, *lines: str) -> None:
        """Say something, a line each; what a name could do to a terminal is escaped."""
        if not self.silent:
            for line in lines:
                click.echo(one_line(line), err=True)

    @contextmanager
    def attempt(self, subject: Path) -> Iterator[None]:
        """Report an error in the block and continue; the command then ends with exit code 1."""
        try:
            yield
        except Exception as error:
            line = describe(error)
            if line is None:
                raise
            if not line.startswith(one_line(str(subject))):
                line = f"{one_line(str(subject))}: {line}"
            self.failed.append(line)
            click.echo(f"Error: {line}", err=True)

    def result(self, data: dict[str, Any], text: str = "") -> None:
        """Give the result: JSON if asked, else text."""
        if self.as_json:
            # ASCII: safe in every terminal's encoding, and for names that are not valid UTF-8.
            click.echo(json.dumps(data, indent=2))
        elif text:
            click.echo("\n".join(map(printable, text.split("\n"))))


def _say_of_cache(report: Report) -> None:
    """Say once if what was compiled could not be kept; nothing if nothing was compiled."""
    cache = sys.modules.get("diffconsole.kernels.cache")
    if cache is not None and (line := cache.explain_missing()) is not None:
        report.say(f"Note: {line}")


def command(name: str, *examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command: examples in its help, the options that all have, one-line errors."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, quiet: bool, as_json: bool, **kwargs: Any) -> None:
            report = Report(quiet, as_json)
            try:
                function(report, *args, **kwargs)
                _say_of_cache(report)
                notices = click.get_current_context().meta.get(OF_MODEL, ())
                report.say(*(f"Note: {notice}" for notice in notices))
            except KeyboardInterrupt:
                click.echo("Error: stopped", err=True)
                raise click.exceptions.Exit(1) from None
            except click.ClickException:
                raise
            except Exception as error:
                line = describe(error)
                if line is None:
                    raise
                click.echo(f"Error: {line}", err=True)
                raise click.exceptions.Exit(getattr(error, "exit_code", 1)) from None
            if report.failed:
                raise click.exceptions.Exit(1)

        # Python leaves docstrings out with -OO.
        first_line = (function.__doc__ or name).strip().splitlines()[0].rstrip(".")
        heading = "Example:" if len(examples) == 1 else "Examples:"
        epilog = "\n  ".join((f"\b\n{heading}", *examples))
        made = click.command(name, epilog=epilog, short_help=first_line)(run)
        made.params += [
            click.Option(["-q", "--quiet"], is_flag=True, help="Only results and errors."),
            click.Option(["--json", "as_json"], is_flag=True, help="Results as JSON on stdout."),
        ]
        return made

    return decorate


def add_options(function: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """Add several options, shown in this order."""
    for option in reversed(options):
        function = option(function)
    return function


force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
device_option = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where to compute.",
)
full_option = click.option(
    "--full", is_flag=True, help="Keep every band and digit that was predicted."
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Random seed.",
)
model_folder_option = click.option(
    "--model", type=PATH, help="Folder that finetune or pretrain wrote.  [default: the shipped one]"
)
TRUST = "diffconsole.trust_checkpoint"
"""Where a command's context says whether the files of a model are trusted."""

OF_MODEL = "diffconsole.model_notices"
"""Where it keeps what is to be said of a model that this version knows in part."""


def _keep_trust(ctx: click.Context, _: click.Parameter, trusted: bool) -> None:
    ctx.meta[TRUST] = trusted


def model_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the model's folder, and the trust that a model on a TorchScript file needs."""
    return add_options(
        function,
        model_folder_option,
        click.option(
            "--trust-checkpoint", is_flag=True, expose_value=False, callback=_keep_trust,
            help="Also open a --model on a TorchScript encoder. Dangerous: that runs whatever code "
            "its author put into it, with your rights.",
        ),
    )  # fmt: skip


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
        if tail is not None and no_tail:
            raise click.UsageError("--tail and --no-tail exclude each other")
        from ..jobs.options import AudioOptions, check_device, split_bypass

        try:
            names = split_bypass(bypass)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        audio = AudioOptions(
            amount=amount,
            bypass=names,
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
            "--amount", type=FiniteRange(0.0, 1.5), default=1.0, show_default=True,
            help="How much of what the strip does.",
        ),
        click.option("--bypass", default="", metavar="NAMES", help="Switch off, as eq,reverb."),
        click.option(
            "--bit-depth", type=click.Choice(["16", "24", "32f"]), default="32f",
            show_default=True, help="Of the audio; 32f cannot clip.",
        ),
        click.option("--normalize", is_flag=True, help="Turn down what would clip, to -1 dBFS."),
        click.option(
            "--tail", type=FiniteRange(0.0, 120.0), metavar="SECONDS",
            help="Seconds added for the reverb to ring out.  [default: all of it]",
        ),
        click.option("--no-tail", is_flag=True, help="Keep the input's length."),
        device_option,
        seed_option,
        force_option,
    )  # fmt: skip


def in_words(preset: Preset) -> str:
    """Say in one line what a strip does."""
    from ..strip.words import in_short

    return in_short(preset.settings(), preset.bypass())


def read_preset(report: Report, name: Path) -> Preset:
    """Read a preset file or a factory preset; say what of a newer version is left out."""
    from ..strip.preset import find_preset

    preset = find_preset(name)
    for notice in preset.notices:
        report.say(f"Note: {notice}")
    return preset


def load_model(
    folder: Path | None, device: str = "cpu", trust: bool | None = None
) -> tuple[Predictor, str]:
    """Load a model, by default the shipped one; `trust` as ``--trust-checkpoint`` unless given."""
    from ..model.predictor import Predictor

    trust = _is_trusted() if trust is None else trust
    model = Predictor.load(folder, device, trust_checkpoint=trust)
    return model, _named(folder, model)


def open_model(folder: Path | None, device: str, *, references: bool) -> tuple[AnyPredictor, str]:
    """Open a model for predictions alone, without PyTorch where it can be; also its name."""
    from ..model.opening import open_predictor

    model = open_predictor(
        folder, device, trust_checkpoint=_is_trusted(), with_references=references
    )
    return model, _named(folder, model)


def _is_trusted() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context is not None and context.meta.get(TRUST, False))


def _named(folder: Path | None, model: AnyPredictor) -> str:
    """Return a model's name; keep what is to be said of it for the report."""
    from ..model.shipped import default_model

    name = (folder or default_model()).resolve().name
    if model.known.ignored and (context := click.get_current_context(silent=True)) is not None:
        context.meta[OF_MODEL] = [f"{name} {notice}" for notice in model.known.notices()]
    return name
