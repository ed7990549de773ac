"""AdamW in a few lines: torch's own imports its compiler at the first step, 3 s of a demo of 20."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

_BETA_MEAN, _BETA_SQUARE = 0.9, 0.999
_EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters that are trained alike."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float
    weight_decay: float


class AdamW:
    """Adam with decoupled weight decay, the same bits as `torch.optim.AdamW` on a CPU."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = tuple(groups)
        self._steps = 0
        self._means = {p: torch.zeros_like(p) for each in self._groups for p in each.parameters}
        self._squares = {p: torch.zeros_like(p) for p in self._means}

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        for parameter in self._means:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter that has a gradient."""
        self._steps += 1
        for group in self._groups:
            step_size = group.learning_rate / (1 - _BETA_MEAN**self._steps)
            root = (1 - _BETA_SQUARE**self._steps) ** 0.5
            for parameter in group.parameters:
                if (gradient := parameter.grad) is None:
                    continue
                mean, square = self._means[parameter], self._squares[parameter]
                parameter.mul_(1 - group.learning_rate * group.weight_decay)
                mean.lerp_(gradient, 1 - _BETA_MEAN)
                square.mul_(_BETA_SQUARE).addcmul_(gradient, gradient, value=1 - _BETA_SQUARE)
                scale = (square.sqrt() / root).add_(_EPSILON)
                parameter.addcdiv_(mean, scale, value=-step_size)
