"""What earlier versions recorded of a pretraining is read: its options by their former keys."""

from __future__ import annotations

import json

import pytest

from diffconsole.errors import ModelError
from diffconsole.model.predictor import Predictor, default_model
from diffconsole.training.pretraining.card import pretrain_card
from diffconsole.training.pretraining.pretrain_options import (
    PretrainOptions,
    identity_of,
    with_present_names,
)
from diffconsole.training.pretraining.starting_model import starting_model


def test_an_unfinished_run_is_known_by_its_former_options() -> None:
    options = PretrainOptions("voices", held_out=("anna",), validation=("ben",))
    former = json.loads(json.dumps(identity_of(options)))
    former["judges"] = former.pop("validation")
    assert with_present_names(former) == identity_of(options)
    former["judges"] = ["carla"]
    assert with_present_names(former) != identity_of(options)


def test_the_validation_speakers_of_the_shipped_model() -> None:
    """Its model.json has the former key: they stand on its card, and are no test speakers."""
    info = Predictor.load().info
    names = info["options"]["judges"]
    assert names and "validation" not in info["options"]
    assert f"--validation {','.join(names)}" in pretrain_card(info)
    options = PretrainOptions("voices", held_out=(names[0],), start_from=str(default_model()))
    with pytest.raises(ModelError, match=f"was chosen by '{names[0]}', who is to be a test speak"):
        starting_model(options, False)
