"""The conformance run: onnxplain against the test cases of the ONNX standard itself."""
