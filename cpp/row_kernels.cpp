#include "row_kernels.hpp"

namespace onnxplain {

const RowKernels& kernels_for(Isa isa) noexcept {
#if defined(ONNXPLAIN_X86)
    switch (isa) {
        case Isa::avx2: return avx2_kernels();
        case Isa::avx512: return avx512_kernels();
        case Isa::portable: break;
    }
#endif
    static_cast<void>(isa);
    return portable_kernels();
}

}  // namespace onnxplain
