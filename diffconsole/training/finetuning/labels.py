"""Labels of pairs of a studio: the settings that a quick match finds for each.

They are 0…1, for raw vocals levelled to −18 LUFS, in one form: what a strip does without has the
values at which it does nothing, and all of the level that a mix needs lies in the compressor's
makeup (what its range does not hold, in the output gain). Each is written as soon as it is there,
under a fingerprint of its pair, so that a run that is killed loses what was being searched. The
file holds settings by key; of one that holds them by position, as it was first, they are read too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...pairs import Pair
from ...strip.later import LATER, rest_settings
from ...strip.parameters import BY_KEY, PARAMETERS, neutral_settings
from ..by_key import by_key, in_table_order
from ..distributed import SINGLE_PROCESS, Workers
from ..log import read_lines
from ..matching.match import QUICK_TOGETHER, TOGETHER_ON_GPU, groups_of
from ..matching.search import plan_for, search
from ..matching.side_by_side import side_by_side

__all__ = [
    "LABELS",
    "fingerprint_of",
    "keep_labels",
    "kept_or_found",
    "label_key",
    "label_of",
    "labels_of",
]

LABELS = "finetune.labels.jsonl"


def fingerprint_of(pair: Pair) -> str:
    """Return a text that is the same for the same sound and alignment of a pair, and no other."""
    found = hashlib.blake2b(digest_size=16)
    for samples in (pair.raw, pair.mixed):
        found.update(np.ascontiguousarray(samples).data)
    found.update(repr((pair.name, pair.raw.shape, pair.lag_seconds)).encode())
    return found.hexdigest()


def label_key(fingerprint: str, seed: int) -> str:
    """Return what a label is kept under: its pair, and the seed of the search."""
    return f"{fingerprint}-{seed}"


def label_of(settings: Mapping[str, float], off: Collection[str]) -> Tensor:
    """Return what a search found as a label, ``(parameters,)`` in 0…1.

    Parameters
    ----------
    settings : mapping of str to float
        By key, for the raw as it lies; modules that came later and have none are off.
    off : collection of str
        Modules and bands that the strip does without.
    """
    settings = {**rest_settings(LATER), **settings}
    level_db = settings["output_gain.gain_db"]
    if "compressor" not in off:
        level_db += settings["compressor.makeup_db"]
    settings["input_gain.gain_db"] = 0.0
    makeup, output = BY_KEY["compressor.makeup_db"], BY_KEY["output_gain.gain_db"]
    settings[makeup.key] = makeup.clip(level_db)
    settings[output.key] = output.clip(level_db - settings[makeup.key])
    for place in off:
        # The level stays in the makeup.
        settings |= {k: v for k, v in neutral_settings(place).items() if k != makeup.key}
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS]).clamp(0.0, 1.0)


def labels_of(
    pairs: Sequence[Pair],
    prints: Sequence[str],
    folder: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    workers: Workers = SINGLE_PROCESS,
    over: Callable[[], bool] = lambda: False,
    report: Callable[[float, float], None] = lambda *_: None,
) -> Tensor:
    """Match pairs quickly, those apart that are labelled in the folder already.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    prints : sequence of str
        Their fingerprints.
    folder : Path
        Gets the file of labels.
    seed : int
        Of the search.
    device : str
        ``"cpu"`` or ``"cuda"``.
    workers : Workers
        Processes that share the work.
    over : callable
        Whether the time for it is spent; pairs that it does not reach stay without a label.
    report : callable
        Called with the share of the pairs done, 0…1, and a distance.

    Returns
    -------
    Tensor
        ``(pairs, parameters)``, NaN where there is no label.
    """
    on_gpu = device != "cpu"
    # The same groups on every run: a pair's search knows a little of those beside it.
    groups = groups_of(pairs, TOGETHER_ON_GPU if on_gpu else QUICK_TOGETHER)
    return kept_or_found(
        [label_key(each, seed) for each in prints], groups, folder / LABELS,
        lambda group, reporter: _search([pairs[i] for i in group], seed, device, reporter),
        on_gpu=on_gpu, workers=workers, over=over, report=report,
    )  # fmt: skip


def kept_or_found(
    keys: Sequence[str],
    groups: Sequence[Sequence[int]],
    path: Path,
    search_group: Callable[[Sequence[int], Callable[[float, float], None]], list[Tensor]],
    *,
    on_gpu: bool,
    workers: Workers,
    over: Callable[[], bool],
    report: Callable[[float, float], None],
) -> Tensor:
    """Return settings that are kept in a file, and search those that are not, group by group.

    Parameters
    ----------
    keys : sequence of str
        Of the rows.
    groups : sequence of sequence of int
        Rows that are searched together.
    path : Path
        The file; what is found is added to it.
    search_group : callable
        Finds the settings of a group's rows; it is given a callable for its progress. After Ctrl-C
        it returns fewer.
    on_gpu : bool
        Whether groups are searched one after the other, instead of one a thread.
    workers : Workers
        Processes that share the work.
    over : callable
        Whether the time for it is spent.
    report : callable
        Called with the share of the groups done, 0…1, and a distance.

    Returns
    -------
    Tensor
        ``(rows, parameters)``, NaN where nothing is known.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; what was found is kept.
    """
    known: dict[str, list[float]] = workers.broadcast(_read(path) if workers.is_first else {})
    todo = [group for group in groups if any(keys[index] not in known for index in group)]
    threads = workers.broadcast(torch.get_num_threads())
    at_once = 1 if on_gpu else max(1, min(threads, -(-len(todo) // workers.size)))
    done = len(groups) - len(todo)
    for first in range(0, len(todo), at_once * workers.size):
        if workers.broadcast(over()):
            break
        everybodys = todo[first : first + at_once * workers.size]
        mine = everybodys[workers.rank :: workers.size]
        jobs = [functools.partial(search_group, group) for group in mine]

        def report_progress(number: int, share: float, loss: float, done: int = done) -> None:
            report((done + number + share) / len(groups), loss)

        found = {}
        for group, settings in zip(
            mine, side_by_side(jobs, at_once, report_progress), strict=False
        ):
            new = {keys[i]: by_key(each.tolist()) for i, each in zip(group, settings, strict=False)}
            found.update(new)
            if workers.is_first:
                keep_labels(path, new)
        if len(found) < sum(map(len, mine)):
            raise KeyboardInterrupt
        for others in workers.gather(found)[1:]:
            found.update(others)
            if workers.is_first:
                keep_labels(path, others)
        known.update({key: list(label.values()) for key, label in found.items()})
        done += len(everybodys)
    none = [float("nan")] * len(PARAMETERS)
    return torch.tensor([known.get(key, none) for key in keys])


def _search(
    pairs: list[Pair], seed: int, device: str, report_progress: Callable[[float, float], None]
) -> list[Tensor]:
    found, stopped = search(
        pairs, plan_for(True), seed=seed, device=device, report_progress=report_progress
    )
    return [] if stopped else [label_of(each.settings(), each.off) for each in found]


def _read(path: Path) -> dict[str, list[float]]:
    """Return the labels in a file by their keys; damaged lines are passed over, and searched."""
    known = {}
    for entry in read_lines(path) if path.exists() else []:
        key, settings = entry.get("pair"), in_table_order(entry.get("settings"))
        if isinstance(key, str) and settings is not None:
            known[key] = settings
    return known


def keep_labels(path: Path, labels: Mapping[str, Mapping[str, float]]) -> None:
    """Add labels to a file of them, safe from a power cut when it returns.

    Parameters
    ----------
    path : Path
        The file.
    labels : mapping of str to mapping
        By what each is kept under, its settings in 0…1 by key.
    """
    with open(path, "a", encoding="utf-8") as file:
        for key, settings in labels.items():
            # The line feed comes first as well: half a line may stand at the end.
            file.write("\n" + json.dumps({"pair": key, "settings": dict(settings)}) + "\n")
        file.flush()
        os.fsync(file.fileno())
