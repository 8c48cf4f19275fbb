"""What the commands do with images: for a convolutional network they keep their shape."""

import argparse
import os
from dataclasses import replace
from typing import Any

from senn.commands.arguments import choice, image_size, layer_sizes
from senn.commands.errors import UsageError

NETWORKS = ("mlp", "conv")
OF_IMAGES = ("cifar10",)  # for which a network of convolutions is the usual one, as for folders


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which network, and what it starts with if it is of convolutions."""
    add = parser.add_argument_group("images").add_argument
    add("--network", type=choice(NETWORKS), choices=NETWORKS, metavar="NAME",
        help="mlp, or conv: convolutions, for images (default: conv for cifar10 and folders of "
        "images, else mlp)")  # fmt: skip
    add("--channels", type=layer_sizes, metavar="N,N",
        help="channels per stage of convolutions to start with (default: 8,8,8)")  # fmt: skip
    add("--augment", type=augment, metavar="HOW",
        help="for every step of training, mirror images or move them at random: flip, shift, "
        "flip,shift, shift=2 (pixels; default: an eighth of the size)")  # fmt: skip
    add("--image-size", type=image_size, metavar="H,W",
        help="pixels that the images of a folder are stretched to, such as 48 or 48,64 (default: "
        "64, or their own size if all have the same and it is no larger)")  # fmt: skip


def augment(text: str) -> str:
    """A reader of how images are changed in training."""
    from senn.augmentation import augmentation_of  # loads NumPy

    try:
        augmentation_of(text)
    except ValueError:
        wanted = "flip, shift, shift=2 (pixels), or flip,shift"
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}") from None
    return text


def are_asked_for(arguments: argparse.Namespace) -> bool:
    """Whether a convolutional network is; a `UsageError` for options that do not go with it.

    From here on the arguments say which network it is.
    """
    if arguments.network is None:
        of_images = arguments.data.lower() in OF_IMAGES or os.path.isdir(arguments.data)
        arguments.network = "conv" if of_images else "mlp"
    if arguments.network != "conv":
        if arguments.channels is not None:
            raise UsageError("--channels is for --network conv: say that too, or leave it out.")
        if arguments.augment is not None:
            raise UsageError("--augment is for --network conv: say that too, or leave it out.")
        return False
    if arguments.hidden_sizes is not None:
        raise UsageError("--hidden-sizes is for --network mlp: say --channels in its place.")
    if arguments.n_estimators > 1:
        raise UsageError("--n-estimators is for --network mlp: leave it out.")
    if arguments.channels == ():
        raise UsageError("--channels none leaves no stage: say how many, such as 8,8,8.")
    return True


def as_images(data: Any) -> Any:
    """The data set with its rows of pixels as images."""
    shape = data.image_shape
    if not shape:
        raise UsageError(
            f"--network conv is for images, and {data.name} has rows of {data.x.shape[1]} "
            "features: take other data, or --network mlp."
        )
    x, x_test = (part.reshape(len(part), *shape) for part in (data.x, data.x_test))
    return replace(data, x=x, x_test=x_test)


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the estimator is told of it."""
    from senn.imaging import POLICY

    own: dict[str, Any] = {
        "augment": arguments.augment,
        "network": "conv",
        "standardize": not arguments.no_standardize,
        "policy": POLICY,
    }
    return own | ({"channels": arguments.channels} if arguments.channels else {})


def columns_read(estimator: Any) -> list[str]:
    """The columns of a table of which a model reads its inputs, pixels of images."""
    if not estimator._image_shape:
        return estimator.feature_names_
    from senn.datasets.images import image_names

    return [*image_names(estimator._image_shape)]
