"""What the library does with a network, whatever its architecture: one table of properties.

`test_graph` has those of spaces and sites, and of K-FAC.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import senn
from senn.actions import Widen
from senn.batches import Batch
from senn.callbacks import Callback
from senn.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from senn.curvature import moments
from senn.growth import look, propose_at
from senn.history import History
from senn.lineage import lineage, lineage_of
from senn.losses import SquaredError, make_loss, make_metric
from senn.models import ModelFileError, read_model, write_model
from senn.nn import MLP, ConvNet
from senn.nn.connections import connections, n_inputs
from senn.nn.edits import write
from senn.nn.spaces import births, leaf_at, units
from senn.nn.wrapping import Wrapped
from senn.optimizers import KFAC, Optax
from senn.policy import Policy
from senn.proposals import Random
from senn.report import render
from senn.runs import read_run, write_run
from senn.score import score_increase, score_increase_bound
from senn.training import Schedule
from strategies import random_network
from towers import Towers
from wrapped import Channels, Tokens, tanh_layers, wrapped

CAPACITY = 6
SIZED = {
    "chain": lambda sizes: random_network((5, *sizes, 2), capacity=CAPACITY),
    "residual": lambda sizes: random_network((5, *sizes, 2), residual=(0, 1), capacity=CAPACITY),
    "towers": lambda sizes: Towers((2, 3, *sizes, 2), max(CAPACITY, *sizes)),
    "convnet": lambda sizes: ConvNet(
        (3, 2), 2, sizes, key=jax.random.key(1), pool=1, capacity=max(CAPACITY, *sizes)
    ),
    "wrapped": lambda sizes: wrapped(tanh_layers((5, *sizes, 2)), (5,), max(CAPACITY, *sizes)),
    "wrapped images": lambda sizes: wrapped(
        Channels((1, 3, 2), 2, sizes, seed=4), (1, 3, 2), max(CAPACITY, *sizes)
    ),
    "wrapped tokens": lambda sizes: wrapped(
        Tokens((2, 3), 2, (sizes[0], sizes[-1]), seed=3), (2, 3), max(CAPACITY, *sizes)
    ),
}
NETWORKS = {
    "chain": lambda: SIZED["chain"]((3, 2)),
    "residual": lambda: SIZED["residual"]((3, 2)),
    "towers": lambda: SIZED["towers"]((2, 2, 2)),
    "convnet": lambda: SIZED["convnet"]((3, 2)),
    "wrapped": lambda: SIZED["wrapped"]((3, 2)),
    "wrapped images": lambda: SIZED["wrapped images"]((3,)),
    "wrapped tokens": lambda: SIZED["wrapped tokens"]((2, 2)),
}
OPTIMIZERS = {"kfac": KFAC(), "adam": Optax(optax.adam(0.01))}
RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 5))
Y = ((X[:, 0] * X[:, 3] + np.sin(2 * X[:, 4])) > 0).astype(int)
IMAGES = np.column_stack([X, X[:, 0] * X[:, 3]]).reshape(90, 3, 2, 1)
LOSS = make_loss("softmax_cross_entropy")
METRIC = make_metric("fisher", LOSS)
GROW = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=4, backoff=1.0,
    additions_at_once=2, max_units=12,
)  # fmt: skip
SCHEDULE = Schedule(max_steps=16, batch_size=45, evaluate_every=8, steps_per_call=2)


def x_of(network):
    """What it reads of the examples."""
    return IMAGES.reshape(90, *network.in_shape) if network.grid else X


_outputs = eqx.filter_jit(lambda network, x: network(x))


def outputs(network):
    return _outputs(network, x_of(network))


every_network = pytest.mark.parametrize("name", NETWORKS)
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def small_towers():
    """Of another size, and other numbers, than any that is stored."""
    return Towers((2, 3, 1, 1, 1, 2), 1, seed=9)


LIKE = {
    Towers: lambda _: small_towers(),
    ConvNet: lambda _: None,
    MLP: lambda _: None,
    Wrapped: lambda network: {
        0: lambda: SIZED["wrapped"]((2, 4)),
        1: lambda: SIZED["wrapped tokens"]((3, 1)),
        2: lambda: SIZED["wrapped images"]((4,)),
    }[len(network.grid)](),
}


def like(network):
    """What a file of it is filled into."""
    return LIKE[type(network)](network)


def places(network):
    """The hidden spaces that may grow, with their numbers."""
    return [(n, space) for n, space in enumerate(network.graph.hidden) if not space.rigid]


class Keeper(Callback):
    """Writes a checkpoint at every pause."""

    def __init__(self, folder):
        self.folder, self.paths = folder, []

    def on_pause(self, state):
        self.paths.append(self.folder / f"at-{state.step}")
        write_checkpoint(self.paths[-1], state)


def run(name, optimizer, callbacks=(), resume=None):
    network = NETWORKS[name]()
    x = x_of(network)
    return senn.fit(
        network, (x[:60], Y[:60]), validation=(x[60:], Y[60:]), policy=GROW,
        optimizer=OPTIMIZERS[optimizer], proposer=Random(candidates=24), schedule=SCHEDULE, seed=2,
        callbacks=callbacks, resume=resume,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = {}

    def of(name, optimizer):
        if (name, optimizer) not in made:
            keeper = Keeper(tmp_path_factory.mktemp("pauses"))
            made[name, optimizer] = (*run(name, optimizer, [keeper]), keeper.paths)
        return made[name, optimizer]

    return of


@every_network
@every_optimizer
def test_a_run_grows_and_disturbs_nothing(name, optimizer, runs):
    network, history, _ = runs(name, optimizer)
    spaces = [space.name for _, space in places(network)]
    assert history.additions
    assert {a.place for a in history.additions} <= set(spaces)
    for a in history.additions:
        np.testing.assert_allclose(a.loss_after, a.loss_before, rtol=1e-12)
    last = history.additions[-1]
    made = SIZED[name](last.hidden_sizes)
    assert (made.hidden_sizes, made.n_parameters) == (last.hidden_sizes, last.n_parameters)
    assert {c.place for c in history.considerations} == set(spaces)


@every_network
@every_optimizer
def test_a_run_that_is_taken_up_again_ends_as_it_would_have(name, optimizer, runs):
    network, history, paths = runs(name, optimizer)
    path = paths[len(paths) // 2]
    state = read_checkpoint(path).state(OPTIMIZERS[optimizer], like(network))
    assert 0 < state.step < history.steps
    assert state.history.additions
    again, told = run(name, optimizer, resume=state)
    assert eqx.tree_equal(again, network)
    assert [a.hidden_sizes for a in told.additions] == [a.hidden_sizes for a in history.additions]


def test_a_checkpoint_of_a_network_of_ones_own_asks_for_one_like_it(runs):
    *_, paths = runs("towers", "adam")
    with pytest.raises(CheckpointError, match="it is of a Towers, so give a network of that type"):
        read_checkpoint(paths[0]).state(OPTIMIZERS["adam"])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(paths[0]).state(OPTIMIZERS["adam"], MLP(5, 2, key=jax.random.key(0)))


@every_network
def test_files_hold_a_network(name, runs, tmp_path):
    network, history, _ = runs(name, "adam")
    write_model(tmp_path / "model", network, {"owner": "me"}, {"mean": np.arange(3.0)})
    stored, header, arrays = read_model(tmp_path / "model", like(network))
    assert (stored.hidden_sizes, stored.n_parameters) == (
        network.hidden_sizes,
        network.n_parameters,
    )
    room = [(stored.capacities[n], space.at_once) for n, space in places(network)]
    assert all(slots == at_once for slots, at_once in room)
    assert header["owner"] == "me"
    np.testing.assert_array_equal(arrays["mean"], np.arange(3.0))
    np.testing.assert_allclose(outputs(stored), outputs(network), rtol=1e-12, atol=1e-14)
    assert lineage_of(stored, history) == lineage_of(network, history)


def test_a_file_of_a_network_of_ones_own_says_so(runs, tmp_path):
    write_model(tmp_path / "model", runs("towers", "adam")[0], {}, {})
    with pytest.raises(ModelFileError, match=r"of the type Towers, whose .* like=network"):
        read_model(tmp_path / "model")
    with pytest.raises(ModelFileError, match="of the type Towers"):
        senn.load(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"like the one given: it has \d spaces of units, not"):
        read_model(tmp_path / "model", _Narrow((2, 3, 1, 1, 1, 2), 1))


class _Narrow(Towers):
    """Towers of which one is missing."""

    graph = Towers.graph._replace(spaces=Towers.graph.spaces[1:])


@every_network
def test_units_say_which_addition_brought_them(name, runs):
    network, history, _ = runs(name, "kfac")
    if network.hidden_sizes == history.additions[-1].hidden_sizes:
        assert lineage_of(network, history).layers == lineage(history).layers
    numbers = {int(n) for space in network.graph.hidden for n in births(network, space)}
    assert {0, 1} <= numbers
    again = History.from_rows(history.to_rows())
    assert lineage_of(network, again) == lineage_of(network, history)


@every_network
def test_theorem_2_holds_at_every_space(name):
    """Δη′ ≤ Δη for what a search found, summed over the maps that read it.

    Rows of several positions are as many examples, whose gradients are summed (`a` over N and T).
    """
    network = NETWORKS[name]()
    sample = Batch.of(x_of(network)[:45], Y[:45])
    seen = look(network, LOSS, METRIC, sample, sample, jax.random.key(0))
    policy = Policy(additions_at_once=1, damping=1e-8)
    plain = eqx.filter_jit(moments)(network, LOSS, METRIC, sample, jax.random.key(0))
    for action in policy.actions(network)[: len(network.graph.hidden)]:
        assert isinstance(action, Widen)
        (found,) = propose_at(
            network, seen, Random(candidates=4), policy, action, jax.random.key(1)
        )
        exact = bound = 0.0
        for m in action.readers(network):
            T, S = plain.maps[m].a.shape[1], plain.maps[m].S
            a, g = (np.concatenate(rows) for rows in plain.maps[m][:2])
            outs = out_of(network, m)
            alive = np.flatnonzero(np.diag(a.T @ a) > 0)
            a_new = columns_of(found, network, action, m, sample)
            given = map(jnp.asarray, (a[:, alive], a_new, T * g[:, outs], S[np.ix_(outs, outs)]))
            given = tuple(given)
            exact += float(score_increase(*given, damping=1e-8))
            bound += float(score_increase_bound(*given, damping=1e-8))
        assert 0 < bound <= exact * (1 + 1e-9)
        if not network.has_positions:  # else it is that of `tests/test_positions.py`
            np.testing.assert_allclose(found.fit_score, bound, rtol=1e-4)


def out_of(network, m):
    return np.flatnonzero(network.outputs_in_use(m))


def columns_of(found, network, action, m, sample):
    """What the unit found adds to the rows of a map that reads it: read off the network with it."""
    grown, _ = action.apply(network, None, found.weight, found.bias, found.theta)
    site, space = grown.graph.maps[m], grown.graph.hidden[action.position]
    slot = network.hidden_sizes[action.position]
    rows = np.concatenate(site.rows(grown.taps(sample.x).reads[m]))
    return rows[:, np.ravel(site.columns(grown, space)[slot])]


# --- removal ----------------------------------------------------------------------------------


@every_network
def test_removed_units_are_dormant_and_those_that_mattered_to_nobody_are_not_missed(name):
    network = NETWORKS[name]()
    for layer, space in places(network):
        n = network.hidden_sizes[layer]
        theta = RNG.normal(size=(3, 2)) if space.activation.learned else None
        rows = sum(network.n_inputs(m) for m in network.graph.writers(space))
        grown = senn.add_width(network, layer, RNG.normal(size=(rows, 2)), np.ones(2), theta)
        assert eqx.tree_equal(senn.remove_units(grown, layer, [n, n + 1]), network)
        # Between those that stay, too: what comes next takes the slot.
        smaller = senn.remove_units(grown, layer, [0])
        assert smaller.hidden_sizes[layer] == n + 1
        one = None if theta is None else theta[:, :1]
        again = senn.add_width(smaller, layer, RNG.normal(size=(rows, 1)), np.ones(1), one)
        assert births(again, space).tolist() == [
            2,
            *[0] * (n - 1),
            1,
            1,
            *[-1] * (CAPACITY - n - 2),
        ]
        np.testing.assert_array_equal(outputs(again), outputs(smaller))


@every_network
def test_what_reads_a_removed_unit_makes_up_for_it_as_far_as_it_can(name):
    """No other weights would change the readers' outputs less; a copy is not missed at all."""
    network = NETWORKS[name]()
    for layer, _ in places(network):
        lost, made_up = (
            senn.remove_units(network, layer, [0], x, 1e-12) for x in (None, x_of(network))
        )
        before, without, after = map(readings(network, layer), (network, lost, made_up))
        others = inputs_of_others(network, layer, [0])
        for old, cut, new, rows in zip(before, without, after, others, strict=True):
            best = np.linalg.lstsq(rows, old - cut, rcond=1e-10)[0]
            np.testing.assert_allclose(new, cut + rows @ best, rtol=1e-6, atol=1e-8)
            assert np.sum((new - old) ** 2) <= np.sum((cut - old) ** 2)
        two = copied(network, layer)
        np.testing.assert_allclose(
            outputs(senn.remove_units(two, layer, [0], x_of(two), 1e-12)),
            outputs(two),
            rtol=1e-5,
            atol=1e-6,
        )


def readings(network, layer):
    """What the maps that read a space give, for the present inputs."""
    sites = [network.graph.maps[m] for m in network.readers(layer)]

    def of(changed):
        rows = inputs(network, layer)
        matrices = [np.asarray(site.matrix(changed)) for site in sites]
        return [r @ matrix for r, matrix in zip(rows, matrices, strict=True)]

    return of


def inputs_of_others(network, layer, removed):
    rows = inputs(network, layer)
    for a, m in zip(rows, network.readers(layer), strict=True):
        site = network.graph.maps[m]
        a[:, site.columns(network, network.graph.hidden[layer])[removed]] = 0
    return rows


def inputs(network, layer):
    reads = network.taps(jnp.asarray(x_of(network))).reads
    maps = network.graph.maps
    return [np.concatenate(np.array(maps[m].rows(reads[m]))) for m in network.readers(layer)]


def copied(network, layer):
    """With a copy of the first unit, which says the same as it, and halves of both weights."""
    space = network.graph.hidden[layer]
    slot = network.hidden_sizes[layer]
    leaves = {port.leaf: port.axis for port in (*space.written, *space.carried)}
    weights, bias, theta = [], np.zeros(1), None
    for m in network.graph.writers(space):
        site = network.graph.maps[m]
        matrix = np.asarray(site.matrix(network))
        weights.append(matrix[: len(network.inputs_in_use(m))][network.inputs_in_use(m), :1])
        bias = matrix[-1, :1] if site.bias is not None else bias
    thetas = [leaf for leaf in leaves if leaf.endswith("theta")]
    if thetas:
        theta = np.asarray(leaf_at(network, thetas[0]))[:, :1]
    grown = senn.add_width(network, layer, np.vstack(weights), bias, theta)
    halves = {}
    for port in space.read:
        w = np.asarray(leaf_at(network, port.leaf))
        ahead, behind = w.shape[: port.axis], w.shape[port.axis + 1 :]
        first = w.reshape(*ahead, port.outer, -1, port.inner, *behind)
        first = np.take(first, [0], port.axis + 1) / 2
        halves[port] = np.repeat(first, 2, port.axis + 1).reshape(*ahead, -1, *behind)
    return write(grown, space, [0, slot], halves)


@pytest.mark.parametrize(
    ("layer", "units", "x", "said"),
    [
        (2, [0], None, "layer=2 does not exist; the network has 2 hidden layers"),
        (0, [3], None, "units must be different numbers of the 3 units of hidden layer 0, from 0"),
        (0, [-1], None, "from 0; got '-1'"),
        (0, [1, 1], None, "units must be different numbers"),
        (0, [0.5], None, "units must be the numbers of some units of hidden layer 0; got"),
        (0, 1, None, "units must be the numbers of some units of hidden layer 0; got 1"),
        (0, [0, 1, 2], None, "would be left without a unit, and is all that something reads"),
        (0, [0], np.zeros((0, 5)), "x holds no rows"),
        (0, [0], np.zeros((2, 4)), r"The network needs x \[N, 5\]; got shape \(2, 4\)"),
    ],
)
def test_mistakes_at_removal(layer, units, x, said):
    with pytest.raises(ValueError, match=said):
        senn.remove_units(NETWORKS["chain"](), layer, units, x)


def test_removing_nothing_changes_nothing():
    network = NETWORKS["chain"]()
    assert eqx.tree_equal(senn.remove_units(network, 0, [], X), network)


def test_a_rigid_space_is_no_place_to_grow():
    network = Towers((2, 3, 2, 2, 2, 2), CAPACITY)
    assert [str(a) for a in Policy().actions(network)] == ["deep", "shared", "extra"]
    stiff = tuple(
        s._replace(rigid="it is") if s.name == "deep" else s for s in network.graph.spaces
    )

    class Stiff(Towers):
        graph = Towers.graph._replace(spaces=stiff)

    other = Stiff((2, 3, 2, 2, 2, 2), CAPACITY)
    assert [str(a) for a in Policy().actions(other)] == ["shared", "extra"]
    with pytest.raises(ValueError, match="deep cannot grow: it is"):
        senn.add_width(other, 0, np.ones((3, 1)), np.ones(1), np.ones((3, 1)))


def test_squared_error_runs_too():
    network, history = senn.fit(
        Towers((2, 3, 2, 2, 2, 1), CAPACITY), (X, X[:, :1] * X[:, 3:4]), loss=SquaredError(),
        policy=GROW, proposer=Random(candidates=4), schedule=SCHEDULE,
    )  # fmt: skip
    assert history.additions
    assert np.isfinite(outputs(network)).all()


class Saved:
    """What a run's folder asks of an estimator."""

    def __init__(self, network, history):
        self.network, self.history_ = network, history

    def save(self, path):
        write_model(path, self.network, {}, {})


@every_network
def test_a_report_tells_of_every_unit(name, runs, tmp_path):
    network, history, _ = runs(name, "kfac")
    write_run(tmp_path, Saved(network, history), {"data": "made up"}, {"task": "classification"})
    page = render(read_run(tmp_path), like(network))
    for layer, (space, count) in enumerate(
        zip(network.graph.hidden, network.hidden_sizes, strict=True)
    ):
        drawn = [f'data-node="h{layer}-{unit}"' for unit in range(count + 1)]
        assert [node in page for node in drawn] == [True] * count + [False]
        assert page.count(f"{space.name}, unit ") >= count
    for i in range(n_inputs(network)):
        assert f'data-node="i{i}"' in page
    for addition in lineage_of(network, history).additions:
        assert addition.reason in page


@every_network
def test_connections_are_what_a_network_computes_with(name):
    network = NETWORKS[name]()
    for connection in connections(network):
        changed = silenced(network, connection)
        assert not np.allclose(outputs(changed), outputs(network))
    read = {(c.source, c.target): c.weight.shape for c in connections(network)}
    for (source, target), shape in read.items():
        assert shape == (units(network, source), units(network, target))
    silent = network
    for connection in connections(network):
        silent = silenced(silent, connection)
    np.testing.assert_array_equal(np.ptp(np.asarray(outputs(silent)), axis=0), 0)


def silenced(network, connection):
    """Without the weights of one connection."""
    for site in network.graph.maps:
        writes = {port.leaf for port in connection.target.written}
        if connection.source in site.reads and set(site.leaves) & writes:
            matrix = np.asarray(site.matrix(network)).copy()
            matrix[site.columns(network, connection.source)] = 0
            network = site.put(network, jnp.asarray(matrix))
    return network


@every_network
def test_drawings_show_every_space(name):
    plt = pytest.importorskip("matplotlib.pyplot")
    network = NETWORKS[name]()
    ax = senn.plot.architecture(network, ax=plt.figure().subplots())
    sizes = (n_inputs(network), *network.hidden_sizes, network.out_size)
    assert [t.get_text() for t in ax.texts] == list(map(str, sizes))
    plt.close("all")
