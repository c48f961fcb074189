"""NeMo's archives: a tar with ``model_config.yaml`` and ``model_weights.ckpt``, read where it lies.

Nothing is unpacked to a path that the archive names: two members are looked up by their names and
read, all others are passed over. NeMo writes plain tars, its versions before 1.7 gzip ones; those
are decompressed into a nameless temporary file first. NeMo itself is not needed, PyYAML is.
"""

from __future__ import annotations

import gzip
import importlib
import math
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from ..errors import ModelError
from .weights import LARGEST_BYTES, load_pickle

__all__ = ["checked_settings", "flow_settings", "read_archive", "real_number"]

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
LARGEST_CONFIG_BYTES = 1 << 20
LARGEST_HEADER_BYTES = 1 << 20
MOST_MEMBERS = 4096
COPIED_BYTES = 1 << 20
GZIP = b"\x1f\x8b"

TARGETS = {
    "encoder": ("AudioToSpectrogram", "AudioToSpectrogramTA"),
    "estimator": ("SpectrogramTransformerUNet",),
    "flow": ("OptimalTransportFlow",),
}
"""The classes of NeMo that the sections of a flow-matching model's configuration name."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "": {"sample_rate": None, "normalize_input": False, "eps": 1e-8},
    "encoder": {"fft_length": None, "hop_length": None, "magnitude_power": 1.0, "scale": 1.0},
    "estimator": {
        "dim": 1024,
        "depth": 24,
        "heads": 16,
        "ff_mult": 4,
        "time_hidden_dim": None,
        "conv_pos_embed_kernel_size": 31,
        "conv_pos_embed_groups": None,
    },
    "flow": {"sigma_start": 1.0, "sigma_end": 1e-4},
}
"""What is taken of each section, and what NeMo's classes make of a key that is not given."""

WHOLE = {
    "sample_rate": (8000, 192000),
    "fft_length": (4, 65536),
    "hop_length": (1, 65536),
    "dim": (2, 16384),
    "depth": (2, 256),
    "heads": (1, 1024),
    "ff_mult": (1, 64),
    "time_hidden_dim": (1, 65536),
    "conv_pos_embed_kernel_size": (1, 4095),
    "conv_pos_embed_groups": (1, 16384),
}
"""Settings that are whole numbers, and from where to where."""

REAL = {
    "eps": (1e-12, 1.0),
    "magnitude_power": (1e-3, 10.0),
    "scale": (1e-6, 1e6),
    "sigma_start": (0.0, 1e3),
    "sigma_end": (0.0, 1e3),
}


def read_archive(path: Path, *, trust: bool = False) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the configuration and the weights of a ``.nemo`` file.

    Parameters
    ----------
    path : Path
        Of the archive.
    trust : bool
        Also read weights that hold more than numbers, which runs their author's code.

    Raises
    ------
    ModelError
        No such archive, damaged, too large, or PyYAML is missing.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise ModelError(f"{path}: {size / 2**30:.1f} GiB; larger than any encoder for a vocal")
        with path.open("rb") as file, tempfile.TemporaryFile() as unpacked:
            bounded = _Bounded(_uncompressed(file, unpacked, path), path)
            # TarFile asks its file for no more than what that class has.
            with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as tar:
                config, weights = _members(tar, path)
                bounded.most_bytes = LARGEST_BYTES
                settings = _read_yaml(_stream(tar, config).read(), f"{path}: {CONFIG}")
                held = load_pickle(_stream(tar, weights), f"{path}: {WEIGHTS}", trust=trust)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RecursionError):
        raise ModelError(f"{path}: damaged, or no .nemo archive; get the file again") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not isinstance(held, Mapping):
        raise ModelError(f"{path}: {WEIGHTS} holds no state dict but {type(held).__name__}")
    return settings, held


def flow_settings(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take from a flow-matching model's configuration what its features depend on.

    Parameters
    ----------
    config : mapping
        As :func:`read_archive` returned it.
    name : str
        The file, for the message.

    Returns
    -------
    dict
        NeMo's keys of the model and its sections, flat; their values are not checked.

    Raises
    ------
    ModelError
        Of another kind of model.
    """
    sections: dict[str, Mapping[str, Any]] = {"": config}
    for key, classes in TARGETS.items():
        section = config.get(key)
        target = section.get("_target_") if isinstance(section, Mapping) else None
        if not isinstance(target, str) or target.rpartition(".")[2] not in classes:
            found = _shown(target)
            raise ModelError(
                f"{name}: no flow-matching model: its {key} is {found}, not {classes[0]}"
            )
        sections[key] = cast("Mapping[str, Any]", section)
    if sections["estimator"].get("in_channels", 1) != 2:
        raise ModelError(
            f"{name}: its estimator takes no condition beside the flow (in_channels is not "
            "2), as speech pretraining has it"
        )
    if config.get("p_cond", 1.0) == 0:
        raise ModelError(f"{name}: trained without a condition (p_cond is 0), so it is no encoder")
    taken = {
        key: sections[section].get(key, default)
        for section, keys in DEFAULTS.items()
        for key, default in keys.items()
    }
    bins = sections["estimator"].get("freq_dim", 256)
    if type(taken["fft_length"]) is not int or bins != taken["fft_length"] // 2 + 1:
        raise ModelError(f"{name}: fft_length and the estimator's freq_dim do not go together")
    if taken["time_hidden_dim"] is None and type(taken["dim"]) is int:
        taken["time_hidden_dim"] = 4 * taken["dim"]
    if taken["conv_pos_embed_groups"] is None:
        taken["conv_pos_embed_groups"] = taken["dim"]
    return taken


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as numbers; raise a ValueError for what no such network has."""
    wanted = {*WHOLE, *REAL, "normalize_input"}
    if not isinstance(settings, Mapping) or set(settings) != wanted:
        raise ValueError(f"its settings are not exactly {', '.join(sorted(wanted))}")
    taken = dict(settings)
    for key, (least, most) in WHOLE.items():
        value = taken[key]
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{key} is {_shown(value)}, not a whole number {least} to {most}")
    for key, (low, high) in REAL.items():
        taken[key] = real_number(key, taken[key], low, high)
    if not isinstance(taken["normalize_input"], bool):
        raise ValueError(
            f"normalize_input is {_shown(taken['normalize_input'])}, not true or false"
        )
    dim = taken["dim"]
    for divisor in (taken["heads"], taken["conv_pos_embed_groups"], 2):
        if dim % divisor:
            raise ValueError(f"dim {dim} is not divisible by {divisor}")
    if taken["depth"] % 2 or taken["fft_length"] % 2 or not taken["conv_pos_embed_kernel_size"] % 2:
        raise ValueError(
            "depth and fft_length must be even, conv_pos_embed_kernel_size odd; they are "
            f"{taken['depth']}, {taken['fft_length']}, {taken['conv_pos_embed_kernel_size']}"
        )
    return taken


def real_number(key: str, value: Any, low: float, high: float) -> float:
    """A number; YAML's readers take 1e-4 for a word."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        raise ValueError(f"{key} is {_shown(value)}, not a number {low:g} to {high:g}")
    return number


def _shown(value: Any) -> str:
    """A value for a message; YAML's aliases make small files large when they are printed."""
    plain = isinstance(value, (str, int, float, bool)) or value is None
    return repr(value)[:60] if plain else type(value).__name__


class _Bounded:
    """A file that gives only so much at once: a tar's extended headers are read in one piece."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path, self.most_bytes = file, path, LARGEST_HEADER_BYTES

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.most_bytes:
            raise ModelError(f"{self.path}: a header of {size} bytes; this is no .nemo archive")
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        return self.file.seek(place, whence)

    def seekable(self) -> bool:
        return self.file.seekable()

    def tell(self) -> int:
        return self.file.tell()


def _uncompressed(file: IO[bytes], unpacked: IO[bytes], path: Path) -> IO[bytes]:
    packed = file.read(len(GZIP)) == GZIP
    file.seek(0)
    if not packed:
        return file
    with gzip.GzipFile(fileobj=file) as stream:
        while part := stream.read(COPIED_BYTES):
            if unpacked.tell() + len(part) > LARGEST_BYTES:
                raise ModelError(f"{path}: unpacks to more than any encoder for a vocal has")
            unpacked.write(part)
    unpacked.seek(0)
    return unpacked


def _members(tar: tarfile.TarFile, path: Path) -> tuple[tarfile.TarInfo, tarfile.TarInfo]:
    """Find configuration and weights; of several with one name the last counts, as in any tar."""
    found: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(tar):
        if count >= MOST_MEMBERS:
            raise ModelError(f"{path}: more than {MOST_MEMBERS} files in it; no .nemo archive")
        if member.isreg() and not member.issparse():
            found[member.name.removeprefix("./")] = member
    for name, most in ((CONFIG, LARGEST_CONFIG_BYTES), (WEIGHTS, LARGEST_BYTES)):
        if name not in found:
            raise ModelError(f"{path}: no .nemo archive of one piece: it lacks {name}")
        if found[name].size > most:
            raise ModelError(f"{path}: its {name} of {found[name].size} bytes is too large")
    return found[CONFIG], found[WEIGHTS]


def _stream(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    return cast("IO[bytes]", tar.extractfile(member))


def _read_yaml(content: bytes, name: str) -> dict[str, Any]:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise ModelError(
            f'{name}: reading it needs PyYAML; install it with: pip install "diffconsole[nemo]"'
        ) from None
    try:
        config = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModelError(f"{name}: not what NeMo writes ({type(error).__name__})") from None
    if not isinstance(config, dict):
        raise ModelError(f"{name}: holds no configuration")
    return config
