"""A small transformer of Equinox, wrapped and grown in the width of its perceptrons.

    python experiments/transformer.py

It predicts the next byte of Python's own documentation (`pydoc_data.topics`) from the bytes before
it. Grown by the score from two units in each block, by random units shared out evenly at the same
times, and with all units from the start, at equal steps; losses, in nats a byte, are of the end of
the text, which none is trained on. What may not grow is the stream, the attention and the head.
"""

import argparse
import json
import pydoc_data.topics
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import senn
from senn import Policy, Schedule
from senn.actions import Widen
from senn.proposals import Random
from senn.studies.ablation import replayed
from senn.studies.intervals import standard_error
from senn.studies.replay import NEVER, evenly, plan_of

nn = eqx.nn
CONTEXT, STREAM, HEADS, BLOCKS, FIRST = 16, 32, 4, 2, 2
SEARCH = Random(candidates=64)
POLICY = Policy(prefer="grown", prune=0.0, swap=None, plateau=NEVER, every=20, additions_at_once=4)


class Block(eqx.Module):
    """Attention, and a perceptron for every byte, each beside the stream [T, D]."""

    norms: tuple[nn.LayerNorm, nn.LayerNorm]
    attention: nn.MultiheadAttention
    up: nn.Linear
    down: nn.Linear

    def __init__(self, width: int, key):  # noqa: D107
        keys = jax.random.split(key, 3)
        self.norms = nn.LayerNorm(STREAM), nn.LayerNorm(STREAM)
        self.attention = nn.MultiheadAttention(HEADS, STREAM, key=keys[0])
        self.up = nn.Linear(STREAM, width, key=keys[1])
        self.down = nn.Linear(width, STREAM, key=keys[2])

    def __call__(self, tokens):
        """The stream behind it."""
        x = jax.vmap(self.norms[0])(tokens)
        tokens = tokens + self.attention(x, x, x)
        wide = jax.vmap(self.up)(jax.vmap(self.norms[1])(tokens))
        return tokens + jax.vmap(self.down)(jax.nn.gelu(wide))


class Transformer(eqx.Module):
    """The logits of the byte behind so many, which are given as unit vectors [T, V]."""

    embedding: nn.Linear
    place: jax.Array
    blocks: tuple[Block, ...]
    head: nn.Linear

    def __init__(self, letters: int, widths: Sequence[int], key):  # noqa: D107
        first, second, *keys = jax.random.split(key, 2 + len(widths))
        self.embedding = nn.Linear(letters, STREAM, use_bias=False, key=first)
        self.place = 0.1 * jax.random.normal(second, (CONTEXT, STREAM))
        self.blocks = tuple(Block(width, k) for width, k in zip(widths, keys, strict=True))
        self.head = nn.Linear(STREAM, letters, key=keys[-1])

    def __call__(self, text):
        """[V] of the last place."""
        tokens = jax.vmap(self.embedding)(text) + self.place
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[-1])


def main() -> None:
    """Train, a line for each network, and then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--seeds", type=int, default=3)
    add("--steps", type=int, default=600)
    add("--max-units", type=int, default=64, help="of both blocks together (default: 64)")
    add("--windows", type=int, default=10_000, help="of the text to train on (default: 10,000)")
    add("--out", type=Path, help="a file of JSON for the lines")
    given = parser.parse_args()
    lines = []
    for seed in range(given.seeds):
        for line in arms(seed, given):
            lines.append(line)
            print(line, flush=True)
            if given.out:
                given.out.write_text(json.dumps(lines, indent=1) + "\n")
    for arm in dict.fromkeys(line["arm"] for line in lines):
        losses = [line["loss"] for line in lines if line["arm"] == arm]
        print(f"{arm:26} {statistics.mean(losses):.4f} ± {standard_error(losses):.4f}")


def windows(n: int, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Unit vectors [N, T, V] of bytes, and the number of the next: to train on, and held out."""
    text = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
    letters, codes = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    draw, cut = np.random.default_rng(seed), int(0.9 * len(codes))

    def some(low: int, high: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        starts = draw.integers(low, high - CONTEXT - 1, count)
        rows = codes[starts[:, None] + np.arange(CONTEXT)]
        return np.eye(len(letters), dtype=np.float32)[rows], codes[starts + CONTEXT].astype(
            np.int32
        )

    return some(0, cut, n), some(cut, len(codes), max(n // 4, 8))


def arms(seed: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The grown network of a seed, and then the others."""
    train, apart = windows(given.windows, seed)
    started = [FIRST] * BLOCKS

    def trained(arm: str, policy: Policy, proposer: Any, widths: Sequence[int]):
        begin = time.monotonic()
        module = Transformer(train[0].shape[-1], widths, jax.random.key(seed))
        network, history = senn.fit(
            senn.wrap(module, train[0][0]), train, validation=apart, policy=policy,
            proposer=proposer, seed=seed,
            schedule=Schedule(max_steps=given.steps, batch_size=128, sample_size=2048),
        )  # fmt: skip
        blocks = network.unwrap().blocks
        return network, history, {
            "seed": seed, "arm": arm, "widths": [block.up.out_features for block in blocks],
            "parameters": network.n_parameters, "steps": history.steps,
            "loss": history.evaluations[-1].validation_loss,
            "seconds": round(time.monotonic() - begin, 1),
        }  # fmt: skip

    others = senn.wrap(Transformer(train[0].shape[-1], started, jax.random.key(seed)), train[0][0])
    layers = [n for n, space in enumerate(others.graph.hidden) if not space.rigid]
    rigid = sum(others.hidden_sizes) - sum(started)
    policy = replace(POLICY, max_units=rigid + given.max_units)
    network, history, line = trained("grown", policy, SEARCH, started)
    yield line
    plan, end = plan_of(history), history.growth_ended or given.steps
    even = [
        p._replace(action=Widen(layers[p.action.position]), size=p.size + rigid)
        for p in evenly(plan, started, BLOCKS)
    ]
    for arm, steps, widths in (
        ("random units, same places", plan, started),
        ("random units, evenly", even, started),
        ("from the start", (), [network.hidden_sizes[layer] for layer in layers]),
    ):
        yield trained(arm, replayed(policy, steps, end, None), Random(), widths)[-1]


if __name__ == "__main__":
    main()
