"""What every family has in common, whichever there are: light to list, told in one line."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from diffconsole.encoders import FAMILIES, create, open_encoder, split_spec
from diffconsole.encoders.base import Encoder
from diffconsole.errors import ModelError

EXTRAS = (
    "aisfx", "dac", "einops", "encodec", "huggingface_hub", "hydra", "lightning", "nemo",
    "omegaconf", "onnx", "onnxruntime", "pytorch_lightning", "sentencepiece", "speechbrain",
    "tensorflow", "timm", "torchvision", "transformers", "yaml",
)  # fmt: skip
"""What some family may need, or its authors had; none is a dependency of the package."""

HEAVY = ("torch", "torchaudio", "numpy", "scipy", "numba", "matplotlib", "soundfile")
"""Dependencies that the list of families does without."""

LISTING = """
import sys
import diffconsole
from diffconsole.cli import main
from diffconsole.encoders import FAMILIES
main(["encoders", "list", "-q"], standalone_mode=False)
main(["encoders", "list", "--json"], standalone_mode=False)
print("loaded", sorted({names} & set(sys.modules)))
"""

MODULES = """
import importlib
import sys
for name in {extras}:
    sys.modules[name] = None  # importing it raises an ImportError, as where it is not installed
from diffconsole.encoders import FAMILIES
for family in FAMILIES.values():
    getattr(importlib.import_module("diffconsole.encoders." + family.module), family.class_name)
print("loaded", sorted(n for n in {names} if sys.modules.get(n) is not None))
"""


def last_line_of(code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()[-1]


def test_listing_the_families_loads_nothing_heavy():
    assert last_line_of(LISTING.format(names=set(EXTRAS + HEAVY))) == "loaded []"


def test_the_families_modules_load_without_any_extra():
    """torchaudio is a dependency, but takes a second: it is left to the families that use it."""
    code = MODULES.format(extras=EXTRAS, names=(*EXTRAS, "torchaudio"))
    assert last_line_of(code) == "loaded []"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_the_list_says(name):
    family = FAMILIES[name]
    module = importlib.import_module(f"diffconsole.encoders.{family.module}")
    kind = getattr(module, family.class_name)
    assert issubclass(kind, Encoder)
    assert kind.name == name
    assert family.class_name in module.__all__
    for told in (family.about, family.licence, family.needs, family.published):
        assert told
        assert "\n" not in told
    if family.sample_rate is not None:
        assert getattr(kind, "sample_rate", family.sample_rate) == family.sample_rate
    assert split_spec(f"{name}:a:b") == (name, "a:b")


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_not_there_is_one_line(name, tmp_path):
    rate = 16000 if FAMILIES[name].sample_rate is None else None
    for place in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ModelError) as error:
            open_encoder(name, str(place), rate)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError) as error:
        create(name, {"no such argument": 1})
    assert "\n" not in str(error.value)
