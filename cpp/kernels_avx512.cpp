// AVX-512 (F, DQ, BW, VL): sixteen floats at a time. Compiled with flags of its own, called only where CPUID allows.
#include <immintrin.h>

#include "scalar.hpp"

namespace onnxplain {
namespace {

struct Vec {
    static constexpr std::size_t width = 16;
    using Bits = __m512i;
    using Floats = __m512;

    static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    static Floats load(const Half* p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static Floats load(const double* p) {
        const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(p));
        const __m256 high = _mm512_cvtpd_ps(_mm512_loadu_pd(p + 8));
        return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    }
    static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    static void stream(float* p, Floats v) { _mm512_stream_ps(p, v); }
    static void fence() { _mm_sfence(); }

    static Floats set(float v) { return _mm512_set1_ps(v); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
    static Floats clip(Floats v, Floats low, Floats high) { return _mm512_min_ps(_mm512_max_ps(v, low), high); }
    static Floats square_root(Floats v) { return _mm512_sqrt_ps(v); }
    static bool any_nan(Floats v) { return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0; }

    static Bits bits(Floats v) { return _mm512_castps_si512(v); }
    static Floats floats(Bits v) { return _mm512_castsi512_ps(v); }
    static Bits magnitude(Floats v) { return _mm512_and_si512(bits(v), set_bits(0x7fffffff)); }
    static Bits truncated(Floats v) { return _mm512_cvttps_epi32(v); }
    static Floats converted(Bits v) { return _mm512_cvtepi32_ps(v); }

    static Bits set_bits(std::int32_t v) { return _mm512_set1_epi32(v); }
    static Bits maximum(Bits a, Bits b) { return _mm512_max_epi32(a, b); }
    static Bits minimum(Bits a, Bits b) { return _mm512_min_epi32(a, b); }
    static Bits lane_numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
    static Bits add_bits(Bits a, Bits b) { return _mm512_add_epi32(a, b); }
    static Bits subtract_bits(Bits a, Bits b) { return _mm512_sub_epi32(a, b); }
    static Bits both(Bits a, Bits b) { return _mm512_and_si512(a, b); }
    static Bits exclusive_or(Bits a, Bits b) { return _mm512_xor_si512(a, b); }
    template <int k>
    static Bits shifted_right(Bits v) {
        return _mm512_srli_epi32(v, k);
    }
    template <int k>
    static Bits shifted_right_signed(Bits v) {
        return _mm512_srai_epi32(v, k);
    }
    static std::int32_t highest(Bits v) { return _mm512_reduce_max_epi32(v); }
    static std::int32_t lowest(Bits v) { return _mm512_reduce_min_epi32(v); }
    static std::int32_t total(Bits v) { return _mm512_reduce_add_epi32(v); }
    // In registers and without a branch: compressing stores are slow on some processors, and branches mispredicted.
    static float* append(float* end, Bits v, Bits low, Bits high) {
        const __mmask16 within = _mm512_mask_cmplt_epi32_mask(_mm512_cmple_epi32_mask(low, v), v, high);
        store(end, floats(_mm512_maskz_compress_epi32(within, v)));
        return end + _mm_popcnt_u32(within);
    }
    static Bits count_below(Bits count, Bits v, Bits bound) {
        return _mm512_mask_add_epi32(count, _mm512_cmplt_epi32_mask(v, bound), count, set_bits(1));
    }
    static Bits ordered(Floats v) {
        return _mm512_xor_si512(bits(v), _mm512_srli_epi32(_mm512_srai_epi32(bits(v), 31), 1));
    }

    struct Wide {
        Bits even, odd;
    };
    static Wide widened(Bits v) { return {v, _mm512_srli_epi64(v, 32)}; }
    static Bits narrowed(Wide v) { return _mm512_mask_blend_epi32(0xaaaa, v.even, _mm512_slli_epi64(v.odd, 32)); }
    static Wide set_wide(std::uint32_t v) {
        const Bits all = set_bits(static_cast<std::int32_t>(v));
        return {all, all};
    }
    static Wide product(Wide v, std::uint32_t factor) {
        const Bits factors = set_bits(static_cast<std::int32_t>(factor));
        return {_mm512_mul_epu32(v.even, factors), _mm512_mul_epu32(v.odd, factors)};
    }
    static Wide upper(Wide v) { return {_mm512_srli_epi64(v.even, 32), _mm512_srli_epi64(v.odd, 32)}; }
    static Wide exclusive_or(Wide a, Wide b) { return {exclusive_or(a.even, b.even), exclusive_or(a.odd, b.odd)}; }

    // Of 48 elements every third one lies in lanes 0 3 .. 15 of one vector, 2 5 .. 14 of the next and 1 4 .. 13 of
    // the one after it: no lane twice, so two blends gather them and one permutation sorts them.
    struct Planes {
        Floats channel[3];
    };
    static Planes planes(Floats a, Floats b, Floats c) {
        const auto mixed = [](Floats lanes_0_3, Floats lanes_1_4, Floats lanes_2_5) {
            return _mm512_mask_mov_ps(_mm512_mask_mov_ps(lanes_0_3, 0x2492, lanes_1_4), 0x4924, lanes_2_5);
        };
        const Bits first = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14, 1, 4, 7, 10, 13);
        const Bits second = _mm512_setr_epi32(1, 4, 7, 10, 13, 0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14);
        const Bits third = _mm512_setr_epi32(2, 5, 8, 11, 14, 1, 4, 7, 10, 13, 0, 3, 6, 9, 12, 15);
        return {{_mm512_permutexvar_ps(first, mixed(a, c, b)), _mm512_permutexvar_ps(second, mixed(b, a, c)),
                 _mm512_permutexvar_ps(third, mixed(c, b, a))}};
    }

    static Bits look_up(const std::int32_t* table, Bits index) { return _mm512_i32gather_epi32(index, table, 4); }
    static void store_pixels(unsigned char* p, Bits v) {
        const Bits packed = _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10,
                                                                                       12, 13, 14, -1, -1, -1, -1)));
        const Bits joined = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15), packed);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(joined));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 32), _mm512_extracti32x4_epi32(joined, 2));
    }
    static void blend_pixels(unsigned char* out, const unsigned char* photo, Bits pixel, Bits weight) {
        const Bits below = load_pixels(photo);
        store_pixels(out, _mm512_or_si512(blended<0>(below, pixel, weight),
                                          _mm512_or_si512(blended<1>(below, pixel, weight),
                                                          blended<2>(below, pixel, weight))));
    }

private:
    // Four pixels of three bytes spread over each quarter of a vector.
    static Bits load_pixels(const unsigned char* p) {
        const Bits packed = _mm512_maskz_loadu_epi32(0x0fff, p);
        const Bits spread = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0), packed);
        return _mm512_shuffle_epi8(spread, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1,
                                                                               9, 10, 11, -1)));
    }
    // Colour k of 0, 1, 2, in its place in a pixel.
    template <int k>
    static Bits blended(Bits below, Bits above, Bits weight) {
        const Bits byte = set_bits(255);
        const Bits b = _mm512_and_si512(_mm512_srli_epi32(below, 8 * k), byte);
        const Bits a = _mm512_and_si512(_mm512_srli_epi32(above, 8 * k), byte);
        const Bits moved = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_sub_epi32(a, b), weight), set_bits(32768));
        return _mm512_slli_epi32(_mm512_add_epi32(b, _mm512_srai_epi32(moved, 16)), 8 * k);
    }
};

}  // namespace
}  // namespace onnxplain

#include "row_kernels_impl.hpp"

namespace onnxplain {

const RowKernels& avx512_kernels() noexcept { return kKernels; }

}  // namespace onnxplain
