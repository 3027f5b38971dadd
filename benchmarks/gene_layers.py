"""Two layers of genes that classify images: the network, and the form in which it is cheap to simulate and to train.

Pixels drive the production of hidden proteins, and these drive the production of ten read-out proteins, each through
a weighted sum. All proteins are lost one by one. With u_i = b_i + sum of w_ij pixel_j, counts H and R, from none on:

    hidden     0 -> H_i  at  exp(gain_i) softplus(u_i)               H_i -> 0  at  HIDDEN_LOSS H_i
    read-out   0 -> R_k  at  exp(gain_k) softplus(b_k + sum v_ki H_i)   R_k -> 0  at  READOUT_LOSS R_k

An image belongs to the class whose read-out protein is the most abundant at time 1. These are 784 x 256 + 256 x 10
weights and a bias and a gain of each of 266 genes, 203,796 parameters. Which rates the paper has is not known: the
softplus, the two constants of loss, the time, and bias and gain as a gene's own parameters are ours.

The rates of the hidden genes do not change while a trajectory goes on. So their part of it is drawn as what it is,
independent births and lifetimes, and put in order. Given that, the read-out is a Poisson process whose rate is constant
between two hidden events, and what is left of it at time 1 is Poisson with mean
gain_k * sum over intervals of softplus(...) * integral of exp(-READOUT_LOSS (1 - s)). Both are exact: the law of the
whole trajectory is that of :func:`network`, and ``tests/benchmark/test_gene_layers.py`` compares them.

The gradient goes the straight way: the loss through the counts of the read-out to their means, these through hidden
counts along the path. One more hidden molecule born at t is there at s with probability exp(-HIDDEN_LOSS (s - t)); its
effect is taken linear, and its time of birth averaged over, so that a gene that made nothing has a gradient too.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse

import sbmlgrad as sg

HIDDEN_LOSS, READOUT_LOSS = 0.2, 2.0
PIXEL = 4.0 / 255  # a pixel's drive at brightness 255 is 4
SHARPNESS = 0.3  # of the softmax of read-out counts in the loss

_TIME_BITS, _GENE_BITS = 50, 10
_NONE = np.uint64(2**63)  # an event that does not happen, later than all others
_STEPS = 256  # numbers of events are rounded up to a multiple, so that little is compiled

Tree = Any


class Paths(NamedTuple):
    """Hidden events of a batch in order; the first has no gene, and those after the last neither."""

    gene: np.ndarray  # (events, batch); as many as there are hidden genes stands for none
    change: np.ndarray  # (events, batch): +1 for a birth, -1 for a loss, 0 for none
    seen: np.ndarray  # (events, batch): integral of exp(-READOUT_LOSS (1 - s)) from an event to the next
    grown: np.ndarray  # (events, batch): of the same times what is alive, at s, of births at rate 1
    events: np.ndarray  # (batch,): of the hidden genes


def initial(pixels: int, hidden: int, classes: int, seed: int) -> dict[str, Tree]:
    """Parameters to begin training with, float32."""
    rng = np.random.default_rng(seed)

    def layer(inputs: int, outputs: int, spread: float, bias: float, gain: float) -> dict[str, np.ndarray]:
        weights = spread * rng.normal(size=(inputs, outputs))
        values = {"weights": weights, "bias": np.full(outputs, bias), "gain": np.full(outputs, np.log(gain))}
        return {name: value.astype(np.float32) for name, value in values.items()}

    return {
        "hidden": layer(pixels, hidden, np.sqrt(2 / pixels), -1.0, 3.0),
        "readout": layer(hidden, classes, 0.03, 0.0, 12.0),
    }


def production(layer: Tree, inputs: Array) -> Array:
    """Rates of production of a layer's proteins."""
    return jnp.exp(layer["gain"]) * jax.nn.softplus(inputs @ layer["weights"] + layer["bias"])


def network(parameters: Tree, of_images: bool = True) -> sg.ReactionNetwork:
    """The network as such; inputs are images (pixels,), or rates of production of the hidden genes (hidden,)."""
    (pixels, hidden), classes = parameters["hidden"]["weights"].shape, len(parameters["readout"]["bias"])

    def propensities(x: Array, p: Tree, inputs: Array) -> Array:
        counts, readout = x[:hidden], x[hidden:]
        driven = production(p["hidden"], PIXEL * inputs) if of_images else inputs
        losses = [HIDDEN_LOSS * counts, READOUT_LOSS * readout]
        return jnp.concatenate([driven, production(p["readout"], counts), *losses])

    eye = np.eye(hidden + classes, dtype=int)
    return sg.ReactionNetwork(
        np.hstack([eye, -eye]),
        propensities,
        x0=np.zeros(hidden + classes),
        parameters=parameters,
        inputs=np.zeros(pixels if of_images else hidden),
    )


@jax.jit
def drives(parameters: Tree, images: Array) -> Array:
    """Rates of production of the hidden genes (batch, hidden) of images (batch, pixels)."""
    kind = parameters["hidden"]["weights"].dtype
    scaled = jnp.asarray(images).astype(kind) * kind.type(PIXEL)
    return jax.vmap(lambda image: production(parameters["hidden"], image))(scaled)


def draw_paths(rates: np.ndarray, rng: np.random.Generator, until: float = 1.0) -> Paths:
    """Exact paths of the hidden counts at constant rates of production (batch, hidden), in units of their time."""
    batch, hidden = rates.shape
    hidden_loss, readout_loss = HIDDEN_LOSS * until, READOUT_LOSS * until
    counts = rng.poisson(rates * until)
    births = counts.sum(axis=1)
    total, most = int(births.sum()), int(births.max(initial=0))
    gene = np.repeat(np.tile(np.arange(hidden, dtype=np.uint64), batch), counts.ravel())
    born = rng.random(total)
    lost = born + rng.standard_exponential(total) / hidden_loss
    # A word holds time, gene and whether it is a loss, so that sorting words sorts events.
    words = np.full((batch, 2 * most), _NONE)
    inside = np.arange(most)[None] < births[:, None]
    words[:, :most][inside] = _words(born, gene, 0)
    words[:, most:][inside] = np.where(lost < 1.0, _words(np.minimum(lost, 1.0), gene, 1), _NONE)
    words.sort(axis=1)
    events = np.sum(words < _NONE, axis=1)
    used = int(events.max(initial=0))
    words, length = words[:, :used], -(-(used + 1) // _STEPS) * _STEPS
    happens = words < _NONE
    time = np.ones((batch, length + 1))
    time[:, 0] = 0.0
    time[:, 1 : used + 1] = np.where(happens, (words >> np.uint64(_GENE_BITS)) * 2.0**-_TIME_BITS, 1.0)
    genes, change = np.full((batch, length), hidden, np.int32), np.zeros((batch, length), np.int8)
    of_word = (words >> np.uint64(1)) & np.uint64(2 ** (_GENE_BITS - 1) - 1)
    genes[:, 1 : used + 1] = np.where(happens, of_word, hidden)
    change[:, 1 : used + 1] = np.where(happens, 1 - 2 * (words & np.uint64(1)).astype(np.int8), 0)
    seen = np.diff(np.exp(readout_loss * (time - 1.0)), axis=1) / readout_loss
    rest = readout_loss - hidden_loss
    grown = (seen - np.exp(-readout_loss) * np.diff(np.exp(rest * time), axis=1) / rest) / hidden_loss
    return Paths(genes.T, change.T, seen.T, grown.T, events)


def _words(time: np.ndarray, gene: np.ndarray, lost: int) -> np.ndarray:
    ticks = (time * 2.0**_TIME_BITS).astype(np.uint64)
    return (ticks << np.uint64(_GENE_BITS)) | (gene << np.uint64(1)) | np.uint64(lost)


@jax.jit
def along(readout: Tree, paths: Paths) -> tuple[Array, Array, Array]:
    """What paths do to the read-out, but for its gains.

    Means of the read-out counts (batch, classes), their derivatives by the drive of a hidden gene over its weight
    (batch, classes), and by the sum of weights in each interval (events, batch, classes).
    """
    kind, batch = readout["weights"].dtype, paths.gene.shape[1]
    weights = jnp.concatenate([readout["weights"], jnp.zeros((1, readout["weights"].shape[1]), kind)])

    def step(carry: tuple[Array, Array, Array], event: Any) -> tuple[tuple[Array, Array, Array], Array]:
        (total, mean, slope), (gene, change, seen, grown) = carry, event
        total = total + change.astype(kind)[:, None] * weights[gene]
        small = jnp.exp(-jnp.abs(total))
        active = jnp.maximum(total, 0) + jnp.log1p(small)  # softplus
        steep = jnp.where(total > 0, 1, small) / (1 + small)  # and its derivative
        seen, grown = seen.astype(kind)[:, None], grown.astype(kind)[:, None]
        return (total, mean + active * seen, slope + steep * grown), steep * seen

    begin = jnp.broadcast_to(readout["bias"], (batch, weights.shape[1]))
    (_, mean, slope), steep = jax.lax.scan(step, (begin, jnp.zeros_like(begin), jnp.zeros_like(begin)), paths[:4])
    return mean, slope, steep


@jax.jit
def _pull(
    parameters: Tree, images: Array, by_count: Array, means: Array, slope: Array, steep: Array, change: Array
) -> Any:
    """Derivatives by all but the read-out's weights, and what each event adds to those of its gene."""
    readout = parameters["readout"]
    by_mean = by_count * jnp.exp(readout["gain"])[None]

    def back(after: Array, event: tuple[Array, Array]) -> tuple[Array, Array]:
        steep, change = event
        after = after + steep
        return after, after * change.astype(after.dtype)[:, None]

    whole, added = jax.lax.scan(back, jnp.zeros_like(means), (steep, change), reverse=True)
    by_drive = (by_mean * slope) @ readout["weights"].T
    hidden = jax.grad(lambda layer: jnp.sum(drives({"hidden": layer}, images) * by_drive))(parameters["hidden"])
    gain = jnp.sum(by_mean * means, axis=0)
    return hidden, {"bias": jnp.sum(by_mean * whole, axis=0), "gain": gain}, added * by_mean[None]


def loss_and_gradient(parameters: Tree, batch: Tree, seed: int) -> tuple[float, Tree]:
    """Cross-entropy of the softmax of SHARPNESS times the read-out, of one exact trajectory an image, and its gradient.

    ``batch`` has ``image`` (batch, pixels), of brightness 0 to 255, and ``label`` (batch,).
    """
    rng, images, readout = np.random.default_rng(seed), batch["image"], parameters["readout"]
    paths = draw_paths(np.asarray(drives(parameters, images), np.float64), rng)
    means, slope, steep = along(readout, paths)
    counts = rng.poisson(np.asarray(means, np.float64) * np.exp(np.asarray(readout["gain"], np.float64)))
    loss, by_count = _cross_entropy(counts, batch["label"])
    hidden, others, added = _pull(parameters, images, by_count.astype(means.dtype), means, slope, steep, paths.change)
    flat, size = np.asarray(added).reshape(-1, counts.shape[1]), len(readout["weights"])
    ends = np.arange(len(flat) + 1)
    of_gene = sparse.csr_array((np.ones(len(flat), flat.dtype), paths.gene.ravel(), ends), shape=(len(flat), size + 1))
    return loss, {"hidden": hidden, "readout": {"weights": (of_gene.T @ flat)[:size], **others}}


def _cross_entropy(counts: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean over the batch, and its derivatives by the counts (batch, classes)."""
    logits = SHARPNESS * (counts - counts.max(axis=1, keepdims=True))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    slopes = np.exp(logs)
    slopes[rows, labels] -= 1.0
    return float(-np.mean(logs[rows, labels])), SHARPNESS * slopes / len(labels)


def read_out(
    parameters: Tree, images: np.ndarray, seed: int, batch: int = 500, until: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Read-out counts (images, classes) at a time, of one exact trajectory an image, in float64, and hidden events
    (images,)."""
    exact = jax.tree.map(partial(np.asarray, dtype=np.float64), parameters)
    gain = until * np.exp(exact["readout"]["gain"])
    rng, counts, events = np.random.default_rng(seed), [], []
    for begin in range(0, len(images), batch):
        paths = draw_paths(np.asarray(drives(exact, images[begin : begin + batch])), rng, until)
        counts.append(rng.poisson(np.asarray(along(exact["readout"], paths)[0]) * gain))
        events.append(paths.events)
    return np.concatenate(counts), np.concatenate(events)


def with_copies(parameters: Tree, factor: float) -> Tree:
    """The network with as many times the molecules: all genes make more, and a hidden one does less."""
    more = {name: {**layer, "gain": layer["gain"] + np.log(factor)} for name, layer in parameters.items()}
    more["readout"]["weights"] = more["readout"]["weights"] / factor
    return more


def classes_of(counts: np.ndarray) -> np.ndarray:
    """The most abundant read-out (images,); of several the first."""
    return np.argmax(counts, axis=-1)
