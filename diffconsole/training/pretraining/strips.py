"""Strips for simulated raw vocals: those of real mixes, drawn about one strip.

The settings of real mixes that :mod:`diffconsole.strip.statistics` holds were fitted one by one,
and the medians of each setting make no good strip: compensating settings (a shelf up and a bell
down) are averaged apart. What the fits do say is how settings vary together. So a strip here is the
anchor (:mod:`diffconsole.strip.anchor`) plus a share of a fitted strip's deviation from those
medians, in the normalised scale of each setting:

``u = u_anchor + share·(u_fitted − u_median)``, held in 0…1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...strip.anchor import anchor_settings
from ...strip.parameters import BY_KEY, PARAMETERS
from ...strip.statistics import SEND_EQ_DB, SettingsStatistics, load

__all__ = ["SHARE", "Strips"]

SHARE = 0.75
"""Of a fitted strip's deviations. Simulated raw vocals at their mixes' loudness lie 2.3 from the
mixes then, real ones 2.4 to 3.0; with all of them it is 2.4, but in one mix of eight the sides
differ by less than those of any of nine real mixes do."""


@dataclass(frozen=True)
class Strips:
    """Where the strips of simulated raw vocals are drawn from.

    Attributes
    ----------
    table : SettingsStatistics
        Of the settings of real mixes.
    anchor : dict of str to float
        The strip that they are drawn about, physical units by key.
    middle : dict of str to float
        The table's medians.
    share : float
        Of a fitted strip's deviation from the medians.
    """

    table: SettingsStatistics
    anchor: dict[str, float]
    middle: dict[str, float]
    share: float = SHARE

    @classmethod
    def around_anchor(cls, table: SettingsStatistics | None = None) -> Strips:
        """Return what draws about the anchor, by the shipped statistics or another table."""
        table = table or load()
        return cls(table, anchor_settings(), table.middle())

    @classmethod
    def as_fitted(cls, table: SettingsStatistics | None = None) -> Strips:
        """Return what draws the fitted strips as they are."""
        table = table or load()
        middle = table.middle()
        return cls(table, middle, middle, 1.0)

    def strip(self, fitted: Mapping[str, float], wet_rank: float) -> dict[str, float]:
        """Return what takes the place of a fitted strip.

        Parameters
        ----------
        fitted : mapping of str to float
            One draw from the table, physical units by key.
        wet_rank : float
            0…1, the quantile of the reverb's level among those of real mixes, which takes the
            place of the fitted level.

        Returns
        -------
        dict of str to float
            Every parameter by key, inside its range.
        """
        levels = self.table.quantiles[self.table.columns.index("reverb_level_db")]
        wet_db = float(np.interp(wet_rank, np.linspace(0.0, 1.0, len(levels)), levels))
        wet_db = BY_KEY["reverb.wet_db"].clip(wet_db + SEND_EQ_DB)
        return self.about({**fitted, "reverb.wet_db": wet_db})

    def about(self, fitted: Mapping[str, float]) -> dict[str, float]:
        """Return a fitted strip's deviations from the medians, added to the anchor."""
        if self.share == 1.0 and self.anchor == self.middle:
            return dict(fitted)
        moved = {}
        for p in PARAMETERS:
            deviation = p.to_normalised(fitted[p.key]) - p.to_normalised(self.middle[p.key])
            unit = p.to_normalised(self.anchor[p.key]) + self.share * deviation
            moved[p.key] = p.clip(p.to_physical(min(max(unit, 0.0), 1.0)))
        return moved
