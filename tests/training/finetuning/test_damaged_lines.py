"""Labels and logs of a run that was killed, edited or copied badly: the good lines count."""

from __future__ import annotations

import json

import pytest
import torch

from diffconsole.errors import ModelError
from diffconsole.plots.training import draw_training
from diffconsole.strip.later import FIRST_PARAMETERS
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.distributed import SINGLE_PROCESS
from diffconsole.training.finetuning.labels import kept_or_found
from diffconsole.training.log import LOG, read_history


def test_damaged_lines_are_searched_again(tmp_path):
    """Whatever stands in a line, the others count."""
    path = tmp_path / "labels.jsonl"
    # By position, as it was before there were modules of a later version.
    good = [0.25] * len(FIRST_PARAMETERS)
    damaged = {
        "text": "x" * len(PARAMETERS),
        "nan": [float("nan"), *good[1:]],
        "none": [None, *good[1:]],
        "true": [True, *good[1:]],
        "far": [7.0, *good[1:]],
        "deep": [good, *good[1:]],
        "short": good[1:],
        "object": dict.fromkeys(map(str, range(len(PARAMETERS))), 0.5),
    }
    lines = [json.dumps({"pair": key, "settings": value}) for key, value in damaged.items()]
    lines += [json.dumps({"pair": ["list"], "settings": good}), "[1, 2]", "7", "null", "{"]
    content = "\n".join(lines).encode() + b"\n\xff\xfe\x00 binary \x80\n" + b"[" * 100_000 + b"\n"
    content += b'{"pair": "long", "settings": [' + b"0, " * 3_000_000 + b"0]}\n"
    path.write_bytes(content + json.dumps({"pair": "good", "settings": good}).encode() + b"\n")
    searched = []

    def search(group, _):
        searched.extend(group)
        return [torch.full((len(PARAMETERS),), 0.5) for _ in group]

    keys = ["good", *damaged]
    found = kept_or_found(
        keys, [[i] for i in range(len(keys))], path, search, on_gpu=False, workers=SINGLE_PROCESS,
        over=lambda: False, report=lambda *_: None,
    )  # fmt: skip
    assert sorted(searched) == list(range(1, len(keys)))
    assert [v for v, p in zip(found[0].tolist(), PARAMETERS, strict=True)
            if p.key in FIRST_PARAMETERS] == good  # fmt: skip
    assert bool((found[1:] == 0.5).all())


def test_a_damaged_log_is_read_as_far_as_it_is_one(tmp_path):
    good = b'{"stage": "before", "held_out": 2.5}\n'
    for damaged in (
        b'{"stage": "head", "held_o', b"\xff\xfe\x00", b"[]", b'{"stage": 7}', b'{"held_out": 1}',
        b'{"stage": "head", "held_out": NaN}',
        b'{"stage": "head", "held_out": ' + b"9" * 400 + b"}",
        b'{"stage": "head", "held_out": "low"}',
        b'{"stage": "ridge", "held_out": 1.0}', b"[" * 200_000, b'{"stage": {}, "held_out": 1.0}',
        b'{"stage": "head", "held_out": 1.0, "epoch": [1], "train": null}',
    ):  # fmt: skip
        (tmp_path / LOG).write_bytes(damaged + b"\n" + good + damaged)
        history = read_history(tmp_path)
        assert history == [{"stage": "before", "held_out": 2.5}]
        draw_training(history)
        (tmp_path / LOG).write_bytes(damaged)
        with pytest.raises(ModelError, match="holds no stages of a run"):
            read_history(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "encore"},
        {"scores": {"studio": 2.0}},
        {"scores": {"before": None}},
        {"history": ["before"]},
        {"history": [{"held_out": 2.0}]},
    ],
    ids=str,
)
def test_a_run_that_names_what_is_not_there_does_not_go_on(changes):
    from diffconsole.training.finetuning.finetune_state import is_whole

    whole = {"stage": "near", "scores": {"before": 2.5}, "history": [{"stage": "before"}]}
    states = {"before": {}, "anchor": {}}
    assert is_whole(whole, states)
    assert not is_whole({**whole, **changes}, states)
