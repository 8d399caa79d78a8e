"""Policies leave: a folder with weights and how to run it in NumPy, PyTorch and ONNX Runtime; and a server."""
