#include "cpu.hpp"

#include <cstdint>
#include <initializer_list>
#include <stdexcept>

#if defined(ONNXPLAIN_X86)
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace onnxplain {
namespace {

#if defined(ONNXPLAIN_X86)

struct Registers {
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(std::uint32_t leaf) {
    Registers r;
#if defined(_MSC_VER)
    int values[4] = {};
    __cpuid(values, 0);
    if (static_cast<std::uint32_t>(values[0]) >= leaf) {
        __cpuidex(values, static_cast<int>(leaf), 0);
        r.a = static_cast<std::uint32_t>(values[0]);
        r.b = static_cast<std::uint32_t>(values[1]);
        r.c = static_cast<std::uint32_t>(values[2]);
        r.d = static_cast<std::uint32_t>(values[3]);
    }
#else
    if (__get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d) == 0) {
        r = Registers{};
    }
#endif
    return r;
}

// The register states that the operating system saves on a context switch (XCR0).
std::uint64_t saved_states() {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    std::uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

bool has(std::uint32_t value, std::initializer_list<int> bits) {
    for (int bit : bits) {
        if (((value >> bit) & 1u) == 0) {
            return false;
        }
    }
    return true;
}

std::vector<Isa> detect() {
    std::vector<Isa> found{Isa::portable};
    const Registers basic = cpuid(1);
    const bool osxsave_avx_f16c_fma = has(basic.c, {12, 27, 28, 29});
    if (!osxsave_avx_f16c_fma) {
        return found;
    }
    const std::uint64_t states = saved_states();
    const Registers extended = cpuid(7);
    constexpr std::uint64_t ymm = 0x06, zmm = 0xE6;
    const bool avx2 = has(extended.b, {5});
    if (!avx2 || (states & ymm) != ymm) {
        return found;
    }
    found.push_back(Isa::avx2);
    const bool avx512_f_dq_bw_vl = has(extended.b, {16, 17, 30, 31});
    if (avx512_f_dq_bw_vl && (states & zmm) == zmm) {
        found.push_back(Isa::avx512);
    }
    return found;
}

#else

std::vector<Isa> detect() { return {Isa::portable}; }

#endif

}  // namespace

const char* isa_name(Isa isa) noexcept {
    switch (isa) {
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
        case Isa::portable: break;
    }
    return "portable";
}

const std::vector<Isa>& available_isas() {
    static const std::vector<Isa> found = detect();
    return found;
}

Isa isa_from_name(const std::string& name) {
    for (Isa isa : available_isas()) {
        if (name == isa_name(isa)) {
            return isa;
        }
    }
    throw std::invalid_argument("no instruction set '" + name + "' here");
}

}  // namespace onnxplain
