from .numpy_file import to_numpy as to_numpy
from .onnx_file import to_onnx as to_onnx
