"""Trained models for programs that have no senn: as ONNX, or as arrays for NumPy alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
