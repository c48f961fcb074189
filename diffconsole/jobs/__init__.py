"""What the commands do with files: process, apply, match, fine-tune; Python users call it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluate import evaluate_on_pairs
    from .finetune import finetune_on_pairs

__all__ = ["evaluate_on_pairs", "finetune_on_pairs"]


def __getattr__(name: str) -> Any:
    # Loaded when it is first used: training brings PyTorch with it.
    if name == "finetune_on_pairs":
        from .finetune import finetune_on_pairs

        return finetune_on_pairs
    if name == "evaluate_on_pairs":
        from .evaluate import evaluate_on_pairs

        return evaluate_on_pairs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
