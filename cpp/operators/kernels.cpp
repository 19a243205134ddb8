#include "kernels.hpp"

#include <cstdlib>

namespace onnxplain::operators {

const Kernels& kernels(Isa isa) {
#if defined(ONNXPLAIN_X86)
    switch (isa) {
        case Isa::avx512: return kernels_avx512;
        case Isa::avx2: return kernels_avx2;
        case Isa::portable: break;
    }
#else
    (void)isa;
#endif
    return kernels_portable;
}

const Kernels& chosen_kernels() {
    const char* name = std::getenv("ONNXPLAIN_ISA");
    return kernels(name == nullptr || *name == '\0' ? available_isas().back() : isa_from_name(name));
}

}  // namespace onnxplain::operators
