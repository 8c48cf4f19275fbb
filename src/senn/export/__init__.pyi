from .numpy_file import to_numpy as to_numpy
from .onnx_file import to_onnx as to_onnx
from .pipelines import register_skl2onnx as register_skl2onnx
