"""What the commands that write audio can be asked for, and what it does to a preset."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SettingsError
from ..strip.channel_strip import checked_switches
from ..strip.preset import Preset
from .written import simplified_at

__all__ = ["AudioOptions", "changed", "check_device", "split_bypass"]


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


def changed(preset: Preset, options: AudioOptions) -> Preset:
    """Return a preset as the options have it: amount and bypass."""
    chosen = preset.at_amount(options.amount).without(options.bypass)
    return simplified_at(chosen, options.amount)


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
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    checked_switches(names)
    return names
