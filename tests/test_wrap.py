"""`senn.wrap`: what it finds in a module, what it makes of it, and what it refuses.

The tables of `test_graph` and `test_any_network` have what a wrapped module does as a network.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import senn
from senn.datasets import load
from senn.models import ModelFileError, read_model, write_model
from senn.nn import MLP, LayerNorm, RMSNorm
from senn.nn.graph import cost
from senn.nn.spaces import births, leaf_at
from senn.nn.wrapping import WrapError
from senn.prices import Factor, Prices
from wrapped import Attention, Residual, Tokens, keys, normed, tanh_layers, wrapped

nn = eqx.nn
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(6, 3, 4))

outputs = eqx.filter_jit(lambda network, x: network(x))
taps = eqx.filter_jit(lambda network, x: network.taps(x))
each = eqx.filter_jit(lambda module, x: jax.vmap(module)(x))


def table(network):
    """Space by space whether it may grow, or why not."""
    return {space.name: space.rigid or "yes" for space in network.graph.spaces}


def linear(i, o, seed=0, **settings):
    return nn.Linear(i, o, key=jax.random.key(seed), **settings)


# --- what it finds ----------------------------------------------------------------------------


def test_a_chain_grows_everywhere():
    network = senn.wrap(tanh_layers((5, 4, 3, 2)), jnp.zeros(5))
    assert table(network) == {"inputs": "yes", "layers.0": "yes", "layers.2": "yes",
                              "outputs": "yes"}  # fmt: skip
    assert network.hidden_sizes == (4, 3)
    assert network.capacities == (64, 64)
    assert [space.activation.name for space in network.graph.hidden] == ["tanh", "tanh"]
    assert not network.has_positions


def test_a_residual_network_grows_inside_its_blocks():
    network = wrapped(Residual((1, 4, 2), 2, (3, 4)), (1, 4, 2))
    assert table(network) == {
        "inputs": "it is what the module is given",
        "stem": "several maps write it: stem, back",
        "inner": "yes",
        "wide": "yes",
        "outputs": "yes",
    }
    assert network.capacities == (2, 8, 64)  # spare channels cost something at every place


def test_attention_is_rigid_and_says_why():
    network = wrapped(Attention(4, 2, 3), (3, 4))
    said = table(network)
    assert said["up"] == said["outputs"] == "yes"
    assert said["attention.query_proj"].startswith("the module takes it as 2 × 2, and of these: ")
    assert said["attention.value_proj"] == "the module takes it as 2 × 2"
    assert said["attention.output_proj"].startswith("several maps write it: attention.output_proj")
    shown = str(network).splitlines()
    assert shown[0] == f"Attention, {network.n_parameters:,} parameters, 7 linear maps:"
    assert [line.split()[0] for line in shown[2:]] == [s.name for s in network.graph.spaces]
    assert any(line.split()[:4] == ["up", "3", "8", "yes"] for line in shown)
    assert any("no: the module takes it as 2 × 2" in line for line in shown)


class Heads(eqx.Module):
    """Hard-codes into how many parts it cuts a layer."""

    first: nn.Linear
    second: nn.Linear
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x):
        h = jnp.tanh(self.first(x)).reshape(self.shape)
        return self.second(h.reshape(-1))


class Looped(eqx.Module):
    """Does as many things as it has units."""

    first: nn.Linear
    second: nn.Linear

    def __call__(self, x):
        h = self.first(x)
        for _ in range(len(h)):
            h = jnp.tanh(h)
        return self.second(h)


def test_the_modules_own_code_decides():
    pair = linear(3, 6), linear(6, 2, 1)
    fixed = senn.wrap(Heads(*pair, shape=(6,)), jnp.zeros(3))
    assert table(fixed)["first"].startswith("the module's code does not take another size (")
    assert table(senn.wrap(Heads(*pair, shape=(-1,)), jnp.zeros(3)))["first"] == "yes"
    looped = senn.wrap(Looped(*pair), jnp.zeros(3))
    assert "computes something else" in table(looped)["first"]
    assert np.isfinite(outputs(looped, RNG.normal(size=(2, 3)))).all()


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (nn.LayerNorm(6), "it is summed over, as norms, means and softmaxes do"),
        (nn.RMSNorm(6), "it is summed over, as norms, means and softmaxes do"),
        (nn.GroupNorm(2, 6), "the module takes it as 2 × 3, and of these: it is summed over"),
        (nn.Lambda(jax.nn.softmax), "the largest of it is taken"),
        (nn.Lambda(jnp.cumsum), "its order matters"),
        (nn.Lambda(lambda z: z[::-1]), "its order is reversed"),
        (nn.Lambda(lambda z: z.at[0].set(1)), "it goes through scatter"),
        (nn.Lambda(lambda z: jnp.concatenate([z, z])[:6]), "it is joined with other numbers"),
        (nn.Lambda(lambda z: z * z[0]), "some of it is cut out"),
        (nn.Lambda(lambda z: z + jnp.arange(6)), "the module's code does not take another size"),
    ],
)
def test_what_looks_at_several_units_is_rigid(norm, said):
    network = senn.wrap(normed(norm, 6), jnp.zeros(3))
    assert table(network)["first"].startswith(said)


@pytest.mark.parametrize(("module", "shape"), [
    (Tokens((3, 4), 2, (3, 2)), (3, 4)), (normed(LayerNorm(4)), (3,)), (normed(RMSNorm(4)), (3,)),
])  # fmt: skip
def test_the_search_sees_units_as_they_will_be(module, shape):
    """With what the example gives them on their way: whom a position attends to, a norm's mean."""
    network, x = wrapped(module, shape), jnp.asarray(RNG.normal(size=(5, *shape)))
    for layer, space in enumerate(network.graph.hidden):
        if space.rigid:
            continue
        (writer,), (reader,) = network.graph.writers(space), network.readers(layer)
        source, site = network.graph.maps[writer], network.graph.maps[reader]
        new = RNG.normal(size=(network.n_inputs(writer) + 1, 2))
        grown = senn.add_width(network, layer, new[:-1], new[-1])
        reads, after = taps(network, x).reads, taps(grown, x).reads
        z = source.rows(reads[writer]) @ (new if source.bias else new[:-1])
        units = source.laid(space.activation.features(z)[0])
        assert site.beside(reads[reader]) or space.name == "up"
        found = site.spread(units, 0, site.beside(reads[reader]))
        n = network.hidden_sizes[layer]
        at = site.columns(grown, space)[n : n + 2].reshape(2, -1)
        np.testing.assert_allclose(found, site.rows(after[reader])[..., at], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(LayerNorm, nn.LayerNorm), (RMSNorm, nn.RMSNorm)])
@pytest.mark.parametrize("settings", [{}, {"eps": 0.1, "use_weight": False, "use_bias": False}])
def test_norms_that_count_are_those_of_equinox_and_grow(ours, theirs, settings):
    x = jnp.asarray(RNG.normal(size=(5, 3)))
    wanted = each(normed(theirs(4, **settings)), x)
    module = normed(ours(4, **settings))
    np.testing.assert_allclose(each(module, x), wanted, rtol=1e-12)
    network = senn.wrap(module, x[0])
    assert table(network)["first"] == "yes"
    grown = senn.add_width(network, 0, RNG.normal(size=(3, 2)), RNG.normal(size=2))
    np.testing.assert_array_equal(outputs(grown, x), outputs(network, x))
    assert grown.n_parameters - network.n_parameters == cost(network, network.graph.hidden[0], 2)
    back = grown.unwrap()
    assert back.norm.counted.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(each(back, x), wanted, rtol=1e-12)
    again = senn.wrap(back, x[0])  # of which the same count
    wider = senn.add_width(again, 0, RNG.normal(size=(3, 1)), np.ones(1))
    np.testing.assert_array_equal(outputs(wider, x), outputs(again, x))


def test_units_that_count_stay():
    """Without one of them the norm would make other numbers of all the others."""
    network = senn.wrap(normed(LayerNorm(4)), jnp.zeros(3))
    grown = senn.add_width(network, 0, RNG.normal(size=(3, 2)), np.ones(2))
    assert eqx.tree_equal(senn.remove_units(grown, 0, [4, 5]), network)
    with pytest.raises(ValueError, match="first keeps the units that it had at first: a norm's"):
        senn.remove_units(grown, 0, [0])
    factor = Factor(np.eye(65), np.eye(2))
    prices = Prices.of(grown, {1: factor}).at(0)
    assert np.isfinite(prices).nonzero()[0].tolist() == [4, 5]


def test_units_that_say_something_when_they_are_silent_are_not_listened_to():
    """A sigmoid of 0 is ½."""
    module = nn.MLP(3, 2, 4, 2, jax.nn.sigmoid, key=KEY)
    network = senn.wrap(module, jnp.zeros(3))
    assert table(network)["layers.0"] == "yes"
    x = jnp.asarray(RNG.normal(size=(5, 3)))
    np.testing.assert_allclose(outputs(network, x), each(module, x), rtol=1e-12)
    g = eqx.filter_jit(eqx.filter_grad(lambda n: jnp.sum(n(x) ** 2)))(network)
    for space in network.graph.hidden:
        for port in space.ports:
            assert not np.moveaxis(np.asarray(leaf_at(g, port.leaf)), port.axis, 0)[4:].any()


# --- what it gives back -----------------------------------------------------------------------


class Named(eqx.Module):
    """Layers in a dictionary, with a key of random numbers and a table of integers beside them."""

    layers: dict
    key: jax.Array
    order: jax.Array

    def __call__(self, x):
        return self.layers["b"](jnp.tanh(self.layers["a.x"](x[self.order])))


NAMED = Named({"a.x": linear(3, 4), "b": linear(4, 2, 1)}, jax.random.key(3), jnp.arange(2, -1, -1))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (tanh_layers((5, 4, 3, 2)), (5,)),
        (NAMED, (3,)),
        (Residual((1, 4, 2), 2, (3, 4)), (1, 4, 2)),
        (Attention(4, 2, 3), (3, 4)),
    ],
)
def test_what_is_unwrapped_computes_the_same(module, shape):
    network, x = senn.wrap(module, jnp.zeros(shape)), RNG.normal(size=(6, *shape))
    assert eqx.tree_equal(network.unwrap(), module)
    np.testing.assert_allclose(outputs(network, x), each(module, x), rtol=1e-9, atol=1e-12)
    for layer, space in enumerate(network.graph.hidden):
        if not space.rigid:
            (writer,) = network.graph.writers(space)
            weight = RNG.normal(size=(network.n_inputs(writer), 2))
            network = senn.add_width(network, layer, weight, np.ones(2))
            (port, *_) = space.read
            weights = np.array(leaf_at(network, port.leaf))
            alive = np.repeat(births(network, space) >= 0, port.inner)
            shape_of = [-1 if d == port.axis else 1 for d in range(weights.ndim)]
            noise = RNG.normal(size=weights.shape) * np.tile(alive, port.outer).reshape(shape_of)
            new = jnp.asarray(weights + noise * (weights.any() * 0.1) * (weights != 0))
            network = eqx.tree_at(lambda n, at=port.leaf: leaf_at(n, at), network, new)
    back = network.unwrap()
    assert type(back) is type(module)
    np.testing.assert_allclose(outputs(network, x), each(back, x), rtol=1e-9, atol=1e-12)
    grown = [a.shape for a in jax.tree.leaves(eqx.filter(back, eqx.is_array))]
    assert grown != [a.shape for a in jax.tree.leaves(eqx.filter(module, eqx.is_array))]


def test_layers_of_equinox_know_their_new_sizes():
    network = wrapped(Residual((1, 4, 2), 2, (3, 4)), (1, 4, 2))
    for layer, rows in ((1, 4), (2, 16)):
        network = senn.add_width(network, layer, RNG.normal(size=(rows, 1)), np.ones(1))
    back = network.unwrap()
    assert (back.inner.out_channels, back.back.in_channels) == (4, 4)
    assert (back.norm.channels, back.norm.groups) == (4, 4)
    assert (back.wide.out_features, back.head.in_features) == (5, 5)
    mlp = senn.wrap(nn.MLP(3, 2, 4, 2, key=KEY), jnp.zeros(3))
    mlp = senn.add_width(mlp, 0, RNG.normal(size=(3, 1)), np.ones(1)).unwrap()
    assert (mlp.in_size, mlp.out_size, mlp.width_size) == (3, 2, 5)


# --- as a network -----------------------------------------------------------------------------


def as_equinox(network, function):
    """The same perceptron as a module of Equinox."""
    sizes, first = network.hidden_sizes, network.hidden_sizes[0]
    module = nn.MLP(network.in_size, network.out_size, first, len(sizes), function, key=KEY)
    assert set(sizes) == {first}
    for n, dense in enumerate(network.maps):
        out, into = module.layers[n].weight.shape
        numbers = dense.weights[0][:into, :out].T, dense.bias[:out]
        module = eqx.tree_at(lambda m, n=n: (m.layers[n].weight, m.layers[n].bias), module, numbers)
    return module


def test_a_wrapped_perceptron_grows_as_ours_does():
    """On digits: the same sizes, at the same steps, and the same outputs."""
    data = load("digits")
    x, y = np.asarray(data.x[:300], float), np.asarray(data.y[:300])
    ours = MLP(64, 10, (3, 3), key=KEY, activation="tanh")
    theirs = senn.wrap(as_equinox(ours, jnp.tanh), x[0])
    ran = [
        senn.fit(
            network, (x, y), policy=senn.Policy(depth=False, every=4, max_units=12),
            proposer=senn.proposals.Random(candidates=16),
            schedule=senn.Schedule(max_steps=20, batch_size=100, evaluate_every=10),
        )
        for network in (ours, theirs)
    ]  # fmt: skip
    (network, history), (other, told) = ran
    assert history.additions
    assert [(a.step, a.hidden_sizes) for a in told.additions] == [
        (a.step, a.hidden_sizes) for a in history.additions
    ]
    assert other.n_parameters == network.n_parameters
    np.testing.assert_allclose(outputs(other, x), outputs(network, x), rtol=1e-6, atol=1e-8)


def test_a_rigid_space_neither_grows_nor_shrinks():
    network = wrapped(Residual((1, 4, 2), 2, (3, 4)), (1, 4, 2))
    with pytest.raises(ValueError, match="stem cannot grow: several maps write it: stem, back"):
        senn.add_width(network, 0, np.ones((9, 1)), np.ones(1))
    with pytest.raises(ValueError, match="stem cannot lose units: several maps write it"):
        senn.remove_units(network, 0, [0])


def test_networks_of_the_same_module_are_of_one_kind():
    """Programs that are compiled for one serve the other; a file of one fills the other."""
    one, other = (wrapped(Attention(4, 2, n, seed=n), (3, 4), 6) for n in (3, 4))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert one.plan == other.plan
    assert hash(one.plan) == hash(other.plan)
    third = senn.wrap(tanh_layers((5, 4, 3, 2)), jnp.zeros(5))
    assert third.plan != one.plan


@pytest.mark.parametrize("export", [senn.export.to_onnx, senn.export.to_numpy])
def test_it_is_not_exported(export, tmp_path):
    network = senn.wrap(tanh_layers((5, 4, 3, 2)), jnp.zeros(5))
    with pytest.raises(TypeError, match=r"what network.unwrap\(\) gives .* by jax.export"):
        export(network, tmp_path / "model")


# --- what it refuses --------------------------------------------------------------------------


class Refused(eqx.Module):
    """Two layers, and something done with their weights."""

    first: nn.Linear
    second: nn.Linear
    extra: jax.Array
    function: object = eqx.field(static=True)

    def __call__(self, x):
        return self.function(self, x)


def scanned(module, x):
    def step(h, _):
        return jnp.tanh(module.first.weight @ h), None

    return module.second(jax.lax.scan(step, x, length=2)[0])


def looped(module, x):
    return module.second(jax.lax.while_loop(lambda h: h.sum() < 9, lambda h: h * module.extra, x))


def chosen(module, x):
    def first(z):
        return module.second.weight @ z

    return jax.lax.cond(x.sum() > 0, first, lambda z: -z[:2], x)


KNOWN = "which senn.wrap does not follow: it knows products and convolutions"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (scanned, f"first.weight is used by scan, {KNOWN}"),
        (looped, f"extra is used by while, {KNOWN}"),
        (chosen, "second.weight is used by cond, which senn.wrap does not follow"),
        (lambda m, x: m.second(m.first(m.first(x))), "first.bias is used 2 times|first.weight is"),
        (lambda m, x: m.second(jnp.tanh(m.first.weight) @ x), "first.weight is used by tanh"),
        (lambda m, x: m.second.weight @ m.first.weight @ x, "together with another parameter"),
        (lambda m, x: m.second(m.extra[0] * x), "extra is used by slice|by squeeze|dynamic_slice"),
        (lambda m, x: m.second(x / m.extra), "extra is used by div"),
        (lambda m, x: jax.vmap(lambda w: w @ x)(m.first.weight).sum(keepdims=True), "outputs"),
        (lambda m, x: m.second(x)[None], r"one vector of outputs for an example; got \[1, 2\]"),
        (lambda m, x: m.second(x).astype(int), "must return floating-point numbers, .* got int64"),
        (lambda m, x: (m.second(x), x), r"one vector of outputs .* got \[\[2\], \[3\]\]"),
        (lambda m, x: jnp.concatenate([m.second(x), x]), "are not those of one linear map"),
    ],
)  # fmt: skip
def test_what_it_cannot_follow_is_refused_in_one_sentence(function, said):
    module = Refused(linear(3, 3), linear(3, 2, 1), jnp.ones(3), function)
    with pytest.raises(WrapError, match=said) as caught:
        senn.wrap(module, jnp.zeros(3))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def lookup():
    return nn.Sequential([nn.Embedding(4, 3, key=KEY), linear(3, 2)])


def tied():
    layers = nn.Sequential([linear(3, 3), linear(3, 3, 1)])
    shared = nn.Shared(layers, lambda m: m[0].weight, lambda m: m[1].weight)
    return Tied(shared)


class Tied(eqx.Module):
    shared: nn.Shared

    def __call__(self, x):
        return self.shared()(x)


@jax.tree_util.register_pytree_node_class
class Hidden:
    """A tree of its own kind, which does not say what its parts are called."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return self.inner(x)

    def tree_flatten(self):
        return (self.inner,), None

    @classmethod
    def tree_unflatten(cls, aux, children):  # noqa: ARG003
        return cls(*children)


@pytest.mark.parametrize(
    ("module", "example", "said"),
    [
        (lookup(), jnp.zeros((), int), "an example of floating-point numbers; got int64"),
        (lambda x: x, jnp.zeros(3), "a module of Equinox that can be called; got function"),
        (nn.Lambda(jnp.tanh), jnp.zeros(3), "Lambda has no parameters to train"),
        (linear("scalar", 2), jnp.zeros(()), "an example that is an array"),
        (linear(3, "scalar"), jnp.zeros(3), r"must return one vector of outputs .* got \[\]"),
        (linear(3, 2), jnp.zeros((5, 3)), r"cannot be called on one example alone, \[5, 3\]"),
        (nn.Sequential([linear(3, 3), nn.Dropout(), linear(3, 2)]), jnp.zeros(3),
         r"Dropout requires a key .* give what has dropout as eqx.nn.inference_mode\(module\)"),
        (nn.GRUCell(3, 2, key=KEY), jnp.zeros(3), "GRUCell cannot be called on one example alone"),
        (nn.Conv1d(2, 2, 3, groups=2, key=KEY), jnp.zeros((2, 5)), r"one vector|in groups"),
        (linear(3, 2), [[0.0], [0.0, 0.0]], "takes an example that is one array; got a list"),
        (linear(3, 2), jnp.array([0, jnp.nan, 1]), "got one with NaN or infinity"),
        (linear(3, 2, dtype=jnp.bfloat16), jnp.zeros(3), "parameters of 'bfloat16'; senn"),
        (linear(3, 2, dtype=jnp.complex64), jnp.zeros(3), "parameters of 'complex64'"),
        (tanh_layers((3, 0, 2)), jnp.zeros(3), "Sequential has a parameter without numbers"),
        (tied(), jnp.zeros(3), "used 2 times"),
        (nn.Lambda(Hidden(linear(3, 2))), jnp.zeros(3), "not found by that path"),
    ],
)  # fmt: skip
def test_modules_and_examples_that_do_not_fit(module, example, said):
    with pytest.raises(WrapError, match=said):
        senn.wrap(module, example)


def test_what_is_not_used_is_left_alone():
    module = Refused(linear(3, 4), linear(4, 2, 1), jnp.ones(3),
                     lambda m, x: m.second(jnp.tanh(m.first(x))))  # fmt: skip
    network = senn.wrap(module, jnp.zeros(3))
    assert network.n_parameters == 16 + 10
    assert eqx.tree_equal(network.unwrap(), module)


def test_dropout_can_be_switched_off():
    key = keys()
    layers = nn.Linear(3, 4, key=next(key)), nn.Dropout(), nn.Linear(4, 2, key=next(key))
    network = senn.wrap(nn.inference_mode(nn.Sequential(layers)), jnp.zeros(3))
    assert table(network)["layers.0"] == "yes"


# --- files ------------------------------------------------------------------------------------


def test_a_file_is_read_into_a_module_like_its_own_or_refused(tmp_path):
    def module(**settings):
        return senn.wrap(nn.MLP(3, 2, 4, 2, key=KEY, **settings), jnp.zeros(3))

    file, network = tmp_path / "model", module()
    write_model(file, network, {"whose": "mine"}, {"mean": np.zeros(2)})
    read, header, arrays = read_model(file, like=module())
    x = RNG.normal(size=(5, 3))
    np.testing.assert_array_equal(outputs(read, x), outputs(network, x))
    assert (header["whose"], list(arrays)) == ("mine", ["mean"])
    with pytest.raises(ModelFileError, match=r"has 'module.layers.2.bias', which that has not"):
        read_model(file, like=module(use_final_bias=False))
    write_model(file, module(use_final_bias=False), {}, {})
    with pytest.raises(ModelFileError, match=r"it has no module.layers.2.bias"):
        read_model(file, like=module())
    with pytest.raises(ModelFileError, match=r"of the type Wrapped, whose file has arrays and no"):
        senn.load(file)
