// Plain C++ in loops that compilers vectorise for the baseline of any processor (SSE2, NEON).
#include "scalar.hpp"

namespace onnxplain {
namespace {

using Vec = Scalar;

}  // namespace
}  // namespace onnxplain

#include "row_kernels_impl.hpp"

namespace onnxplain {

const RowKernels& portable_kernels() noexcept { return kKernels; }

}  // namespace onnxplain
