"""Model cards: what a model was trained on, how, under which licences, and how good it measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["finetune_card"]


def finetune_card(info: Mapping[str, Any]) -> str:
    """Return the card of a fine-tuned model as Markdown.

    Parameters
    ----------
    info : mapping
        What ``finetune`` records: base, pairs, held out, distances, epochs, seconds, seed.
    """
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in info["distance"].items())
    return f"""# A fine-tuned vocal model

Fine-tuned from `{info["base"]}` on {info["pairs"]} raw/mixed pairs of one studio,
{len(info["held_out"])} of them held out; {info["epochs"]} epochs in {info["seconds"]:.0f} s,
seed {info["seed"]}.

Mean distance to the mixes held out (smaller is nearer):

| settings | distance |
|---|---|
{rows}

Use: `diffconsole process take.wav --model FOLDER`. The weights know the sound of the pairs they
were trained on: treat them as you treat the pairs.
"""
