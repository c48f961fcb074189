"""``diffconsole warmup``: compile everything before it is first needed."""

from __future__ import annotations

from .common import Report, command

__all__ = ["warmup"]


@command("warmup", "diffconsole warmup")
def warmup(report: Report) -> None:
    """Compile what is compiled at the first use, so that no command has to wait for it.

    Needed once after an installation or an update, and harmless at any time: what is there
    already stays.
    """
    from dataclasses import asdict

    from ..jobs.warmup import warm_up

    done = warm_up(silent=report.silent)
    if done.made:
        report.say(f"compiled {done.made} loops in {done.seconds:.0f} s")
    else:
        report.say(f"all loops are there, {done.found} of them were read")
    report.say(*(f"  → {folder}" for folder in done.folders))
    report.result(asdict(done))
