"""Any TorchScript file as an encoder. It runs its author's code: use files that you trust.

What the network takes and gives is found out by trial: ``(batch, 1, samples)`` or
``(batch, samples)`` goes in, ``(batch, frames, dim)``, ``(batch, dim, frames)`` or ``(batch, dim)``
comes out, alone or first of several outputs. Two lengths of audio tell frames from features: the
frames are what grows.

Whether such a network keeps the level of the audio cannot be known, so each frame's level is one
more feature. The file itself goes into a saved model's folder.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import ENCODER_FILE, Encoder, scaled_level

__all__ = ["ScriptEncoder"]

LARGEST_BYTES = 2 << 30
LOWEST_HZ, HIGHEST_HZ = 8000, 192000
TRIAL_SECONDS = (1.0, 2.0)
LARGEST_DIM = 65536
MOST_FRAMES_PER_SECOND = 1000
INPUTS = ("batch, 1, samples", "batch, samples")
OUTPUTS = ("batch, frames, dim", "batch, dim, frames", "batch, dim")
CONTAINERS = ("Sequential", "ModuleList")


class ScriptEncoder(Encoder):
    """See the module.

    Parameters
    ----------
    file : bytes
        What ``torch.jit.save`` wrote.
    sample_rate : int
        Hz.
    about : str
        Which network it is.
    """

    name = "script"
    licence = "not told; ask who made the file"

    def __init__(self, file: bytes, sample_rate: int, about: str = "") -> None:
        super().__init__()
        if type(sample_rate) is not int or not LOWEST_HZ <= sample_rate <= HIGHEST_HZ:
            raise ValueError(
                f"sample_rate is {sample_rate!r}, not a number from {LOWEST_HZ} to {HIGHEST_HZ} Hz"
            )
        self.file, self.sample_rate, self.about = file, sample_rate, str(about)
        self.network = _load(file).float().eval()
        self.takes, self.gives, self.dim, frames = _try_out(self.network, sample_rate)
        self.dim += 1
        self.frames_per_second = frames / (TRIAL_SECONDS[1] - TRIAL_SECONDS[0])

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        mono = audio.mean(dim=1, keepdim=True)
        found = _first(self.network(mono if self.takes == INPUTS[0] else mono[:, 0]))
        if self.gives == "batch, dim, frames":
            found = found.transpose(1, 2)
        elif self.gives == "batch, dim":
            found = found.unsqueeze(1)
        power = nn.functional.adaptive_avg_pool1d(mono.square(), found.shape[1])
        return torch.cat((found, scaled_level(power).transpose(1, 2)), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the parts that have weights, in the order in which the file's author made them.

        A frozen file has none: then only the head is trained.
        """
        return _parts(self.network)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments but the file, and the file's checksum."""
        return {
            "sample_rate": self.sample_rate,
            "about": self.about,
            "sha256": hashlib.sha256(self.file or b"").hexdigest(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], folder: Path | None) -> ScriptEncoder:
        """Rebuild from the configuration and the file in the model's folder."""
        if folder is None or "sha256" not in config:
            raise ValueError("a TorchScript encoder is rebuilt from a saved model's folder alone")
        path = folder / ENCODER_FILE
        file = _read(path)
        if hashlib.sha256(file).hexdigest() != config["sha256"]:
            raise ModelError(f"{path}: is not the file that this model was made with; copy it anew")
        return cls._of_file(file, path, **{k: v for k, v in config.items() if k != "sha256"})

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> ScriptEncoder:
        """Build from a TorchScript file; the rate cannot be told from it."""
        if source is None:
            raise ModelError("encoder 'script': give a TorchScript file, as script:encoder.pt")
        if sample_rate is None:
            raise ModelError(
                f"script:{source}: a TorchScript file does not tell its sample rate; "
                "give it by --encoder-rate"
            )
        path = Path(source)
        return cls._of_file(_read(path), path, sample_rate=sample_rate, about=path.name)

    @classmethod
    def _of_file(cls, file: bytes, path: Path, **arguments: Any) -> ScriptEncoder:
        try:
            return cls(file, **arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: {' '.join(str(error).split())[:400]}") from None


def _read(path: Path) -> bytes:
    """The bytes of a file, if they are few enough to be kept with every model."""
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise ModelError(
                f"{path}: has {size / 2**30:.1f} GiB; a TorchScript encoder may have "
                f"{LARGEST_BYTES / 2**30:g}, since each model keeps a copy"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); a TorchScript encoder needs this file"
        ) from None


def _load(file: bytes) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # PyTorch advises authors of files against the format; who has a file cannot help it.
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded: nn.Module = torch.jit.load(io.BytesIO(file), map_location="cpu")
            return loaded
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        # What the reader of the archive says is of no help; of an operation that is missing, is.
        if "reader" in reason.lower():
            reason = "damaged, or of another kind"
        raise ValueError(
            f"is no TorchScript file that can be loaded ({reason[:200]}); torch.jit.save writes one"
        ) from None


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) and output else output


@torch.no_grad()
def _try_out(network: nn.Module, sample_rate: int) -> tuple[str, str, int, int]:
    """What a network takes and gives, how many features, how many more frames in two seconds."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2, 1, int(TRIAL_SECONDS[1] * sample_rate), generator=generator)
    said = []
    for takes in INPUTS:
        audio = noise if takes == INPUTS[0] else noise[:, 0]
        found = []
        for seconds in TRIAL_SECONDS:
            try:
                found.append(_first(network(audio[..., : int(seconds * sample_rate)])))
            # The author's code may raise anything; torch.jit.Error is no subclass of one kind.
            except Exception as error:  # noqa: BLE001
                said.append(f"({takes}) gave an error, {_last_line(error)}")
                break
        if len(found) < len(TRIAL_SECONDS):
            continue
        try:
            return takes, *_layout(*found)
        except ValueError as error:
            said.append(f"({takes}) gave {error}")
    raise ValueError(f"cannot be used as an encoder: {'; '.join(said)}")


def _layout(short: Any, long: Any) -> tuple[str, int, int]:
    """What the axes are, how many features there are, and how many frames the longer has more.

    Raises
    ------
    ValueError
        It cannot be told, or is none of ``OUTPUTS``.
    """
    for found in (short, long):
        if not isinstance(found, Tensor) or not found.is_floating_point():
            raise ValueError("no tensor of floating-point numbers")
        if found.ndim not in (2, 3) or found.shape[0] != 2 or 0 in found.shape:
            raise ValueError(f"{tuple(found.shape)} for a batch of 2, none of {', '.join(OUTPUTS)}")
        if not bool(found.isfinite().all()):
            raise ValueError("NaN or infinity")
    grows = [i for i, (a, b) in enumerate(zip(short.shape, long.shape, strict=True)) if a != b]
    shapes = f"{tuple(short.shape)} for a second, {tuple(long.shape)} for two"
    if short.ndim == 2 and not grows:
        gives, dim, frames = OUTPUTS[2], short.shape[1], 0
    elif short.ndim == 3 and len(grows) == 1:
        axis = grows[0]
        gives, dim = (OUTPUTS[0], short.shape[2]) if axis == 1 else (OUTPUTS[1], short.shape[1])
        frames = long.shape[axis] - short.shape[axis]
    else:
        raise ValueError(f"{shapes}, which does not tell frames from features")
    seconds = TRIAL_SECONDS[1] - TRIAL_SECONDS[0]
    if dim > LARGEST_DIM or not 0 <= frames <= MOST_FRAMES_PER_SECOND * seconds:
        raise ValueError(f"{shapes}: no {MOST_FRAMES_PER_SECOND} frames a second at most")
    return gives, dim, frames


def _last_line(error: Exception) -> str:
    """What an error in TorchScript says behind its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:120]


def _parts(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The children that have weights; a container's, and an only child's, instead of itself."""
    children = [(n, m) for n, m in module.named_children() if any(True for _ in m.parameters())]
    own = dict(module.named_parameters(recurse=False))
    found: list[tuple[str, nn.Module]] = []
    if own:
        weights = nn.Module()
        # Not through register_parameter: TorchScript's weights are tensors, and must stay these.
        weights._parameters.update(own)
        found.append((f"{prefix}weights", weights))
    for name, child in children:
        inner = getattr(child, "original_name", type(child).__name__) in CONTAINERS
        if inner or (len(children) == 1 and not own):
            found += _parts(child, f"{prefix}{name}.")
        else:
            # In a list: a part of TorchScript has no requires_grad_ of its own.
            found.append((f"{prefix}{name}", nn.ModuleList([child])))
    return found
