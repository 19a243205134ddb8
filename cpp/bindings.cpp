// The Python face of the kernels: the only file that includes pybind11.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_native, module) {
    module.doc() = "C++ kernels of onnxplain; use onnxplain.native.";
    module.attr("__version__") = ONNXPLAIN_VERSION;
}
