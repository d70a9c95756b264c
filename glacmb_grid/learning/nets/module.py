"""The network as a Flax module, and its parameters as one flat vector."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.flatten_util import ravel_pytree

_WIDEST = 6.0  # bound on the logarithm of the variance (standardised target)


def silu(value: jax.Array) -> jax.Array:
    """``x * logistic(x)``, with the logistic function written as a tanh, which is faster."""
    return value * (0.5 + 0.5 * jnp.tanh(0.5 * value))


class Layer(nn.Module):
    """Affine layer, features first: kernel (unit, input) times values (input, row), plus bias (unit,)."""

    units: int

    @nn.compact
    def __call__(self, values: jax.Array) -> jax.Array:
        """Sums (unit, row) of values (input, row)."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(1, 0), (self.units, values.shape[0]))
        bias = self.param("bias", nn.initializers.zeros, (self.units,))
        # By default, accelerators round the factors.
        return jnp.matmul(kernel, values, precision=jax.lax.Precision.HIGHEST) + bias[:, None]


class FeedForward(nn.Module):
    """Feed-forward fully connected network.

    Attributes
    ----------
    predictors : int
        Number of inputs.
    widths : tuple of int
        Units of the hidden layers; empty = linear.
    outputs : int
        1: the balance; 2: the balance and the logarithm of its variance, kept between -6 and 6.
    activation : callable
        Of hidden layers. It must map 0 to 0, so that padding units, whose parameters are all 0, have no effect.
    """

    predictors: int
    widths: tuple[int, ...]
    outputs: int = 1
    activation: Callable[[jax.Array], jax.Array] = silu

    def described(self) -> dict[str, Any]:
        """All arguments but the activation, from which it can be made again."""
        return {"predictors": self.predictors, "widths": self.widths, "outputs": self.outputs}

    @property
    def judged(self) -> int:
        """How many of the results are compared with the target."""
        return self.outputs

    @property
    def starts_from_nothing(self) -> bool:
        """Whether the parameters of the last layer are 0 at first."""
        return False

    def __call__(self, values: jax.Array, depth: jax.Array | None = None) -> jax.Array:
        """Standardised balance and, with two outputs, the logarithm of its variance.

        Parameters
        ----------
        values : (predictor, row)
            Standardised predictors.
        depth : int, (), optional
            Number of hidden layers in use, by default all. The layer after them computes the outputs; later layers
            pass them on.

        Returns
        -------
        (output, row)
        """
        values = self.sums(values, depth)
        return values.at[1:].set(_WIDEST * jnp.tanh(values[1:] / _WIDEST)) if self.outputs > 1 else values

    def begun(self, values: jax.Array) -> jax.Array:
        """As `sums`: what is called for the parameters of all parts to be there."""
        return self.sums(values)

    @nn.compact
    def sums(self, values: jax.Array, depth: jax.Array | None = None) -> jax.Array:
        """The sums of the last layer, (output, row)."""
        for number, units in enumerate((*self.widths, self.outputs)):
            sums = Layer(units, name=f"layer_{number}")(values)
            hidden = self.activation(sums) if number < len(self.widths) else sums
            if depth is not None:
                passed = values[: min(self.outputs, units)]
                passed = jnp.pad(passed, ((0, units - passed.shape[0]), (0, 0)))
                hidden = jnp.where(number < depth, hidden, jnp.where(number == depth, sums, passed))
            values = hidden
        return values


@lru_cache
def _ravelled(module: FeedForward) -> tuple[int, Callable[[Any], Any]]:
    """Number of parameters, and the function that turns the flat vector into variables."""
    start = partial(module.init, method="begun")
    tree = jax.eval_shape(start, jax.random.key(0), np.zeros((module.predictors, 1), np.float32))
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree))
    return flat.size, unravel


def size_of(module: FeedForward) -> int:
    """Number of parameters."""
    return _ravelled(module)[0]


def variables_of(module: FeedForward, parameters: Any) -> Any:
    """The variables for `module.apply`, from the flat vector of parameters (parameter,)."""
    return _ravelled(module)[1](parameters)


def applied(module: FeedForward, variables: Any, values: jax.Array, depth: Any, *physics: Any) -> jax.Array:
    """Results (result, row) of `module.apply`, as an array type; `physics` is what an `IndexNet` takes besides."""
    return jnp.asarray(module.apply(variables, values, depth, *physics))


def layers_of(module: FeedForward) -> npt.NDArray[np.int64]:
    """Number of the layer that each parameter of the flat vector belongs to, (parameter,)."""
    out = np.full(size_of(module), len(module.widths) + 1)  # what is in none of them
    with jax.ensure_compile_time_eval():  # also while a function is traced
        for number, layer in enumerate(places_of(module)):
            for place in layer.values():
                out[place] = number
    return out


def places_of(module: FeedForward) -> list[dict[str, npt.NDArray[np.int64]]]:
    """Indices of every layer's parameters in the flat vector: `kernel` (unit, input) and `bias` (unit,)."""
    layers = variables_of(module, np.arange(size_of(module), dtype=np.float32))["params"]
    names = [f"layer_{n}" for n in range(len(module.widths) + 1)]
    return [{k: np.asarray(v).astype(int) for k, v in layers[name].items()} for name in names]
