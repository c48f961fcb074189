"""The predictor as Python users train it: read, fine-tuned, written and shared in a few lines.

``diffconsole.Predictor`` is this class. What it adds to the model itself is a thin face on
:func:`.finetune.finetune_on_pairs` and :mod:`.hub`.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelError
from ..model.files import read_regular
from ..model.predictor import Predictor as Model
from ..model.predictor import default_model
from ..progress import Progress
from .evaluate import no_progress
from .python_words import python_words

if TYPE_CHECKING:
    from typing_extensions import Self

    from .finetune import FinetunedModel

__all__ = ["Predictor"]

CARD, LARGEST_CARD_BYTES = "README.md", 1 << 20


class Predictor(Model):
    """A model: encoder and head, from a raw vocal to settings.

    Examples
    --------
    >>> from diffconsole import Predictor, VocalPairDataset
    >>> model = Predictor.from_pretrained()  # doctest: +SKIP
    >>> made = model.fine_tune(VocalPairDataset("raw/", "mixed/"), minutes=5)  # doctest: +SKIP
    >>> made.table()["after"], made.table()["before"]  # doctest: +SKIP
    >>> model.save_pretrained("studio/")  # doctest: +SKIP

    Attributes
    ----------
    base : str
        The model's name, which a model that is fine-tuned from it records.
    card : str
        Its card, as Markdown.
    """

    base: str = "unnamed model"
    card: str = ""

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        device: str = "cpu",
        *,
        trust_checkpoint: bool = False,
    ) -> Self:
        """Read a model folder; by default the shipped model.

        Parameters
        ----------
        folder : str or Path, optional
            What :meth:`save`, :meth:`save_pretrained` or a command wrote.
        device : str
            Where to compute.
        trust_checkpoint : bool
            Also open a model on a TorchScript file, which runs the code of the file's author.

        Raises
        ------
        ModelError
            Missing, damaged, without the strip's gains among its parameters, or in need of trust.
        """
        model = super().load(folder, device, trust_checkpoint=trust_checkpoint)
        place = default_model() if folder is None else Path(folder)
        model = cast("Self", model)
        model.base = place.resolve().name
        model.card = _card_in(place)
        return model

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        revision: str | None = None,
        device: str = "cpu",
        trust_checkpoint: bool = False,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Read a model from a folder or from the Hugging Face Hub; by default the shipped one.

        From the Hub only JSON, safetensors and the card are used, and no code of a model runs. The
        exception is a model on a TorchScript file, which is refused without `trust_checkpoint`.

        Parameters
        ----------
        name : str or Path, optional
            A folder; where there is none of this name, ``owner/name`` on the Hub. It needs the
            extra: ``pip install 'diffconsole[hub]'``.
        revision : str, optional
            A commit, branch or tag on the Hub. With a commit it is the same model each time.
        device : str
            Where to compute.
        trust_checkpoint : bool
            As :meth:`load`.
        token : str, optional
            For a private model; by default the one that ``hf auth login`` kept.
        cache_dir : str or Path, optional
            Where downloads are kept; by default the Hub's own cache.
        local_files_only : bool
            Do not connect; use what is in the cache. Without a network that is tried in any case.

        Raises
        ------
        ModelError
            As :meth:`load`; there is no such model on the Hub, what is there is no model of
            diffconsole, the extra is missing, or the Hub cannot be reached.
        """
        if not isinstance(name, str) or Path(name).exists():
            return cls.load(name, device, trust_checkpoint=trust_checkpoint)
        from .hub import download_model, is_hub_id

        if not is_hub_id(name):
            return cls.load(name, device, trust_checkpoint=trust_checkpoint)
        folder, commit = download_model(
            name, revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
        )
        model = cls.load(folder, device, trust_checkpoint=trust_checkpoint)
        model.base = f"{name}@{commit}"
        return model

    def save_pretrained(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the model with what it records and its card; :meth:`from_pretrained` reads it.

        Parameters
        ----------
        folder : str or Path
            Made if it does not exist.
        force : bool
            Replace a model that lies there.

        Raises
        ------
        OutputError
            A model lies there and `force` is not set, or the folder cannot be written.
        """
        from .model_folder import check_model_folder

        with python_words():
            check_model_folder(Path(folder), (), force)
        # Pictures of a run lie beside the model that the run wrote, and nowhere else.
        card = re.sub(r"^!\[[^\]\n]*\]\([^)\n]*\)\n+", "", self.card, flags=re.MULTILINE)
        self.save(folder, self.info, card)

    def push_to_hub(
        self,
        hub_id: str,
        *,
        private: bool = True,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a model of diffconsole",
        create_pr: bool = False,
    ) -> str:
        """Upload the model to the Hugging Face Hub as one commit.

        The model's record and card name the pairs that it was fine-tuned on.

        Parameters
        ----------
        hub_id : str
            ``owner/name``; made if it does not exist.
        private : bool
            Whether only its owner may read it, if it is made now.
        token : str, optional
            By default the one that ``hf auth login`` kept.
        revision : str, optional
            The branch; by default the main branch.
        commit_message : str
            Of the commit.
        create_pr : bool
            Propose the commit instead of making it.

        Returns
        -------
        str
            The commit, which :meth:`from_pretrained` takes as `revision`.

        Raises
        ------
        ModelError
            The Hub refuses it or cannot be reached, or the extra ``hub`` is missing.
        """
        from .hub import FRONT_MATTER, upload_model

        with tempfile.TemporaryDirectory(prefix="diffconsole-") as place:
            folder = Path(place)
            self.save_pretrained(folder)
            card = folder / CARD
            text = card.read_text(encoding="utf-8") if card.is_file() else "# A vocal model\n"
            if not text.startswith("---\n"):
                card.write_text(FRONT_MATTER + text, encoding="utf-8")
            return upload_model(
                folder, hub_id, private=private, token=token, revision=revision,
                message=commit_message, create_pr=create_pr,
            )  # fmt: skip

    def freeze_encoder(self, frozen: bool = True) -> Self:
        """Keep the encoder as it is in every training; return the model.

        :meth:`fine_tune` then leaves out the stage that trains the encoder's top, and an optimizer
        of your own gets no gradient there. The encoder also stays in evaluation mode.

        Parameters
        ----------
        frozen : bool
            False lets it be trained again.
        """
        self.encoder.requires_grad_(not frozen)
        self.encoder.train(self.training and not frozen)
        return self

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether the encoder has weights and none of them is trained."""
        trained = [weight.requires_grad for weight in self.encoder.parameters()]
        return bool(trained) and not any(trained)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, but for an encoder that is frozen."""
        super().train(mode)
        if mode and self.encoder_is_frozen:
            self.encoder.eval()
        return self

    def fine_tune(
        self,
        dataset: Any,
        minutes: float = 10.0,
        learning_rate: float | None = None,
        *,
        folder: str | Path | None = None,
        steps: int | None = None,
        held_out: float | None = None,
        seed: int = 0,
        device: str | None = None,
        force: bool = False,
        progress: Progress = no_progress,
        messages: Callable[[str], None] = lambda _: None,
    ) -> FinetunedModel:
        """Fine-tune the model on pairs of raw and mixed vocals of one studio, in place.

        It does what ``diffconsole finetune`` does, with the same result for the same seed and
        number of steps. Pairs that cannot be used are left out with a warning.

        Parameters
        ----------
        dataset : Dataset or sequence
            A :class:`diffconsole.VocalPairDataset`, or whatever
            :func:`diffconsole.pairs.dataset.pairs_in` takes.
        minutes : float
            Time budget of all stages.
        learning_rate : float, optional
            Of the settings, in logits a step, 0.02 by default; the encoder's top stages are trained
            at 1/2000 of it.
        folder : str or Path, optional
            Where to write the model with its report, log and curves, as the command does. A run
            that was stopped then resumes there. By default nothing is kept on disk;
            :meth:`save_pretrained` writes the model.
        steps : int, optional
            Most training steps, instead of the time.
        held_out : float, optional
            Share of the pairs that decides when to stop. By default 0.2; of fewer than 20 pairs
            none, and each decides as the others predict it.
        seed : int
            Random seed.
        device : str, optional
            By default where the model is; afterwards it is there again.
        force : bool
            Replace a finished model in `folder`.
        progress : callable
            As :data:`diffconsole.progress.Progress`.
        messages : callable
            Called with each line that the user should read.

        Returns
        -------
        FinetunedModel
            The distances to the mixes before and after, and what else the command reports. Its
            `folder` is None where none was given.

        Raises
        ------
        PairError
            No pair is left, or there are too few to hold some out.
        ModelError
            A number is out of range; the run was stopped, or `folder` holds another one.
        OutputError
            `folder` holds a finished model and `force` is not set.
        """
        from ..pairs.dataset import pairs_in
        from ..pairs.evaluation import shortened
        from ..training.finetuning.finetune_options import FinetuneOptions
        from .finetune import finetune_on_pairs

        _check_positive(minutes=minutes, learning_rate=learning_rate, steps=steps)
        options = FinetuneOptions(held_out=held_out, minutes=minutes, steps=steps, seed=seed)
        if learning_rate is not None:
            scale = learning_rate / options.head_rate
            options = replace(
                options,
                studio_rate=scale * options.studio_rate,
                head_rate=learning_rate,
                top_rate=scale * options.top_rate,
            )
        frozen, place = self.encoder_is_frozen, next(self.parameters()).device
        if frozen:
            options = replace(options, top_epochs=0)
        pairs = [shortened(pair) for pair in pairs_in(dataset)]
        with tempfile.TemporaryDirectory(prefix="diffconsole-") as temporary, python_words():
            try:
                made = finetune_on_pairs(
                    pairs, temporary if folder is None else folder, options, model=self,
                    base=self.base, device=device or str(place), force=force, progress=progress,
                    messages=messages,
                )  # fmt: skip
            finally:
                self.to(place)
                if frozen:
                    self.freeze_encoder()
            assert made is not None, "one process alone"
            written = Path(temporary if folder is None else folder)
            self.info, self.card = made.info, _card_in(written)
        if folder is None:
            return replace(made, folder=None)
        self.base = written.resolve().name
        return made


def _card_in(folder: Path) -> str:
    try:
        return read_regular(folder / CARD, LARGEST_CARD_BYTES).decode("utf-8")
    except (OSError, ValueError):
        return ""


def _check_positive(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not 0.0 < value < math.inf:
            raise ModelError(f"{name} is {value}; give a number above 0")
