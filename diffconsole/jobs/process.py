"""What the commands do with files: a take in, a preset, processed audio and a picture out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..audio import write_audio
from ..audio.blocks import in_memory, is_long
from ..audio.broadcast import time_lost
from ..console.render import OneVocal, Rendered
from ..errors import PageSizeError
from ..files import atomic_path, atomic_set, remove_output
from ..files.results import check_results
from ..strip.preset import Preset
from .enhance import Enhancer
from .long_process import apply_long, predict_long, process_long
from .options import AudioOptions, changed, check_device, split_bypass
from .plan import ENDINGS, TakeFiles, plan_presets, plan_takes, same_result
from .predict import found_in, predict_preset
from .takes import enhanced, open_take, read_take, read_take_file

if TYPE_CHECKING:
    from ..model.opening import AnyPredictor
    from ..model.reference.prediction import Reference
    from .picture_process import PictureProcess

# The names that come from files beside this one were here first.
__all__ = [
    "ENDINGS",
    "AudioOptions",
    "TakeFiles",
    "apply_file",
    "changed",
    "found_in",
    "check_device",
    "check_results",
    "open_take",
    "plan_presets",
    "plan_takes",
    "predict_file",
    "predict_preset",
    "process_take",
    "read_take",
    "read_take_file",
    "same_result",
    "split_bypass",
]


def predict_file(
    model: AnyPredictor,
    model_name: str,
    raw: Path,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
    *,
    full: bool = False,
) -> tuple[Preset, tuple[str, ...]]:
    """Predict the strip of a take, enhanced first if asked; also what the user should know.

    `full` as in :func:`predict_preset`.
    """
    source = open_take(raw)
    source, notices = enhanced(source, enhancer)
    if is_long(source):
        preset, _ = predict_long(
            model, model_name, source, raw.name, references, enhancer, full=full
        )
    else:
        preset = predict_preset(
            model,
            *in_memory(source),
            name=raw.name,
            model_name=model_name,
            references=references,
            enhancer=enhancer,
            full=full,
        )
    return preset, source.messages + notices + found_in(raw, preset)


def process_take(
    model: AnyPredictor,
    model_name: str,
    take: TakeFiles,
    options: AudioOptions,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
    *,
    silent: bool = True,
    pictures: PictureProcess | None = None,
) -> tuple[Preset, tuple[str, ...]]:
    """Predict, apply, and write preset, processed audio, plot and audition page: all or none.

    The preset that is written holds amount and bypass, so it makes the audio beside it: of the
    take, or of what the enhancer made of it, which the page then compares with the take. A long
    recording is processed in blocks (:mod:`.long_process`), with a progress bar unless `silent`,
    and its page holds an excerpt. With `pictures` the picture is drawn by that process, while this
    one goes on; the files are the same.

    Returns
    -------
    preset : Preset
        As written.
    notices : tuple of str
        What the user should know.
    """
    raw = open_take(take.raw)
    source, messages = enhanced(raw, enhancer)
    messages = source.messages + messages
    before = None if enhancer is None else raw
    if is_long(source):
        preset, notices = process_long(
            model, model_name, take, source, options, references, enhancer, before, silent=silent
        )
        return preset, messages + notices
    samples, rate = in_memory(source)
    vocal = _vocal(samples, rate, options)
    preset = predict_preset(
        model,
        samples,
        rate,
        name=take.raw.name,
        model_name=model_name,
        references=references,
        enhancer=enhancer,
        full=options.full,
        bypass=options.bypass,
        # Other amounts make other audio.
        vocal=vocal if options.amount == 1.0 else None,
    )
    messages += found_in(take.raw, preset)
    # The audio is made by what the file says: the strip goes through its written form.
    preset = Preset.from_json(changed(preset, options).to_json())
    result = vocal.render(preset)
    picture = _begun_picture(take, preset, samples, rate, result.samples, pictures)
    with atomic_set():
        notices = messages + _write(take.audio, result, rate, options, source.time_reference)
        preset.write(take.preset, force=options.force)
        compared = None if before is None else in_memory(before)[0]
        notices += _write_page(take, preset, samples, rate, result.samples, compared, options)
        _draw(take, preset, samples, rate, result.samples, options, picture)
    return preset, notices


def _begun_picture(
    take: TakeFiles,
    preset: Preset,
    samples: np.ndarray,
    rate: int,
    processed: np.ndarray,
    pictures: PictureProcess | None,
) -> PictureProcess | None:
    """Let a picture that is wanted be drawn meanwhile; the process that does, if there is one."""
    if take.plot is None or pictures is None:
        return None
    name = preset.name or take.raw.stem
    pictures.begin(name, preset, (samples, rate), processed, take.raw.name)
    return pictures


def _draw(
    take: TakeFiles,
    preset: Preset,
    samples: np.ndarray,
    rate: int,
    processed: np.ndarray,
    options: AudioOptions,
    begun: PictureProcess | None,
) -> None:
    """Write the picture, if one is wanted: what was begun, or one that is drawn now."""
    if take.plot is None:
        return
    image = None if begun is None else begun.finished()
    if image is not None:
        with atomic_path(take.plot, force=options.force) as temporary:
            temporary.write_bytes(image)
        return
    from ..plots import StripView, plot_presets

    plot_presets(
        [StripView(preset.name or take.raw.stem, preset.settings(), preset.bypass())],
        take.plot,
        raw=(samples, rate),
        processed=processed,
        title=take.raw.name,
        force=options.force,
    )


def _write_page(
    take: TakeFiles,
    preset: Preset,
    samples: np.ndarray,
    rate: int,
    processed: np.ndarray,
    before: np.ndarray | None,
    options: AudioOptions,
) -> tuple[str, ...]:
    """Write the audition page, if one is wanted; what the user should know."""
    if take.page is None:
        return ()
    from ..audition import Vocal, write_page

    strips = [(preset.name or take.raw.stem, preset)]
    vocal = Vocal(take.raw.name, samples, rate, strips, processed=(processed,), before=before)
    try:
        write_page(take.page, [vocal], force=options.force)
    except PageSizeError as error:
        # A long recording has everything but the page; an older one would be of other settings.
        if options.force:
            remove_output(take.page)
        return (f"{take.page}: not written, {error}",)
    return ()


def apply_file(
    raw: Path,
    preset: Preset,
    out: Path,
    options: AudioOptions,
    inputs: Sequence[Path] = (),
    *,
    silent: bool = True,
) -> tuple[tuple[int, int], int, tuple[str, ...]]:
    """Apply a preset to a file and write the result, which replaces none of `inputs` either.

    A long take is processed in blocks, with a progress bar unless `silent`.

    Returns
    -------
    shape, sample_rate, notices
        Channels and samples that were written, their rate in Hz, and what the user should know.
    """
    check_results([out], [raw], options.force, inputs=inputs)
    source, preset = open_take(raw), changed(preset, options)
    if is_long(source):
        shape, notices = apply_long(source, preset, out, options, silent=silent)
        return shape, source.sample_rate, source.messages + notices
    samples, rate = in_memory(source)
    result = _vocal(samples, rate, options).render(preset)
    channels, length = result.samples.shape
    notices = source.messages + _write(out, result, rate, options, source.time_reference)
    return (channels, length), rate, notices


def _vocal(samples: np.ndarray, rate: int, options: AudioOptions) -> OneVocal:
    return OneVocal(samples, rate, tail_seconds=options.tail_seconds, device=options.device)


def _write(
    out: Path,
    result: Rendered,
    rate: int,
    options: AudioOptions,
    time_reference: int | None = None,
) -> tuple[str, ...]:
    gain_db = write_audio(
        out,
        result.samples,
        rate,
        bit_depth=options.bit_depth,
        normalize=options.normalize,
        force=options.force,
        seed=options.seed,
        time_reference=time_reference,
    )
    turned = (f"{out}: turned down by {-gain_db:.1f} dB, to −1 dBFS",) if gain_db else ()
    return result.notices + turned + time_lost(out, time_reference, rate)
