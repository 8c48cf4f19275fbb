"""Channels that grow: a small convolutional network on the images of digits."""

import jax
from sklearn.datasets import load_digits

import senn

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8, 1) / 16  # the channels last

network = senn.nn.ConvNet((8, 8), 10, channels=(3, 3), key=jax.random.key(0), activation="silu")
network, history = senn.fit(
    network,
    (X[300:], y[300:]),
    validation=(X[:300], y[:300]),
    proposer=senn.proposals.Random(candidates=32),
    policy=senn.Policy(every=20, additions_at_once=4, max_units=12),
    schedule=senn.Schedule(max_steps=60, batch_size=128, sample_size=256),
)
print(network.hidden_sizes, history.stop_reason)
