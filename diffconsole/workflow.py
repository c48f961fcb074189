"""What the commands do with files: a take in, a preset, processed audio and a picture out."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import __version__
from .audio import read_audio, write_audio
from .audio_blocks import ArraySource, BlockSource, in_memory, is_long, open_source
from .enhance import Enhancer, enhance
from .errors import AudioError, OutputError, PageSizeError, SettingsError
from .files import check_folder, check_output
from .long_workflow import apply_long, predict_long, process_long
from .parameters import SWITCHES
from .predictor import Predictor
from .preset import Preset
from .render import Rendered, render

if TYPE_CHECKING:
    from .reference import Reference

__all__ = [
    "ENDINGS",
    "AudioOptions",
    "TakeFiles",
    "apply_file",
    "changed",
    "check_device",
    "check_results",
    "none_alone",
    "open_take",
    "plan_presets",
    "plan_takes",
    "predict_file",
    "predict_preset",
    "process_take",
    "read_take",
    "same_result",
    "split_bypass",
]


@dataclass(frozen=True)
class AudioOptions:
    """How processed audio is made and written.

    Attributes
    ----------
    amount : float
        0…1.5, of what the strip does.
    bypass : tuple of str
        Modules and bands switched off.
    bit_depth : str
        ``"16"``, ``"24"`` or ``"32f"``.
    normalize : bool
        Turn down instead of refusing what would clip.
    tail_seconds : float, optional
        Added for the reverb; by default all of it.
    device : str
        ``"cpu"`` or ``"cuda"``.
    seed : int
        Of the dither.
    force : bool
        Replace what exists.
    """

    amount: float = 1.0
    bypass: tuple[str, ...] = ()
    bit_depth: str = "32f"
    normalize: bool = False
    tail_seconds: float | None = None
    device: str = "cpu"
    seed: int = 0
    force: bool = False


@dataclass(frozen=True)
class TakeFiles:
    """A take and where its results go."""

    raw: Path
    preset: Path
    audio: Path
    plot: Path
    page: Path


def plan_takes(raws: Sequence[Path], folder: Path | None, force: bool) -> list[TakeFiles]:
    """Name the results of every take, and refuse before any work what could not be written.

    Parameters
    ----------
    raws : sequence of Path
        The takes.
    folder : Path, optional
        For all results; by default beside each take.
    force : bool
        Whether files may be replaced.

    Raises
    ------
    OutputError
        Two takes with one stem, a result that exists or would replace a take, a folder that
        cannot be written.
    """
    if folder is not None:
        check_folder(folder)
    takes: dict[Path, TakeFiles] = {}
    for raw in raws:
        stem = (raw.parent if folder is None else folder) / raw.stem
        if stem in takes:
            raise same_result(takes[stem].raw, raw, Path(f"{stem}{ENDINGS[0]}"))
        takes[stem] = TakeFiles(raw, *(Path(f"{stem}{end}") for end in ENDINGS))
    results = [
        path for take in takes.values() for path in (take.preset, take.audio, take.plot, take.page)
    ]
    # A folder that is not there yet is made later; or no take is there, which is said later too.
    check_results((path for path in results if path.parent.is_dir()), raws, force)
    return list(takes.values())


ENDINGS = (".preset.json", ".processed.wav", ".png", ".html")
"""Of the results of a take: preset, audio, picture, audition page."""


def plan_presets(raws: Sequence[Path], output: Path, force: bool) -> dict[Path, Path]:
    """Name the preset of every take: `output`, or a file in the folder `output` for several.

    Raises
    ------
    OutputError
        As :func:`plan_takes`.
    """
    if len(raws) == 1 and not output.is_dir():
        check_results([output], raws, force)
        return {raws[0]: output}
    check_folder(output)
    takes: dict[Path, Path] = {}
    for raw in raws:
        target = output / f"{raw.stem}{ENDINGS[0]}"
        if target in takes:
            raise same_result(takes[target], raw, target)
        takes[target] = raw
    if output.is_dir():
        check_results(takes, raws, force)
    return {raw: target for target, raw in takes.items()}


def same_result(first: Path, second: Path, target: Path) -> OutputError:
    """Return the error of two takes with the same result."""
    return OutputError(
        f"{first} and {second} would both write {target}; rename one or run them into "
        "different folders"
    )


def check_results(paths: Iterable[Path], raws: Iterable[Path], force: bool) -> None:
    """Refuse results that could not be written, or would replace a take even with --force.

    Raises
    ------
    OutputError
        Names the result and what to do.
    """
    takes = {os.path.realpath(raw) for raw in raws}
    for path in paths:
        if os.path.lexists(path) and os.path.realpath(path) in takes:
            raise OutputError(f"{path}: is a raw take and would be replaced; choose another name")
        check_output(path, force=force)


def predict_preset(
    model: Predictor,
    samples: np.ndarray,
    sample_rate: int,
    *,
    name: str,
    model_name: str,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
) -> Preset:
    """Predict a vocal's strip, with model, source, date and uncertainty in its provenance.

    With references the strip that leads to their style (:func:`.reference.predict_towards`).
    `enhancer` is what made these samples of the source, for the provenance.
    """
    if references:
        from .reference import predict_towards

        prediction = predict_towards(model, samples, sample_rate, references)
    else:
        prediction = model.predict(samples, sample_rate)
    uncertainty = {
        key: [float(f"{low:.4g}"), float(f"{high:.4g}")]
        for key, (low, high) in prediction.uncertainty.items()
    }
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    towards = [{"name": r.name, "weight": r.weight} for r in references]
    return Preset.from_settings(
        prediction.settings,
        name=Path(name).stem,
        provenance={
            "model": model_name,
            "source": name,
            **({"enhanced_by": enhancer.command} if enhancer else {}),
            "created": now.isoformat(),
            "diffconsole": __version__,
            "raw_loudness_lufs": round(prediction.loudness_lufs, 2),
            "uncertainty": uncertainty,
            **({"references": towards} if towards else {}),
        },
    )


def predict_file(
    model: Predictor,
    model_name: str,
    raw: Path,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
) -> tuple[Preset, tuple[str, ...]]:
    """Predict the strip of a take, enhanced first if asked; also what the user should know."""
    source = open_take(raw)
    if enhancer is None and is_long(source):
        return predict_long(model, model_name, source, raw.name, references)[0], ()
    samples, rate = in_memory(source)
    samples, notices = _enhanced(samples, rate, enhancer)
    if is_long(source):
        source = ArraySource(samples, rate)
        found = predict_long(model, model_name, source, raw.name, references, enhancer)
        return found[0], notices
    preset = predict_preset(
        model,
        samples,
        rate,
        name=raw.name,
        model_name=model_name,
        references=references,
        enhancer=enhancer,
    )
    return preset, notices


def _enhanced(
    samples: np.ndarray, rate: int, enhancer: Enhancer | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    return (samples, ()) if enhancer is None else enhance(samples, rate, enhancer)


def read_take(raw: Path) -> tuple[np.ndarray, int]:
    """Read a take.

    Raises
    ------
    AudioError
        As :func:`diffconsole.audio.read_audio`; a folder, with what to give instead.
    """
    if raw.is_dir():
        raise AudioError(f"{raw}: is a folder; give the files in it, as {raw / '*.wav'}")
    return read_audio(raw)


def open_take(raw: Path) -> BlockSource:
    """Open a take: in memory, or to be gone through in blocks where :func:`is_long` says so.

    Raises
    ------
    AudioError
        As :func:`read_take`.
    """
    if raw.is_dir():
        read_take(raw)
    return open_source(raw)


def process_take(
    model: Predictor,
    model_name: str,
    take: TakeFiles,
    options: AudioOptions,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
    *,
    silent: bool = True,
) -> tuple[Preset, tuple[str, ...]]:
    """Predict, apply, and write preset, processed audio, plot and audition page: all or none.

    The preset that is written holds amount and bypass, so it makes the audio beside it: of the
    take, or of what the enhancer made of it, which the page then compares with the take. A long
    recording is processed in blocks (:mod:`.long_workflow`), with a progress bar unless `silent`,
    and its page holds an excerpt.

    Returns
    -------
    preset : Preset
        As written.
    notices : tuple of str
        What the user should know.
    """
    from .audition import Vocal, write_page
    from .plots import StripView, plot_presets

    source = open_take(take.raw)
    if enhancer is None and is_long(source):
        return process_long(model, model_name, take, source, options, references, silent=silent)
    raw, rate = in_memory(source)
    samples, told = _enhanced(raw, rate, enhancer)
    if is_long(source):
        enhanced = ArraySource(samples, rate)
        preset, notices = process_long(
            model, model_name, take, enhanced, options, references, enhancer, source, silent=silent
        )
        return preset, told + notices
    preset = predict_preset(
        model,
        samples,
        rate,
        name=take.raw.name,
        model_name=model_name,
        references=references,
        enhancer=enhancer,
    )
    # What is heard is what the file says: the strip goes through its written form.
    preset = Preset.from_json(changed(preset, options).to_json())
    result = _render(samples, rate, preset, options)
    view = StripView(preset.name or take.raw.stem, preset.settings(), preset.bypass())
    name = preset.name or take.raw.stem
    vocal = Vocal(
        take.raw.name,
        samples,
        rate,
        [(name, preset)],
        processed=(result.samples,),
        before=None if enhancer is None else raw,
    )
    with none_alone(take.audio, take.preset, take.plot, take.page):
        notices = told + _write(take.audio, result, rate, options)
        preset.write(take.preset, force=options.force)
        plot_presets(
            [view],
            take.plot,
            raw=(samples, rate),
            processed=result.samples,
            title=take.raw.name,
            force=options.force,
        )
        try:
            write_page(take.page, [vocal], force=options.force)
        except PageSizeError as error:
            # A long recording has everything but the page; an older one would be of other settings.
            if options.force:
                take.page.unlink(missing_ok=True)
            notices += (f"{take.page}: not written, {error}",)
    return preset, notices


@contextlib.contextmanager
def none_alone(*paths: Path) -> Iterator[None]:
    """Remove the new ones of these files if the block does not come to its end."""
    new = [path for path in paths if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def apply_file(
    raw: Path, preset: Preset, out: Path, options: AudioOptions, *, silent: bool = True
) -> tuple[tuple[int, int], int, tuple[str, ...]]:
    """Apply a preset to a file and write the result; a long one in blocks, with a progress bar.

    Returns
    -------
    shape, sample_rate, notices
        Channels and samples that were written, their rate in Hz, and what the user should know.
    """
    check_results([out], [raw], options.force)
    source, preset = open_take(raw), changed(preset, options)
    if is_long(source):
        shape, notices = apply_long(source, preset, out, options, silent=silent)
        return shape, source.sample_rate, notices
    samples, rate = in_memory(source)
    result = _render(samples, rate, preset, options)
    channels, length = result.samples.shape
    return (channels, length), rate, _write(out, result, rate, options)


def changed(preset: Preset, options: AudioOptions) -> Preset:
    """Return a preset as the options have it: amount and bypass."""
    return preset.at_amount(options.amount).without(options.bypass)


def _render(samples: np.ndarray, rate: int, preset: Preset, options: AudioOptions) -> Rendered:
    return render(samples, rate, preset, tail_seconds=options.tail_seconds, device=options.device)


def _write(out: Path, result: Rendered, rate: int, options: AudioOptions) -> tuple[str, ...]:
    gain_db = write_audio(
        out,
        result.samples,
        rate,
        bit_depth=options.bit_depth,
        normalize=options.normalize,
        force=options.force,
        seed=options.seed,
    )
    turned = (f"{out}: turned down by {-gain_db:.1f} dB, to −1 dBFS",) if gain_db else ()
    return result.notices + turned


def check_device(device: str) -> str:
    """Return the device if it can be used.

    Raises
    ------
    SettingsError
        CUDA is asked for and not there.
    """
    if device == "cuda":
        import warnings

        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own words on a missing driver
            there = torch.cuda.is_available()
        if not there:
            raise SettingsError("--device cuda: no CUDA device here; use --device cpu")
    return device


def split_bypass(text: str) -> tuple[str, ...]:
    """Split ``"eq,reverb"`` into names of modules and bands.

    Raises
    ------
    SettingsError
        A name that does not exist.
    """
    names: Collection[str] = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SWITCHES:
            raise SettingsError(f"cannot bypass {name!r}: not one of {', '.join(SWITCHES)}")
    return tuple(names)
