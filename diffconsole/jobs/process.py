"""What the commands do with files: a take in, a preset, processed audio and a picture out."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..audio import AudioFile, read_audio_file, write_audio
from ..audio.blocks import ArraySource, BlockSource, in_memory, is_long, open_source
from ..audio.broadcast import time_lost
from ..audio.take import take_of
from ..console.render import Rendered, render
from ..errors import AudioError, OutputError, PageSizeError, SettingsError
from ..files import atomic_set, check_folder, remove_output
from ..files.results import check_results
from ..model.predictor import Prediction, Predictor
from ..strip.parameters import BY_KEY, SWITCHES
from ..strip.preset import Preset
from .enhance import Enhancer, enhance
from .long_process import apply_long, predict_long, process_long
from .written import simple_strip, simplified_at, whole_strip

if TYPE_CHECKING:
    from ..model.reference.prediction import Reference

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
    full : bool
        Of a prediction, keep every band and digit (:func:`predict_preset`).
    """

    amount: float = 1.0
    bypass: tuple[str, ...] = ()
    bit_depth: str = "32f"
    normalize: bool = False
    tail_seconds: float | None = None
    device: str = "cpu"
    seed: int = 0
    force: bool = False
    full: bool = False


@dataclass(frozen=True)
class TakeFiles:
    """A take and where its results go."""

    raw: Path
    preset: Path
    audio: Path
    plot: Path
    page: Path


def plan_takes(
    raws: Sequence[Path], folder: Path | None, force: bool, inputs: Sequence[Path] = ()
) -> list[TakeFiles]:
    """Name the results of every take, and refuse before any work what could not be written.

    Parameters
    ----------
    raws : sequence of Path
        The takes.
    folder : Path, optional
        For all results; by default beside each take.
    force : bool
        Whether files may be replaced.
    inputs : sequence of Path
        What else the command reads.

    Raises
    ------
    OutputError
        Two takes with one stem, a result that exists or would replace an input, a folder that
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
    results = {take.raw: (take.preset, take.audio, take.plot, take.page) for take in takes.values()}
    _check_several(results, force, inputs)
    return list(takes.values())


def _check_several(
    results: Mapping[Path, Sequence[Path]], force: bool, inputs: Sequence[Path]
) -> None:
    """Refuse as :func:`check_results`; where some takes are done, say how to go on with others."""
    # A folder that is not there yet is made later; or no take is there, which is said later too.
    there = [path for paths in results.values() for path in paths if path.parent.is_dir()]
    one = len(results) == 1
    check_results(there, list(results), force if one else True, inputs=inputs)
    done = [raw for raw, paths in results.items() if any(path.exists() for path in paths)]
    if one or force or not done:
        return
    path = next(path for path in results[done[0]] if path.exists())
    go_on = ""
    if len(done) < len(results):
        go_on = "give only the others to go on, or "
    raise OutputError(
        f"{path}: exists already, there are results of {len(done)} of {len(results)} takes; "
        f"{go_on}add --force to replace them"
    )


NARROWEST_INTERVAL = 1e-3
"""On the normalised scale; what is narrower is left out of the provenance."""

ENDINGS = (".preset.json", ".processed.wav", ".png", ".html")
"""Of the results of a take: preset, audio, picture, audition page."""


def plan_presets(
    raws: Sequence[Path], output: Path, force: bool, inputs: Sequence[Path] = ()
) -> dict[Path, Path]:
    """Name the preset of every take: `output`, or a file in the folder `output` for several.

    Raises
    ------
    OutputError
        As :func:`plan_takes`.
    """
    if len(raws) == 1 and not output.is_dir():
        check_results([output], raws, force, inputs=inputs)
        return {raws[0]: output}
    check_folder(output)
    takes: dict[Path, Path] = {}
    for raw in raws:
        target = output / f"{raw.stem}{ENDINGS[0]}"
        if target in takes:
            raise same_result(takes[target], raw, target)
        takes[target] = raw
    if output.is_dir():
        _check_several({raw: (target,) for target, raw in takes.items()}, force, inputs)
    return {raw: target for target, raw in takes.items()}


def same_result(first: Path, second: Path, target: Path) -> OutputError:
    """Return the error of two takes with the same result."""
    return OutputError(
        f"{first} and {second} would both write {target}; rename one or run them into "
        "different folders"
    )


def predict_preset(
    model: Predictor,
    samples: np.ndarray,
    sample_rate: int,
    *,
    name: str,
    model_name: str,
    references: Sequence[Reference] = (),
    enhancer: Enhancer | None = None,
    messages: tuple[str, ...] = (),
    full: bool = False,
    bypass: Collection[str] = (),
) -> Preset:
    """Predict a vocal's strip, with model, source, date and uncertainty in its provenance.

    With references the strip that leads to their style
    (:func:`diffconsole.model.reference.prediction.predict_towards`). `enhancer` is what made these
    samples of the source, and `messages` are what was left out of them, both for the provenance.
    The strip is the simplest one that sounds the same on this vocal
    (:mod:`diffconsole.simplify.strip`), unless `full`; `bypass` is what the user will switch off in
    it.
    """
    take = take_of(samples, sample_rate)
    if references:
        from ..model.reference.prediction import predict_towards

        prediction: Prediction = predict_towards(model, samples, sample_rate, references, take=take)
    else:
        prediction = model.predict_take(take)
    messages += prediction.messages
    strip = whole_strip(prediction) if full else simple_strip(prediction, take, bypass)
    uncertainty = {
        key: [float(f"{low:.4g}"), float(f"{high:.4g}")]
        for key, (low, high) in strip.uncertainty.items()
        if _varies(key, low, high)
    }
    likely = {name: round(share, 3) for name, share in prediction.switches.items()}
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    towards = [r.record() for r in references]
    style = getattr(prediction, "style", None)
    return Preset.from_settings(
        strip.settings,
        bypass=strip.bypass,
        name=Path(name).stem,
        provenance={
            "model": model_name,
            "source": name,
            **({"enhanced_by": enhancer.command} if enhancer else {}),
            "created": now.isoformat(),
            "diffconsole": __version__,
            "raw_loudness_lufs": round(prediction.loudness_lufs, 2),
            **({"take": list(messages)} if messages else {}),
            **(
                {"eq_held_below_hz": round(prediction.held_below_hz, 1)}
                if prediction.held_below_hz
                else {}
            ),
            **({"simplified": strip.simplified} if strip.simplified else {}),
            "uncertainty": uncertainty,
            **({"switches": likely} if likely else {}),
            **({"references": towards} if towards else {}),
            **({"reference_style": style} if style else {}),
        },
    )


def _varies(key: str, low: float, high: float) -> bool:
    """Whether an interval says anything: one of no width is that of a setting never trained on."""
    parameter = BY_KEY[key]
    width = parameter.to_normalised(high) - parameter.to_normalised(low)
    return width > NARROWEST_INTERVAL


def predict_file(
    model: Predictor,
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
    source, notices = _enhanced(source, enhancer)
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


def found_in(raw: Path, preset: Preset) -> tuple[str, ...]:
    """What in the take is not the voice, and was left out of the prediction."""
    return tuple(f"{raw}: {line}" for line in preset.provenance.get("take", ()))


def _enhanced(
    source: BlockSource, enhancer: Enhancer | None
) -> tuple[BlockSource, tuple[str, ...]]:
    """What an enhancer makes of a take, at its rate and place in time; and what it said."""
    if enhancer is None:
        return source, ()
    samples, rate = in_memory(source)
    samples, notices = enhance(samples, rate, enhancer)
    return ArraySource(samples, rate, source.messages, source.time_reference), notices


def read_take(raw: Path) -> tuple[np.ndarray, int]:
    """Read a take.

    Raises
    ------
    AudioError
        As :func:`diffconsole.audio.read_audio`; a folder, with what to give instead.
    """
    file = read_take_file(raw)
    return file.samples, file.sample_rate


def read_take_file(raw: Path) -> AudioFile:
    """Read a take as :func:`read_take` does, with what the user should know of its file.

    Raises
    ------
    AudioError
        As :func:`read_take`.
    """
    if raw.is_dir():
        raise AudioError(f"{raw}: is a folder; give the files in it, as {raw / '*.wav'}")
    return read_audio_file(raw)


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
    recording is processed in blocks (:mod:`.long_process`), with a progress bar unless `silent`,
    and its page holds an excerpt.

    Returns
    -------
    preset : Preset
        As written.
    notices : tuple of str
        What the user should know.
    """
    from ..audition import Vocal, write_page
    from ..plots import StripView, plot_presets

    raw = open_take(take.raw)
    source, told = _enhanced(raw, enhancer)
    told = source.messages + told
    before = None if enhancer is None else raw
    if is_long(source):
        preset, notices = process_long(
            model, model_name, take, source, options, references, enhancer, before, silent=silent
        )
        return preset, told + notices
    samples, rate = in_memory(source)
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
    )
    told += found_in(take.raw, preset)
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
        before=None if before is None else in_memory(before)[0],
    )
    with atomic_set():
        notices = told + _write(take.audio, result, rate, options, source.time_reference)
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
                remove_output(take.page)
            notices += (f"{take.page}: not written, {error}",)
    return preset, notices


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
    result = _render(samples, rate, preset, options)
    channels, length = result.samples.shape
    notices = source.messages + _write(out, result, rate, options, source.time_reference)
    return (channels, length), rate, notices


def changed(preset: Preset, options: AudioOptions) -> Preset:
    """Return a preset as the options have it: amount and bypass."""
    chosen = preset.at_amount(options.amount).without(options.bypass)
    return simplified_at(chosen, options.amount)


def _render(samples: np.ndarray, rate: int, preset: Preset, options: AudioOptions) -> Rendered:
    return render(samples, rate, preset, tail_seconds=options.tail_seconds, device=options.device)


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
