// For any processor.
#include "kernels_impl.hpp"
#include "vec_portable.hpp"

namespace onnxplain::operators {

const Kernels kernels_portable = compiled<Four, Four, Four>();

}  // namespace onnxplain::operators
