"""What the encoders share that are a file of their author's code, which travels with the model."""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..errors import ModelError
from .base import ENCODER_FILE, Encoder

__all__ = ["FileEncoder", "last_line", "load_script", "parts_of", "read_file"]

LARGEST_BYTES = 2 << 30
LOWEST_HZ, HIGHEST_HZ = 8000, 192000
CONTAINERS = ("Sequential", "CachedSequential", "ModuleList")

Kind = TypeVar("Kind", bound="FileEncoder")


class FileEncoder(Encoder):
    """An encoder whose network is a file's; the file itself goes into a saved model's folder.

    Parameters
    ----------
    file : bytes
        The file's content.
    sample_rate : int
        Hz.
    about : str
        Which network it is.
    """

    licence = "not stated; ask who made the file"

    def __init__(self, file: bytes, sample_rate: int, about: str = "") -> None:
        super().__init__()
        if type(sample_rate) is not int or not LOWEST_HZ <= sample_rate <= HIGHEST_HZ:
            raise ValueError(
                f"sample_rate is {sample_rate!r}, not a number from {LOWEST_HZ} to {HIGHEST_HZ} Hz"
            )
        self.file, self.sample_rate, self.about = file, sample_rate, str(about)
        self.title = self.about

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments but the file, and the file's checksum."""
        return {
            "sample_rate": self.sample_rate,
            "about": self.title,
            "sha256": hashlib.sha256(self.file or b"").hexdigest(),
        }

    @classmethod
    def from_config(
        cls: type[Kind], config: Mapping[str, Any], folder: Path | None, *, trust: bool = False
    ) -> Kind:
        """Rebuild from the configuration and the file in the model's folder."""
        if folder is None or "sha256" not in config:
            raise ValueError("an encoder of this kind is rebuilt from a saved model's folder alone")
        path = folder / ENCODER_FILE
        file = read_file(path)
        if hashlib.sha256(file).hexdigest() != config["sha256"]:
            raise ModelError(
                f"{path}: is not the file that this model was made with; copy it again"
            )
        if not trust and cls.runs_code(file):
            raise ModelError(
                f"{path}: is TorchScript, which runs code of whoever made the model. If you trust "
                "that person, add --trust-checkpoint (in Python: trust_checkpoint=True)"
            )
        return cls.of_file(file, path, **{k: v for k, v in config.items() if k != "sha256"})

    @classmethod
    def runs_code(cls, file: bytes) -> bool:
        """Whether opening a file of this kind runs its author's code."""
        return True

    @classmethod
    def of_file(cls: type[Kind], file: bytes, path: Path, **arguments: Any) -> Kind:
        """Build from a file's content; `path` is for the message.

        Raises
        ------
        ModelError
            It is no such file, or no encoder.
        """
        try:
            return cls(file, **arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: {' '.join(str(error).split())[:400]}") from None


def read_file(path: Path) -> bytes:
    """Return the bytes of a file, if they are few enough to be kept with every model.

    Raises
    ------
    ModelError
        It cannot be read, or has more than ``LARGEST_BYTES``.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: is not an ordinary file; give the encoder's own file")
        size = status.st_size
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


def load_script(file: bytes) -> nn.Module:
    """Load what ``torch.jit.save`` wrote, in float32 and ready to run.

    Raises
    ------
    ValueError
        It is none, or of a newer PyTorch.
    """
    try:
        with warnings.catch_warnings():
            # PyTorch advises authors of files against the format; who has a file cannot help it.
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded: nn.Module = torch.jit.load(io.BytesIO(file), map_location="cpu")
            return loaded.float().eval()
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        # What the reader of the archive says is of no help; of an operation that is missing, is.
        if "reader" in reason.lower():
            reason = "damaged, or of another kind"
        raise ValueError(
            f"is no TorchScript file that can be loaded ({reason[:200]}); torch.jit.save writes one"
        ) from None


def last_line(error: Exception) -> str:
    """Return what an error in TorchScript says behind its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:120]


def parts_of(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Return the children that have weights, those of a container or an only child in its place."""
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
            found += parts_of(child, f"{prefix}{name}.")
        else:
            # In a list: a part of TorchScript has no requires_grad_ of its own.
            found.append((f"{prefix}{name}", nn.ModuleList([child])))
    return found
