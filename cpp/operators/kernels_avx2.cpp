// Compiled for AVX2, and called only where CPUID allows.
#include "kernels_impl.hpp"
#include "vec_avx2.hpp"

namespace onnxplain::operators {

const Kernels kernels_avx2 = compiled<Eight, Eight, Eight>();

}  // namespace onnxplain::operators
