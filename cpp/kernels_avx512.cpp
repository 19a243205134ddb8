// AVX-512 (F, DQ, BW, VL): sixteen floats at a time. Compiled with flags of its own, called only where CPUID allows.
#include <immintrin.h>

#include "abs_bits.hpp"

#include <cstddef>

namespace onnxplain {
namespace {

struct Vec {
    static constexpr std::size_t width = 16;
    using Bits = __m512i;
    using Floats = __m512;

    static Bits without_sign(Floats v) {
        return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
    }
    static Bits load_abs(const float* p) { return without_sign(_mm512_loadu_ps(p)); }
    static Bits load_abs(const Half* p) {
        return without_sign(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
    }
    static Bits load_abs(const double* p) {
        const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(p));
        const __m256 high = _mm512_cvtpd_ps(_mm512_loadu_pd(p + 8));
        return without_sign(_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1));
    }
    static Bits load_bits(const float* p) { return _mm512_loadu_si512(p); }
    static void store_bits(float* p, Bits v) { _mm512_storeu_si512(p, v); }
    static Bits set_bits(std::int32_t v) { return _mm512_set1_epi32(v); }
    static Bits maximum(Bits a, Bits b) { return _mm512_max_epi32(a, b); }
    static Bits minimum(Bits a, Bits b) { return _mm512_min_epi32(a, b); }
    static std::int32_t highest(Bits v) { return _mm512_reduce_max_epi32(v); }
    static std::int32_t lowest(Bits v) { return _mm512_reduce_min_epi32(v); }
    // The wanted elements 0, 3, ..., 45 lie in lanes 0 3 .. 15 of a, 2 5 .. 14 of b and 1 4 .. 13 of c: no lane
    // twice, so two blends gather them and one permutation sorts them.
    static Bits triples(Bits a, Bits b, Bits c) {
        const Bits mixed = _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(a, 0x4924, b), 0x2492, c);
        return _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14, 1, 4, 7, 10, 13), mixed);
    }

    static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    static void stream(float* p, Floats v) { _mm512_stream_ps(p, v); }
    static Floats set(float v) { return _mm512_set1_ps(v); }
    static Floats normalized(Floats v, Floats low, Floats span) {
        return _mm512_min_ps(_mm512_div_ps(_mm512_sub_ps(v, low), span), _mm512_set1_ps(1.0f));
    }
    static void fence() { _mm_sfence(); }
};

}  // namespace
}  // namespace onnxplain

#include "row_kernels_impl.hpp"

namespace onnxplain {

const RowKernels& avx512_kernels() noexcept { return kKernels; }

}  // namespace onnxplain
