"""Short examples of pretraining, for tests that do not look at what is learnt from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffconsole.training.pretraining import exchange, module_rows, training_run
from diffconsole.training.pretraining.processed import process_several
from diffconsole.training.pretraining.simulate import simulate

__all__ = ["short_examples"]


def short_examples(patch: Callable[[Any, str, Any], None], seconds: float = 1.0) -> None:
    """Passages of so many seconds instead of five or twelve, few of them made ahead of their step.

    Modules that are learnt apart get a tenth of the steps.
    """
    patch(simulate, "__defaults__", (seconds, *(simulate.__defaults__ or ())[1:]))
    defaults = {**(process_several.__kwdefaults__ or {}), "seconds": seconds}
    patch(process_several, "__kwdefaults__", defaults)
    # By it processes know what they send each other.
    patch(exchange, "SECONDS", seconds)
    patch(module_rows, "SECONDS", 2.0 * seconds)
    patch(module_rows, "STEPS", 40)
    patch(training_run, "PREFETCHED", 2)
