"""How to pretrain, and what of it a model records and a resumed run must share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .anchoring import ANCHOR_SHARE

__all__ = ["PretrainOptions", "identity_of", "recorded", "with_present_names"]

MODULE_EXAMPLES, LEAST_MODULE_EXAMPLES = 1200, 8
APART = ("minutes", "style_strips", "module_examples", "only_modules")
"""Options on which the training does not depend."""

FORMER_NAMES = {"judges": "validation"}
"""By the key of an option in models and checkpoints of earlier versions, its key."""


STREAMS = 16
"""By default; as many processes make examples without reading anything twice."""


@dataclass(frozen=True)
class PretrainOptions:
    """What a pretraining run is made of; recorded in the model.

    Attributes
    ----------
    voices : str
        Folder with one folder of clips per speaker, or shards (:mod:`.shards`).
    rooms : str, optional
        Folder of impulse responses.
    held_out : tuple of str
        Test speakers, who are not used at all.
    validation : tuple of str
        Validation speakers: not trained on; the best state is chosen and its uncertainty calibrated
        by them. By default those held out.
    reference : tuple of str
        Speakers whose long-term spectrum is the finished one; empty for the mean of all.
    finished : str, optional
        Folder of mixed vocals, in place of the reference: the long-term spectra of finished voices
        are drawn from the distribution of theirs.
    minutes : float
        Time budget.
    steps : int, optional
        Steps, instead of the time budget: the result then does not depend on how fast the
        machine is. With 0 the model is only anchored and its uncertainty scaled.
    batch : int
        Sounds per step: a sixth raw vocals, the others voices before and after a strip.
    learning_rate : float
        At the start; it falls to nothing along a cosine of the budget.
    start_from : str, optional
        Folder of a pretrained model to continue from, by ``"shipped"`` the shipped one; by default
        from scratch. Whom it was trained on must not be held out here. A lower learning rate than
        the default keeps what it knows.
    average : bool
        Whether the model is the mean of the weights that the run started from and its best ones.
        Two ends of one path err in different ways; their mean errs less on voices unlike those of
        both runs (weights averaged as by Wortsman et al., "Model soups", 2022).
    seed : int
        Of weights and examples.
    anchor_share : float
        Share of the offsets from the anchor that the head learnt, 0…1.
    bfloat16 : bool
        Whether the convolutions are trained in bfloat16 mixed precision: twice as fast where the
        processor has it, as most since 2020 do.
    style_strips : int
        Simulated strips, with several singers each, by which the statistics of references are
        fitted in the end (:mod:`.style_pairs`); with 0 the model has none of its own.
    streams : int
        Of clips, where the voices come in shards (:mod:`.shard_voices`); those of a run, whatever
        the number of processes. More processes than streams read the same shards.
    module_examples : int
        Simulated raw vocals by which modules that came after version 1.0 are learnt in the end
        (:mod:`.module_rows`), :data:`LEAST_MODULE_EXAMPLES` at least; with 0 the model does not
        know them.
    only_modules : bool
        Whether the model to start from stays as it is and learns these modules alone.
    """

    voices: str
    rooms: str | None = None
    held_out: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    finished: str | None = None
    minutes: float = 50.0
    steps: int | None = None
    batch: int = 48
    learning_rate: float = 1e-3
    start_from: str | None = None
    average: bool = False
    seed: int = 0
    anchor_share: float = ANCHOR_SHARE
    bfloat16: bool = False
    style_strips: int = 400
    streams: int = STREAMS
    module_examples: int = MODULE_EXAMPLES
    only_modules: bool = False


def recorded(options: PretrainOptions) -> dict[str, Any]:
    """The options for the model's card: folders by their names, not by where they lie."""
    facts = asdict(options)
    for name in ("voices", "rooms", "finished", "start_from"):
        if facts[name] is not None:
            facts[name] = Path(facts[name]).name
    return facts


def with_present_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that a model or a checkpoint records, with the keys of this version."""
    named = {FORMER_NAMES.get(name, name): value for name, value in options.items()}
    return {"streams": STREAMS, **named}


def identity_of(options: PretrainOptions) -> dict[str, Any]:
    """What the training depends on beside the time, as JSON holds it; a run resumes its like."""
    facts = {k: v for k, v in asdict(options).items() if k not in APART}
    return dict(json.loads(json.dumps(facts)))
