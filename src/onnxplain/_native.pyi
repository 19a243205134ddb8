"""Types of the C++ extension; use :mod:`onnxplain.native`."""

__version__: str
