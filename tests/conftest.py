"""Shared settings: every test runs in float64 unless it asks for float32."""

import jax

jax.config.update("jax_enable_x64", True)
