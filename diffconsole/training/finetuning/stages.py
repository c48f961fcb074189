"""The work of fine-tuning: what is trained in each stage, a step, an epoch, the measure.

Every stage moves a part of the model by the distance of the console's output to the mix: first
one strip for all vocals (the head's offsets), then offsets from it by the voice
(the head's linear maps, on features that are found once), then the encoder's top stages too.
An L2 penalty, in units of the labels' deviation, holds the settings close to those of the stage's
beginning.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...console import Console
from ...losses import mix_distance
from ...model.head import Head
from ...model.predictor import ESTIMATE_BIAS_STD, WINDOW_SECONDS, Predictor
from ...model.voice_features import MIN_FEATURE_STD, extract_voice_features
from ...pairs import PAIR_RATE, Pair
from ...strip.later import is_later
from ...strip.parameters import PARAMETERS, denormalize
from ..distributed import Workers
from ..matching.descent import BLIND
from .engineer_prior import shipped_prior
from .finetune_options import FinetuneOptions
from .map_estimates import ADAM_EPS, LOSS_STRIDE, map_estimates_of
from .segments import SegmentLoader, SegmentRef, places_of
from .studio_strip import in_terms_of, label_std_of, middle_of

__all__ = ["TRAINED", "Work", "reset_to_constant"]

TRAINED = ("studio", "head", "top")
"""Stages that train in epochs."""

LEAD_SECONDS = 1.0
L2_PENALTY = {"studio": 0.01, "head": 0.03, "top": 0.03}
VARIANTS = 3
MOST_STEPS = 20
"""Of an epoch: what a run that is killed loses, and how often the pairs held out are asked."""

PRIOR_VOICES = 8.0
"""Voices that the deviation between voices in general counts as, beside a studio's own."""

MOST_CLIPPED = 5.0
SEEN = torch.tensor([p.key not in BLIND and not is_later(p) for p in PARAMETERS])
"""Settings that gradients move; the other gains are the makeup's, the pre-delay the labels'. Those
of later modules that a studio has are moved too."""


def reset_to_constant(head: Head, strip: Tensor, deviation: Tensor) -> None:
    """Make a head predict one strip, with one uncertainty, for every input.

    Parameters
    ----------
    head : Head
        Its network is kept and not used.
    strip : Tensor
        ``(parameters,)`` in 0…1, the point estimate that the head returns.
    deviation : Tensor
        ``(parameters,)``, normalised.
    """
    side = torch.tensor([ESTIMATE_BIAS_STD.get(p.key, 0.0) for p in PARAMETERS])
    with torch.no_grad():
        for layer in (head.mean, head.log_variance, head.skip, head.voice):
            layer.weight.zero_()
        mean = (strip - side * deviation).clamp(0.005, 0.995)
        head.mean.bias.copy_(torch.logit(mean))
        head.log_variance.bias.copy_(2.0 * deviation.log())
        # The calibration was that of the answers that are gone.
        head.log_scale.zero_()
        head.switch_line.copy_(
            head.switch_line.new_tensor([[1.0], [0.0]]).expand_as(head.switch_line)
        )


class _Answer(nn.Module):
    """The model, from encoder input or from pooled features, as DistributedDataParallel wants."""

    def __init__(self, model: Predictor) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, voice_features: Tensor, is_audio: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        pooled = self.model.head.pool(self.model.encoder(x)) if is_audio else x
        mean, log_variance = self.model.head.predict_from_pooled(pooled, voice_features)
        # Gradients are awaited for everything that is trained; an encoder may leave some unused.
        trained = [p.sum() for p in self.parameters() if p.requires_grad]
        return mean + 0.0 * torch.stack(trained).sum(), log_variance, pooled.detach()


class Work:
    """The pairs and the model of a run, and what is done with them."""

    def __init__(
        self,
        model: Predictor,
        train: Sequence[Pair],
        held: Sequence[Pair],
        options: FinetuneOptions,
        device: str,
        workers: Workers,
    ) -> None:
        self.model, self.options, self.device, self.workers = model, options, device, workers
        self.train, self.held = SegmentLoader(train, model), SegmentLoader(held, model)
        self.places = {variant: places_of(train, variant) for variant in range(VARIANTS)}
        self.held_places = places_of(held)
        self.console, self.seen = self._console(), SEEN
        self.lead = int(LEAD_SECONDS * PAIR_RATE)
        self.voice_features = torch.stack(
            [extract_voice_features(t.mono, PAIR_RATE) for t in self.train.takes]
        )
        self.held_voice_features = torch.stack(
            [extract_voice_features(t.mono, PAIR_RATE) for t in self.held.takes]
        )
        self.middle: Tensor | None = None
        self.label_std = torch.full((len(PARAMETERS),), 0.1)
        self.anchor: Head = copy.deepcopy(model.head)
        self._pooled: dict[int, Tensor] = {}
        self._net: nn.Module = _Answer(model)
        # Convolutions of weights that await a gradient differ in the last digits: a run that goes
        # on must not begin with them.
        model.eval().requires_grad_(False)

    def _console(self) -> Console:
        return Console(PAIR_RATE, bypass=self.model.off, reverb_seconds=WINDOW_SECONDS)

    def use_later(self, keys: Collection[str]) -> None:
        """Take parameters of these keys into the strip, which the model knows by now."""
        moved = [p.key in keys and p.key not in BLIND for p in PARAMETERS]
        self.console, self.seen = self._console(), SEEN | torch.tensor(moved)

    # Features

    def _pool(self, cutter: SegmentLoader, places: Sequence[SegmentRef]) -> Tensor:
        """Mean and deviation of the frozen encoder's frames; every process finds a part."""
        rows, _ = self.workers.shard(torch.arange(len(places)))
        found = []
        with torch.no_grad():
            for some in rows.split(self.options.batch):
                audio = cutter.encoder_input([places[i] for i in some.tolist()]).to(self.device)
                found.append(self.model.head.pool(self.model.encoder(audio)).cpu())
        return self.workers.collect(torch.cat(found), len(places))

    def pooled(self, variant: int) -> Tensor:
        """Features of a variant of the segments, before the encoder is trained."""
        if variant not in self._pooled:
            self._pooled[variant] = self._pool(self.train, self.places[variant])
        return self._pooled[variant]

    def held_pooled(self) -> Tensor:
        """Features of the segments held out, before the encoder is trained."""
        if -1 not in self._pooled:
            self._pooled[-1] = self._pool(self.held, self.held_places)
        return self._pooled[-1]

    # What the labels give

    def learn(self, labels: Tensor) -> bool:
        """Set the middle and the deviation of the labels; return whether there are any.

        Parameters
        ----------
        labels : Tensor
            ``(pairs, parameters)`` in 0…1, NaN where there is none.
        """
        known = labels[~labels.isnan().any(dim=1)]
        if len(known) and self.middle is None:
            self.middle = middle_of(known)
            self.label_std = label_std_of(in_terms_of(self.middle, known) - self.middle)
        return len(known) > 0

    def start_studio(self) -> None:
        """Predict the middle of the labels for every vocal."""
        assert self.middle is not None
        reset_to_constant(self.model.head, self.middle, self.label_std)

    def strip(self) -> Tensor:
        """Point estimate of a head that predicts one strip for every vocal, ``(parameters,)``."""
        head = self.model.head
        with torch.no_grad():
            deviation = (head.log_variance.bias / 2.0).exp()
            chosen = self.model.point_estimate(head.mean.bias.sigmoid(), deviation).cpu()
        # Kept under its digits: the last of them may differ between machines.
        return self.workers.broadcast(chosen)

    def map_estimates(
        self,
        prints: Sequence[str],
        folder: Path,
        over: Callable[[], bool],
        report: Callable[[float, float], None] = lambda *_: None,
    ) -> Tensor:
        """The settings closest to the strip that make each pair's mix."""
        return map_estimates_of(
            self.train, self.places[0], prints, self.strip(), self.seen, self.console, self.lead,
            folder, device=self.device, workers=self.workers, over=over, report=report,
        )  # fmt: skip

    def means(self) -> Tensor:
        """The encoder's features of each pair, ``(pairs, 2·dim)``."""
        pooled = self.pooled(0)
        owner = torch.tensor([place.pair for place in self.places[0]])
        # A window more or less of a vocal: what counts is the mean, as when it is predicted.
        return torch.stack(
            [pooled[owner == i].mean(dim=0) for i in range(len(self.voice_features))]
        )

    def standardise_inputs(self, known: Tensor | None = None) -> Tensor:
        """Standardise the input of the linear maps for these voices.

        Parameters
        ----------
        known : Tensor, optional
            ``(pairs,)`` bool, which count; all, where none does.

        Returns
        -------
        Tensor
            ``(pairs, 2·dim)``, the encoder's features of each.
        """
        head, mean = self.model.head, self.means()
        rows = known if known is not None and bool(known.any()) else slice(None)
        least = self.voice_features.new_tensor(MIN_FEATURE_STD)
        with torch.no_grad():
            head.feature_mean.copy_(mean[rows].mean(dim=0))
            head.feature_std.copy_(mean[rows].std(dim=0, unbiased=False) + 1e-3)
            head.voice_mean.copy_(self.voice_features[rows].mean(dim=0))
            found = self.voice_features[rows]
            # A few voices, or one singer's, lie closer together than voices do.
            prior_variance = PRIOR_VOICES * torch.from_numpy(shipped_prior().voice_std).square()
            variance = len(found) * found.var(dim=0, unbiased=False) + prior_variance
            deviation = (variance / (len(found) + PRIOR_VOICES)).sqrt()
            head.voice_std.copy_(torch.maximum(deviation, least))
        return mean

    @torch.no_grad()
    def distances_at(self, points: Tensor, places: Sequence[SegmentRef]) -> Tensor:
        """Distance of settings ``(places, parameters)`` to the mix of each segment."""
        rows, _ = self.workers.shard(torch.arange(len(places)))
        found = []
        for some in rows.split(self.options.batch):
            chosen = points[some].float().to(self.device)
            found.append(self.distance(chosen, self.train, [places[i] for i in some.tolist()]))
        return self.workers.collect(torch.cat(found).cpu(), len(places))

    # Training

    def optimizer(self, stage: str) -> torch.optim.Optimizer:
        """Choose what a stage trains; the rest is frozen."""
        options, head = self.options, self.model.head
        self.model.requires_grad_(False)
        head.mean.bias.requires_grad_(True)
        if stage == "studio":
            groups: list[dict[str, Any]] = [{"params": [head.mean.bias], "lr": options.studio_rate}]
        else:
            groups = [{"params": [head.mean.bias], "lr": options.head_rate}]
            for layer in (head.skip, head.voice):
                layer.weight.requires_grad_(True)
                # All features of a voice move a setting together.
                rate = options.head_rate / layer.in_features
                groups.append({"params": [layer.weight], "lr": rate})
        for group in groups:
            # What is hardly audible has gradients of little but rounding: it stays where it is.
            group["eps"] = ADAM_EPS
        if stage == "top":
            top = [module for _, module in self.model.encoder.stages()[-options.top_stages :]]
            upper = [p for module in top for p in module.parameters()]
            for parameter in upper:
                parameter.requires_grad_(True)
            groups.append({"params": upper, "lr": options.top_rate})
        for group in groups:
            group["most"] = group["lr"]
        self._net = self.workers.wrap(_Answer(self.model), self.device)
        return torch.optim.AdamW(groups, betas=(0.85, 0.97), weight_decay=0.0)

    def set_anchor(self, state: dict[str, Tensor]) -> None:
        """Set the head whose settings the L2 penalty holds the model's close to."""
        part = {k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")}
        self.anchor.load_state_dict(part)
        self.anchor.to(self.device).requires_grad_(False).eval()

    def epoch(
        self,
        optimizer: torch.optim.Optimizer,
        stage: str,
        number: int,
        most: int,
        report: Callable[[dict[str, Any]], None],
        most_steps: int = MOST_STEPS,
        pairs: Collection[int] | None = None,
    ) -> list[float]:
        """Go once through a variant of the segments, or as far as an epoch goes; the losses.

        Of some pairs' alone, where these are given.
        """
        # Normalisation statistics of a batch of eight would be noise: they stay as pretrained.
        self.model.eval()
        rng = np.random.default_rng((self.options.seed, TRAINED.index(stage), number))
        variant = number % VARIANTS
        order = torch.from_numpy(rng.permutation(len(self.places[variant])))
        if pairs is not None:
            own = [self.places[variant][i].pair in pairs for i in order.tolist()]
            order = order[torch.tensor(own)]
        steps = order.split(self.options.batch)[: min(most_steps, MOST_STEPS)]
        losses = []
        for step, rows in enumerate(steps):
            share = (number + step / len(steps)) / most
            for group in optimizer.param_groups:
                group["lr"] = group["most"] * (0.525 + 0.475 * math.cos(math.pi * share))
            losses.append(self.step(optimizer, stage, variant, rows))
            fraction = (number + (step + 1) / len(steps)) / most
            report({"stage": stage, "fraction": fraction, "loss": losses[-1]})
        return losses

    def step(
        self, optimizer: torch.optim.Optimizer, stage: str, variant: int, rows: Tensor
    ) -> float:
        """Move what is trained once; return the batch's mean distance."""
        mine, weight = self.workers.shard(rows)
        weight = weight.to(self.device)
        places = [self.places[variant][i] for i in mine.tolist()]
        if stage == "studio":
            # The strip is everybody's: nothing of the voice is used.
            features = torch.zeros(len(mine), self.model.head.skip.in_features)
        elif stage == "head":
            features = self.pooled(variant)[mine]
        else:
            features = self.train.encoder_input(places)
        voice_features = self.voice_features[[place.pair for place in places]].to(self.device)
        mean, log_variance, pooled = self._net(
            features.to(self.device), voice_features, stage == "top"
        )
        held_at = self.anchor.predict_from_pooled(pooled, voice_features)[0]
        l2_penalty = ((mean - held_at) / self.label_std.to(self.device)).square().mean(dim=1)
        chosen = self.model.point_estimate(mean, (log_variance / 2).exp())
        distance = self.distance(chosen, self.train, places)
        loss = (weight * (distance + L2_PENALTY[stage] * l2_penalty)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for g in optimizer.param_groups for p in g["params"]]
        seen = self.seen.to(self.device)
        head = self.model.head
        for parameter in (head.mean.bias, head.skip.weight, head.voice.weight):
            if parameter.grad is not None:
                parameter.grad.mul_(seen if parameter.ndim == 1 else seen.unsqueeze(1))
        torch.nn.utils.clip_grad_norm_(parameters, MOST_CLIPPED)
        optimizer.step()
        found = self.workers.collect(distance.detach().cpu(), len(rows))
        return float(found.mean())

    def distance(
        self, chosen: Tensor, cutter: SegmentLoader, places: Sequence[SegmentRef]
    ) -> Tensor:
        """Distance of the settings' results to the mixes, ``(batch,)``."""
        raw, mixed = (audio.to(self.device) for audio in cutter.audio(places))
        result = self.console(raw, denormalize(chosen))
        return mix_distance(
            result[..., self.lead :], mixed[..., self.lead :], PAIR_RATE, stride=LOSS_STRIDE,
            bounded=True,
        )  # fmt: skip

    @torch.no_grad()
    def held_out_distances(self, *, encoder_moved: bool = False) -> list[float]:
        """Mean distance on the segments of each pair held out."""
        self.model.eval()
        count = len(self.held_places)
        rows, _ = self.workers.shard(torch.arange(count))
        pooled = None if encoder_moved else self.held_pooled()
        found = []
        for some in rows.split(self.options.batch):
            places = [self.held_places[i] for i in some.tolist()]
            voice_features = self.held_voice_features[[place.pair for place in places]].to(
                self.device
            )
            if pooled is None:
                encoder_input = self.held.encoder_input(places).to(self.device)
                mean, log_variance = self.model(encoder_input, voice_features)
            else:
                mean, log_variance = self.model.head.predict_from_pooled(
                    pooled[some].to(self.device), voice_features
                )
            chosen = self.model.point_estimate(mean, (log_variance / 2).exp())
            found.append(self.distance(chosen, self.held, places).cpu())
        each = self.workers.collect(torch.cat(found), count)
        owner = torch.tensor([place.pair for place in self.held_places])
        return [float(each[owner == pair].mean()) for pair in range(len(self.held.pairs))]
