"""What convolutional networks of estimators are trained with, unless someone says otherwise."""

from numbers import Integral
from typing import Any

import numpy as np

from senn import settings
from senn.arrays import key_of
from senn.augmentation import augmentation_of
from senn.nn.convnet import ConvNet
from senn.policy import Policy
from senn.proposals import Random
from senn.settings import SettingError

# A channel gains next to nothing at birth, so that scores do not say where one is needed. None
# leaves at looks, and none is swapped for another that is worth no more: validation images choose
# the size in the end.
POLICY = Policy(
    depth=False, expect="price", alpha=0.002, additions_at_once=8, every=100, prune=0.0, swap=None,
    trial=100, patience=4, plateau=4,
)  # fmt: skip
ANNEAL_EPOCHS = 10  # a pass over images has many steps
PROPOSER = Random(candidates=64)  # `Projection` took most of a run's time


def of_images(estimator: Any) -> bool:
    """Whether an estimator is to train a convolutional network."""
    return estimator.network == "conv"


def batch_size_of(estimator: Any) -> int:
    """Examples per step."""
    return settings.batch_size(estimator.batch_size, images=of_images(estimator))


def check_settings(estimator: Any) -> None:
    """Refuse what is for rows of a table alone, or for images alone."""
    augmentation_of(estimator.augment)
    if not of_images(estimator):
        if estimator.augment is not None:
            raise ValueError(
                f'augment={estimator.augment!r} is for images, network="conv": leave it out.'
            )
        return
    for name, usual in (("n_estimators", 1), ("bins", None)):
        given = getattr(estimator, name)
        if given not in (usual, 0):
            raise ValueError(f'{name}={given!r} is for network="mlp"; leave it out for images.')


def refuse_streams(estimator: Any) -> None:
    """Say so where `partial_fit` is called."""
    check_settings(estimator)
    if of_images(estimator) or estimator._image_shape:
        raise ValueError(
            'partial_fit is for network="mlp" so far: call fit with all images, or go on with the '
            "network of the fit before by warm_start=True."
        )


def convnet(
    estimator: Any, image_shape: tuple[int, ...], out_size: int, seed: int, policy: Policy
) -> ConvNet:
    """The network that an estimator starts from, for images of this shape."""
    try:
        network = ConvNet(
            image_shape,
            out_size,
            channels(estimator.channels),
            key=key_of(seed),
            activation=settings.activation(estimator.activation, images=True),
        )
    except ValueError as error:
        raise SettingError(str(error)) from error
    if policy.over_budget(network, network.hidden_sizes):
        raise SettingError(
            f"channels={estimator.channels!r} start with {sum(network.hidden_sizes)} units and "
            f"{network.n_parameters} parameters, more than the budgets allow: start with fewer."
        )
    return network


def channels(given: Any) -> tuple[int, ...]:
    """Channels of every stage to start with; one number is one stage."""
    found = (given,) if isinstance(given, Integral) else given
    try:
        found = tuple(found)
    except TypeError:
        found = ()
    if not found or not all(isinstance(n, Integral | np.integer) and int(n) > 0 for n in found):
        raise ValueError(
            f"channels={given!r}: each stage needs a whole number above 0, such as (8, 8, 8)."
        )
    return tuple(map(int, found))
