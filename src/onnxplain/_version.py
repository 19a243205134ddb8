"""The version of onnxplain, in one place: the build reads it from here and compiles it into the extension."""

__version__ = "0.2.0"
