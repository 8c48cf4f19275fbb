"""Every piece by itself: network, search, policy, optimiser, schedule."""

import jax
from sklearn.datasets import load_digits

import senn

X, y = load_digits(return_X_y=True)
X = X / 16

network = senn.nn.MLP(64, 10, hidden_sizes=(4,), key=jax.random.key(0))
network, history = senn.fit(
    network,
    (X[200:], y[200:]),
    validation=(X[:200], y[:200]),
    optimizer="kfac",
    proposer=senn.proposals.Projection(candidates=8),
    policy=senn.Policy(tau=1.01, max_units=12),
    schedule=senn.Schedule(max_steps=60),
    seed=0,
)
print(network.hidden_sizes, history.stop_reason)
