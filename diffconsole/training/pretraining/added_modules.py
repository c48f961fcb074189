"""A model that learns later modules, and is otherwise as it was."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..distributed import Workers
from .card import pretrain_card
from .material import load_material
from .module_rows import learn_modules, learnable_modules
from .pretrain_options import PretrainOptions, recorded
from .starting_model import starting_model
from .strips import Strips
from .training_run import Report

__all__ = ["add_modules", "module_record"]


def add_modules(
    options: PretrainOptions, folder: Path, report: Report, trust: bool, processes: Workers
) -> dict[str, Any]:
    """Write the model to start from with the rows of later modules, learnt again.

    Parameters
    ----------
    options : PretrainOptions
        With ``only_modules``.
    folder : Path
        Gets the model.
    report : callable
        Called with ``modules``, the share done.
    trust : bool
        Start from a model that runs its author's code when it is opened.
    processes : Workers
        Those that were started; the first one does the work.

    Returns
    -------
    dict
        The figures that the model to start from records, and those of the modules as ``modules``.

    Raises
    ------
    ModelError
        No model to start from, no examples, or as :func:`.pretrain.pretrain`.
    """
    if options.start_from is None:
        raise ModelError("modules are added to a model; name the model to start from")
    if not options.module_examples:
        raise ModelError("0 simulated vocals teach no module; give some hundreds")
    model = starting_model(options, trust)
    material = load_material(options)
    figures = dict(model.info["held_out"])
    if not processes.is_first:
        return figures
    folder.mkdir(parents=True, exist_ok=True)
    found = learn_modules(
        model, learnable_modules(), material.known, material.strangers, material.rooms,
        Strips.around_anchor(), examples=options.module_examples, seed=options.seed,
        report_progress=lambda share: report({"modules": share}),
    )  # fmt: skip
    info = {**model.info, "modules": module_record(found, options)}
    model.save(folder, info, pretrain_card(info))
    return {**figures, "modules": found}


def module_record(figures: dict[str, Any], options: PretrainOptions) -> dict[str, Any]:
    """Return what a model records of the modules that it learnt apart."""
    return {
        "trained": datetime.date.today().isoformat(),
        "options": recorded(options),
        "figures": figures,
    }
