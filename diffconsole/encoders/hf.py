"""Networks of Hugging Face's Transformers, from a folder as ``save_pretrained`` writes it.

``hf:FOLDER`` takes the middle layer, ``hf:FOLDER:LAYER`` another. Known by name are wav2vec 2.0,
HuBERT, WavLM and their kin, MERT, AST, Whisper's encoder, CLAP's audio tower, DAC and EnCodec;
any other is tried with its own feature extractor. A folder is all that is read: nothing is
downloaded, and no code in it is ever run. The published MERT asks for such code, but where it
uses no constant-Q transform its network is that of HuBERT, and is read as one.

A saved model holds the network's configuration and weights; Transformers is needed to load it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Encoder
from .encodec import encode_chunks, fit_channels
from .hf_files import UNKNOWN_LICENCE, licence_of, rate_of, read_front, read_json, split_layer
from .torchaudio_loader import load_torchaudio
from .weights import load_exactly, read_state

__all__ = ["HfEncoder"]

LARGEST_NUMBER, MOST_LAYERS, MOST_WEIGHTS = 1 << 20, 512, 1 << 32
RATES_HZ = (4000, 192000)
SHOWN = 4
MERT = "mert_model"
OF_LABELS = ("id2label", "label2id")
INSTALL = 'pip install "diffconsole[hf]"'


class HfEncoder(Encoder):
    """See the module.

    Parameters
    ----------
    network : mapping
        As ``config.json``, of the layers up to the chosen one.
    front : mapping
        As ``preprocessor_config.json``.
    layer : int
        Whose output the features are; counts where the network is none of those known by name.
    sample_rate : int
        Hz.
    about, licence : str
        Which network it is, and the licence of its weights.
    made_with : str
        Version of Transformers, whose names for weights are not those of all others.
    """

    name = "hf"

    def __init__(
        self,
        network: Mapping[str, Any],
        front: Mapping[str, Any],
        layer: int,
        sample_rate: int,
        about: str = "",
        licence: str = UNKNOWN_LICENCE,
        made_with: str = "",
    ) -> None:
        super().__init__()
        _check(network, layer, sample_rate)
        self.network, self.front, self.layer = dict(network), dict(front), layer
        self.sample_rate, self.about, self.licence = sample_rate, str(about), str(licence)
        self.made_with = str(made_with) or str(_transformers().__version__)
        from .hf_towers import KINDS, build_tower

        parts = (self.front, sample_rate, layer)
        with _quiet():
            if self.network["model_type"] in KINDS:
                # CLAP's fusion looks at numbers while it is built, of which there are none here.
                with contextlib.suppress(RuntimeError), torch.device("meta"):
                    _refuse_huge(build_tower(_config_of(self.network), *parts))
            self.tower = build_tower(_config_of(self.network), *parts)
        self.dim, self.frames_per_second = self.tower.dim, self.tower.frames_per_second
        self.register_load_state_dict_post_hook(_name_versions)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        window = self.tower.window
        return encode_chunks(fit_channels(audio, 1), self.tower, window, window)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the network's parts: what lies below the layers, and each layer."""
        return self.tower.stages()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "network": self.network,
            "front": self.front,
            "layer": self.layer,
            "sample_rate": self.sample_rate,
            "about": self.about,
            "licence": self.licence,
            "made_with": self.made_with,
        }

    @classmethod
    def open(cls, source: str | None, sample_rate: int | None, *, trust: bool = False) -> Encoder:
        """Build from a folder of Transformers, and a layer behind a colon."""
        if source is None:
            raise ModelError(
                "encoder 'hf': give a folder of Transformers, as hf:FOLDER or hf:FOLDER:LAYER"
            )
        folder, layer = split_layer(source)
        said = read_json(folder / "config.json")
        if said.get("model_type") == "encodec":
            from .encodec import EncodecEncoder

            if layer is not None:
                raise ModelError(f"hf:{source}: EnCodec has no layers to choose from")
            return EncodecEncoder.open(str(folder), sample_rate, trust=trust)
        return cls._of_folder(folder, said, layer, sample_rate, trust)

    @classmethod
    def _of_folder(
        cls, folder: Path, said: dict[str, Any], layer: int | None, rate: int | None, trust: bool
    ) -> HfEncoder:
        from .hf_towers import KINDS, layers_of, shorten

        transformers = _transformers()
        called = said.get("model_type")
        said = _known(said, folder)
        front = read_front(folder, said)
        sample_rate = rate_of(front, said, rate, folder)
        try:
            config = _config_of(said)
            count = layers_of(config)
            if count is None and layer is not None:
                raise ModelError(f"{folder}: {said['model_type']} has no layers to choose from")
            chosen = -(-(count or 0) // 2) if layer is None else layer
            if count is not None and not 1 <= chosen <= count:
                raise ModelError(f"{folder}: layer {chosen} is not one of its layers, 1 to {count}")
            if count is not None:
                shorten(config, chosen)
            kind = KINDS.get(config.model_type)
            audio = config.audio_config if config.model_type == "clap" else config
            network = json.loads(audio.to_json_string(use_diff=False))
            which = "" if count is None else f", layer {chosen} of {count}"
            encoder = cls(
                {k: v for k, v in network.items() if k not in OF_LABELS},
                front, chosen, sample_rate,
                about=f"{called} by Transformers, {folder.name}{which}",
                licence=licence_of(folder),
            )  # fmt: skip
        except ModelError:
            raise
        # What an absurd configuration raises inside Transformers is not for us to choose.
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{folder}: cannot be built ({reason}); get its files again") from None
        reader = transformers.AutoModel if kind is None else getattr(transformers, kind.model)
        part = "" if kind is None else kind.part
        state = _pretrained(folder, reader, config, part, encoder.tower.network, trust)
        load_exactly(encoder.tower.network, state, str(folder), said["model_type"])
        return encoder


def _transformers() -> ModuleType:
    # Transformers imports torchaudio itself, but not beside a CPU-only PyTorch.
    load_torchaudio()
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise ModelError(f"encoder 'hf': needs Transformers: {INSTALL}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Transformers neither log nor draw bars: what it has to say is in our errors."""
    _transformers()
    logging = importlib.import_module("transformers.utils.logging")
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _known(said: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration as one that Transformers knows without code of the folder."""
    kind = said.get("model_type")
    said = {k: v for k, v in said.items() if k not in ("auto_map", *OF_LABELS)}
    if kind == MERT:
        if said.get("feature_extractor_cqt") or said.get("deepnorm"):
            raise ModelError(
                f"{folder}: this MERT needs its author's code (constant-Q transform or deepnorm), "
                "which is not run; MERT-v1-95M needs none"
            )
        return {**said, "model_type": "hubert"}
    if not isinstance(kind, str) or _config_class(kind) is None:
        raise ModelError(
            f"{folder}: model_type {kind!r} is none that the installed Transformers knows, and "
            "code in the folder is not run; a newer Transformers may, or give script:FILE"
        )
    return said


def _config_class(kind: str) -> Any:
    """The class for a ``model_type``; None where the installed version has none."""
    if kind == "clap_audio_model":
        # A part of CLAP's configuration, which version 4 does not list.
        return _transformers().ClapAudioConfig
    _transformers()
    known = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    try:
        return known[kind]
    except KeyError:
        return None


def _config_of(network: Mapping[str, Any]) -> Any:
    found = _config_class(network["model_type"])
    if found is None:
        raise ValueError(f"the installed Transformers knows no {network['model_type']!r}")
    return found.from_dict(dict(network))


def _pretrained(
    folder: Path, reader: Any, config: Any, part: str, network: nn.Module, trust: bool
) -> dict[str, Tensor]:
    """The weights by the names of the installed version, which may not be those of the file."""
    state = _trusted(folder) if trust else None
    try:
        with _quiet():
            model, info = reader.from_pretrained(
                None if state else folder, config=config, state_dict=state, local_files_only=True,
                weights_only=True, output_loading_info=True, ignore_mismatched_sizes=True,
                **({"trust_remote_code": False} if reader.__name__ == "AutoModel" else {}),
            )  # fmt: skip
    # What a damaged file raises inside Transformers is not for us to choose.
    except Exception as error:  # noqa: BLE001
        if _is_pickle(error):
            raise ModelError(
                f"{folder}: its weights are damaged, or hold Python objects, whose reading runs "
                "code of whoever made the file; if you trust that person, add --trust-checkpoint"
            ) from None
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{folder}: no weights that can be read ({reason}); get its files again"
        ) from None
    wanted = {part + key for key in network.state_dict()}
    wrong = [f"lacks {key}" for key in sorted(wanted & set(info["missing_keys"]))]
    shapes = network.state_dict()
    for entry in info["mismatched_keys"]:
        # Version 4 gives keys alone, version 5 with both shapes.
        key, held = (entry, None) if isinstance(entry, str) else (entry[0], tuple(entry[1]))
        if key in wanted:
            needed = tuple(shapes[key.removeprefix(part)].shape)
            wrong.append(f"{key} is {held or 'of another shape'}, not {needed}")
    if wrong:
        wrong.sort()
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ModelError(f"{folder}: no {config.model_type}: {'; '.join(wrong[:SHOWN])}{more}")
    return {
        key.removeprefix(part): value
        for key, value in model.state_dict().items()
        if key.startswith(part)
    }


def _trusted(folder: Path) -> dict[str, Tensor] | None:
    """What pickles hold beside Python objects, which not all versions read themselves."""
    if any(folder.glob("*.safetensors")):
        return None
    held: dict[str, Tensor] = {}
    for file in sorted(folder.glob("pytorch_model*.bin")):
        held.update(
            (k, v) for k, v in read_state(file, trust=True).items() if isinstance(v, Tensor)
        )
    return held or None


def _is_pickle(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is of a pickle that holds more than numbers."""
    while error is not None and not isinstance(error, pickle.UnpicklingError):
        error = error.__cause__ or error.__context__
    return error is not None


def _check(network: Any, layer: Any, sample_rate: Any) -> None:
    """Raise a ValueError for numbers that are absurd, before memory is taken for them."""
    if not isinstance(network, Mapping) or not isinstance(network.get("model_type"), str):
        raise ValueError("the network's configuration has no model_type")
    if type(layer) is not int or not 0 <= layer <= MOST_LAYERS:
        raise ValueError(f"layer is {layer!r}, not a whole number up to {MOST_LAYERS}")
    if type(sample_rate) is not int or not RATES_HZ[0] <= sample_rate <= RATES_HZ[1]:
        raise ValueError(f"sample_rate is {sample_rate!r}, not a number of {RATES_HZ} Hz")
    for key, value in _numbers(network):
        most = MOST_LAYERS if key.endswith("layers") else LARGEST_NUMBER
        if abs(value) > most:
            raise ValueError(f"{key} is {value}, more than {most}")


def _refuse_huge(module: nn.Module) -> None:
    count = sum(weights.numel() for weights in module.parameters())
    if count > MOST_WEIGHTS:
        raise ValueError(f"the network would have {count} weights; {MOST_WEIGHTS} are the most")


def _numbers(held: Any, key: str = "") -> Iterator[tuple[str, int]]:
    if type(held) is int:
        yield key, held
    elif isinstance(held, Mapping):
        for name, value in held.items():
            yield from _numbers(value, str(name))
    elif isinstance(held, (list, tuple)):
        for value in held:
            yield from _numbers(value, key)


def _name_versions(module: nn.Module, incompatible: Any) -> None:
    """Say why a saved model's weights do not fit: another version gives them other names."""
    now = str(_transformers().__version__)
    made_with = getattr(module, "made_with", now)
    if (incompatible.missing_keys or incompatible.unexpected_keys) and made_with != now:
        raise ModelError(
            f"made with Transformers {made_with}, whose weights have other names than in {now}: "
            f"pip install transformers=={made_with}"
        )
