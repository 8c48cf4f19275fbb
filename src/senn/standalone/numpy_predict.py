"""Predict with a network that `senn export RUN model.npz` wrote. This file needs NumPy alone.

    import numpy as np
    import model_predict

    model = model_predict.load("model.npz")
    model_predict.predict(model, X)        # labels [N], or numbers [N] or [N, O]
    model_predict.predict_proba(model, X)  # [N, classes], in the order of model["classes"]

X [N, I] has a column for each of model["feature_names"], in that order; words, dates and gaps
(None, NaN) are welcome where training had them; or images [N, H, W] or [N, H, W, C] of
model["image_shape"]. All is computed in float32 if that holds the type
of X exactly, else in float64. What comes out for a row is the same
bit for bit whichever rows stand beside it, and whether it is one of many or alone.

senn's own estimators predict with this file.
"""

import json
from typing import NamedTuple

import numpy as np

from senn.standalone.numpy_columns import encode
from senn.standalone.numpy_conv import cut_of, patches_of, products

# BLAS rounds a product as its shape, the place in it and its threads have it. So products have one
# shape, at most 8 × 1024 × 32: small enough for OpenBLAS to take one thread, and such that all
# its kernels treat every row alike and every column (16 rows would not do: Haswell's 4-byte kernel
# takes 12 of them at once, and sums up the other 4 in another order).
ROWS, DEPTH, COLUMNS = 8, 1024, 32
ROWS_AT_ONCE = 512  # which bounds the memory, whatever the number of rows
NUMBERS_AT_ONCE = 2**18  # of images, so many that the processor's caches hold them
FAR = 1e9  # times a bound: as good as infinite, and of a finite square


def _rational(z, theta):
    """αz + (β + γz)/(1 + z²), which is αz for a z whose square is infinite."""
    alpha, beta, gamma = theta
    even = z * z
    even += 1
    np.divide(1, even, out=even)
    odd = z * even
    odd *= gamma
    even *= beta
    z = alpha * z
    z += even
    z += odd
    return z


ACTIVATIONS = {
    "rational": _rational,
    "relu": lambda z, _: np.maximum(z, 0),
    "silu": lambda z, _: z / (1 + np.exp(-z)),
    "gelu": lambda z, _: z * (0.5 * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z * z * z)))),
    "tanh": lambda z, _: np.tanh(z),
}
BUILT_IN = tuple(ACTIVATIONS)  # senn may add those of its users


class Inputs(NamedTuple):
    """What a network reads of a row x: its columns rescaled, and beside them codes of some.

    Column i is z / √(1 + (z / bound)²) of z = (x_i − mean_i) / scale_i: z itself near 0, and never
    beyond ± bound. Code k tells how far the value of its column has come through one interval:
    (u − code_mean_k) / code_scale_k of u = (x_column − left_k) / width_k, cut to [0, 1].
    """

    mean: np.ndarray  # [I], float64 like all that follow
    scale: np.ndarray  # [I]
    bound: np.ndarray  # [], infinite for none
    column: np.ndarray  # [K] integers
    left: np.ndarray  # [K]
    width: np.ndarray  # [K]
    code_mean: np.ndarray  # [K]
    code_scale: np.ndarray  # [K]

    def __call__(self, x):
        """What the network reads [N, I + K] for rows x [N, I], in float64; each row by itself."""
        z = (x - self.mean) / self.scale
        if np.isfinite(self.bound):
            np.clip(z, -FAR * self.bound, FAR * self.bound, out=z)
            z /= np.sqrt(1 + (z / self.bound) ** 2)
        if not len(self.column):
            return z
        u = np.clip((x[:, self.column] - self.left) / self.width, 0, 1)
        return np.concatenate([z, (u - self.code_mean) / self.code_scale], axis=1)


def load(path):
    """The model: a dictionary of arrays."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def outputs(model, X):
    """Outputs [N, O] of the network for rows X [N, I]: logits, or standardised targets."""
    if "image_shape" in model:
        return _outputs_of_images(model, np.asarray(X))
    x = np.asarray(X if hasattr(X, "dtype") or "columns" not in model else np.array(X, object))
    if x.ndim != 2 or x.shape[1] != len(model["feature_names"]):
        raise ValueError(f"X must be [rows, {len(model['feature_names'])}]; got {x.shape}.")
    if "columns" in model:
        x = encode(json.loads(str(model["columns"])), list(x.T))
    elif "fill" in model and x.dtype.kind == "f":
        x = np.where(np.isnan(x), model["fill"].astype(x.dtype), x)
    dtype = np.float32 if np.can_cast(x.dtype, np.float32) else np.float64
    return forward(layers(model, dtype), x, inputs_of(model))


def _outputs_of_images(model, x):
    shape = tuple(int(n) for n in model["image_shape"])
    wanted = [shape, *([(*shape, 1)] if len(shape) == 2 else [shape[:2]] if shape[2] == 1 else [])]
    if x.shape[1:] not in wanted:
        raise ValueError(f"X must be images of shape {shape}; got X of shape {x.shape}.")
    dtype = np.float32 if np.can_cast(x.dtype, np.float32) else np.float64
    return forward(layers(model, dtype), x.reshape(len(x), *shape[:2], -1), inputs_of(model))


def inputs_of(model):
    """How rows are prepared; None for a network that reads them as they are."""
    if "input_mean" not in model:
        return None
    return Inputs(*(model[f"input_{name}"] for name in Inputs._fields))


def predict_proba(model, X):
    """Probabilities [N, classes]."""
    y = outputs(model, X)
    return sigmoid(y) if "multi_label" in model else softmax(y)


def predict(model, X):
    """The most probable label of each row [N]; of a regression, numbers [N] or [N, O].

    Of several labels a row 0 or 1 each [N, L].
    """
    y = outputs(model, X)
    if "multi_label" in model:
        return (y > 0).astype(np.int64)
    if "classes" in model:
        return model["classes"][y.argmax(axis=1)]
    values = y * model["target_scale"] + model["target_mean"]
    return values[:, 0] if model["one_output"] else values


def softmax(y):
    """Probabilities [N, O] of logits [N, O]."""
    p = np.exp(y - y.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def log_softmax(y):
    """Logarithms [N, O] of the probabilities of logits [N, O]."""
    y = y - y.max(axis=1, keepdims=True)
    return y - np.log(np.exp(y).sum(axis=1, keepdims=True))


def sigmoid(y):
    """Probabilities of logits, each by itself."""
    return np.exp(log_sigmoid(y))


def log_sigmoid(y):
    """Logarithms of the probabilities of logits, each by itself."""
    return -np.logaddexp(0, -y)


# --- The network ---------------------------------------------------------------------------


def layers(model, dtype):
    """What `forward` needs of a model: the parameters in `dtype`, cut into tiles.

    Node 0 is the row, node l + 1 hidden layer l. For every map, which reads some nodes: its
    number of outputs; for each piece of a node, at most `DEPTH` deep, the node, where the piece
    begins and ends in it, and the weights [tiles, depth, COLUMNS]; the bias [tiles, 1, COLUMNS];
    and the activation with its θ [F, tiles, 1, COLUMNS], or None for the outputs. Of a
    convolutional network that, or what `_at_many_places` makes, the nodes that it reads, and how
    rows are cut out of them.
    """
    sigma, made, m = ACTIVATIONS[str(model["activation"])], [], 0
    sizes = [len(model["weight_0"])]  # of the nodes
    images = "patches_0" in model
    while f"weight_{m}" in model:
        weight, bias, theta = (model.get(f"{name}_{m}") for name in ("weight", "bias", "theta"))
        # Of images the rows are cut out for each map by itself, and are its node 0.
        nodes = [(0, len(weight))] if images else [(n, sizes[n]) for n in model[f"sources_{m}"]]
        activate = sigma if f"weight_{m + 1}" in model else None
        cut = cut_of(model[f"patches_{m}"]) if images else None
        if cut is not None and cut.out_shape != (1, 1):
            layer = _at_many_places(weight, bias, activate, theta, dtype)
        else:
            layer = _at_one_place(weight, bias, activate, theta, dtype, nodes)
        layer = (layer, model[f"sources_{m}"], cut) if images else layer
        made.append(layer)
        sizes.append(len(bias))
        m += 1
    return made


def _at_one_place(weight, bias, activate, theta, dtype, nodes):
    """A map of rows, cut into tiles."""
    pieces, start = [], 0
    for node, size in nodes:
        for first in range(0, size, DEPTH):
            last = min(first + DEPTH, size)
            tiles = _tiles(weight[start + first : start + last], dtype)
            pieces.append((int(node), first, last, tiles.swapaxes(0, 1).copy()))
        start += size
    theta = theta if theta is None else _tiles(theta, dtype)[:, :, None]
    return len(bias), pieces, _tiles(bias, dtype)[:, None], activate, theta


def _at_many_places(weight, bias, activate, theta, dtype):
    """A map of patches: weights [O, J], bias [O, 1] and θ [F, O, 1]."""
    theta = theta if theta is None else theta.astype(dtype)[:, :, None]
    weight = np.ascontiguousarray(weight.T, dtype)
    return len(bias), weight, bias.astype(dtype)[:, None], activate, theta


def _tiles(array, dtype):
    """The last axis in tiles [..., tiles, COLUMNS], filled up with zeros."""
    beyond = -array.shape[-1] % COLUMNS
    filled = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, beyond)])
    return filled.astype(dtype).reshape(*array.shape[:-1], -1, COLUMNS)


def forward(layers, x, inputs=None):
    """Outputs [N, O] in float64, computed in the type of the layers, for rows x [N, I] or images.

    With `inputs`, the rows are prepared so first, in float64.
    """
    if len(layers[0]) == 3:
        return _of_images(layers, x, inputs)
    n, dtype = len(x), layers[0][2].dtype
    wide = x.shape[1] + (0 if inputs is None else len(inputs.column))
    y = np.empty((n, layers[-1][0]))
    for start in range(0, n, ROWS_AT_ONCE):
        part = x[start : start + ROWS_AT_ONCE]
        blocks = np.zeros((-(-len(part) // ROWS), ROWS, wide), dtype)
        rows = blocks.reshape(-1, wide)
        rows[: len(part)] = part if inputs is None else inputs(part)
        y[start : start + ROWS_AT_ONCE] = _outputs(layers, blocks)[: len(part)]
    return y


def _outputs(layers, x):
    """Outputs [rows, O] for blocks of rows [blocks, ROWS, I]."""
    nodes = [x]
    # z² of a large z is infinite, and σ(z) then αz; the outputs may be infinite too, or NaN.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for size, pieces, bias, sigma, theta in layers:
            products = (
                nodes[node][:, None, :, first:last] @ weight for node, first, last, weight in pieces
            )
            z = next(products)  # [blocks, tiles, ROWS, COLUMNS]
            for product in products:
                z += product
            z += bias
            a = z if sigma is None else sigma(z, theta)
            # [blocks, ROWS, tiles × COLUMNS]
            nodes.append(a.swapaxes(1, 2).reshape(len(x), ROWS, -1)[:, :, :size])
    return nodes[-1].reshape(-1, layers[-1][0])


def _of_images(layers, x, inputs):
    """The same of images [N, H, W, C]: every patch is a row."""
    dtype, size = layers[0][0][2].dtype, layers[-1][0][0]
    numbers = (np.prod(cut.out_shape) * layer[0] for layer, _, cut in layers)
    at_once = max(1, int(NUMBERS_AT_ONCE // max(int(np.prod(x.shape[1:])), *numbers)))
    y = np.empty((len(x), size))
    for start in range(0, len(x), at_once):
        part = x[start : start + at_once]
        part = (part if inputs is None else inputs(part)).astype(dtype, copy=False)
        nodes = [np.ascontiguousarray(part.transpose(0, 3, 1, 2))]  # [N, C, H, W]
        for layer, sources, cut in layers:
            first, *others = (nodes[int(n)] for n in sources)
            rows = patches_of(first, cut)
            rows = np.concatenate([rows, *others], axis=1) if others else rows
            made = _at_places(layer, rows.reshape(*rows.shape[:2], -1))
            nodes.append(made.reshape(len(part), layer[0], *cut.out_shape))
        y[start : start + at_once] = nodes[-1].reshape(len(part), size)
    return y


def _at_places(layer, rows):
    """Outputs [N, O, T] of one map for its rows [N, J, T]."""
    _, weight, bias, sigma, theta = layer
    if isinstance(weight, list):  # of one place: a row for each image
        n, wide = rows.shape[:2]
        blocks = np.zeros((-(-n // ROWS), ROWS, wide), rows.dtype)
        blocks.reshape(-1, wide)[:n] = rows[..., 0]
        return _outputs([layer], blocks)[:n, :, None]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        z = products(weight, rows)
        z += bias
        return z if sigma is None else sigma(z, theta)
