"""Points of one pair that have different modules switched on, and the best of them in the end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .beside import each
from .between import refine_times
from .objective import MatchObjective
from .starts import move_idle_bells
from .tried import drop_idle, join_modules, realign

__all__ = ["Alternatives", "joined"]


@dataclass
class Alternatives:
    """Points that move together, each with the modules of its own objective.

    Attributes
    ----------
    owners : list of int
        By point, the number of the pair.
    objectives : list of MatchObjective
        By point.
    points : list of Tensor
        ``(1, parameters)`` each.
    """

    owners: list[int]
    objectives: list[MatchObjective]
    points: list[Tensor]

    def without_idle(self) -> None:
        """Switch off what does nothing for a point, and cost time on the steps that follow."""

        def fewer(number: int) -> None:
            objective = self.objectives[number]
            if objective.tried:
                point, tried = drop_idle(objective, self.points[number][0])
                self.points[number] = point[None]
                self.objectives[number] = objective.trying(tried)

        each(fewer, range(len(self.points)))

    def beside_refined(self) -> Alternatives:
        """Return each point with better times, and beside it the same with its idle bells moved.

        A bell that has moved begins with a higher distance: whether it was worth it is known after
        some steps only.
        """

        def both(number: int) -> list[Tensor]:
            objective = self.objectives[number]
            point = refine_times(objective, realign(objective, self.points[number][0]))
            refined = move_idle_bells(objective, point)
            both = [point] if torch.equal(point, refined) else [point, refined]
            return [one[None] for one in both]

        found = each(both, range(len(self.points)))
        places = [number for number, some in enumerate(found) for _ in some]
        return Alternatives(
            [self.owners[number] for number in places],
            [self.objectives[number] for number in places],
            [point for some in found for point in some],
        )

    def best(self) -> Alternatives:
        """Return each pair's best point alone."""
        owners = sorted(set(self.owners))
        found = [self.best_of(owner) for owner in owners]
        objectives = [objective for _, objective, _ in found]
        return Alternatives(owners, objectives, [point[None] for *_, point in found])

    def best_of(self, owner: int) -> tuple[float, MatchObjective, Tensor]:
        """Return a pair's least distance, and the objective and the point that have it."""
        numbers = [number for number, own in enumerate(self.owners) if own == owner]
        distances = each(
            lambda number: float(self.objectives[number].distances(self.points[number])), numbers
        )
        least = min(range(len(numbers)), key=lambda place: distances[place])
        number = numbers[least]
        return distances[least], self.objectives[number], self.points[number][0]


def joined(
    objectives: list[MatchObjective], points: list[Tensor], without: frozenset[str]
) -> Alternatives:
    """Return each pair's points with the modules that the mix shows beside that point."""
    owners = [owner for owner, some in enumerate(points) for _ in some]
    starts = [point for some in points for point in some]

    def join(number: int) -> tuple[Tensor, frozenset[str]]:
        return join_modules(objectives[owners[number]], starts[number], without)

    found = each(join, range(len(starts)))
    return Alternatives(
        owners,
        [objectives[own].trying(tried) for own, (_, tried) in zip(owners, found, strict=True)],
        [torch.clone(point[None]) for point, _ in found],
    )
