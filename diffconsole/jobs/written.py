"""What is written of a prediction: the simplest strip that sounds the same, or all of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..simplify.rounding import FINEST, dialled
from ..strip.later import LATER
from ..strip.parameters import BY_KEY

if TYPE_CHECKING:
    from ..audio.take import Take
    from ..console.render import OneVocal
    from ..model.prediction import Prediction
    from ..strip.preset import Preset

__all__ = ["WrittenStrip", "simple_strip", "simplified_at", "whole_strip"]


@dataclass(frozen=True)
class WrittenStrip:
    """A strip as a preset holds it.

    Attributes
    ----------
    settings : dict of str to float
        Every parameter by key, physical units.
    uncertainty : dict of str to tuple of float
        By key, around the settings.
    bypass : frozenset of str
        Modules and bands that are written as not enabled.
    simplified : dict
        For the provenance: the distance to the result of all that was predicted, and how many bands
        the EQ has now and had then, both without what the user switched off. Empty where nothing
        was simplified.
    """

    settings: dict[str, float]
    uncertainty: dict[str, tuple[float, float]]
    bypass: frozenset[str] = frozenset()
    simplified: dict[str, Any] = field(default_factory=dict)


def whole_strip(prediction: Prediction) -> WrittenStrip:
    """Return all that was predicted."""
    return WrittenStrip(prediction.settings, prediction.uncertainty)


def simple_strip(
    prediction: Prediction,
    take: Take,
    bypass: Collection[str] = (),
    vocal: OneVocal | None = None,
) -> WrittenStrip:
    """Return the simplest strip that sounds the same (:mod:`diffconsole.simplify.strip`).

    The interval of a setting that was moved moves with it, as wide on the table's scale as it was.

    Parameters
    ----------
    prediction : Prediction
        Of this vocal.
    take : Take
        The vocal.
    bypass : collection of str
        Modules and bands that the user switches off; none of them counts for what sounds the same,
        and nothing stands in for it.
    vocal : OneVocal, optional
        The vocal as it will be processed by the strip; what was measured on it is then there.
    """
    from ..simplify import bands_of, simplify_take

    found = simplify_take(prediction.settings, take, bypass=bypass, vocal=vocal)
    uncertainty = {
        key: _moved(key, interval, prediction.settings, found.settings)
        for key, interval in prediction.uncertainty.items()
    }
    # What is off and came later is left out: earlier versions then read the file.
    gone = (LATER & found.bypass) - frozenset(bypass)
    kept = {k: v for k, v in found.settings.items() if BY_KEY[k].module not in gone}
    uncertainty = {k: interval for k, interval in uncertainty.items() if k in kept}
    simplified = {
        "distance": round(found.distance, 4),
        "eq_bands": bands_of(found.bypass),
        "eq_bands_predicted": bands_of(bypass),
    }
    return WrittenStrip(kept, uncertainty, found.bypass - gone, simplified)


def simplified_at(preset: Preset, amount: float) -> Preset:
    """Return a preset whose provenance states of the simplification what holds at an amount.

    The bands of the EQ that are on are counted again. The distance was measured at an amount of 1,
    and is left out at every other one. Values that are scaled are rounded again, to 0.01 dB and
    four digits. A preset that was not simplified is returned as it is.

    Parameters
    ----------
    preset : Preset
        With the amount and the bypass that it is written with.
    amount : float
        0…1.5, as :meth:`diffconsole.strip.preset.Preset.at_amount`.
    """
    if "simplified" not in preset.provenance:
        return preset
    from ..simplify import bands_of

    simplified = {**preset.provenance["simplified"], "eq_bands": bands_of(preset.bypass())}
    if amount != 1.0:
        simplified.pop("distance", None)
    provenance = {**preset.provenance, "simplified": simplified}
    if amount in (0.0, 1.0):
        return preset.with_provenance(provenance)
    # The pre-delay does not scale, and may need finer steps.
    settings = {
        key: value if BY_KEY[key].decimals is not None else dialled(BY_KEY[key], value, FINEST)
        for key, value in preset.settings().items()
    }
    return preset.from_settings(
        settings, name=preset.name, bypass=preset.bypass(), provenance=provenance
    )


def _moved(
    key: str,
    interval: tuple[float, float],
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> tuple[float, float]:
    parameter = BY_KEY[key]
    moved = parameter.to_normalised(after[key]) - parameter.to_normalised(before[key])
    low, high = (
        parameter.clip(float(parameter.to_physical(parameter.to_normalised(end) + moved)))
        for end in interval
    )
    return min(low, after[key]), max(high, after[key])
