"""One act of growth by hand: score units, add one, see that the outputs are the same bits."""

import jax
import numpy as np
from sklearn.datasets import make_moons

import senn
from senn.curvature import moments
from senn.losses import Fisher, SoftmaxCrossEntropy

X, y = make_moons(500, noise=0.3, random_state=0)
batch = senn.Batch.of(X, y)
network = senn.nn.MLP(2, 2, hidden_sizes=(3,), key=jax.random.key(0), activation="tanh")

# What the output map sees: inputs a, gradients g, and the second moment S of metric draws.
loss = SoftmaxCrossEntropy()
a, g, S = moments(network, loss, Fisher(loss), batch, jax.random.key(1)).maps[-1].dense

weight, bias = np.random.default_rng(0).normal(size=(2, 100)), np.zeros(100)
units = np.tanh(X @ weight + bias)  # 100 candidates
bound = jax.vmap(lambda unit: senn.score.score_increase_bound(a, unit[:, None], g, S, 0.1))
gains = np.asarray(bound(units.T))
best = int(gains.argmax())
print("η", senn.score.natural_expansion_score(a, g, S, 0.1), "best Δη′", gains[best])

grown = senn.add_width(network, 0, weight[:, [best]], bias[[best]])
assert grown.hidden_sizes == (4,)
assert np.array_equal(network(batch.x), grown(batch.x))
