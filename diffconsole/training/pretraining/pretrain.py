"""Pretraining: an encoder and a head, on voices whose right settings are known.

Four tasks share the encoder:

- *finish*: a simulated raw vocal (:mod:`.simulate`); predict the strip that mixes it. This head
  is kept: it is the shipped predictor's.
- *listen*: a voice through a random strip (:mod:`.processed`); predict the strip.
- *style*: a voice before the strip, and one or two others after it, or other passages of the same;
  predict the strip. This head is kept too: it brings a raw vocal to the style of a finished one.
- *match*: of passages through one strip, find the others among the batch, whoever sings, and beside
  the same passage through another strip.

The loss of the first three is the likelihood of the known settings and the error of the EQ's curve
(:mod:`.targets`), of the last the cross-entropy of the cosine similarities (InfoNCE, van den Oord
et al., 2018). Examples are made on the fly in other processes and used a few times each from a
pool, since making one costs more than learning from it. Validation speakers serve
to choose the best state and to calibrate its uncertainty; test speakers are not used at all. In
the end the first head is anchored (:mod:`.anchoring`), and learns the modules that came after
version 1.0 (:mod:`.module_rows`).
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...encoders.logmel import LogMelEncoder
from ...errors import ModelError
from ...model.predictor import Predictor
from ...strip.anchor import anchor
from ...strip.parameters import PARAMETERS
from ..distributed import SINGLE_PROCESS, Workers
from .added_modules import add_modules, module_record
from .anchoring import pooled_raw_vocals, settle, undo_anchoring
from .card import pretrain_card
from .examples import Stream
from .material import Material, load_material
from .module_rows import learn_modules, learnable_modules
from .pretrain_model import PretrainModel, ValidationSet, make_validation_set, means_of, validate
from .pretrain_options import LEAST_MODULE_EXAMPLES, PretrainOptions, recorded
from .simulate import Example as Raw
from .simulate import Voices, simulate
from .starting_model import mean_with, starting_model, take_over
from .strips import Strips
from .style_pairs import fit_model_statistics
from .targets import settings_loss
from .training_run import Report, TrainingRun

__all__ = ["PretrainOptions", "held_out_examples", "mean_with", "pretrain"]

HELD_OUT_SEED = 2**31 - 1
VALIDATIONS = 25
"""Over a run; by time at most one a minute."""

CHECKPOINT = "pretrain.safetensors"
RECORDED = ("trained", "options", "steps", "people", "sources", "started_from")
KEPT = ("total", "likelihood", "error", "curve_db", "style")
"""Figures of what a model keeps; a resumed run has a new listener."""


def held_out_examples(
    voices: Voices, rooms: Sequence[np.ndarray], count: int, strips: Strips | None = None
) -> Iterator[Raw]:
    """Make the fixed simulated raws that models are measured on."""
    strips = strips or Strips.around_anchor()
    for i in range(count):
        yield simulate(voices, rooms, strips, np.random.default_rng((HELD_OUT_SEED, i)))


def pretrain(
    options: PretrainOptions,
    folder: Path,
    *,
    resume: bool = True,
    device: str = "cpu",
    workers: int = 1,
    report: Report = lambda _: None,
    validation: int = 96,
    trust_checkpoint: bool = False,
    processes: Workers = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Train a predictor and write it to `folder`.

    Parameters
    ----------
    options : PretrainOptions
        What to train on and for how long.
    folder : Path
        Gets the model, and a checkpoint each two minutes.
    resume : bool
        Resume from the folder's checkpoint if there is one.
    report : callable
        Called after each step with ``fraction`` of the budget, ``step`` and ``loss``, and after
        each validation with the held-out figures.
    device : str
        ``"cpu"`` or ``"cuda"``.
    workers : int
        Processes that make examples, for each process that trains.
    validation : int
        Number of examples of the validation speakers.
    trust_checkpoint : bool
        Start from a model that runs its author's code when it is opened.
    processes : Workers
        Those that train together (:func:`diffconsole.training.distributed.process_group`). They
        share each batch, and end with the weights that one alone would; the first one writes.

    Returns
    -------
    dict
        The figures of the model on the validation speakers, beside those of the one fixed
        strip that is the anchor. In processes other than the first, the figures of the best
        state alone.

    Raises
    ------
    ModelError
        A speaker to hold out is not there, none is left to train on, the model to start from is
        of another kind or was trained on a speaker that is held out here, the folder holds the
        checkpoint of a run with other data or options, there are more processes than examples
        in a batch, or too few examples to learn a module.
    AudioError
        The voices or rooms cannot be read.
    """
    torch.manual_seed(options.seed)
    if options.average and options.start_from is None:
        raise ModelError("a mean with the start needs a start; name the model to start from")
    if options.steps == 0 and options.start_from is None:
        raise ModelError("0 steps leave weights of chance; name the model to start from")
    if 0 < options.module_examples < LEAST_MODULE_EXAMPLES:
        raise ModelError(
            f"{options.module_examples} simulated vocals teach no module; give some hundreds, "
            f"{LEAST_MODULE_EXAMPLES} at least"
        )
    if options.only_modules:
        return add_modules(options, folder, report, trust_checkpoint, processes)
    start = None if options.start_from is None else starting_model(options, trust_checkpoint)
    if processes.is_first:
        folder.mkdir(parents=True, exist_ok=True)
    material = load_material(options, processes)
    strips = Strips.around_anchor()
    trained = _untrained(options, strips)
    model = trained.model
    if start is not None:
        take_over(model, start, options)
    trained.to(device)
    assert isinstance(model.encoder, LogMelEncoder)
    mel = copy.deepcopy(model.encoder.mel).cpu()
    run = TrainingRun(
        trained, options, folder / CHECKPOINT, processes, device, report, material.shards
    )
    validating = Stream(material.strangers, material.rooms, strips, mel, HELD_OUT_SEED, 0)
    validation_set = make_validation_set(validating, validation, processes)
    known = material.known, material.rooms, strips, options.seed, validation
    began_with: dict[str, float] = {}
    if start is not None:
        began_with = _kept(validate(trained, validation_set, processes))
        undo_anchoring(start, *known)
        take_over(model, start, options)
    if resume:
        run.resume()
    if start is not None and "started_from" not in run.progress:
        run.progress["started_from"] = {
            **{name: start.info[name] for name in RECORDED if name in start.info},
            "held_out": began_with,
        }
    stream = Stream(
        material.training, material.rooms, strips, mel, options.seed, run.progress["step"],
        run.schedule, (processes.rank, processes.size),
    )  # fmt: skip
    run.train(stream, workers, validation_set, VALIDATIONS)
    if not processes.is_first:
        return dict(run.progress["best"])
    return _finish(run, start, material, strips, validating, validation)


def _untrained(options: PretrainOptions, strips: Strips) -> PretrainModel:
    """Weights of chance, with heads that start at one strip."""
    trained = PretrainModel(options.bfloat16)
    medians = strips.middle
    middle = torch.tensor([p.to_normalised(medians[p.key]) for p in PARAMETERS])
    for head, at in (
        (trained.model.head, anchor()),
        (trained.model.style, middle),
        (trained.listener, middle),
    ):
        assert head is not None
        head.start_at(at)
    return trained


def _finish(
    run: TrainingRun,
    start: Predictor | None,
    material: Material,
    strips: Strips,
    validating: Stream,
    validation: int,
) -> dict[str, Any]:
    """Anchor and calibrate the best state, measure it, and write the model."""
    trained, options, device = run.trained, run.options, run.device
    model = trained.model
    assert isinstance(model.encoder, LogMelEncoder)
    trained.load_state_dict(run.best)
    trained.eval()
    figures = dict(run.progress["best"])
    # Twice as many: what a state is chosen by needs fewer examples than a calibration.
    enough = make_validation_set(validating, 2 * validation)
    validation_set = ValidationSet(enough.sounds[:validation], enough.target[:validation])
    if options.average and start is not None:
        mean_with(model, start)
        figures = _kept(validate(trained, validation_set))
        trained.eval()
    known = material.known, material.rooms, strips, options.seed, validation
    settle(trained, pooled_raw_vocals(model.encoder, *known), enough, options.anchor_share)
    figures |= _kept(validate(trained, validation_set))
    trained.eval()
    at = anchor().to(device).expand(len(validation_set), -1)
    truth = validation_set.target[:, 0].to(device)
    figures["fixed"] = means_of(settings_loss(at, torch.full_like(at, -3.0), truth))
    if options.style_strips:
        # On the CPU: another device would give other statistics.
        trained.to("cpu")
        model.style_statistics = fit_model_statistics(
            model, material.known, material.strangers, material.rooms, options.style_strips,
            options.seed, report_progress=lambda share: run.report({"statistics": share}),
        )  # fmt: skip
    info: dict[str, Any] = {
        "trained": datetime.date.today().isoformat(),
        "options": recorded(options),
        "steps": run.progress["step"],
        "budget": "steps" if options.steps is not None else "minutes",
        "anchor_share": options.anchor_share,
        "people": material.people,
        "held_out": dict(figures),
        "sources": material.sources,
    }
    if options.module_examples:
        trained.to("cpu")
        info["modules"] = module_record(
            learn_modules(
                model, learnable_modules(), material.known, material.strangers, material.rooms,
                strips, examples=options.module_examples, seed=options.seed,
                report_progress=lambda share: run.report({"modules": share}),
            ),
            options,
        )  # fmt: skip
    if model.style_statistics is not None:
        info["style_statistics"] = model.style_statistics.source
    if "started_from" in run.progress:
        info["started_from"] = run.progress["started_from"]
    if "modules" in info:
        figures["modules"] = info["modules"]["figures"]
    model.save(run.checkpoint.parent, info, pretrain_card(info))
    run.checkpoint.unlink(missing_ok=True)
    return figures


def _kept(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name in KEPT}
