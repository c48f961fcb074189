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
the end the first head is anchored (:mod:`.anchoring`).
"""

from __future__ import annotations

import copy
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ...encoders.logmel import LogMelEncoder
from ...errors import ModelError
from ...strip.anchor import anchor
from ...strip.parameters import PARAMETERS
from ..checkpoint import load_checkpoint, save_checkpoint
from ..interrupts import uninterrupted
from .anchoring import pooled_raw_vocals, settle, undo_anchoring
from .card import pretrain_card, sources_of
from .examples import SOUNDS, Pool, Schedule, Stream
from .pretrain_model import PretrainModel, make_validation_set, means_of, validate
from .pretrain_options import PretrainOptions, identity_of, recorded, with_present_names
from .simulate import Example as Raw
from .simulate import Voices, load_rooms, load_voices, simulate
from .starting_model import mean_with, starting_model, take_over
from .strips import Strips
from .style_pairs import fit_model_statistics
from .targets import settings_loss

__all__ = ["PretrainOptions", "held_out_examples", "mean_with", "pretrain"]

HELD_OUT_SEED = 2**31 - 1
TIMES_USED = 4.0
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
    report: Callable[[dict[str, Any]], None] = lambda _: None,
    validation: int = 96,
    trust_checkpoint: bool = False,
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
        Processes that make examples.
    validation : int
        Number of examples of the validation speakers.
    trust_checkpoint : bool
        Start from a model that runs its author's code when it is opened.

    Returns
    -------
    dict
        The figures of the model on the validation speakers, beside those of the one fixed
        strip that is the anchor.

    Raises
    ------
    ModelError
        A speaker to hold out is not there, none is left to train on, the model to start from is
        of another kind or was trained on a speaker that is held out here, or the folder holds the
        checkpoint of a run with other data or options.
    AudioError
        The voices or rooms cannot be read.
    """
    torch.manual_seed(options.seed)
    if options.average and options.start_from is None:
        raise ModelError("a mean with the start needs a start; name the model to start from")
    if options.steps == 0 and options.start_from is None:
        raise ModelError("0 steps leave weights of chance; name the model to start from")
    start = None if options.start_from is None else starting_model(options, trust_checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    roles = (("hold out", options.held_out), ("validate on", options.validation))
    if Path(options.voices).is_dir():
        # Before minutes of reading.
        _check_people(options, roles, {p.name for p in Path(options.voices).iterdir()})
    voices = load_voices(options.voices, options.reference, options.finished)
    _check_people(options, roles, set(voices.clips))
    rooms = load_rooms(options.rooms)
    # Read now: what is wrong with a manifest shall not be said when the time is over.
    sources = {
        "voices": sources_of(options.voices, "person"),
        "rooms": sources_of(options.rooms, "kind"),
        **({"finished": sources_of(options.finished, "song")} if options.finished else {}),
    }
    apart = {*options.held_out, *options.validation}
    people = [p for p in voices.clips if p not in apart]
    if not people:
        raise ModelError(f"{options.voices}: all speakers are held out; leave some to train on")
    strips = Strips.around_anchor()
    pretrain_model = PretrainModel(options.bfloat16)
    model = pretrain_model.model
    assert isinstance(model.encoder, LogMelEncoder)
    mel = copy.deepcopy(model.encoder.mel)
    medians = strips.middle
    middle = torch.tensor([p.to_normalised(medians[p.key]) for p in PARAMETERS])
    for head, at in (
        (model.head, anchor()),
        (model.style, middle),
        (pretrain_model.listener, middle),
    ):
        assert head is not None
        head.start_at(at)
    if start is not None:
        take_over(model, start, options)
    pretrain_model.to(device)
    strangers = voices.of(options.validation or options.held_out or people)
    validating = Stream(strangers, rooms, strips, mel, HELD_OUT_SEED, 0)
    validation_set = make_validation_set(validating, validation)
    known = voices.of(people), rooms, strips, options.seed, validation
    began_with: dict[str, float] = {}
    if start is not None:
        began_with = _kept(validate(pretrain_model, validation_set))
        undo_anchoring(start, *known)
        take_over(model, start, options)
    optimizer = torch.optim.AdamW(
        pretrain_model.parameters(), lr=options.learning_rate, weight_decay=0.01
    )
    progress: dict[str, Any] = {
        "step": 0,
        "seconds": 0.0,
        "best": None,
        "options": identity_of(options),
    }
    best: dict[str, Tensor] = {}
    checkpoint = folder / CHECKPOINT
    if resume and checkpoint.exists():
        # A run of before there were options in it is of these.
        like = {key: progress[key] for key in ("step", "seconds", "best")}
        progress, best = load_checkpoint(checkpoint, pretrain_model, optimizer, like)
        stored = with_present_names(progress.get("options", identity_of(options)))
        if stored != identity_of(options):
            raise ModelError(
                f"{folder}: holds an unfinished run with other data or options; repeat that "
                "command to finish it, or add --force to start again"
            )

    if start is not None and "started_from" not in progress:
        progress["started_from"] = {
            **{name: start.info[name] for name in RECORDED if name in start.info},
            "held_out": began_with,
        }

    units = max(1, options.batch // SOUNDS)
    fresh = max(1, round(units / TIMES_USED))
    schedule = Schedule(options.seed, fresh, units)
    stream = Stream(voices.of(people), rooms, strips, mel, options.seed, progress["step"], schedule)
    loader = DataLoader(
        stream, None, num_workers=workers, prefetch_factor=8, worker_init_fn=_one_thread
    )
    pool = Pool(schedule)
    budget = options.minutes * 60.0
    began = time.monotonic() - progress["seconds"]
    saved = validated_at = time.monotonic()
    pretrain_model.train()

    def keep() -> None:
        progress["seconds"] = time.monotonic() - began
        save_checkpoint(checkpoint, pretrain_model, optimizer, progress, best)

    def validate_state() -> None:
        nonlocal best
        figures = validate(pretrain_model, validation_set)
        report({"held_out": figures, "step": progress["step"]})
        with uninterrupted():
            progress["validated"] = progress["step"]
            if progress["best"] is None or figures["sum"] < progress["best"]["sum"]:
                progress["best"] = figures
                best = {k: v.detach().cpu().clone() for k, v in pretrain_model.state_dict().items()}

    def spent() -> float:
        """Share of the budget that is gone."""
        if options.steps is not None:
            return float(progress["step"] / options.steps) if options.steps else 1.0
        return (time.monotonic() - began) / budget

    def step(sounds: Tensor, target: Tensor, share: float) -> float:
        for group in optimizer.param_groups:
            warm = min(1.0, (progress["step"] + 1) / 100)
            group["lr"] = options.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * share))
        losses = pretrain_model(sounds.to(device), target.to(device))
        optimizer.zero_grad(set_to_none=True)
        losses["sum"].mean().backward()
        torch.nn.utils.clip_grad_norm_(pretrain_model.parameters(), 5.0)
        optimizer.step()
        progress["step"] += 1
        return float(losses["sum"].detach().mean())

    def is_time_to_validate() -> bool:
        if options.steps is None:
            return time.monotonic() - validated_at > max(60.0, budget / VALIDATIONS)
        number, every = progress["step"], max(1, round(options.steps / VALIDATIONS))
        # Runs of earlier versions have it under another name.
        last = progress.get("validated", progress.get("judged", 0))
        return bool(number % every == 0 and number != last)

    try:
        for made in loader:
            share = spent()
            if share >= 1.0:
                break
            if is_time_to_validate():
                validate_state()
                validated_at = time.monotonic()
            batch = pool.batch(progress["step"], made)
            # Half a step is no state that a run can resume from.
            with uninterrupted():
                loss = step(batch[0], batch[1], share)
            report({"fraction": share, "step": progress["step"], "loss": loss})
            if time.monotonic() - saved > 120.0:
                keep()
                saved = time.monotonic()
    except KeyboardInterrupt:
        keep()
        raise
    validate_state()
    # What follows takes minutes: a run that is stopped there resumes there.
    keep()
    pretrain_model.load_state_dict(best)
    pretrain_model.eval()
    figures = dict(progress["best"])
    if options.average and start is not None:
        mean_with(model, start)
        figures = _kept(validate(pretrain_model, validation_set))
        pretrain_model.eval()
    # Twice as many: what a state is chosen by needs fewer examples than a calibration.
    enough = make_validation_set(validating, 2 * validation)
    settle(pretrain_model, pooled_raw_vocals(model.encoder, *known), enough, options.anchor_share)
    figures |= _kept(validate(pretrain_model, validation_set))
    pretrain_model.eval()
    at = anchor().to(device).expand(len(validation_set), -1)
    truth = validation_set.target[:, 0].to(device)
    figures["fixed"] = means_of(settings_loss(at, torch.full_like(at, -3.0), truth))
    if options.style_strips:
        # On the CPU: another device would give other statistics.
        pretrain_model.to("cpu")
        model.style_statistics = fit_model_statistics(
            model, voices.of(people), strangers, rooms, options.style_strips, options.seed,
            report_progress=lambda share: report({"statistics": share}),
        )  # fmt: skip
    info: dict[str, Any] = {
        "trained": datetime.date.today().isoformat(),
        "options": recorded(options),
        "steps": progress["step"],
        "budget": "steps" if options.steps is not None else "minutes",
        "anchor_share": options.anchor_share,
        "people": people,
        "held_out": figures,
        "sources": sources,
    }
    if model.style_statistics is not None:
        info["style_statistics"] = model.style_statistics.source
    if "started_from" in progress:
        info["started_from"] = progress["started_from"]
    model.save(folder, info, pretrain_card(info))
    checkpoint.unlink(missing_ok=True)
    return figures


def _check_people(
    options: PretrainOptions, roles: Sequence[tuple[str, Sequence[str]]], there: set[str]
) -> None:
    for role, names in roles:
        unknown = sorted(set(names) - there)
        if unknown:
            raise ModelError(f"{options.voices}: no folder {unknown[0]!r} to {role}")


def _kept(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name in KEPT}


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
