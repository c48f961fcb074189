"""Clusters of similar voices, by their features: takes of one singer, mostly.

A regression knows a singer whom it was fitted on. A pair that is predicted from other takes of the
same singer shows how well the regression remembers, not how it predicts for a new voice: so pairs
with similar voices are left out together.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .engineer_prior import shipped_prior

__all__ = ["cluster_voices"]

LARGEST_SHARE = 0.5
"""Of the pairs, in one cluster; larger ones are split."""


def cluster_voices(voice_features: Tensor, most: int) -> list[list[int]]:
    """Return the numbers of the voices in clusters of similar ones.

    Parameters
    ----------
    voice_features : Tensor
        ``(voices, features)``, as
        :func:`diffconsole.model.voice_features.extract_voice_features` returns them.
    most : int
        Clusters, unless one of them would hold more than half of the voices.

    Returns
    -------
    list of list of int
        By Ward's criterion, on features over their deviation between voices; in the order of
        their first voices.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    count = len(voice_features)
    if count <= 2:
        return [[number] for number in range(count)]
    tree = linkage(voice_features.double().numpy() / shipped_prior().voice_std, "ward")
    for wanted in range(min(most, count), count + 1):
        names = fcluster(tree, wanted, "maxclust")
        if np.bincount(names).max() <= max(LARGEST_SHARE * count, 1.0):
            break
    found = [np.flatnonzero(names == name).tolist() for name in dict.fromkeys(names.tolist())]
    return [[int(number) for number in group] for group in found]
