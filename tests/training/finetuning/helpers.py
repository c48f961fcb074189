"""What the tests of fine-tuning share, in this process and in others that they start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from diffconsole.jobs import evaluate
from diffconsole.model import predictor
from diffconsole.model.predictor import Predictor
from diffconsole.pairs import Pair
from diffconsole.strip.later import FIRST_PARAMETERS
from diffconsole.strip.parameters import PARAMETERS, default_settings
from diffconsole.strip.preset import find_preset
from diffconsole.training.distributed import process_group
from diffconsole.training.finetuning import (
    amounts,
    labels,
    map_estimates,
    offsets,
    segments,
    stages,
    studio_strip,
)
from diffconsole.training.finetuning import finetune as finetune_module
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune
from diffconsole.training.finetuning.studio_modules import StudioModules
from diffconsole.training.matching import plan, postprocess, starts
from diffconsole.training.matching.plan import Plan, Round

from ...synthetic import STUDIO, pair, small_model


def short_windows(patch: Callable[[Any, str, Any], None]) -> None:
    """Windows of a second instead of five: a step takes a fifth of the time."""
    for place in (predictor, segments, stages):
        patch(place, "WINDOW_SECONDS", 1.0)
    patch(stages, "LEAD_SECONDS", 0.25)


def no_later_modules(patch: Callable[[Any, str, Any], None]) -> None:
    """Modules that came later are not looked for in the mixes."""
    patch(finetune_module, "find_modules", lambda *_, **__: StudioModules())


def coarse_amounts(patch: Callable[[Any, str, Any], None]) -> None:
    """A quarter of the steps for the strip, all or nothing of it, a third for the estimates.

    Two penalties of the offsets are tried, not three. Later modules are not looked for.
    """
    no_later_modules(patch)
    patch(studio_strip, "STEPS", 25)
    patch(amounts, "LADDER", (0.0, 1.0))
    patch(offsets, "ALPHAS", (0.5, 8.0))
    patch(map_estimates, "STEPS", 5)


def few_candidates(patch: Callable[[Any, str, Any], None]) -> None:
    """Searches begin at few strips, and try to do without two bands in the end, not all."""
    patch(starts, "EQ_STEPS", 12)
    for name in ("THRESHOLDS_AND_RATIOS", "WETS_DB", "DECAYS_S"):
        patch(starts, name, getattr(starts, name)[:1])
    known = starts._known_strips
    patch(starts, "_known_strips", lambda: known()[:2])
    patch(postprocess, "EQ_BANDS", postprocess.EQ_BANDS[:2])


def coarse_searches(patch: Callable[[Any, str, Any], None]) -> None:
    """Coarse amounts, one penalty, and labels that are searched in a few steps from few strips."""
    coarse_amounts(patch)
    few_candidates(patch)
    patch(studio_strip, "STEPS", 8)
    patch(offsets, "ALPHAS", offsets.ALPHAS[:1])
    patch(map_estimates, "STEPS", 2)
    patch(plan, "QUICK", Plan((Round(1.0, 4, 0.05, 8, 1),), thorough=False))


def one_factory_preset(patch: Callable[[Any, str, Any], None]) -> None:
    """One factory preset to choose from: hearing all of them takes longer than training."""
    patch(evaluate, "factory_presets", lambda: {"rap": find_preset("rap")})


def known_labels(
    pairs: list[Pair], seed: int, device: str, report_progress: Any
) -> list[torch.Tensor]:
    """What mixed the pairs, a little off, instead of a search.

    Parameters that came later are not off: they change no other's draw.
    """
    report_progress(1.0, 0.5)
    truth = {**default_settings(), **STUDIO}
    point = torch.tensor([p.to_normalised(truth[p.key]) for p in PARAMETERS])
    first = torch.tensor([p.key in FIRST_PARAMETERS for p in PARAMETERS])
    found = []
    for each in pairs:
        noise = torch.Generator().manual_seed(int("".join(filter(str.isdigit, each.name))))
        label = point.clone()
        label[first] += 0.02 * torch.randn(len(FIRST_PARAMETERS), generator=noise)
        found.append(label.clamp(0.0, 1.0))
    return found


def quick_runs(patch: Callable[[Any, str, Any], None]) -> None:
    """Short windows, labels that are known, coarse amounts."""
    short_windows(patch)
    coarse_amounts(patch)
    patch(labels, "_search", known_labels)


def base_model() -> Predictor:
    """As pretraining leaves it: it answers with the defaults, whatever it hears."""
    model = small_model()
    model.head.start_at(torch.tensor([p.to_normalised(p.default) for p in PARAMETERS]))
    return model


def main(name: str) -> None:
    """Fine-tune much as test_finetune's whole run does, in one of the processes that share it.

    The first leaves ``end.safetensors`` and ``end.json`` in the folder.
    """
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    quick_runs(setattr)
    pairs = [pair(seed, seconds=1.0) for seed in range(5)]
    options = FinetuneOptions(
        studio_epochs=1, head_epochs=1, top_epochs=1, batch=2, top_stages=1, top_rate=1e-3
    )
    model = base_model()
    with process_group() as (workers, device):
        result = finetune(
            model, pairs[1:], pairs[:1], folder, options, device=device, workers=workers
        )
        if workers.is_first:
            save_file(model.state_dict(), folder / "end.safetensors")
            (folder / "end.json").write_text(json.dumps(result.history))
