"""What a fine-tuning run is known by, and whether what was kept of it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...model.predictor import Predictor
from ...model.rows import file_names, row_tensors, taken_out
from .finetune_options import FinetuneOptions
from .studio_modules import StudioModules

__all__ = ["STAGES", "is_whole", "rounded", "run_fingerprint"]

STAGES = ("labels", "modules", "studio", "near", "ridge", "head", "top", "done")

VERSION = 3
"""Of what the stages do: a run resumes as it began, or not at all."""


def rounded(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares for a log."""
    return {name: round(share, 4) for name, share in shares.items()}


def is_whole(progress: Mapping[str, Any], states: Mapping[str, Any]) -> bool:
    """Whether a run's progress names stages that there are, with a state for each score."""
    scores, history = progress["scores"], progress["history"]
    try:
        StudioModules.of_progress(progress.get("modules", {}))
    except ValueError:
        return False
    return (
        progress["stage"] in STAGES
        and set(scores) <= set(states)
        and all(isinstance(score, (int, float)) for score in scores.values())
        and all(isinstance(entry, dict) and "stage" in entry for entry in history)
    )


def run_fingerprint(
    model: Predictor, train: Sequence[str], held: Sequence[str], options: FinetuneOptions
) -> str:
    """Return a text that is the same for the same pairs, options and weights, and no other.

    Parameters
    ----------
    model : Predictor
        That the run begins with.
    train, held : sequence of str
        Fingerprints of the pairs.
    options : FinetuneOptions
        Of the run.
    """
    text = json.dumps([VERSION, list(train), list(held), asdict(options)], sort_keys=True)
    print_of = hashlib.sha256(text.encode())
    rows, names, in_file = row_tensors(model), model.known.names, file_names(model)
    for name, weights in model.state_dict().items():
        # The names in files: a run of an earlier version is still known.
        print_of.update(in_file.get(name, name).encode())
        # Without the rows that the model does not know: it is the same run when the strip grows.
        known = taken_out(weights, rows[name], names) if name in rows else weights
        print_of.update(known.detach().cpu().contiguous().numpy().tobytes())
    return print_of.hexdigest()
