"""Voices that are alike, by their descriptions: takes of one singer, mostly.

A regression knows a singer whom it was fitted on. A pair that is predicted from other takes of the
same singer shows how well it remembers, not what it says of a new voice: so pairs with like voices
are left out together.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .habits import shipped_prior

__all__ = ["groups_of"]

LARGEST_SHARE = 0.5
"""Of the pairs, in one group; larger ones fall into more."""


def groups_of(described: Tensor, most: int) -> list[list[int]]:
    """Return the numbers of the voices in groups of those that are alike.

    Parameters
    ----------
    described : Tensor
        ``(voices, features)``, as :func:`diffconsole.model.voice_features.describe` has them.
    most : int
        Groups, unless one of them would hold more than half of the voices.

    Returns
    -------
    list of list of int
        By Ward's criterion, on figures against their deviation between voices; in the order of
        their first voices.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    count = len(described)
    if count <= 2:
        return [[number] for number in range(count)]
    tree = linkage(described.double().numpy() / shipped_prior().usual_spread, "ward")
    for wanted in range(min(most, count), count + 1):
        names = fcluster(tree, wanted, "maxclust")
        if np.bincount(names).max() <= max(LARGEST_SHARE * count, 1.0):
            break
    found = [np.flatnonzero(names == name).tolist() for name in dict.fromkeys(names.tolist())]
    return [[int(number) for number in group] for group in found]
