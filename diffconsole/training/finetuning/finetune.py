"""Fine-tuning on a studio's pairs, in stages that each have to prove themselves.

1. ``labels``: a quick match of pairs, at most 40: more say little more of what is common to them.
2. ``modules``: those that came later, where most of the mixes show them (:mod:`.module_search`).
3. ``studio``: one strip for every vocal, from the labels' middle, moved by the distance of the
   console's output to the mixes. It is most of a studio's sound.
4. ``near``: for each pair the settings closest to that strip that make its mix (maximum a
   posteriori estimates).
5. ``ridge``: their offsets from it by the voice, in closed form, with a prior over engineers
   (:mod:`.engineers`). Labels are weighed by the confidence in them (:mod:`.label_confidence`);
   pairs that the offsets were not fitted to decide by which amounts they apply (:mod:`.amounts`).
6. ``head``: strip and offsets together, by the distance through the console.
7. ``top``: the encoder's top stages too, at a low rate.

A part of the pairs is held out: each stage stops by them, the next begins at the best state so far,
and the best of all counts, the model as it was included. Fewer than 20 pairs are all learnt from,
and each decides as those with other voices predict it (:mod:`.cross_validation`); the encoder then
stays as it is. No single pair decides (:mod:`.selection`), and the side of a nearly mono mix counts
no lower than it is audible (:mod:`diffconsole.losses.distance`). The state is kept after each epoch
and each label, so a run that was stopped resumes where it was and ends the same.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...audio.windows import spread_evenly
from ...model.predictor import Predictor
from ...pairs import Pair
from ...strip.parameters import PARAMETERS
from ..distributed import SINGLE_PROCESS, Workers
from ..log import LOG
from .cross_validation import (
    TRAINED_FOLDS,
    Fitted,
    crossed_distances,
    crossed_epochs,
    crossed_points,
    shifts_of,
)
from .finetune_options import FinetuneOptions, FinetuneResult
from .finetune_state import STAGES, rounded, run_fingerprint
from .labels import LABELS, fingerprint_of, labels_of
from .module_search import find_modules
from .offsets import (
    apply_offsets,
    confidence_at,
    cross_validated_offsets,
    mean_alpha,
    select_offsets,
)
from .run_state import CHECKPOINT, LEAST_BETTER, RunState
from .selection import relative_score, split_pairs
from .stages import MOST_STEPS, Work
from .studio_modules import StudioModules, later_keys
from .voice_clusters import cluster_voices

__all__ = [
    "CHECKPOINT",
    "LOG",
    "STATE_FILES",
    "FinetuneOptions",
    "FinetuneResult",
    "finetune",
    "split_pairs",
]

STATE_FILES = (CHECKPOINT, LABELS)
"""What an unfinished run keeps in its folder."""

MOST_LABELS = 40
Reporter = Callable[[dict[str, Any]], None]


def finetune(
    model: Predictor,
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    folder: Path,
    options: FinetuneOptions,
    *,
    device: str = "cpu",
    workers: Workers = SINGLE_PROCESS,
    report: Reporter = lambda _: None,
) -> FinetuneResult:
    """Fine-tune `model` in place and leave it in its best state.

    Of the modules that came later those are on in what it predicts then that the pairs' mixes show,
    whatever the model knew of them.

    Parameters
    ----------
    model : Predictor
        The model to start from.
    train, held_out : sequence of Pair
        Aligned pairs. Where both are the same, each pair decides as the others predict it.
    folder : Path
        Gets the run's state and its log; a run of the same pairs and options there is
        resumed.
    options : FinetuneOptions
        How.
    device : str
        ``"cpu"`` or ``"cuda"``.
    workers : Workers
        Processes that share the work (:func:`diffconsole.training.distributed.process_group`);
        each has all pairs, the first one writes and reports.
    report : callable
        Called with ``stage``, ``fraction`` (of the stage's most work) and ``loss`` after each
        step, and with ``held_out`` after each epoch.

    Returns
    -------
    FinetuneResult
        The course of the run.

    Raises
    ------
    ModelError
        The folder holds the checkpoint of another run.
    """
    # Known again are those that these pairs show.
    known = model.known.without_untrained()
    if known.unknown != model.known.unknown:
        model.forget(known)
    model.to(device)
    # The number of threads, stated or not, changes the last digits of matrix products: a run that
    # labels its pairs says it, one that resumes later would not.
    torch.set_num_threads(torch.get_num_threads())
    run = _Run(model, train, held_out, folder, options, device, workers, report)
    run.go()
    model.requires_grad_(True)
    for layer in (model.head.skip, model.head.voice):
        layer.requires_grad_(False)
    model.eval()
    return FinetuneResult.of_progress(run.progress, run.best(), run.found)


class _Run(RunState):
    """A run from stage to stage."""

    def __init__(
        self,
        model: Predictor,
        train: Sequence[Pair],
        held: Sequence[Pair],
        folder: Path,
        options: FinetuneOptions,
        device: str,
        workers: Workers,
        report: Reporter,
    ) -> None:
        prints, held_prints = ([fingerprint_of(pair) for pair in some] for some in (train, held))
        fingerprint = run_fingerprint(model, prints, held_prints, options)
        super().__init__(model, folder, options, workers, fingerprint)
        self.device, self.report = device, report if workers.is_first else lambda _: None
        self.pairs, self.prints = train, prints
        self.crossed = len(train) == len(held) and all(map(operator.is_, train, held))
        self.shifts: Tensor | None = None
        self.modules, self.first = StudioModules(), model.known
        self.found: dict[str, dict[str, float]] = {}
        self.work = Work(model, train, held, options, device, workers)
        self.began = time.monotonic()

    def go(self) -> None:
        """Go through the stages from where the run is."""
        if self.workers.broadcast((self.folder / CHECKPOINT).exists()):
            self.resume(self.work.optimizer)
            self.use(StudioModules.of_progress(self.progress["modules"]))
        else:
            self.measure("before")
            self.save()
        own = {"labels": self.label, "modules": self.look, "near": self.estimate, "ridge": self.fit}
        while self.progress["stage"] != "done":
            stage = self.progress["stage"]
            if stage in own:
                own[stage]()
            elif stage == "studio" or not self.crossed:
                self.epochs(stage)
            elif stage == "head":
                self.crossed_head()
            self.progress.update(stage=STAGES[STAGES.index(stage) + 1], epoch=0, worse=0)
            self.optimizer = None
            self.save()
        self.restore(self.best())
        if self.best() == "before":
            self.model.known = self.first
        else:
            self.found = self.modules.own_settings(self.work.strip())
        if self.best() == "top":
            # It knows the encoder as it was.
            self.model.style = None

    # Stages

    def label(self) -> None:
        """Match the pairs, as far as there is time."""
        labels = self.labels(over=lambda: self.is_over("labels"))
        count = int((~labels.isnan().any(dim=1)).sum())
        self.note({"stage": "labels", "labelled": count, "pairs": len(labels)})

    def look(self) -> None:
        """Look for the modules that the mixes have besides, as far as there is time."""
        over, labels = self.is_over("modules"), self.labels()
        if self.workers.is_first and not over:
            self.modules = find_modules(
                self.pairs, labels, seed=self.options.seed, device=self.device,
                over=lambda: self.time_is_up("modules"), report=self.progress_of("modules"),
            )  # fmt: skip
        # By one process: they are the same for all then, to the last digit.
        self.use(self.workers.broadcast(self.modules))
        self.progress["modules"] = self.modules.to_progress()
        if self.modules.on:
            self.note(self.modules.to_log())

    def use(self, modules: StudioModules) -> None:
        """Have modules in the strip from here on."""
        self.modules = modules
        if modules.on:
            self.model.known = self.first.with_also(later_keys(modules.on))
            self.work.use_later(later_keys(modules.on))

    def estimate(self) -> None:
        """Estimate the settings around the strip, as far as there is time."""
        if "studio" not in self.states:
            return
        self.restore("studio")
        estimates = self.map_estimates(over=lambda: self.is_over("near"))
        count = int((~estimates.isnan().any(dim=1)).sum())
        self.note({"stage": "near", "found": count, "pairs": len(estimates)})

    def fit(self) -> None:
        """Fit the offsets from the studio's strip."""
        if "studio" not in self.states:
            return
        self.restore("studio")
        estimates = self.map_estimates()
        confidence = confidence_at(self.work, estimates)
        weights, found, amounts = select_offsets(self.work, estimates, confidence)
        moved = cross_validated_offsets(self.work, found, estimates)
        apply_offsets(self.work, found, amounts)
        self.progress.update(weights=weights, amounts=amounts)
        held, _ = self.measure("ridge", moved)
        self.note({
            "stage": "ridge", "strength": mean_alpha(weights), "held_out": held,
            "amounts": amounts,
            "explained": rounded(found.by_module), "habits": rounded(found.prior_scales),
            "certainty": round(float(confidence.mean()), 4),
        })  # fmt: skip
        self.report({"stage": "ridge", "held_out": held})

    def crossed_head(self) -> None:
        """Train strip and offsets as long as pairs gain that the training leaves out."""
        best, before = self.best(), self.progress["by_pair"]["before"]
        if best == "before":
            return
        self.work.learn(self.labels())
        self.restore("studio")
        estimates = self.map_estimates()
        amounts = self.progress["amounts"] if best == "ridge" else {}
        confidence = confidence_at(self.work, estimates)
        fitted = Fitted(estimates, confidence, self.progress["weights"], amounts)
        steps = min(-(-len(self.work.places[0]) // self.options.batch), MOST_STEPS)
        folds = len(cluster_voices(self.work.voice_features, TRAINED_FOLDS))
        trainings = steps * (folds + 1)
        epochs = min(self.options.head_epochs, self.steps_left("head") // trainings)
        if self.options.steps is None:
            epochs = self.options.head_epochs
        if epochs <= 0:
            return
        found = crossed_epochs(
            self.work, lambda: self.restore("studio"), fitted, self.fold_shifts(), epochs,
            lambda: self.is_over("head"), self.report,
        )  # fmt: skip
        if found is None:
            return
        each = [crossed_distances(self.work, points) for points in found]
        scores = [relative_score(some, before) for some in each]
        for epoch, held in enumerate(scores):
            self.note({"stage": "head", "epoch": epoch + 1, "held_out": held})
        last = int(np.argmin(scores))
        self.report({"stage": "head", "held_out": scores[last]})
        self.restore(best)
        if scores[last] >= self.progress["scores"][best] - LEAST_BETTER:
            return
        if not amounts:
            self.work.standardise_inputs()
        self.work.set_anchor(self.state())
        optimizer = self.work.optimizer("head")
        for epoch in range(last + 1):
            losses = self.work.epoch(optimizer, "head", epoch, epochs, self.report)
            self.progress["steps"] += len(losses)
        self.progress["steps"] += steps * epochs * folds
        self.keep("head", scores[last], each[last], found[last])

    def epochs(self, stage: str) -> None:
        """Train until the pairs held out, the epochs or the time say that it is enough."""
        labelled = self.work.learn(self.labels())
        most = getattr(self.options, f"{stage}_epochs")
        if self.optimizer is None and not self.begin(stage, labelled):
            return
        assert self.optimizer is not None
        self.work.set_anchor(self.states["anchor"])
        while not (
            self.progress["epoch"] >= most
            or self.progress["worse"] >= self.options.patience
            or self.is_over(stage)
        ):
            number = self.progress["epoch"]
            losses = self.work.epoch(
                self.optimizer, stage, number, most, self.report, self.steps_left(stage)
            )
            self.progress["steps"] += len(losses)
            held, better = self.measure(stage)
            self.progress["epoch"] = number + 1
            self.progress["worse"] = 0 if better else self.progress["worse"] + 1
            entry = {"stage": stage, "epoch": number + 1, "train": float(np.mean(losses))}
            self.note({**entry, "held_out": held})
            self.save()
            self.report({"stage": stage, "held_out": held, "fraction": (number + 1) / most})

    def begin(self, stage: str, labelled: bool) -> bool:
        """Set the model to where a stage begins; whether there is anything to be done."""
        if stage == "studio":
            if not labelled:
                return False
            self.work.start_studio()
            held, _ = self.measure("studio")
            self.note({"stage": "studio", "epoch": 0, "held_out": held})
            self.report({"stage": "studio", "held_out": held, "fraction": 0.0})
        else:
            best = self.best()
            self.restore(best)
            for kept in (self.progress["scores"], self.progress["by_pair"]):
                kept[stage] = kept[best]
            head = self.model.head
            if not (head.skip.weight.any() or head.voice.weight.any()):
                self.work.standardise_inputs()
            self.states[stage] = self.state()
        self.states["anchor"] = self.state()
        self.optimizer = self.work.optimizer(stage)
        return True

    # State

    def labels(self, over: Callable[[], bool] = lambda: True) -> Tensor:
        """The labels that are there, and before the time is over those that are not."""
        some = spread_evenly(len(self.pairs), MOST_LABELS)
        labels = torch.full((len(self.pairs), len(PARAMETERS)), float("nan"))
        found = labels_of(
            [self.pairs[i] for i in some], [self.prints[i] for i in some], self.folder,
            seed=self.options.seed, device=self.device, workers=self.workers, over=over,
            report=self.progress_of("labels"),
        )  # fmt: skip
        labels[torch.from_numpy(some)] = self.modules.with_modules(found)
        return labels

    def map_estimates(self, over: Callable[[], bool] = lambda: True) -> Tensor:
        """The same of the estimates around the strip that the model predicts now."""
        return self.work.map_estimates(self.prints, self.folder, over, self.progress_of("near"))

    def progress_of(self, stage: str) -> Callable[[float, float], None]:
        """What reports a stage's progress."""
        return lambda share, loss: self.report({"stage": stage, "fraction": share, "loss": loss})

    def measure(self, stage: str, moved: Tensor | None = None) -> tuple[float, bool]:
        """Keep the model as the stage's state if it is its best; its score, and whether it is.

        Where no pair is held out, each is answered as the others would have it: with the strip of
        the labels but those of its fold, and the offsets `moved` by the fit to the others.
        """
        points = None
        if self.crossed and stage != "before":
            amounts = self.progress["amounts"]
            points = crossed_points(self.work, self.fold_shifts(), moved, amounts)
            each = crossed_distances(self.work, points)
        else:
            each = self.work.held_out_distances(encoder_moved=stage == "top")
        held = relative_score(each, self.progress["by_pair"].get("before", each))
        if stage == "before":
            self.note({"stage": stage, "held_out": held})
            self.report({"stage": "labels", "held_out": held})
        better = held < self.progress["scores"].get(stage, float("inf")) - LEAST_BETTER
        if better:
            self.keep(stage, held, each, points)
        return held, better

    def fold_shifts(self) -> Tensor:
        """By how much the strip moves without the labels of each pair's fold."""
        if self.shifts is None:
            self.shifts = self.workers.broadcast(shifts_of(self.labels(), self.work.voice_features))
        return self.shifts
