// AVX2 and F16C: eight floats at a time. Compiled with flags of its own, and called only where CPUID allows.
#include <immintrin.h>

#include "abs_bits.hpp"

#include <cstddef>

namespace onnxplain {
namespace {

struct Vec {
    static constexpr std::size_t width = 8;
    using Bits = __m256i;
    using Floats = __m256;

    static Bits without_sign(Floats v) {
        return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
    }
    static Bits load_abs(const float* p) { return without_sign(_mm256_loadu_ps(p)); }
    static Bits load_abs(const Half* p) {
        return without_sign(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
    }
    static Bits load_abs(const double* p) {
        const __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(p));
        const __m128 high = _mm256_cvtpd_ps(_mm256_loadu_pd(p + 4));
        return without_sign(_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1));
    }
    static Bits load_bits(const float* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
    static void store_bits(float* p, Bits v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
    static Bits set_bits(std::int32_t v) { return _mm256_set1_epi32(v); }
    static Bits maximum(Bits a, Bits b) { return _mm256_max_epi32(a, b); }
    static Bits minimum(Bits a, Bits b) { return _mm256_min_epi32(a, b); }
    static std::int32_t highest(Bits v) {
        __m128i half = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
        half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
        return _mm_cvtsi128_si32(half);
    }
    static std::int32_t lowest(Bits v) {
        __m128i half = _mm_min_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        half = _mm_min_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
        half = _mm_min_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
        return _mm_cvtsi128_si32(half);
    }
    // The wanted elements 0, 3, ..., 21 lie in lanes 0 3 6 of a, 1 4 7 of b and 2 5 of c: no lane twice, so two
    // blends gather them and one permutation sorts them.
    static Bits triples(Bits a, Bits b, Bits c) {
        const Bits mixed = _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0b10010010), c, 0b00100100);
        return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 3, 6, 1, 4, 7, 2, 5));
    }

    static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    static void stream(float* p, Floats v) { _mm256_stream_ps(p, v); }
    static Floats set(float v) { return _mm256_set1_ps(v); }
    static Floats normalized(Floats v, Floats low, Floats span) {
        return _mm256_min_ps(_mm256_div_ps(_mm256_sub_ps(v, low), span), _mm256_set1_ps(1.0f));
    }
    static void fence() { _mm_sfence(); }
};

}  // namespace
}  // namespace onnxplain

#include "row_kernels_impl.hpp"

namespace onnxplain {

const RowKernels& avx2_kernels() noexcept { return kKernels; }

}  // namespace onnxplain
