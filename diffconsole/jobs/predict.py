"""Predict the strip of a vocal in memory, as a preset that says where it comes from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..audio.take import take_of
from ..files.dates import created
from ..strip.parameters import BY_KEY
from ..strip.preset import Preset
from .enhance import Enhancer
from .written import simple_strip, whole_strip

if TYPE_CHECKING:
    from ..console.render import OneVocal
    from ..model.opening import AnyPredictor
    from ..model.prediction import Prediction
    from ..model.reference.prediction import Reference

__all__ = ["found_in", "predict_preset"]

NARROWEST_INTERVAL = 1e-3
"""On the normalised scale; what is narrower is left out of the provenance."""


def predict_preset(
    model: AnyPredictor,
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
    vocal: OneVocal | None = None,
) -> Preset:
    """Predict a vocal's strip, with model, source, date and uncertainty in its provenance.

    With references the strip that leads to their style
    (:func:`diffconsole.model.reference.prediction.predict_towards`). `enhancer` is what made these
    samples of the source, and `messages` are what was left out of them, both for the provenance.
    The strip is the simplest one that sounds the same on this vocal
    (:mod:`diffconsole.simplify.strip`), unless `full`; `bypass` is what the user will switch off in
    it, and `vocal` are these samples where they will be processed by the strip.
    """
    take = take_of(samples, sample_rate)
    if references:
        from ..model.predictor import Predictor
        from ..model.reference.prediction import predict_towards

        assert isinstance(model, Predictor), "opened with references"
        prediction: Prediction = predict_towards(model, samples, sample_rate, references, take=take)
    else:
        prediction = model.predict_take(take)
    messages += prediction.messages
    strip = whole_strip(prediction) if full else simple_strip(prediction, take, bypass, vocal)
    uncertainty = {
        key: [float(f"{low:.4g}"), float(f"{high:.4g}")]
        for key, (low, high) in strip.uncertainty.items()
        if _varies(key, low, high)
    }
    likely = {name: round(share, 3) for name, share in prediction.switches.items()}
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
            "created": created(),
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


def found_in(raw: Path, preset: Preset) -> tuple[str, ...]:
    """What in the take is not the voice, and was left out of the prediction."""
    return tuple(f"{raw}: {line}" for line in preset.provenance.get("take", ()))


def _varies(key: str, low: float, high: float) -> bool:
    """Whether an interval says anything: one of no width is that of a setting never trained on."""
    parameter = BY_KEY[key]
    width = parameter.to_normalised(high) - parameter.to_normalised(low)
    return width > NARROWEST_INTERVAL
