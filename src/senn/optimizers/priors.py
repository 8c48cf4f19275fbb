"""What keeps weights from fitting noise, as it enters the gradient."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from senn.nn.sites import AbstractSite, DenseSite
from senn.nn.tapped import AbstractTapped

Tree = TypeVar("Tree")
Scalar = Float[Array, ""] | float
Seen = tuple[Float[Array, " _"], Float[Array, "_ _"]] | None  # the diagonal of A, and S


def with_prior(
    network: AbstractTapped, g: Tree, strength: Float[Array, ""], tails: Scalar = 0.0
) -> Tree:
    """The gradient of the loss and of the prior, per example."""

    def of(site: AbstractSite) -> Array:
        return site.matrix(g) + strength * _precision(site, network, tails) * site.matrix(network)

    return put(g, network.graph.sites, map(of, network.graph.sites))


def _precision(site: AbstractSite, network: AbstractTapped, tails: Scalar) -> Any:
    """What weights W [J, O] are multiplied by in the gradient of their prior, as broadcasts.

    For rows w of O weights in use that share a Student's t it is p (1 + κO) / (1 + κp‖w‖²), which
    is (O + ν) / (ν/p + ‖w‖²) with ν = 1/κ. Biases and coefficients of units keep the Gaussian, p.
    """
    p = site.precision(network)
    if not isinstance(site, DenseSite) or is_zero(tails):
        return p
    W = site.matrix(network)
    units = jnp.sum(jnp.any(W != 0, axis=0))  # spare slots hold zeros
    shared = p * (1 + tails * units) / (1 + tails * p * jnp.sum(W**2, axis=1, keepdims=True))
    rows = jnp.arange(len(W))[:, None]
    return jnp.where(rows < sum(site.widths(network)), shared, p)


def with_noise(network: AbstractTapped, g: Tree, seen: Sequence[Seen], variance: Scalar) -> Tree:
    """The gradient as if all that maps read were multiplied by noise of mean 1, to second order.

    The noise of inputs a changes outputs W'a by a variance Σ_j E[a_j²] w_j w_j' times its own, and
    the loss by half its product with S. Constants have none.
    """

    def of(site: AbstractSite, own: Seen) -> Array:
        if own is None:
            return site.matrix(g)
        diagonal, S = own
        return site.matrix(g) + variance * diagonal[:, None] * (site.matrix(network) @ S)

    return put(g, network.graph.sites, map(of, network.graph.sites, seen))


def put(tree: Tree, sites: Sequence[AbstractSite], matrices: Iterable[Array]) -> Tree:
    """The tree with these matrices in the places of the sites."""
    for site, matrix in zip(sites, matrices, strict=True):
        tree = site.put(tree, matrix)
    return tree


def is_zero(value: Any) -> bool:
    """Known before anything is compiled: then there is nothing to compile."""
    return isinstance(value, float | int) and not value
