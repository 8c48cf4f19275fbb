"""Any optax transformation as the optimiser of a growing network."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from senn.batches import Batch
from senn.curvature import loss_gradient
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn.tapped import AbstractTapped
from senn.optimizers.base import AbstractOptimizer, StepInfo
from senn.optimizers.kfac import KFAC
from senn.optimizers.natural_gradient import NaturalGradient


class Optax(AbstractOptimizer):
    """Wraps an `optax.GradientTransformation`; its moments survive growth.

    The transformation must map zeros to zeros, as SGD, momentum, Adam and AdamW do; noise
    added to gradients would wake dormant slots.
    """

    transformation: optax.GradientTransformation

    def init(self, network: AbstractTapped) -> Any:
        """The transformation's own state."""
        return self.transformation.init(eqx.filter(network, eqx.is_inexact_array))  # pyright: ignore[reportArgumentType]

    def step(
        self,
        network: AbstractTapped,
        state: Any,
        loss: AbstractLoss,
        metric: AbstractMetric,  # noqa: ARG002
        batch: Batch,
        scale: Float[Array, ""],
    ) -> tuple[AbstractTapped, Any, StepInfo]:
        """One step on one batch; `scale` multiplies the transformation's updates."""
        value, g = loss_gradient(network, loss, batch)
        params: Any = eqx.filter(network, eqx.is_inexact_array)
        update = optax.with_extra_args_support(self.transformation).update
        updates, state = update(g, state, params, value=value, grad=g)  # pyright: ignore[reportArgumentType]
        updates = jax.tree.map(lambda u: scale * u, updates)
        info = StepInfo(value, jnp.full_like(value, jnp.nan), jnp.array(0), jnp.zeros_like(value))
        return eqx.apply_updates(network, updates), state, info


def make_optimizer(
    optimizer: "str | AbstractOptimizer | optax.GradientTransformation",
) -> AbstractOptimizer:
    """The optimiser of that name, one of `OPTIMIZERS`, or any optax transformation.

    "kfac" is the fast default; "natural_gradient" is the paper's; "warm_natural_gradient" is the
    same rule for speed: a higher rate, and a few conjugate-gradient steps from the last solution.
    """
    if isinstance(optimizer, AbstractOptimizer):
        return optimizer
    if isinstance(optimizer, optax.GradientTransformation):
        return Optax(optimizer)
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"optimizer={optimizer!r} is not known; choose one of {', '.join(OPTIMIZERS)}, "
            "a senn.optimizers object or an optax transformation."
        )
    return OPTIMIZERS[optimizer]()


ADAM = Optax(optax.adam(1e-3))  # one object for all, so that what it compiles is compiled once
OPTIMIZERS = {
    "kfac": KFAC,
    # Chosen on validation data of digits and MNIST: a step of it goes further than one of the
    # paper's, at a tenth of the Jacobian products.
    "warm_natural_gradient": lambda: NaturalGradient(
        learning_rate=0.3, damping=0.02, warm_start=0.9, max_steps=10, weight_decay=1e-3
    ),
    "natural_gradient": lambda: NaturalGradient(weight_decay=1e-3),  # as for the paper's images
    "adam": lambda: ADAM,
}
