"""Later modules, learnt by a model that does not know them: the rest of the model stays as it is.

Simulated raw vocals lack what the modules do (their ``undo``, :mod:`diffconsole.modules`); encoder
and head are fixed, and the rows of the modules' parameters are fitted to what the head's network
and the voice features say of them::

    mean = sigmoid(w·x + v·z + b)

with x the head's last hidden layer and z the standardised voice features. The loss is that of
pretraining (:mod:`.targets`): the Gaussian negative log-likelihood, each setting weighted by how
audible it is, which for a module with a range in dB is how much of it there is to do. Validation
speakers choose the weight decay, scale the deviations, and calibrate how likely each module is on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...encoders.logmel import LogMelEncoder
from ...errors import ModelError
from ...model.head import LEAST_LOG_VARIANCE, Head
from ...model.known import Known
from ...model.predictor import Predictor
from ...model.switches import RULES, is_on
from ...model.voice_features import MIN_FEATURE_STD, extract_voice_features
from ...strip.later import LATER, rest_value
from ...strip.parameters import BY_KEY, CHAIN, PARAMETERS
from .pretrain_options import MODULE_EXAMPLES
from .simulate import SAMPLE_RATE, Voices, simulate
from .strips import Strips

__all__ = ["learn_modules", "learnable_modules"]

VALIDATION_SHARE = 0.25
SEED = 5
SECONDS = 12.0
"""Of a vocal: long enough to have pauses, as noise is only visible there."""

DECAYS = tuple((hidden, voice) for hidden in (0.1, 0.3, 1.0) for voice in (0.001, 0.01))
"""Of the hidden layer's weights and of the voice features': there are far more of the former."""

STEPS, LEARNING_RATE = 400, 0.02
LEAST_RELEVANCE = 0.05
LOWEST_REST = 1e-4
"""The normalised value of a row that is to rest at 0: inaudibly close to it."""


def learnable_modules() -> tuple[str, ...]:
    """Return the later modules that can be undone, by key, in the order of the chain."""
    return tuple(m.key for m in CHAIN if m.key in LATER and hasattr(m.code(), "undo"))


@dataclass(frozen=True)
class _Examples:
    """Of simulated raw vocals: what the rows see, and the right settings of all parameters."""

    hidden: Tensor
    voice: Tensor
    target: Tensor


def learn_modules(
    model: Predictor,
    modules: Collection[str],
    train: Voices,
    validation: Voices,
    rooms: Sequence[np.ndarray],
    strips: Strips,
    *,
    examples: int = MODULE_EXAMPLES,
    seed: int = 0,
    report_progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Fit the rows of later modules of a model's first head; the others stay as they are.

    A second head, which brings a voice to the style of another, leaves the modules at rest.

    Parameters
    ----------
    model : Predictor
        On the log-mel encoder. Its :attr:`~diffconsole.model.predictor.Predictor.known` then
        includes the modules.
    modules : collection of str
        Keys, from :func:`learnable_modules`.
    train, validation : Voices
        Of different speakers.
    rooms : sequence of ndarray
        Impulse responses.
    strips : Strips
        Where the other settings are drawn from.
    examples : int
        Simulated raw vocals to fit to; a quarter as many decide.
    seed : int
        Of the examples.
    report_progress : callable
        Gets the share done.

    Returns
    -------
    dict
        Figures on the validation speakers: by module the share of right decisions whether it is on
        (``"decided"``), that of always saying what is more frequent (``"always"``), and the mean
        absolute errors of its settings where it is on, in their units (``"errors"``) and of the
        training examples' medians (``"medians"``).

    Raises
    ------
    ModelError
        A module cannot be undone, or the model has another encoder.
    """
    unknown = sorted(set(modules) - set(learnable_modules()))
    if unknown:
        raise ModelError(
            f"{unknown[0]}: no module that can be learnt from simulated vocals; give some of "
            f"{', '.join(learnable_modules())}"
        )
    if not isinstance(model.encoder, LogMelEncoder):
        raise ModelError(f"modules are learnt on the encoder logmel, not {model.encoder.name}")
    ordered = [m.key for m in CHAIN if m.key in modules]
    count = max(1, round(VALIDATION_SHARE * examples))
    both = {}
    for voices, first, number in ((train, 0, examples), (validation, examples, count)):

        def report(done: int, first: int = first) -> None:
            report_progress((first + done) / (examples + count))

        both[first] = _examples(model, ordered, voices, rooms, strips, seed, number, first, report)
    made = list(both.values())
    places = [i for i, p in enumerate(PARAMETERS) if p.module in ordered]
    _fill_rows(model, places, *made)
    model.known = Known(
        frozenset(key for key in model.known.unknown if BY_KEY[key].module not in ordered),
        model.known.ignored,
    )
    return _figures(model, ordered, *made)


@torch.no_grad()
def _examples(
    model: Predictor,
    modules: Sequence[str],
    voices: Voices,
    rooms: Sequence[np.ndarray],
    strips: Strips,
    seed: int,
    count: int,
    first: int,
    report_progress: Callable[[int], None],
) -> _Examples:
    encoder, head = model.encoder.eval(), model.head.eval()
    assert isinstance(encoder, LogMelEncoder)
    device = next(model.parameters()).device
    hidden, voice, target = [], [], []
    for number in range(count):
        rng = np.random.default_rng((seed, SEED, first + number))
        example = simulate(voices, rooms, strips, rng, SECONDS, modules)
        mel = encoder.mel(torch.from_numpy(example.raw[None]).to(device))
        pooled = Head.pool(encoder.frames_of(mel.float()))
        hidden.append(head.body(head.norm(pooled))[0].cpu())
        voice.append(extract_voice_features(example.raw[None], SAMPLE_RATE))
        target.append(torch.from_numpy(example.normalised()))
        report_progress(number + 1)
    return _Examples(*map(torch.stack, (hidden, voice, target)))


def _fill_rows(
    model: Predictor, places: Sequence[int], train: _Examples, validation: _Examples
) -> None:
    head = model.head
    if not bool(head.voice.weight.any()):
        # Pretraining leaves the voice's map at zero: nothing else depends on its scale yet.
        least = torch.tensor(MIN_FEATURE_STD)
        head.voice_mean.copy_(train.voice.mean(dim=0))
        head.voice_std.copy_(torch.maximum(train.voice.std(dim=0), least))
    weight = _relevance(validation.target)[:, list(places)]
    best: tuple[float, _Rows] | None = None
    for decays in DECAYS:
        rows = _Rows(head, places)
        rows.fit(train, *decays)
        loss = float(rows.loss(validation, weight).detach())
        if best is None or loss < best[0]:
            best = loss, rows
    assert best is not None
    with torch.no_grad():
        best[1].write()
        if model.style is not None:
            _rest(model.style, places)
    _calibrate(head, places, validation)


class _Rows(nn.Module):
    """The rows of some parameters of a head, apart from it."""

    def __init__(self, head: Head, places: Sequence[int]) -> None:
        super().__init__()
        self.head, self.places = (head,), list(places)
        self.mean = nn.Linear(head.mean.in_features, len(places))
        self.voice = nn.Linear(head.voice.in_features, len(places), bias=False)
        self.log_variance = nn.Linear(head.mean.in_features, len(places))
        for layer in (self.mean, self.voice, self.log_variance):
            nn.init.zeros_(layer.weight)

    def forward(self, of: _Examples) -> tuple[Tensor, Tensor]:
        z = self.head[0].standardise_voice(of.voice)
        logits = self.mean(of.hidden) + self.voice(z)
        return logits.sigmoid(), self.log_variance(of.hidden).clamp(LEAST_LOG_VARIANCE, 1.0)

    def loss(self, of: _Examples, weight: Tensor) -> Tensor:
        mean, log_variance = self(of)
        squared = (of.target[:, self.places] - mean) ** 2
        return (weight * (squared * torch.exp(-log_variance) + log_variance)).mean()

    def fit(self, train: _Examples, hidden_decay: float, voice_decay: float) -> None:
        weight = _relevance(train.target)[:, self.places]
        middle = train.target[:, self.places].mean(dim=0).clamp(0.005, 0.995)
        with torch.no_grad():
            self.mean.bias.copy_(torch.logit(middle))
            self.log_variance.bias.fill_(-3.0)
        optimizer = torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * 0.5 * (1.0 + np.cos(np.pi * step / STEPS))
            hidden = self.mean.weight.square().sum() + self.log_variance.weight.square().sum()
            penalty = hidden_decay * hidden + voice_decay * self.voice.weight.square().sum()
            optimizer.zero_grad(set_to_none=True)
            (self.loss(train, weight) + penalty).backward()
            optimizer.step()

    def write(self) -> None:
        head = self.head[0]
        head.mean.weight[self.places] = self.mean.weight.to(head.mean.weight)
        head.mean.bias[self.places] = self.mean.bias.to(head.mean.bias)
        head.voice.weight[self.places] = self.voice.weight.to(head.voice.weight)
        head.log_variance.weight[self.places] = self.log_variance.weight.to(head.mean.weight)
        head.log_variance.bias[self.places] = self.log_variance.bias.to(head.mean.bias)
        head.skip.weight[self.places] = 0.0
        head.log_scale[self.places] = 0.0


def _relevance(target: Tensor) -> Tensor:
    """How audible each setting is, by the range of its module, ``(examples, parameters)``."""
    columns = []
    for p in PARAMETERS:
        rule = RULES.get(p.module)
        if rule is None or rule.key == p.key:
            columns.append(torch.ones(len(target)))
        else:
            place = next(i for i, other in enumerate(PARAMETERS) if other.key == rule.key)
            amount = (target[:, place] / target[:, place].max().clamp(min=1e-6)).clamp(0.0, 1.0)
            columns.append(amount.clamp(min=LEAST_RELEVANCE))
    return torch.stack(columns, dim=-1)


def _rest(head: Head, places: Sequence[int]) -> None:
    """Make rows answer the values at which their modules do nothing, surely."""
    for place in places:
        p = PARAMETERS[place]
        rest = min(max(float(p.to_normalised(rest_value(p))), LOWEST_REST), 1.0 - LOWEST_REST)
        for layer in (head.mean, head.log_variance, head.skip, head.voice):
            layer.weight[place] = 0.0
        head.mean.bias[place] = float(torch.logit(torch.tensor(rest)))
        head.log_variance.bias[place] = LEAST_LOG_VARIANCE
        head.log_scale[place] = 0.0


def _answer(head: Head, of: _Examples) -> tuple[Tensor, Tensor]:
    """Means and deviations of all parameters, from the hidden layer."""
    device = head.mean.weight.device
    hidden, voice = of.hidden.to(device), of.voice.to(device)
    logits = head.mean(hidden) + head.voice(head.standardise_voice(voice))
    log_variance = head.log_variance(hidden).clamp(LEAST_LOG_VARIANCE, 1.0) + 2.0 * head.log_scale
    return logits.sigmoid().cpu(), log_variance.cpu()


@torch.no_grad()
def _calibrate(head: Head, places: Sequence[int], validation: _Examples) -> None:
    """Scale the deviations of some rows, and the probabilities of their modules' switches."""
    scale, line = head.log_scale.clone(), head.switch_line.clone()
    head.calibrate(*_answer(head, validation), validation.target)
    own = {PARAMETERS[place].section for place in places}
    for place in range(len(PARAMETERS)):
        if place not in places:
            head.log_scale[place] = scale[place]
    for column, switch in enumerate(RULES):
        if switch not in own:
            head.switch_line[:, column] = line[:, column]


@torch.no_grad()
def _figures(
    model: Predictor, modules: Sequence[str], train: _Examples, validation: _Examples
) -> dict[str, Any]:
    mean, log_variance = _answer(model.head, validation)
    likely = model.head.switches(mean, (0.5 * log_variance).exp()).cpu()
    right, before = is_on(validation.target), is_on(train.target)
    found: dict[str, Any] = {}
    for module in modules:
        column = list(RULES).index(module)
        decided = (likely[:, column] > 0.5) == right[:, column]
        often = before[:, column].float().mean() > 0.5
        errors, medians = {}, {}
        on, was_on = right[:, column], before[:, column]
        for place, p in enumerate(PARAMETERS):
            if p.module != module or not bool(on.any()) or not bool(was_on.any()):
                continue
            known = torch.tensor([p.to_physical(float(u)) for u in validation.target[on, place]])
            said = torch.tensor([p.to_physical(float(u)) for u in mean[on, place]])
            middle = p.to_physical(float(train.target[was_on, place].median()))
            errors[p.name] = float(f"{(said - known).abs().mean():.4g}")
            medians[p.name] = float(f"{(middle - known).abs().mean():.4g}")
        found[module] = {
            "decided": round(float(decided.float().mean()), 3),
            "always": round(float((on == often).float().mean()), 3),
            "errors": errors,
            "medians": medians,
        }
    return found
