"""
How growth decides
==================

Four questions are answered again and again while a network trains: *what* unit would help,
*when* is it worth adding, *where* does it go, and *how* is it added so that nothing that was
learned is disturbed. This page answers them with pictures from one run on data that can be drawn:
two half-moons, with noise.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import senn
from senn.curvature import moments
from senn.losses import Fisher, SoftmaxCrossEntropy
from senn.nn import rational_features

X, y = make_moons(1000, noise=0.25, random_state=0)
X = (X - X.mean(axis=0)) / X.std(axis=0)
train, validation = (X[:800], y[:800]), (X[800:], y[800:])

# %%
# A network with one unit is trained, and not allowed to grow. It can bend its decision along one
# direction only.

stuck = senn.Policy(width=False, depth=False)
start = senn.nn.MLP(2, 2, hidden_sizes=(1,), key=jax.random.key(3))
small, _ = senn.fit(
    start, train, validation=validation, policy=stuck, schedule=senn.Schedule(max_steps=120)
)

plane = np.stack(np.meshgrid(np.linspace(-2.5, 2.5, 80), np.linspace(-2.5, 2.5, 80)), axis=-1)


def draw_decision(axes, network, title):
    """The probability of class 1 over the plane, and the data."""
    p = jax.nn.softmax(network(plane.reshape(-1, 2).astype(np.float32)))[:, 1].reshape(80, 80)
    axes.contourf(plane[..., 0], plane[..., 1], p, levels=11, cmap="coolwarm", alpha=0.6)
    axes.contour(plane[..., 0], plane[..., 1], p, levels=[0.5], colors="black")
    axes.scatter(*X[:300].T, c=y[:300], s=6, cmap="coolwarm", edgecolor="none")
    axes.set(title=title, aspect="equal", xticks=[], yticks=[])


figure, axes = plt.subplots(figsize=(4, 4))
draw_decision(axes, small, "one unit")
figure.tight_layout()

# %%
# What: the unit that explains the residual gradient
# --------------------------------------------------
#
# Every linear map has inputs *a* and, at its outputs, the gradient of the loss *g*, an example
# each. The part of g that the inputs can predict will be learned by training alone. The other
# part is the *residual gradient* g_r: what the map would like to do and cannot express. A new
# unit helps if its activation predicts g_r. How much, is Δη′: the part of the squared length of
# g_r, measured in the metric of the outputs, that the unit explains. It is a lower bound of what
# the unit adds to the natural expansion score η = gᵀF⁻¹g (theorem 2 of the paper).
#
# With two inputs a unit is a direction and an offset, so Δη′ can be drawn over all units there
# are. A rational unit is linear in its coefficients, a = θᵀφ(z), so the best θ is known for every
# direction and offset, and only those two are left.

batch = senn.Batch.of(*train)
loss = SoftmaxCrossEntropy()
a, g, S = moments(small, loss, Fisher(loss), batch, jax.random.key(0)).maps[-1].dense

angles, offsets = np.linspace(0, np.pi, 60), np.linspace(-2.5, 2.5, 60)
directions = np.stack([np.cos(angles), np.sin(angles)])  # [2, 60]
z = 3 * (train[0] @ directions)[:, :, None] - 3 * offsets  # [N, angle, offset]
features = rational_features(z.reshape(len(z), -1).T.astype(np.float32))  # [3, units, N]


@jax.jit
def gains(features):
    """Δη′ of every unit with its best coefficients."""
    bound = jax.vmap(lambda phi: senn.score.score_increase_bound(a, phi.T, g, S, 1e-3))
    return jax.lax.map(bound, features.transpose(1, 0, 2).reshape(60, 60, 3, -1))


landscape = np.asarray(gains(features))
best = np.unravel_index(landscape.argmax(), landscape.shape)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
shown = left.contourf(np.degrees(angles), offsets, landscape.T, levels=20)
left.plot(np.degrees(angles[best[0]]), offsets[best[1]], "r*", markersize=12)
left.set(title="Δη′ of every direction and offset", xlabel="direction (degrees)", ylabel="offset")
figure.colorbar(shown, ax=left)
residual = np.asarray(senn.score.residual_gradient(a, g, 1e-3))[:, 1]
right.scatter(*train[0].T, c=residual, s=8, cmap="PuOr", vmin=-0.6, vmax=0.6)
normal, offset = directions[:, best[0]], offsets[best[1]]
along = np.array([[-normal[1], normal[0]]]) * np.array([[-4], [4]]) + normal * offset
right.plot(*along.T, "r", label="where the best unit has z = 0")
right.set(title="residual gradient", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")
right.legend(loc="lower left", fontsize=8)
figure.tight_layout()

# %%
# :class:`senn.proposals.Projection`, the default search, does this in any number of dimensions:
# it screens hundreds of directions with one matrix product, and refines the best by a few steps.
# What it finds is judged on examples other than those it was fitted to, and that score and its
# standard error decide.
#
# When and where: two thresholds
# ------------------------------
#
# Now the network may grow. At each consideration every place has its best unit scored. A unit is
# worth adding if its score, less half a standard error,
#
# * raises the score η_c of the map that would read it by more than the expansion threshold τ:
#   Δη′ > (τ − 1) η_c. As long as training itself has much to gain, η_c is large, and growth waits;
# * gains more than the share α of all that is still to be gained.
#
# The best place wins and gets units up to the first that does not pass. Layers are proposed when
# no unit passes anywhere twice in a row, and their score is divided by ``layer_cost``.

grown, history = senn.fit(
    start,
    train,
    validation=validation,
    policy=senn.Policy(depth=False),  # one hidden layer, to keep the pictures simple
    schedule=senn.Schedule(max_steps=300, anneal_steps=120),
)
print(grown.hidden_sizes, history.stop_reason)

looks = history.to_frame("consideration")
share = (looks["score"] - 0.5 * looks["stderr"]) / looks["units"] / looks["reach"]
figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 5.5))
for accepted, colour in ((True, "tab:green"), (False, "tab:red")):
    of = looks["accepted"] == accepted
    label = "added" if accepted else "refused"
    above.plot(looks["step"][of], share[of].clip(1e-5), "o", color=colour, label=label)
above.axhline(senn.Policy().alpha, color="grey", linestyle="--", label="α")
above.set(yscale="log", ylabel="share of what is left\na unit would gain")
above.legend()
evaluations = history.to_frame("evaluation")
below.plot(evaluations["step"], evaluations["validation_loss"], color="tab:blue")
below.set(xlabel="step", ylabel="validation loss")
size = below.twinx()
size.step(evaluations["step"], evaluations["hidden_sizes"].map(sum), where="post", color="grey")
size.set_ylabel("units")
figure.tight_layout()

# %%
# Shares at or below 10⁻⁵ are drawn there: on held-out examples those units gain nothing. The
# ledger has each verdict in words:

for accepted, of in looks.groupby("accepted"):
    print("added:" if accepted else "refused:", *of["reason"].drop_duplicates().head(3), sep="\n  ")

# %%

figure, pair = plt.subplots(1, 2, figsize=(8, 4))
draw_decision(pair[0], small, "one unit")
draw_decision(pair[1], grown, f"grown to {grown.hidden_sizes[0]}")
figure.tight_layout()

# %%
# How: dormant units
# ------------------
#
# Every hidden layer has spare slots, whose weights, biases and coefficients are all zero. Such a
# slot puts out exactly 0, and every gradient of it is exactly 0, so that no optimiser wakes it:
# no masks are needed, and nothing is recompiled when a unit moves in. It arrives with outgoing
# weights of zero, and the outputs stay the same bit for bit.

print("units in use", grown.hidden_sizes, "of slots", grown.capacities)

size = grown.hidden_sizes[0]
weight = np.asarray(grown.maps[0].weight)
print("weights of dormant slots, largest:", np.abs(weight[:, size:]).max())

wider = senn.add_width(
    grown, 0, weight=[[1.0], [-1.0]], bias=[0.5], activation=[[1.0], [0.3], [0.2]]
)
print(wider.hidden_sizes, "same bits:", np.array_equal(grown(batch.x), wider(batch.x)))

# %%
# The running mean
# ----------------
#
# Single steps follow the noise of their batch; the running mean of the parameters does not. It is
# what units are scored at and added to, what is evaluated, and what is returned. At single steps,
# which stray from where the loss is low, units would seem to help that only undo the straying.
# The network of one unit, trained on in small batches, with and without the mean:

figure, axes = plt.subplots(figsize=(7, 3.5))
for averaging in (0.0, 0.95):
    _, ledger = senn.fit(
        small,
        train,
        validation=validation,
        policy=stuck,
        schedule=senn.Schedule(max_steps=150, batch_size=64, averaging=averaging,
                               evaluate_every=3, anneal_epochs=None, stop_after=50),
    )  # fmt: skip
    of = ledger.to_frame("evaluation")
    axes.plot(of["step"], of["validation_loss"], label=f"averaging={averaging:g}")
axes.set(xlabel="step", ylabel="validation loss, one unit")
axes.legend()
figure.tight_layout()

# %%
# Stopping
# --------
#
# Growth ends when no place has passed α ``patience`` times in a row, when the validation loss has
# not improved in ``plateau`` evaluations, or when a budget is used up. What τ alone refuses does
# not count: η_c falls as training goes on, so such a unit may pass later. After growth the learning
# rate falls to zero along half a cosine, and training ends. Which of them it was is in
# ``history.stop_reason``; how the defaults were chosen is told under :doc:`/design/index`.

print(f"{history.stop_reason}; {len(history.additions)} additions")
