// Eight floats in AVX2.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace onnxplain::operators {
namespace {

struct Eight {
    static constexpr std::size_t width = 8;
    using Floats = __m256;
    using Mask = __m256;

    static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    static Floats set(float v) { return _mm256_set1_ps(v); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
    static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
    static Floats exponent(Floats v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 23)); }
    static Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    static Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    static Mask all() { return _mm256_castsi256_ps(_mm256_set1_epi32(-1)); }
    static Mask equal(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
    static Mask less(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
    static Mask without(Mask a, Mask b) { return _mm256_andnot_ps(b, a); }
    static Floats select(Mask m, Floats a, Floats b) { return _mm256_blendv_ps(b, a, m); }
};

}  // namespace
}  // namespace onnxplain::operators
