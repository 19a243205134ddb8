"""Operators of our own inside ONNX Runtime's CPU provider: the compiled library, and the rewrite that puts them in."""
