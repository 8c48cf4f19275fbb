"""K-FAC against the whole update written out with dense matrices; what growth does to its state."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax

import reference
import senn.training.step
from senn.actions import Beside, Widen
from senn.arrays import following
from senn.batches import Batch, InputMoment
from senn.callbacks import Callback
from senn.curvature import loss_gradient
from senn.factors import InputFactor
from senn.growth import add
from senn.losses import make_loss, make_metric, signs
from senn.nn import MLP, ConvNet
from senn.optimizers import KFAC, make_optimizer
from senn.optimizers import kfac_factors as kfac
from senn.optimizers.kfac import CLIPPED_AT_PLACES, Factors
from senn.policy import Policy
from senn.proposals import Proposal
from senn.training import Schedule, fit, train_chunk
from strategies import random_batch, random_network, random_units

N, SIZES = 8, (3, 4, 3, 2)
CASES = {  # activation, sizes, residual layers, loss, metric; each in all of its variety
    "chain": ("rational", SIZES, (), "softmax_cross_entropy", "fisher"),
    "beside inputs": ("rational", SIZES, (0,), "softmax_cross_entropy", "euclidean"),
    "all beside": ("rational", SIZES, (0, 1), "binary_cross_entropy", "fisher"),
    "beside units": ("rational", SIZES, (1,), "squared_error", "euclidean"),
    "linear": ("rational", (3, 2), (), "binary_cross_entropy", "euclidean"),
    "relu": ("relu", SIZES, (0,), "softmax_cross_entropy", "fisher"),
    "silu": ("silu", SIZES, (), "squared_error", "fisher"),
    "gelu": ("gelu", SIZES, (1,), "binary_cross_entropy", "fisher"),
    "tanh": ("tanh", SIZES, (0, 1), "softmax_cross_entropy", "euclidean"),
}
STEPS, RUNS = 8, 3
DAMPING = 0.02
TRACED = ("learning_rate", "momentum", "kl_clip", "prior", "tails", "noise", "decay", "refresh")


def settings(seed):
    """Random settings, such that in some step the means are old, the inverses stale, ν below 1."""
    draw = np.random.default_rng(seed)
    return {
        "learning_rate": draw.uniform(0.05, 0.3),
        "momentum": draw.uniform(0, 0.95),
        "kl_clip": 10 ** draw.uniform(-4, 0),
        "prior": draw.choice([0.0, 0.5, 3.0]),
        "decay": draw.uniform(0.3, 0.9),
        "refresh": int(draw.integers(1, 5)),
        "tails": draw.choice([0.0, 0.5]),
        "noise": draw.choice([0.0, 0.3]),
    }


def rule_of(seed, **fixed):
    """KFAC with those settings; as arrays, so that other values need no compilation."""
    rule = KFAC(**(settings(seed) | {"damping": DAMPING, "seed": seed} | fixed))
    return eqx.tree_at(
        lambda r: [getattr(r, name) for name in TRACED], rule, replace_fn=jnp.asarray
    )


@eqx.filter_jit
def take(rule, network, state, loss, metric, batch, scale):
    return rule.step(network, state, loss, metric, batch, scale)


# --- the reference ----------------------------------------------------------------------------


def unflatten(network, vector):
    """(W, b, θ or None) of every linear map, from a vector in the order of `reference.flat`."""
    shapes = [p.shape for p in reference.active(network)]
    ends = np.cumsum([np.prod(s, dtype=int) for s in shapes])[:-1]
    pieces = np.split(vector, ends, axis=-1)
    arrays = iter(p.reshape(*vector.shape[:-1], *s) for p, s in zip(pieces, shapes, strict=True))
    last, rational = len(network.hidden), network.activation.learned
    return [
        (next(arrays), next(arrays), next(arrays) if rational and m < last else None)
        for m in range(last + 1)
    ]


def metric_root(loss, metric, y, u):
    if metric == "euclidean" or loss == "squared_error":
        return u
    if loss == "binary_cross_entropy":
        return np.sqrt(expit(y) * expit(-y)) * u
    p = softmax(y, axis=1)
    return np.sqrt(p) * u - p * np.sum(np.sqrt(p) * u, axis=1, keepdims=True)


class Dense:
    """K-FAC over the active parameters, every block of the curvature a dense matrix."""

    def __init__(self, names, seed, moment, examples):
        self.names, self.examples = names, examples
        for name, value in settings(seed).items():
            setattr(self, name, value)
        self.A0, self.age, self.velocity = moment, 0, 0.0
        self.key = jax.random.key(seed)
        self.factors = self.inverses = None

    def second_moments(self, network, batch, key):
        """(A of hidden inputs, S, θ blocks) of every map on one batch; the loss's gradient."""
        x, t, w = (np.asarray(part) for part in batch)
        y, read = reference.forward(network, x)
        u = np.asarray(signs(key, y.shape, float))
        J = reference.jacobian(network, x)
        drawn = np.einsum("nop,no->np", J, metric_root(*self.names, y, u))
        factors = []
        for m, (_, s, theta) in enumerate(unflatten(network, drawn)):
            nodes = reference.read_nodes(network)[m]
            skip = network.in_size if 0 in nodes else 0
            constant = [] if 0 in nodes else [np.ones(len(x))]
            a = np.column_stack([read[m][:, skip:], *constant])
            A = np.einsum("n,ni,nj->ij", w, a, a) / len(x) if a.shape[1] else None
            S = np.einsum("n,ni,nj->ij", w, s, s) / len(x)
            blocks = None
            if theta is not None:  # the draw's gradient for θ is φ(z) s
                blocks = np.einsum("n,nfc,ngc->cfg", w, theta, theta) / len(x)
            factors.append((A, S, blocks))
        g = np.einsum("n,nop,no->p", w, J, reference.loss_gradients(self.names[0], y, t)) / len(x)
        return factors, g

    def damped(self, A, S):
        """A + π√ε I and S + √ε/π I."""
        pi = np.sqrt(reference.ridge(A, 1.0) / reference.ridge(S, 1.0))
        root = np.sqrt(DAMPING)
        return A + pi * root * np.eye(len(A)), S + root / pi * np.eye(len(S))

    def blocks(self, network):
        """The damped curvature: the numbers of parameters, and the matrix of each block."""
        numbers = np.arange(network.n_parameters)
        for m, (W, b, theta) in enumerate(unflatten(network, numbers)):
            rows = np.vstack([W, b])
            parts = [(rows, a) for a in self.inverses[m]]
            if 0 in reference.read_nodes(network)[m]:
                n = network.in_size
                parts[0] = (np.vstack([rows[:n], rows[-1:]]), self.inverses[m][0])
                if len(parts) > 1:
                    parts[1] = (rows[n:-1], self.inverses[m][1])
            for where, (A, S) in parts:
                yield where.ravel(), np.kron(A, S)
            if theta is not None:
                for unit, F in zip(theta.T, self.factors[m][2], strict=True):
                    yield unit, F + DAMPING * np.eye(3)

    def curvature(self, network):
        F = np.zeros((network.n_parameters,) * 2)
        for numbers, block in self.blocks(network):
            F[np.ix_(numbers, numbers)] = block
        return F

    def penalty(self, network):
        """The gradient of the prior and of noise on what maps read."""
        parts, reads = [], reference.read_nodes(network)
        for m, (W, b, theta) in enumerate(
            unflatten(network, reference.flat(reference.active(network)))
        ):
            # Weights N(0, 1/inputs), or with tails a Student's t a row; biases and θ N(0, 1).
            p, kappa = len(W), self.tails
            shared = p * (1 + kappa * W.shape[1]) / (
                1 + kappa * p * np.sum(W**2, axis=1, keepdims=True))  # fmt: skip
            A, S, _ = self.factors[m]
            inputs = [np.diag(self.A0)[:-1]] if 0 in reads[m] else []
            hidden = [] if A is None else [np.diag(A)]
            diagonal = np.concatenate([*inputs, *hidden])[: len(W)]  # without the constant
            prior = self.prior / self.examples
            parts += [prior * shared * W + self.noise * diagonal[:, None] * (W @ S), prior * b]
            parts += [] if theta is None else [prior * theta]
        return reference.flat(parts)

    def step(self, network, batch, scale):
        """What one step takes from the active parameters; η and ν."""
        draw_key, self.key = self.key, following(self.key)
        new, g = self.second_moments(network, batch, draw_key)
        old = min(self.age / (self.age + 1), self.decay)
        self.factors = [
            tuple(
                n if n is None or not self.age else old * f + (1 - old) * n
                for f, n in zip(ours, theirs, strict=True)
            )
            for ours, theirs in zip(self.factors or new, new, strict=True)
        ]
        if self.age < self.refresh or self.age % self.refresh == 0:
            self.inverses = []
            for m, (A, S, _) in enumerate(self.factors):
                inputs = [self.A0] if 0 in reference.read_nodes(network)[m] else []
                hidden = [] if A is None else [A]
                self.inverses.append([self.damped(part, S) for part in [*inputs, *hidden]])
        self.age += 1
        g = g + self.penalty(network)
        direction = np.linalg.solve(self.curvature(network), g)
        rate, eta = scale * self.learning_rate, g @ direction
        nu = min(1.0, np.sqrt(self.kl_clip / (rate**2 * eta)))
        self.velocity = self.momentum * self.velocity + nu * direction
        return rate * self.velocity, eta, nu


# --- running both -----------------------------------------------------------------------------


def flat(network, tree):
    return reference.flat(reference.active(network, tree))


def nothing_dormant(network, tree):
    """Whether all that is not zero belongs to active units."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return sum(np.count_nonzero(leaf) for leaf in leaves) == np.count_nonzero(flat(network, tree))


def moment_of(x, weight):
    a = np.column_stack([x, np.ones(len(x))])
    return np.einsum("n,ni,nj->ij", weight, a, a) / len(x)


class Record:
    """A few steps of both, side by side."""

    def __init__(self, kind, seed):
        activation, sizes, residual, *names = CASES[kind]
        loss = make_loss(names[0])
        case = loss, make_metric(names[1], loss)
        self.network = random_network(sizes, activation, residual, seed=seed)
        rule, state = rule_of(seed), rule_of(seed).init(self.network)
        data = random_batch(names[0], 20, 3, 2, weighted=True, seed=seed)
        moment = moment_of(np.asarray(data.x), np.asarray(data.weight))
        state = rule.observe(state, InputMoment(moment, 20))
        dense = Dense(names, seed, moment, 20)
        self.dense, self.steps, network = dense, [], self.network
        for n in range(STEPS):
            batch = random_batch(names[0], N, 3, 2, weighted=True, seed=100 * seed + n)
            scale = 1.0 - 0.1 * n
            change, eta, nu = dense.step(network, batch, scale)
            new, state, info = take(rule, network, state, *case, batch, jnp.asarray(scale))
            y = reference.forward(network, batch.x)[0]
            losses = reference.loss_values(names[0], y, batch.y)
            self.steps.append(
                {
                    "found": flat(network, network) - flat(network, new),
                    "change": change,
                    "velocity": (flat(network, state.velocity), dense.velocity),
                    "eta": (float(info.eta), eta),
                    "loss": (float(info.loss), np.mean(np.asarray(batch.weight) * losses)),
                    "nu": nu,
                    "state": state,
                    "factors": dense.factors,
                    "inverses": dense.inverses,
                    "network": new,
                }
            )
            network = new


@pytest.fixture(scope="module", params=CASES)
def runs(request):
    return [Record(request.param, seed) for seed in range(RUNS)]


def close(found, wanted, rtol=1e-9):
    assert np.linalg.norm(found - wanted) <= rtol * np.linalg.norm(wanted)


def active_slots(network, m):
    """Of the hidden inputs of map m and the constant, if it is there; and of its outputs."""
    nodes = network.sources[m]
    inputs = np.asarray(network.active_inputs(m))[network.in_size if 0 in nodes else 0 :]
    inputs = inputs if 0 in nodes else np.append(inputs, True)
    outputs = np.arange(network.maps[m].bias.shape[0]) < reference_out(network, m)
    return inputs, outputs


def reference_out(network, m):
    return (*network.hidden_sizes, network.out_size)[m]


def by_map(network, of_sites):
    """What belongs to every linear map, and to the θ behind it, or None."""
    maps, thetas = of_sites[: network.n_maps], of_sites[network.n_maps :]
    return list(zip(maps, (*thetas, *[None] * (len(maps) - len(thetas))), strict=True))


def test_factors_are_running_means_of_dense_moments(runs):
    for run in runs:
        for step in run.steps:
            for m, (found, wanted) in enumerate(
                zip(by_map(run.network, step["state"].factors), step["factors"], strict=True)
            ):
                (found, theta), (*_, theta_wanted) = found, wanted
                rows, columns = active_slots(run.network, m)
                for F, slots, want in (
                    (found.A, rows, wanted[0]),
                    (found.S, columns, wanted[1]),
                ):
                    assert (F is None) == (want is None)
                    if want is not None:
                        F = np.asarray(F)
                        close(F[np.ix_(slots, slots)], want)
                        assert not F[~slots].any()
                        assert not F[:, ~slots].any()
                assert (theta is None) == (theta_wanted is None)
                if theta is not None:
                    close(np.asarray(theta.block)[columns], theta_wanted)
                    assert not np.asarray(theta.block)[~columns].any()


def test_inverses_are_dense_inverses(runs):
    for run in runs:
        for step in run.steps:
            for m, (found, wanted) in enumerate(
                zip(step["state"].inverses[: run.network.n_maps], step["inverses"], strict=True)
            ):
                rows, columns = active_slots(run.network, m)
                assert len(found) == len(wanted)
                for part, (A, S) in zip(found, wanted, strict=True):
                    close(np.asarray(part.S)[np.ix_(columns, columns)], np.linalg.inv(S))
                    assert not np.asarray(part.S)[np.ix_(columns, ~columns)].any()
                    if part.A.ndim:
                        close(np.asarray(part.A)[np.ix_(rows, rows)], np.linalg.inv(A))
                        assert not np.asarray(part.A)[np.ix_(rows, ~rows)].any()
                    else:  # the ridge of the network's inputs
                        ridge = A[0, 0] - run.dense.A0[0, 0]
                        assert float(part.A) == pytest.approx(ridge, rel=1e-9)


def test_steps_are_the_dense_update(runs):
    for run in runs:
        for n, step in enumerate(run.steps):
            close(step["found"], step["change"])
            close(*step["velocity"])
            for name in ("eta", "loss"):
                found, wanted = step[name]
                assert found == pytest.approx(wanted, rel=1e-9), name
            assert step["state"].age == n + 1
            assert step["state"].examples == 20
    # What the settings are meant to bring about.
    clips = [step["nu"] for run in runs for step in run.steps]
    assert min(clips) < 1
    assert max(clips) == 1


def test_dormant_slots_stay_zero(runs):
    for run in runs:
        for step in run.steps:
            assert nothing_dormant(run.network, step["network"])
            assert nothing_dormant(run.network, step["state"].velocity)


# --- in float32 -------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["rational", "relu"])
def test_dormant_slots_stay_zero_in_float32_after_many_steps(activation):
    network = random_network(activation=activation, residual=(1,), dtype=jnp.float32)
    loss = make_loss("softmax_cross_entropy")
    batch = random_batch("softmax_cross_entropy", N, 3, 2, dtype=jnp.float32)
    rule = KFAC(learning_rate=0.2, damping=1e-2, refresh=2, prior=0.1)
    state = rule.init(network)
    state = rule.observe(state, InputMoment(moment_of(np.asarray(batch.x), np.ones(N)), N))
    args = loss, make_metric("fisher", loss), batch, jnp.ones((), jnp.float32)
    new, losses = network, []
    for _ in range(60):
        new, state, info = take(rule, new, state, *args)
        losses.append(float(info.loss))
        assert nothing_dormant(network, new)
        assert nothing_dormant(network, state.velocity)
    assert losses[-1] < 0.5 * losses[0]
    for old, leaf in zip(jax.tree.leaves(network), jax.tree.leaves(new), strict=True):
        assert leaf.dtype == old.dtype
        assert np.isfinite(leaf).all()


# --- the clip ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "clipped"), [(1 - 1e-6, True), (0.25, True), (1 + 1e-6, False)])
def test_the_clip_binds_exactly_at_its_bound(share, clipped):
    activation, sizes, residual, *names = CASES["chain"]
    loss = make_loss(names[0])
    network = random_network(sizes, activation, residual)
    batch = random_batch(names[0], N, 3, 2, seed=3)
    args = loss, make_metric(names[1], loss), batch, jnp.asarray(0.5)
    moment, dense = np.eye(4), Dense(names, 0, np.eye(4), 1)
    _, eta, _ = dense.step(network, batch, 0.5)
    free = (0.5 * dense.learning_rate) ** 2 * eta
    rule = rule_of(0, kl_clip=float(share * free))
    state = rule.observe(rule.init(network), InputMoment(moment, 1))
    new, *_ = take(rule, network, state, *args)
    change = flat(network, network) - flat(network, new)
    # In the damped curvature the first step is as long as the clip allows, or as P g is.
    length = change @ dense.curvature(network) @ change
    assert length == pytest.approx(min(share, 1) * free, rel=1e-8)
    assert (length < free * (1 - 1e-7)) == clipped


def test_maps_with_positions_are_clipped_at_a_share_of_it_by_the_rate_before_annealing():
    network = ConvNet((4, 4), 2, (2,), key=jax.random.key(0), activation="silu")
    draw, loss = np.random.default_rng(0), make_loss("softmax_cross_entropy")
    batch = Batch.on_host(draw.normal(size=(N, 4, 4, 1)), np.arange(N) % 2, np.ones(N))
    batch = jax.tree.map(jnp.asarray, batch)

    def stepped(clip, scale=1.0):
        rule = KFAC(kl_clip=clip).as_arguments(loss, np.float64)
        state = rule.init(network)
        new, _, info = take(
            rule, network, state, loss, make_metric("fisher", loss), batch, jnp.asarray(scale)
        )
        moved = jax.tree.map(jnp.subtract, *(eqx.filter(n, eqx.is_inexact_array)
                                             for n in (network, new)))  # fmt: skip
        return np.concatenate([np.ravel(a) for a in jax.tree.leaves(moved)]), float(info.eta)

    free, eta = stepped(1e9)
    bound = KFAC().learning_rate ** 2 * eta / CLIPPED_AT_PLACES
    for share, length in ((4.0, 1.0), (0.25, 0.5)):
        for scale in (1.0, 0.5):
            change, _ = stepped(share * bound, scale)
            np.testing.assert_allclose(change, scale * length * free, rtol=1e-9, atol=1e-15)


# --- what is kept, and for how long -----------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A network, its optimiser's state after a few steps, and how to take one more."""
    network = random_network(capacity=8)
    loss = make_loss("squared_error")
    batch = random_batch("squared_error", N, 3, 2, weighted=True)
    args = loss, make_metric("fisher", loss), batch, jnp.ones(())
    rule = rule_of(1)
    state = rule.observe(rule.init(network), InputMoment(moment_of(batch.x, batch.weight), N))
    for _ in range(3):
        network, state, _ = take(rule, network, state, *args)
    return rule, network, state, args


def unit(network, place, units=1, seed=0):
    weight, bias, theta = random_units(network, place.position, units, seed)
    scores = dict.fromkeys(("fit_score", "score", "stderr", "eta", "limit", "reach"), 1.0)
    return Proposal(place, weight, bias, theta, **scores)


PLACES = {
    "units": (Widen(0), 2),
    "layer": (Beside(1), 2),
    "beyond capacity": (Widen(1), 7),
}


@pytest.mark.parametrize(("place", "units"), PLACES.values(), ids=PLACES)
def test_growth_keeps_the_velocity_and_lets_the_factors_start_anew(trained, place, units):
    rule, network, state, args = trained
    new, grown = add(network, state, unit(network, place, units), Policy(max_units=20))
    grown = rule.grown(grown, new)
    assert grown.age == 0
    assert rule.output_factors(grown) is None
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((grown.factors, grown.inverses)))
    blank = rule.init(new)
    assert jax.tree.structure(grown) == jax.tree.structure(blank)
    for leaf, wanted in zip(jax.tree.leaves(grown), jax.tree.leaves(blank), strict=True):
        assert leaf.shape == wanted.shape
    for name in ("inputs", "examples", "key"):
        kept, before = (jax.tree.leaves(getattr(s, name)) for s in (grown, state))
        assert all(map(np.array_equal, map(data, kept), map(data, before)))
    old, moved = (np.concatenate([np.ravel(v) for v in jax.tree.leaves(s.velocity)])
                  for s in (state, grown))  # fmt: skip
    np.testing.assert_array_equal(np.sort(old[old != 0]), np.sort(moved[moved != 0]))
    x = args[2].x
    if place.inserts or units < 7:
        np.testing.assert_array_equal(np.asarray(new(x)), np.asarray(network(x)))
    # The next batch alone makes the factors.
    _, after, _ = take(rule, new, grown, *args)
    dense = Dense(("squared_error", "fisher"), 1, np.eye(4), N)
    key = grown.key
    for m, ((found, _), wanted) in enumerate(
        zip(by_map(new, after.factors), dense.second_moments(new, args[2], key)[0], strict=True)
    ):
        columns = active_slots(new, m)[1]
        close(np.asarray(found.S)[np.ix_(columns, columns)], wanted[1])


def data(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_what_searches_may_read(trained):
    rule, network, state, _ = trained
    blank = rule.init(network)
    assert rule.output_factors(blank) is None
    factors = rule.output_factors(state)
    assert all(map(np.array_equal, factors, [f.S for f in state.factors if isinstance(f, Factors)]))
    assert rule.input_factor(state) is state.inputs
    np.testing.assert_allclose(rule.input_factor(blank).product(jnp.eye(4)), np.eye(4), atol=1e-15)
    assert rule.watches_inputs


def test_the_seed_decides_the_draws(trained):
    rule, network, _, args = trained
    first, again, other = (
        take(r, network, r.init(network), *args)[1].factors[: network.n_maps]
        for r in (rule, rule, rule_of(2))
    )
    same = [np.array_equal(f.S, a.S) for f, a in zip(first, again, strict=True)]
    assert all(same)
    assert not np.array_equal(first[0].S, other[0].S)


def test_it_is_the_default():
    assert make_optimizer("kfac") == KFAC()
    defaults = inspect.signature(fit).parameters
    assert (defaults["optimizer"].default, defaults["metric"].default) == ("kfac", None)


BY_LOSS = [
    ("squared_error", "prior", 0.1, 0.0), ("binary_cross_entropy", "prior", 0.1, 0.0),
    ("squared_error", "kl_clip", 1e-4, 1.0), ("binary_cross_entropy", "kl_clip", 0.01, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "name", "default", "another"), BY_LOSS)
def test_prior_and_clip_are_those_of_the_loss_if_nobody_says(loss, name, default, another):
    network = MLP(2, 1, (2,), key=jax.random.key(0))
    batch, loss = Batch.of(np.eye(2), np.array([0.0, 1.0])), make_loss(loss)
    metric = make_metric("fisher", loss)

    def after(value):
        rule = KFAC(learning_rate=1.0, **{name: value})
        return rule.step(network, rule.init(network), loss, metric, batch, jnp.asarray(1.0))[0]

    found, told, other = (after(value) for value in (None, default, another))
    assert all(map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(told)))
    assert not np.array_equal(found.readout.bias, other.readout.bias)


BAD = [
    ("learning_rate", 0.0), ("learning_rate", np.nan), ("damping", 0.0), ("damping", -1.0),
    ("kl_clip", 0.0), ("kl_clip", np.nan), ("momentum", -0.1), ("momentum", 1.0),
    ("momentum", np.nan), ("decay", 1.0), ("decay", -0.1), ("prior", -0.1), ("prior", np.nan),
    ("tails", -0.1), ("noise", np.nan), ("refresh", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_settings(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        KFAC(**{name: value})


# --- what it is told of the inputs ------------------------------------------------------------


@pytest.fixture
def told(monkeypatch):
    """The rows seen, and the input factor in use, before every call of several steps."""
    seen, plain = [], train_chunk

    def spy(state, optimizer, loss, metric, batch, rows, scales, n):
        used = np.asarray(rows)[: int(n)].ravel()
        x, weight = np.asarray(batch.x)[used, :3], np.asarray(batch.weight)[used]
        seen.append((x[weight > 0], weight[weight > 0], state.optimizer))
        return plain(state, optimizer, loss, metric, batch, rows, scales, n)

    spy.prepare = plain.prepare
    monkeypatch.setattr(senn.training.step, "train_chunk", spy)
    return seen


FIXED = Policy(width=False, depth=False)
ONE_BY_ONE = Schedule(
    max_epochs=1.0, batch_size=4, evaluate_every=100, steps_per_call=2, anneal_epochs=None
)


def a_network():
    return MLP(3, 1, (2,), key=jax.random.key(0), capacity=4)


def matrix(factor):
    """The factor of the three inputs and the constant, which spare slots have no part in."""
    whole = np.asarray(factor.product(jnp.eye(len(factor.vectors))))
    rows = np.r_[:3, -1]
    apart = np.delete(whole, rows, axis=0)
    assert apart.shape[0] == 61
    assert not apart[:, rows].any()
    return whole[np.ix_(rows, rows)]


@pytest.mark.parametrize("endless", [False, True], ids=["iterator", "iterable"])
def test_a_stream_tells_of_its_inputs_whenever_they_have_doubled(told, endless):
    draw = np.random.default_rng(0)
    x, y, w = draw.normal(size=(44, 3)), draw.normal(size=44), draw.uniform(0.5, 2, 44)
    cuts = [(0, 9), (9, 10), (10, 30), (30, 44)]
    batches = [(x[i:j], y[i:j], w[i:j]) for i, j in cuts]
    stream = batches if endless else iter(batches)
    fit(a_network(), stream, loss="squared_error", policy=FIXED, schedule=ONE_BY_ONE)
    assert len(told) > 3
    np.testing.assert_allclose(np.concatenate([rows for rows, *_ in told]), x, rtol=1e-12)
    seen = observed = 0
    times = 0
    for rows, _, state in told:
        seen += len(rows)
        if seen >= 2 * observed:
            observed, times = seen, times + 1
        assert state.examples == observed
        np.testing.assert_allclose(
            matrix(state.inputs), moment_of(x[:observed], w[:observed]), rtol=1e-10, atol=1e-12
        )
    assert times > 2
    assert observed < seen  # the last rows were not enough to look again


def test_arrays_tell_of_their_inputs_once(told, monkeypatch):
    draw = np.random.default_rng(1)
    x, y, w = draw.normal(size=(10, 3)), draw.normal(size=10), draw.uniform(0.5, 2, 10)
    calls, plain = [], InputFactor.of
    monkeypatch.setattr(InputFactor, "of", lambda *args: calls.append(args) or plain(*args))
    schedule = Schedule(
        max_steps=6, batch_size=4, evaluate_every=100, steps_per_call=2, anneal_epochs=None
    )
    fit(a_network(), (x, y, w), policy=FIXED, schedule=schedule)
    assert len(told) == 3
    assert len(calls) == 1
    for *_, state in told:
        np.testing.assert_allclose(matrix(state.inputs), moment_of(x, w), rtol=1e-10, atol=1e-12)
        assert state.examples == 10


def test_a_run_that_recovers_is_told_again(told):
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(8, 3)), draw.normal(size=8)

    class Spoil(Callback):
        """Remembers that there was a recovery."""

        recoveries = 0

        def on_recovery(self, _):
            self.recoveries += 1

    spoil = Spoil()
    bad = np.where(np.arange(8) == 3, 1e200, y)
    schedule = Schedule(
        max_steps=4, batch_size=8, evaluate_every=100, steps_per_call=2, anneal_epochs=None
    )
    fit(a_network(), (x, bad), policy=FIXED, schedule=schedule, callbacks=[spoil])
    assert spoil.recoveries
    for *_, state in told:
        np.testing.assert_allclose(matrix(state.inputs), moment_of(x, np.ones(8)), rtol=1e-10)
        assert isinstance(state.examples, Batch | jax.Array)


def test_draws_of_one_step_tell_nothing_of_those_of_the_next():
    keys = [jax.random.key(3)]
    for _ in range(30):
        keys.append(following(keys[-1]))
    assert len({tuple(np.asarray(jax.random.key_data(k)).tolist()) for k in keys}) == len(keys)
    drawn = np.array([signs(key, (500, 4), float) for key in keys]).reshape(len(keys), -1)
    together = drawn @ drawn.T / drawn.shape[1]
    np.testing.assert_array_equal(np.diag(together), 1)
    assert np.abs(together - np.eye(len(keys))).max() < 5 / np.sqrt(drawn.shape[1])


# --- batches in blocks ------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["chain", "all beside", "beside units"])
@pytest.mark.parametrize("weighted", [0, 3, 19, 24, 32])
def test_a_batch_is_looked_at_in_blocks(case, weighted, monkeypatch):
    """Gradient, factors and loss are those of all rows; blocks of no weight are left out."""
    monkeypatch.setattr(kfac, "ROWS_IN_CACHE", 8)
    activation, sizes, residual, name, output_metric = CASES[case]
    network = random_network(sizes, residual=residual, activation=activation, seed=weighted)
    loss = make_loss(name)
    metric = make_metric(output_metric, loss)
    batch = random_batch(name, 32, sizes[0], sizes[-1], weighted=True, seed=weighted)
    weight = np.where(np.arange(32) < weighted, batch.weight, 0)
    batch = batch._replace(weight=jnp.asarray(weight))
    state = rule_of(weighted).init(network)
    g, factors, value = kfac.seen_on(network, loss, metric, batch, state)

    mean, gradient = loss_gradient(network, loss, batch)
    np.testing.assert_allclose(value, mean, rtol=1e-12)
    assert_close(g, gradient)
    monkeypatch.setattr(kfac, "ROWS_IN_CACHE", 7)  # 32 rows are then one block
    assert_close(factors, kfac.seen_on(network, loss, metric, batch, state)[1])


def assert_close(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
