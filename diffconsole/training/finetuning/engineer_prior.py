"""The prior over engineers in terms of the settings of one strip, and its file.

The prior over engineers (:mod:`.engineers`) has the tone's reactions as gains over frequency. The
settings that make a change ``g`` of the strip's curve are, to first order, those that minimise

    Σ_f (J δ − g)² + STIFFNESS · Σ δ²

``J`` the derivative of the EQ's curve by the settings at this strip, in shares of their ranges: its
bands take what lies in their reach, as they do when they are moved from the strip by the distance
to a mix (:mod:`.map_estimates`). Other settings react by themselves.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from ...model.voice_features import BANDS_HZ, VOICE_FEATURES
from ...modules.equalizer.process import equalizer_sections, response
from ...strip.parameters import BY_KEY, PARAMETERS, denormalize
from .engineers import DIRECTIONS, MODULES, REACTIONS, Prior

__all__ = [
    "SHIPPED",
    "StripPrior",
    "prior_at_strip",
    "curve_db",
    "load_prior",
    "save_prior",
    "settings_of_reactions",
    "shipped_prior",
]

SHIPPED = Path(__file__).parent / "data" / "engineers.safetensors"

CURVE_RATE = 44100
STIFFNESS = 20.0
"""dB² in a band, against the square of a whole range: 3 dB of gain, a tenth, cost 0.2."""

CURVED = [
    place for place, p in enumerate(PARAMETERS)
    if p.module == "eq" and not p.section.endswith("pass")
]  # fmt: skip
"""Settings that make the curve; those of the cuts follow the voice's lowest partial alone."""


@dataclass(frozen=True)
class StripPrior:
    """The prior over engineers for the settings of a strip.

    Attributes
    ----------
    mean : Tensor
        ``(parameters, features)`` float64: offsets, in shares of the range, by standardised
        feature of the voice.
    directions : dict of str to Tensor
        By module ``(directions, parameters, features)``: an engineer is the mean and a sum of
        these, each by a standard normal share.
    """

    mean: Tensor
    directions: dict[str, Tensor]


def prior_at_strip(prior: Prior, strip: Tensor, voice_std: Tensor) -> StripPrior:
    """Return the prior in terms of a strip's settings.

    Parameters
    ----------
    prior : Prior
        Over engineers.
    strip : Tensor
        ``(parameters,)`` in 0…1.
    voice_std : Tensor
        ``(features,)``, the deviations that the voices' features are standardised by.
    """
    settings = settings_of_reactions(strip)
    scale = voice_std.detach().cpu().double() / torch.from_numpy(prior.voice_std)

    def moved(reactions: np.ndarray) -> Tensor:
        return settings @ torch.from_numpy(reactions) * scale

    return StripPrior(moved(prior.mean), {m: moved(some) for m, some in prior.directions.items()})


def curve_db(point: Tensor) -> Tensor:
    """Return the response of a strip's EQ in the third octaves, ``(bands,)`` dB.

    Parameters
    ----------
    point : Tensor
        ``(parameters,)`` in 0…1.
    """
    freq_hz = torch.tensor(BANDS_HZ).double()
    sections = equalizer_sections(CURVE_RATE, denormalize(point[None]))
    magnitude = response(sections, CURVE_RATE, freq_hz).abs().clamp(min=1e-6)
    return (20.0 * magnitude.log10()).sum(dim=1)[0]


def settings_of_reactions(strip: Tensor) -> Tensor:
    """Return what reactions move, ``(parameters, reactions)``, in shares of the range.

    By dB or octave of each.

    Parameters
    ----------
    strip : Tensor
        ``(parameters,)`` in 0…1, whose bands they are.
    """
    found = torch.zeros(len(PARAMETERS), len(REACTIONS)).double()
    places = {p.key: place for place, p in enumerate(PARAMETERS)}
    for column, name in enumerate(REACTIONS):
        if name in places:
            p = BY_KEY[name]
            span = math.log2(p.high / p.low) if p.scale == "log" else p.high - p.low
            found[places[name], column] = 1.0 / span
    inside = strip.detach().cpu().double().clamp(0.005, 0.995)

    def curve(moved: Tensor) -> Tensor:
        return curve_db(inside.index_copy(0, torch.tensor(CURVED), moved))

    with torch.enable_grad():
        slope = torch.autograd.functional.jacobian(curve, inside[CURVED])
    slope = slope.detach().nan_to_num()
    damped = slope.T @ slope + STIFFNESS * torch.eye(len(CURVED)).double()
    found[CURVED, : len(BANDS_HZ)] = torch.linalg.solve(damped, slope.T)
    return found


def save_prior(prior: Prior, path: str | Path, facts: dict[str, object]) -> None:
    """Write a prior, with what it was made from.

    Parameters
    ----------
    prior : Prior
        Over engineers.
    path : str or Path
        A file, ``.safetensors``.
    facts : dict
        The command, the seed, the voices; JSON.
    """
    from safetensors.torch import save_file

    # The names in the file are those of its first version.
    tensors = {"usual": prior.voice_mean, "usual_spread": prior.voice_std, "mean": prior.mean}
    tensors |= {f"habits.{m}": some[:, _rows(m)] for m, some in prior.directions.items()}
    metadata = {
        "facts": json.dumps(facts, sort_keys=True),
        "reactions": json.dumps(REACTIONS),
        "features": json.dumps(VOICE_FEATURES),
    }
    ready = {
        name: torch.from_numpy(np.ascontiguousarray(value, np.float32))
        for name, value in tensors.items()
    }
    save_file(ready, path, metadata)


def load_prior(path: str | Path) -> Prior:
    """Read a prior.

    Raises
    ------
    ModelError
        The file is missing, damaged, or of other reactions or features.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name).double().numpy() for name in file.keys()}  # noqa: SIM118
        known = [metadata.get("reactions"), metadata.get("features")]
        if known != [json.dumps(REACTIONS), json.dumps(VOICE_FEATURES)]:
            raise ValueError("of other reactions or features of a voice")
        if not all(bool(np.isfinite(value).all()) for value in found.values()):
            raise ValueError("figures that are not finite")
        shape = (len(REACTIONS), len(VOICE_FEATURES))
        directions = {}
        for module in DIRECTIONS:
            own = found[f"habits.{module}"]
            directions[module] = np.zeros((len(own), *shape))
            directions[module][:, _rows(module)] = own.reshape(len(own), -1, shape[1])
        mean = found["mean"].reshape(shape)
        voice_mean, voice_std = (
            found[name].reshape(shape[1]) for name in ("usual", "usual_spread")
        )
        prior = Prior(voice_mean, voice_std, mean, directions)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"{path}: no prior over engineers ({reason}); make it with "
            "python -m tests.benchmarks.engineers"
        ) from None
    return prior


def _rows(module: str) -> np.ndarray:
    """Which reactions are a module's."""
    return np.array([each == module for each in MODULES])


@functools.lru_cache(maxsize=1)
def shipped_prior() -> Prior:
    """Return the prior that comes with the package."""
    return load_prior(SHIPPED)
