"""What the commands do with recordings too long to be held in memory; see :mod:`.long_takes`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..audio.blocks import BlockSource
from ..errors import PageSizeError
from ..progress import bar
from ..strip.preset import Preset
from .long_takes import Survey, page_part, passages, rendered_shape, survey, write_rendered
from .options import AudioOptions, changed
from .predict import found_in, predict_preset

if TYPE_CHECKING:
    from ..model.opening import AnyPredictor
    from ..model.reference.prediction import Reference
    from ..plots.streamed import StreamedMeasure
    from .enhance import Enhancer
    from .plan import TakeFiles

__all__ = ["apply_long", "audition_part", "predict_long", "process_long"]


def predict_long(
    model: AnyPredictor,
    model_name: str,
    source: BlockSource,
    name: str,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
    *,
    full: bool = False,
    bypass: Collection[str] = (),
) -> tuple[Preset, Survey]:
    """Predict the strip of a long recording from passages of it; also what was found on the way.

    The parameters are those of :func:`.predict.predict_preset`.
    """
    found = survey(source)
    samples, messages = passages(source, found)
    preset = predict_preset(
        model,
        samples,
        source.sample_rate,
        name=name,
        model_name=model_name,
        references=references,
        enhancer=enhancer,
        messages=messages,
        full=full,
        bypass=bypass,
    )
    return preset, found


def process_long(
    model: AnyPredictor,
    model_name: str,
    take: TakeFiles,
    source: BlockSource,
    options: AudioOptions,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
    before: BlockSource | None = None,
    *,
    silent: bool = True,
) -> tuple[Preset, tuple[str, ...]]:
    """Do what :func:`.process.process_take` does; the page holds an excerpt.

    Parameters
    ----------
    model, model_name, take, options, references, enhancer
        As of :func:`.process.process_take`.
    source : BlockSource
        What is processed: the take, or what the enhancer made of it.
    before : BlockSource, optional
        The take, where an enhancer ran.
    silent : bool
        Without a progress bar.

    Returns
    -------
    preset : Preset
        As written.
    notices : tuple of str
        What the user should know.
    """
    from ..files import atomic_set

    with bar(f"process {take.raw.name}", silent=silent) as update:
        towards = _without_bar(references) if references else ()
        preset, found = predict_long(
            model, model_name, source, take.raw.name, towards, enhancer,
            full=options.full, bypass=options.bypass,
        )  # fmt: skip
        preset = Preset.from_json(changed(preset, options).to_json())
        measure = None if take.plot is None else _measure(source, preset, options)
        with atomic_set():
            notices = found_in(take.raw, preset) + write_rendered(
                source,
                preset,
                take.audio,
                options,
                measure=measure,
                report_progress=lambda done: update(0.1 + 0.8 * done, ""),
            )
            preset.write(take.preset, force=options.force)
            if measure is not None:
                _draw(take, preset, measure, source.sample_rate, options)
            notices += _write_page(take, preset, source, before, found, options)
    return preset, notices


def _without_bar(references: Sequence[Reference]) -> Sequence[Reference]:
    """One bar at a time."""
    from ..model.reference.prediction import without_bar

    return without_bar(references)


def _measure(source: BlockSource, preset: Preset, options: AudioOptions) -> StreamedMeasure:
    """What gathers the picture's figures while the recording is rendered."""
    from ..plots.streamed import StreamedMeasure

    _, processed = rendered_shape(source, preset, options.tail_seconds)
    return StreamedMeasure(source.shape[1], processed, source.sample_rate)


def _draw(
    take: TakeFiles, preset: Preset, measure: StreamedMeasure, rate: int, options: AudioOptions
) -> None:
    """Write the picture, if one is wanted."""
    if take.plot is None:
        return
    from ..plots import StripView, plot_presets

    plot_presets(
        [StripView(preset.name or take.raw.stem, preset.settings(), preset.bypass())],
        take.plot,
        measured=measure.result(),
        sample_rate=rate,
        title=take.raw.name,
        force=options.force,
    )


def _write_page(
    take: TakeFiles,
    preset: Preset,
    source: BlockSource,
    before: BlockSource | None,
    found: Survey,
    options: AudioOptions,
) -> tuple[str, ...]:
    """Write the audition page of an excerpt, if one is wanted; what the user should know."""
    if take.page is None:
        return ()
    from ..audition import Vocal, write_page
    from ..files import remove_output

    start, stop = page_part(source, found)
    vocal = Vocal(
        take.raw.name,
        source.part(start, stop),
        source.sample_rate,
        [(preset.name or take.raw.stem, preset)],
        before=None if before is None else before.part(start, stop),
    )
    try:
        write_page(take.page, [vocal], force=options.force)
    except PageSizeError as error:
        if options.force:
            remove_output(take.page)
        return (f"{take.page}: not written, {error}",)
    return (f"{take.page}: holds {_place(source, start, stop)}; the whole is in {take.audio}",)


def apply_long(
    source: BlockSource, preset: Preset, out: Path, options: AudioOptions, *, silent: bool = True
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Apply a preset as it is; channels and samples of the result, and what the user should know.

    The parameters are those of :func:`process_long`.
    """
    with bar(f"apply {out.name}", silent=silent) as update:
        notices = write_rendered(
            source, preset, out, options, report_progress=lambda done: update(done, "")
        )
    return rendered_shape(source, preset, options.tail_seconds), notices


def audition_part(source: BlockSource) -> tuple[np.ndarray, str]:
    """Return what an audition page holds of a long recording, and where it lies, in words."""
    start, stop = page_part(source, survey(source))
    return source.part(start, stop), _place(source, start, stop)


def _place(source: BlockSource, start: int, stop: int) -> str:
    length, first, whole = (
        _clock(samples, source.sample_rate) for samples in (stop - start, start, source.shape[1])
    )
    return f"{length} from {first} on, of {whole}"


def _clock(samples: int, sample_rate: int) -> str:
    minutes, seconds = divmod(round(samples / sample_rate), 60)
    return f"{minutes}:{seconds:02d}"
