"""A network as plain arrays: what predictions need, and what files hold. Nothing here needs JAX."""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from senn.standalone import numpy_predict
from senn.standalone.numpy_conv import Cut, cut_of

# Coefficients that every unit has of its own, by activation; `senn.nn.register` adds to it.
LEARNED = dict.fromkeys(numpy_predict.ACTIVATIONS, 0) | {"rational": 3}


class PlainNetwork:
    """The active parameters of a network, and how they fit together.

    Threads may share it, and forked processes too: it holds arrays that nobody changes.

    Args:
        architecture: `in_size`, `out_size`, `hidden_sizes`, `residual`, `activation`, and `born`,
            of every unit of every layer the number of the addition that brought it, 0 for those
            there from the start (None if that is not known); of a convolutional network
            `patches`, too, of every map the numbers of its `Cut`.
        arrays: `map{m}.weight` [I, O], of a convolution [J, O] for its rows of patches,
            `map{m}.bias` [O], and `theta{l}` [F, O] if units have coefficients.
        network: the one that these are of, where there is one (`senn.nn.stored.network_of`).
    """

    def __init__(  # noqa: D107
        self, architecture: Mapping[str, Any], arrays: Mapping[str, np.ndarray], network: Any = None
    ):
        self.architecture, self.arrays = dict(architecture), dict(arrays)
        self.made_of = network
        self._layers: dict[Any, Any] = {}  # by type

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units per hidden layer."""
        return tuple(self.architecture["hidden_sizes"])

    @property
    def in_size(self) -> int:
        """Number of inputs."""
        return self.architecture["in_size"]

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return self.architecture["out_size"]

    @property
    def patches(self) -> list[Cut]:
        """How every map cuts its rows out of images; none of a network that reads rows."""
        return [cut_of(numbers) for numbers in self.architecture.get("patches", ())]

    @property
    def grid(self) -> tuple[int, ...]:
        """Height and width of the images that it reads; none of a network that reads rows."""
        return tuple(self.architecture["patches"][0][:2]) if self.patches else ()

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """The nodes that each linear map reads, in the order of its blocks."""
        return source_nodes(self.architecture["residual"])

    @property
    def n_parameters(self) -> int:
        """Weights, biases and θ of all units."""
        return sum(array.size for array in self.arrays.values())

    def outputs(self, x: np.ndarray, inputs: numpy_predict.Inputs | None = None) -> np.ndarray:
        """Outputs [N, O] in float64 for rows x [N, I] or images, computed in the type of x.

        With `inputs` the rows are prepared so first, in float64. Of whole numbers the type is
        float32.
        """
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        if dtype not in self._layers:  # two threads may both make them, alike
            self._layers[dtype] = numpy_predict.layers(self._model(), dtype)
        return numpy_predict.forward(self._layers[dtype], x, inputs)

    def _model(self) -> dict[str, Any]:
        """As `numpy_predict` has it."""
        model: dict[str, Any] = {"activation": self.architecture["activation"]}
        for m, nodes in enumerate(self.sources):
            if self.patches:
                model[f"patches_{m}"] = self.architecture["patches"][m]
            model[f"sources_{m}"] = nodes
            model[f"weight_{m}"] = self.arrays[f"map{m}.weight"]
            model[f"bias_{m}"] = self.arrays[f"map{m}.bias"]
            if f"theta{m}" in self.arrays:
                model[f"theta_{m}"] = self.arrays[f"theta{m}"]
        return model

    def __getstate__(self) -> dict[str, Any]:  # noqa: D105
        # Without JAX's objects: what they hold is in the arrays.
        return {**vars(self), "made_of": None, "_layers": {}}


def source_nodes(residual: Sequence[bool]) -> tuple[tuple[int, ...], ...]:
    """The nodes that each linear map reads, in the order of its blocks."""
    nodes, sources = (0,), []
    for node, beside in enumerate(residual, start=1):
        sources.append(nodes)
        nodes = (*nodes, node) if beside else (node,)
    return (*sources, nodes)


class OtherKindError(ValueError):
    """What a file holds is whole, but no network of ours."""


def stored_network(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> PlainNetwork:
    """The network that a file's header and arrays describe.

    A `KeyError`, `TypeError` or `ValueError` if they do not fit together; an `OtherKindError` if
    the network is of another kind.
    """
    if "activation" not in header and "slots" in header:
        raise OtherKindError(
            f"holds a network of the type {header['type']}, whose file has arrays and no code: "
            "read it by senn.models.read_model(path, like=network), given one like it of any sizes"
        )
    if header["activation"] not in tuple(LEARNED):
        raise ValueError(
            f"activation={header['activation']!r} is not known, only {', '.join(LEARNED)}; one of "
            "your own must be registered first, by senn.nn.register"
        )
    _check_sizes(header)
    born = header.get("born")  # older files do not say when units were born
    if born is not None:
        _check_born(born, header["hidden_sizes"])
    nodes = (header["in_size"], *header["hidden_sizes"])
    sizes = (*header["hidden_sizes"], header["out_size"])
    places = _places(header)
    shapes: dict[str, tuple[int, ...]] = {}
    for m, (n, sources) in enumerate(zip(sizes, source_nodes(header["residual"]), strict=True)):
        read = [nodes[s] for s in sources]
        shapes[f"map{m}.weight"] = (places[m] * read[0] + sum(read[1:]), n)
        shapes[f"map{m}.bias"] = (n,)
        if LEARNED[header["activation"]] and m < len(sizes) - 1:
            shapes[f"theta{m}"] = (LEARNED[header["activation"]], n)
    names = ("in_size", "out_size", "hidden_sizes", "residual", "activation")
    names = (*names, "patches") if "patches" in header else names
    return PlainNetwork(
        {**{name: header[name] for name in names}, "born": born},
        {name: _shaped(arrays, name, shape) for name, shape in shapes.items()},
    )


def _places(header: Mapping[str, Any]) -> list[int]:
    """In the kernel of every map; 1 of those of a network that reads rows."""
    residual = header["residual"]
    if "patches" not in header:
        return [1] * (len(residual) + 1)
    given = header["patches"]
    if not all(type(n) is int and 0 <= n < 2**31 for numbers in given for n in numbers):
        raise ValueError(f"patches {reprlib.repr(given)} are not whole numbers from 0")
    cuts = [cut_of(numbers) for numbers in given]
    shape = cuts[0].shape
    for m, (cut, beside) in enumerate(zip(cuts, [*residual, False], strict=True)):
        least = min(
            *cut.shape, *cut.kernel, cut.stride, cut.pool, *cut.pooled_shape, *cut.out_shape
        )
        if cut.shape != shape or least < 1 or (beside and cuts[m + 1] != cut):
            raise ValueError(f"patches {reprlib.repr(given)} do not fit together")
        shape = shape if beside else cut.out_shape
    if shape != (1, 1):
        raise ValueError(f"its outputs are at {shape[0]} × {shape[1]} positions, not one")
    return [cut.kernel[0] * cut.kernel[1] for cut in cuts]


def _check_sizes(header: Mapping[str, Any]) -> None:
    sizes = [header["in_size"], *header["hidden_sizes"], header["out_size"]]
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"sizes {reprlib.repr(sizes)} are not all whole numbers above 0")
    if not all(type(beside) is bool for beside in header["residual"]):
        raise ValueError(f"residual {reprlib.repr(header['residual'])} is not true or false each")


def _check_born(born: Sequence[Sequence[int]], sizes: Sequence[int]) -> None:
    if [len(layer) for layer in born] != list(sizes):
        raise ValueError(f"born {reprlib.repr(born)} does not say of each unit when it was born")
    if not all(type(number) is int and 0 <= number < 2**31 for layer in born for number in layer):
        raise ValueError(f"born {reprlib.repr(born)} are not all numbers of additions")


def _shaped(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = arrays[name]
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{name} holds other values than finite floating-point numbers")
    return array
