"""An activation: tried in this process, before it gets its line in `FIXED`."""

import jax

from senn.nn import activation

activation.FIXED["elu"] = jax.nn.elu
activation.ACTIVATIONS = ("rational", *activation.FIXED)
