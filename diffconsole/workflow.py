"""What the commands do with files: a take in, a preset, processed audio and a picture out."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import __version__
from .audio import read_audio, write_audio
from .errors import OutputError, SettingsError
from .files import check_output
from .predictor import Predictor
from .preset import Preset
from .render import Rendered, render

__all__ = [
    "AudioOptions",
    "TakeFiles",
    "apply_file",
    "plan_takes",
    "predict_preset",
    "process_take",
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


def plan_takes(raws: Sequence[Path], folder: Path | None, force: bool) -> list[TakeFiles]:
    """Name the results of every take, and refuse before any work what could not be written.

    Parameters
    ----------
    raws : sequence of Path
        The takes.
    folder : Path, optional
        For all results, made if missing; by default beside each take.
    force : bool
        Whether files may be replaced.

    Raises
    ------
    OutputError
        Two takes with one stem, a result that exists, a folder that cannot be written.
    """
    if folder is not None:
        make_folder(folder)
    takes: dict[Path, TakeFiles] = {}
    for raw in raws:
        home = raw.parent if folder is None else folder
        stem = home / raw.stem
        if stem in takes:
            raise OutputError(
                f"{takes[stem].raw} and {raw} would both write {stem}.preset.json; "
                "rename one or run them into different folders"
            )
        takes[stem] = TakeFiles(raw, *(Path(f"{stem}{end}") for end in _ENDINGS))
    for take in takes.values():
        for path in (take.preset, take.audio, take.plot):
            check_output(path, force=force)
    return list(takes.values())


_ENDINGS = (".preset.json", ".processed.wav", ".png")


def make_folder(folder: Path) -> None:
    """Make a folder for results; an existing one is fine.

    Raises
    ------
    OutputError
        It is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputError(f"{folder}: is a file; results need a folder") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None


def predict_preset(
    model: Predictor, samples: np.ndarray, sample_rate: int, *, name: str, model_name: str
) -> Preset:
    """Predict a vocal's strip, with model, source, date and uncertainty in its provenance."""
    prediction = model.predict(samples, sample_rate)
    uncertainty = {
        key: [float(f"{low:.4g}"), float(f"{high:.4g}")]
        for key, (low, high) in prediction.uncertainty.items()
    }
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return Preset.from_settings(
        prediction.settings,
        name=Path(name).stem,
        provenance={
            "model": model_name,
            "source": name,
            "created": now.isoformat(),
            "diffconsole": __version__,
            "raw_loudness_lufs": round(prediction.loudness_lufs, 2),
            "uncertainty": uncertainty,
        },
    )


def process_take(
    model: Predictor, model_name: str, take: TakeFiles, options: AudioOptions
) -> tuple[Preset, tuple[str, ...]]:
    """Predict, apply, and write preset, processed audio and plot.

    The preset that is written holds amount and bypass, so it makes the audio beside it.

    Returns
    -------
    preset : Preset
        As written.
    notices : tuple of str
        What the user should know.
    """
    from .plots import StripView, plot_presets

    samples, rate = read_audio(take.raw)
    preset = predict_preset(model, samples, rate, name=take.raw.name, model_name=model_name)
    # What is heard is what the file says: the strip goes through its written form.
    preset = Preset.from_json(_changed(preset, options).to_json())
    result = _render(samples, rate, preset, options)
    notices = _write(take.audio, result, rate, options)
    preset.write(take.preset, force=options.force)
    view = StripView(preset.name or take.raw.stem, preset.settings(), preset.bypass())
    plot_presets(
        [view],
        take.plot,
        raw=(samples, rate),
        processed=result.samples,
        sample_rate=rate,
        title=take.raw.name,
        force=options.force,
    )
    return preset, notices


def apply_file(
    raw: Path, preset: Preset, out: Path, options: AudioOptions
) -> tuple[Rendered, int, tuple[str, ...]]:
    """Apply a preset to a file and write the result.

    Returns
    -------
    rendered, sample_rate, notices
        The audio, its rate in Hz, and what the user should know.
    """
    check_output(out, force=options.force)
    samples, rate = read_audio(raw)
    result = _render(samples, rate, _changed(preset, options), options)
    return result, rate, _write(out, result, rate, options)


def _changed(preset: Preset, options: AudioOptions) -> Preset:
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
        import torch

        if not torch.cuda.is_available():
            raise SettingsError("--device cuda: no CUDA device here; use --device cpu")
    return device


def split_bypass(text: str) -> tuple[str, ...]:
    """Split ``"eq,reverb"`` into names of modules and bands.

    Raises
    ------
    SettingsError
        A name that does not exist.
    """
    from .parameters import SWITCHES

    names: Collection[str] = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SWITCHES:
            raise SettingsError(f"cannot bypass {name!r}: not one of {', '.join(SWITCHES)}")
    return tuple(names)
