"""Dynamic loss scaling: small gradients survive in fp16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Graph, Tensor, Variable, gradients
from numbaconv.optim.clip import gradient_norm


class LossScale:
    """What the loss is multiplied by before it is differentiated, so that small gradients do not vanish in fp16.

    It is a power of 2.  A step whose gradients are not all finite changes no parameter and no state of the optimizer,
    and halves the scale; a number of good steps doubles it.  All this happens within the graph of the training step,
    so a GPU does not wait for the host.  The optimizer counts steps that were skipped, too.

    Source: Micikevicius et al., Mixed Precision Training, arXiv 1710.03740, section 3.2; numbers as in
    ``torch.amp.GradScaler``.

    Args:
        initial: the first scale.
        interval: good steps after which it doubles.

    Raises:
        ValueError: if ``initial`` is not above 0, or ``interval`` below 1.
    """

    def __init__(self, initial: float = 2.0**16, interval: int = 2000) -> None:
        if not initial > 0 or interval < 1:
            raise ValueError(
                f"LossScale: initial must be above 0 and interval 1 or more, got {initial} and {interval}"
            )
        self.interval = interval
        self._scale = Variable(np.array(initial, np.float32), trainable=False, name="scale")
        self._good_steps = Variable(np.zeros((), np.float32), trainable=False, name="good_steps")

    @property
    def value(self) -> float:
        """The scale of the next step."""
        return float(self._scale.data)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The state, by name; ask anew after every step, as for ``Variable.data``."""
        return {str(variable.name): variable.data for variable in (self._scale, self._good_steps)}

    def append_to(self, graph: Graph, loss: Tensor, parameters: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Append the gradients of the scaled loss, and the scale's own step.

        Returns:
            The gradients, and the number to multiply them by; where that is 0, the step is to be skipped.
        """
        scale, good_steps = graph.leaf(self._scale), graph.leaf(self._good_steps)
        found = gradients(F.multiply(loss, scale), parameters)
        state = F.loss_scale_update(scale, good_steps, gradient_norm(found), interval=self.interval)
        graph.update(scale, state[0])
        graph.update(good_steps, state[1])
        return found, state[2]


def loss_scale_for(precision: str) -> LossScale | None:
    """A new scale of the loss where a precision wants one: fp16, whose numbers below 6e-8 are 0."""
    return LossScale() if precision == "fp16" else None
