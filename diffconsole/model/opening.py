"""Open a model to predict with: on NumPy arrays where that can be done, on tensors elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..files import clear_unfinished
from .array_predictor import ArrayPredictor
from .shipped import default_model

if TYPE_CHECKING:
    from .predictor import Predictor

    AnyPredictor: TypeAlias = Predictor | ArrayPredictor

__all__ = ["open_predictor"]


def open_predictor(
    folder: str | Path | None = None,
    device: str = "cpu",
    *,
    trust_checkpoint: bool = False,
    with_references: bool = False,
) -> AnyPredictor:
    """Read a model folder for predictions alone; by default the shipped model.

    A model on the log-mel encoder, as the shipped one and those that are fine-tuned from it, is
    read without PyTorch where the device is the CPU.

    Parameters
    ----------
    folder : str or Path, optional
        What a command wrote.
    device : str
        Where to compute.
    trust_checkpoint : bool
        Also open a model on a TorchScript file, which runs the code of the file's author.
    with_references : bool
        Whether it is to predict towards the style of other vocals.

    Raises
    ------
    ModelError
        As :meth:`.predictor.Predictor.load`.
    """
    if device == "cpu" and not with_references:
        place = default_model() if folder is None else Path(folder)
        clear_unfinished([place])
        try:
            return ArrayPredictor.load(place)
        except Exception:  # noqa: BLE001 - what is wrong with it is said below, in full.
            pass
    from .predictor import Predictor

    return Predictor.load(folder, device, trust_checkpoint=trust_checkpoint)
