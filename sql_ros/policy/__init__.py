"""The exported policy, the validation of its graph, the interface of its task, a transition.

Numpy and ONNX; no torch.
"""
