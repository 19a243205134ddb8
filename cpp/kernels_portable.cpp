// Plain C++ in loops that compilers vectorise for the baseline of any processor (SSE2, NEON).
#include "abs_bits.hpp"

#include <cstddef>

namespace onnxplain {
namespace {

struct Vec {
    static constexpr std::size_t width = 1;
    using Bits = std::int32_t;
    using Floats = float;

    template <class T>
    static Bits load_abs(const T* p) { return abs_bits(p); }
    static Bits load_bits(const float* p) { return bits_of(*p); }
    static void store_bits(float* p, Bits v) { *p = float_of(v); }
    static Bits set_bits(std::int32_t v) { return v; }
    static Bits maximum(Bits a, Bits b) { return a > b ? a : b; }
    static Bits minimum(Bits a, Bits b) { return a < b ? a : b; }
    static std::int32_t highest(Bits v) { return v; }
    static std::int32_t lowest(Bits v) { return v; }
    static Bits triples(Bits a, Bits, Bits) { return a; }

    static Floats load(const float* p) { return *p; }
    static void store(float* p, Floats v) { *p = v; }
    static void stream(float* p, Floats v) { *p = v; }
    static Floats set(float v) { return v; }
    static Floats normalized(Floats v, Floats low, Floats span) {
        const float scaled = (v - low) / span;
        return scaled < 1.0f ? scaled : 1.0f;
    }
    static void fence() {}
};

}  // namespace
}  // namespace onnxplain

#include "row_kernels_impl.hpp"

namespace onnxplain {

const RowKernels& portable_kernels() noexcept { return kKernels; }

}  // namespace onnxplain
