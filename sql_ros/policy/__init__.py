"""The exported policy, the validation of its graph, the interface of its task, and a transition.

This package uses numpy and ONNX, and does not import torch.
"""
