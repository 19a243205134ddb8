// Compiled for AVX-512, and called only where CPUID allows.
#include "kernels_impl.hpp"
#include "vec_avx2.hpp"
#include "vec_avx512.hpp"

namespace onnxplain::operators {

const Kernels kernels_avx512 = compiled<Sixteen, Eight, Sixteen>();

}  // namespace onnxplain::operators
