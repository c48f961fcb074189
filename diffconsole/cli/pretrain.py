"""The command that trains the model that others start from: pretrain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .common import (
    PATH,
    FiniteRange,
    Report,
    command,
    device_option,
    force_option,
    seed_option,
)
from .encoder_options import trust_option

__all__ = ["pretrain"]


class VoicesName(click.ParamType):
    """A folder, a pattern or an address of shards."""

    name = "path"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Convert as a path's name, and leave the slashes of an address as they are."""
        return value if "://" in value and "\0" not in value else str(PATH(value, param, ctx))


@command(
    "pretrain",
    "diffconsole pretrain voices/ --rooms ir/ --held-out anna,ben --minutes 50 -o model/",
)
@click.argument("voices", type=VoicesName())
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the model.")
@click.option("--rooms", type=PATH, help="Folder of impulse responses.")
@click.option(
    "--held-out", default="", metavar="NAMES", help="Test speakers, who are not used at all."
)
@click.option(
    "--validation", default="", metavar="NAMES",
    help="Validation speakers: not trained on, they choose the best state.  [default: those of "
    "--held-out]",
)  # fmt: skip
@click.option("--judges", default="", hidden=True, help="Former name of --validation.")
@click.option(
    "--reference", default="", metavar="NAMES",
    help="Speakers whose recordings have a finished tone.  [default: the mean of all]",
)  # fmt: skip
@click.option(
    "--finished", type=PATH,
    help="Folder of mixed vocals, in place of --reference: simulated mixes have their tone.",
)  # fmt: skip
@click.option(
    "--minutes", type=FiniteRange(min=0.01), default=50.0, show_default=True,
    help="Time budget in minutes.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=0),
    help="Steps, instead of --minutes: the same result on slow and fast machines. With 0 the "
    "model to start from is only anchored and its uncertainty scaled.",
)  # fmt: skip
@click.option(
    "--start-from", metavar="MODEL",
    help="Pretrained model to continue from: its folder, or shipped.  [default: from scratch]",
)  # fmt: skip
@click.option(
    "--average", is_flag=True,
    help="Write the mean of the start's weights and the best ones; it generalises better.",
)  # fmt: skip
@click.option(
    "--learning-rate", type=FiniteRange(min=1e-6, max=0.1), default=1e-3, show_default=True,
    help="At the start; it falls to 0 along a cosine. To continue from a model use less: 5e-4.",
)  # fmt: skip
@click.option(
    "--batch", type=click.IntRange(6, 1 << 16), default=48, show_default=True,
    help="Sounds in each step, of all processes together; six make an example, and every process "
    "needs one at least.",
)  # fmt: skip
@click.option(
    "--bfloat16", is_flag=True,
    help="Train in bfloat16 mixed precision: twice as fast on processors that have it.",
)  # fmt: skip
@click.option(
    "--anchor-share", type=FiniteRange(0.0, 1.0), default=0.4, show_default=True,
    help="Share of the learnt offsets that a prediction adds to the strip that all mixes share; "
    "0: one strip for every vocal.",
)  # fmt: skip
@click.option(
    "--style-strips", type=click.IntRange(min=0), default=400, show_default=True,
    help="Simulated strips, about a second each after the training, that show how surely a "
    "reference's style carries over to another singer; at least 5, or 0: the package's own "
    "figures serve.",
)  # fmt: skip
@click.option(
    "--streams", type=click.IntRange(1, 4096), default=16, show_default=True,
    help="Of clips, where VOICES are shards: as many processes make examples without reading "
    "anything twice.",
)  # fmt: skip
@click.option(
    "--module-examples", type=click.IntRange(min=0), default=1200, show_default=True,
    help="Simulated raw vocals by which modules that came after version 1.0 of the preset format "
    "are learnt in the end, at least 8; 0: the model leaves them off.",
)  # fmt: skip
@click.option(
    "--only-modules", is_flag=True,
    help="Keep the model to start from as it is, and learn only these modules.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True,
    help="Processes that make examples, for each process that trains; in all as many as there "
    "are cores.",
)  # fmt: skip
@trust_option
@device_option
@seed_option
@force_option
def pretrain(
    report: Report,
    voices: str,
    output: Path,
    rooms: Path | None,
    held_out: str,
    validation: str,
    judges: str,
    reference: str,
    finished: Path | None,
    minutes: float,
    steps: int | None,
    start_from: str | None,
    average: bool,
    learning_rate: float,
    batch: int,
    bfloat16: bool,
    anchor_share: float,
    style_strips: int,
    streams: int,
    module_examples: int,
    only_modules: bool,
    workers: int,
    trust_checkpoint: bool,
    device: str,
    seed: int,
    force: bool,
) -> None:
    """Train an encoder and a head on folders of voices, one folder per speaker or singer.

    Of many hours, VOICES may be shards (WebDataset's tar archives), which are read while it trains:
    their folder, a pattern as "voices-{000..127}.tar", or an address as "s3://bucket/voices/".
    `python -m diffconsole.training.pretraining.write_shards VOICES -o SHARDS` makes them.

    Raw vocals whose right settings are known are made from the voices on the fly. Stop with
    Ctrl-C and repeat the command to resume. Several processes, GPUs or machines: start it by
    torchrun; the result is that of one.
    """
    from ..files import results_folder
    from ..files.results import files_of_model
    from ..jobs.model_folder import check_model_folder, interrupted, stopped
    from ..jobs.options import check_device
    from ..progress import bar
    from ..training.distributed import one_speaks, process_group
    from ..training.pretraining.pretrain import CHECKPOINT, PretrainOptions
    from ..training.pretraining.pretrain import pretrain as run

    check_device(device)
    start = None if start_from in (None, "shipped") else Path(start_from)
    options = PretrainOptions(
        voices=voices,
        rooms=None if rooms is None else str(rooms),
        held_out=_names(held_out),
        validation=_names(validation or judges),
        reference=_names(reference),
        finished=None if finished is None else str(finished),
        minutes=minutes,
        steps=steps,
        start_from=start_from,
        average=average,
        learning_rate=learning_rate,
        batch=batch,
        seed=seed,
        anchor_share=anchor_share,
        bfloat16=bfloat16,
        style_strips=style_strips,
        streams=streams,
        module_examples=module_examples,
        only_modules=only_modules,
    )
    with (
        process_group(device) as (processes, own_device),
        one_speaks(processes, lambda: interrupted(output, (CHECKPOINT,))),
    ):
        if processes.is_first:
            check_model_folder(output, (CHECKPOINT,), force, inputs=files_of_model(start))
        else:
            report = Report(quiet=True, as_json=False)
        with results_folder(output if processes.is_first else None):
            try:
                with bar("pretraining", silent=report.silent) as update:
                    show = _pretrain_progress(update)
                    figures = run(
                        options,
                        output,
                        resume=not force,
                        device=own_device,
                        workers=workers,
                        report=show,
                        trust_checkpoint=trust_checkpoint,
                        processes=processes,
                    )
            except KeyboardInterrupt:
                if processes.is_first:
                    raise stopped(output, (CHECKPOINT,)) from None
                raise
        if not processes.is_first:
            return
    fixed = figures.pop("fixed")
    lines = [f"{'':<11}model   one strip for all"]
    lines += [f"{key:<10} {figures[key]:6.3f}   {fixed[key]:6.3f}" for key in fixed]
    for key, found in figures.get("modules", {}).items():
        share, always = 100.0 * found["decided"], 100.0 * found["always"]
        lines.append(f"{key}: {share:.0f} % decided right (always the same: {always:.0f} %)")
    report.result({"model": str(output), "held_out": figures, "fixed": fixed}, "\n".join(lines))
    report.say(f"→ {output}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pretrain_progress(update: Callable[[float, str], None]) -> Callable[[dict[str, Any]], None]:
    held_out = ""

    def show(event: dict[str, Any]) -> None:
        nonlocal held_out
        if "held_out" in event:
            held_out = f", held out {event['held_out']['sum']:.3f}"
        elif "statistics" in event:
            update(event["statistics"], "style statistics")
        elif "modules" in event:
            update(event["modules"], "modules")
        else:
            note = f"step {event['step']}, loss {event['loss']:.3f}{held_out}"
            update(event["fraction"], note)

    return show
