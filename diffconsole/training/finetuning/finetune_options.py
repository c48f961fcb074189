"""How to fine-tune, and what came out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..by_key import in_table_order

__all__ = ["FinetuneOptions", "FinetuneResult"]


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune; recorded in the model.

    Attributes
    ----------
    held_out : float, optional
        Share of the pairs that is not trained on, one pair at least. By default a fifth; of fewer
        than 20 pairs none: all are learnt from, and each decides as the others predict it.
    minutes : float
        Time budget of all stages.
    steps : int, optional
        Most steps of the stages that are trained, instead of the time: the result then does not
        depend on how fast the machine is. Labels are searched for all pairs that get one.
    studio_epochs, head_epochs, top_epochs : int
        Most epochs of the one strip, of strip and offsets, and of these and the top stages.
    studio_rate, head_rate, top_rate : float
        Learning rates of the three; the head's is what a setting moves, in logits.
    top_stages : int
        How many of the encoder's stages are trained, from the top.
    batch : int
        Segments a step, of all processes together.
    patience : int
        Epochs without a better held-out distance before a stage ends.
    seed : int
        Of the split, the labels and the order.
    """

    held_out: float | None = None
    minutes: float = 10.0
    steps: int | None = None
    studio_epochs: int = 3
    head_epochs: int = 4
    top_epochs: int = 2
    studio_rate: float = 0.02
    head_rate: float = 0.02
    top_rate: float = 1e-5
    top_stages: int = 2
    batch: int = 8
    patience: int = 2
    seed: int = 0


@dataclass
class FinetuneResult:
    """What came out of a run.

    Attributes
    ----------
    history : list of dict
        What happened, in order: ``stage``, and in an entry of an epoch ``epoch``, ``train`` and
        ``held_out`` distance.
    epochs : int
        That were trained.
    seconds : float
        Of all stages.
    scores : dict of str to float
        Best held-out distance by stage, ``before`` the first: a robust one, which no single pair
        decides (:mod:`.selection`).
    by_pair : dict of str to list of float
        The distance of each pair held out in these states, by stage.
    """

    history: list[dict[str, Any]]
    epochs: int
    seconds: float
    scores: dict[str, float]
    by_pair: dict[str, list[float]] = field(default_factory=dict)

    steps: int = 0
    """Steps that were trained, over all epochs."""

    crossed: list[list[float]] = field(default_factory=list)
    """Where no pair was held out: settings of each, in 0…1 for the raw at −18 LUFS, as the others
    predict them in the best state."""

    modules: dict[str, dict[str, float]] = field(default_factory=dict)
    """Modules that the studio's mixes showed and that the best state has, by key: their settings
    for the mean voice, by short name."""

    @classmethod
    def of_progress(
        cls, progress: Mapping[str, Any], best: str, modules: dict[str, dict[str, float]]
    ) -> FinetuneResult:
        """Return what came out of a run whose best state is this stage's."""
        history = progress["history"]
        epochs = sum(entry.get("epoch", 0) > 0 for entry in history)
        crossed = [in_table_order(each) or [] for each in progress["crossed"].get(best, [])]
        return cls(
            history, epochs, progress["seconds"], progress["scores"], progress["by_pair"],
            progress["steps"], crossed, modules,
        )  # fmt: skip

    @property
    def best(self) -> str:
        """The stage whose state counts."""
        return min(self.scores, key=lambda name: self.scores[name])
