// Sixteen floats in AVX-512.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace onnxplain::operators {
namespace {

struct Sixteen {
    static constexpr std::size_t width = 16;
    using Floats = __m512;
    using Mask = __mmask16;

    static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    static Floats set(float v) { return _mm512_set1_ps(v); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    static Floats exponent(Floats v) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 23)); }
    static Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
    static Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    static Mask all() { return static_cast<Mask>(0xFFFF); }
    static Mask equal(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
    static Mask less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
    static Mask without(Mask a, Mask b) { return static_cast<Mask>(a & ~b); }
    static Floats select(Mask m, Floats a, Floats b) { return _mm512_mask_blend_ps(m, b, a); }
};

}  // namespace
}  // namespace onnxplain::operators
