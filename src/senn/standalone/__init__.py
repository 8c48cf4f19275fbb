"""Modules that need NumPy alone: exports carry their source along, and senn predicts with them."""
