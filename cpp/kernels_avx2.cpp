// AVX2 and F16C: eight floats at a time. Compiled with flags of its own, and called only where CPUID allows.
#include <immintrin.h>

#include "scalar.hpp"

namespace onnxplain {
namespace {

struct Vec {
    static constexpr std::size_t width = 8;
    using Bits = __m256i;
    using Floats = __m256;

    static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    static Floats load(const Half* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
    static Floats load(const double* p) {
        const __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(p));
        const __m128 high = _mm256_cvtpd_ps(_mm256_loadu_pd(p + 4));
        return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
    }
    static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    static void stream(float* p, Floats v) { _mm256_stream_ps(p, v); }
    static void fence() { _mm_sfence(); }

    static Floats set(float v) { return _mm256_set1_ps(v); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
    static Floats clip(Floats v, Floats low, Floats high) { return _mm256_min_ps(_mm256_max_ps(v, low), high); }
    static Floats square_root(Floats v) { return _mm256_sqrt_ps(v); }
    static bool any_nan(Floats v) { return _mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)) != 0; }

    static Bits bits(Floats v) { return _mm256_castps_si256(v); }
    static Floats floats(Bits v) { return _mm256_castsi256_ps(v); }
    static Bits magnitude(Floats v) { return _mm256_and_si256(bits(v), set_bits(0x7fffffff)); }
    static Bits truncated(Floats v) { return _mm256_cvttps_epi32(v); }
    static Floats converted(Bits v) { return _mm256_cvtepi32_ps(v); }

    static Bits set_bits(std::int32_t v) { return _mm256_set1_epi32(v); }
    static Bits maximum(Bits a, Bits b) { return _mm256_max_epi32(a, b); }
    static Bits minimum(Bits a, Bits b) { return _mm256_min_epi32(a, b); }
    static Bits lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
    static Bits add_bits(Bits a, Bits b) { return _mm256_add_epi32(a, b); }
    static Bits subtract_bits(Bits a, Bits b) { return _mm256_sub_epi32(a, b); }
    static Bits both(Bits a, Bits b) { return _mm256_and_si256(a, b); }
    static Bits exclusive_or(Bits a, Bits b) { return _mm256_xor_si256(a, b); }
    template <int k>
    static Bits shifted_right(Bits v) {
        return _mm256_srli_epi32(v, k);
    }
    template <int k>
    static Bits shifted_right_signed(Bits v) {
        return _mm256_srai_epi32(v, k);
    }
    static std::int32_t highest(Bits v) {
        return folded(v, [](__m128i a, __m128i b) { return _mm_max_epi32(a, b); });
    }
    static std::int32_t lowest(Bits v) {
        return folded(v, [](__m128i a, __m128i b) { return _mm_min_epi32(a, b); });
    }
    static std::int32_t total(Bits v) {
        return folded(v, [](__m128i a, __m128i b) { return _mm_add_epi32(a, b); });
    }
    static float* append(float* end, Bits v, Bits low, Bits high) {
        const Bits within = _mm256_andnot_si256(_mm256_cmpgt_epi32(low, v), _mm256_cmpgt_epi32(high, v));
        const int mask = _mm256_movemask_ps(floats(within));
        if (mask != 0) {
            float values[width];
            store(values, floats(v));
            for (std::size_t k = 0; k < width; ++k) {
                *end = values[k];
                end += (mask >> k) & 1;
            }
        }
        return end;
    }
    static Bits count_below(Bits count, Bits v, Bits bound) {
        return _mm256_sub_epi32(count, _mm256_cmpgt_epi32(bound, v));
    }
    static Bits ordered(Floats v) {
        return _mm256_xor_si256(bits(v), _mm256_srli_epi32(_mm256_srai_epi32(bits(v), 31), 1));
    }

    struct Wide {
        Bits even, odd;
    };
    static Wide widened(Bits v) { return {v, _mm256_srli_epi64(v, 32)}; }
    static Bits narrowed(Wide v) { return _mm256_blend_epi32(v.even, _mm256_slli_epi64(v.odd, 32), 0xaa); }
    static Wide set_wide(std::uint32_t v) {
        const Bits all = set_bits(static_cast<std::int32_t>(v));
        return {all, all};
    }
    static Wide product(Wide v, std::uint32_t factor) {
        const Bits factors = set_bits(static_cast<std::int32_t>(factor));
        return {_mm256_mul_epu32(v.even, factors), _mm256_mul_epu32(v.odd, factors)};
    }
    static Wide upper(Wide v) { return {_mm256_srli_epi64(v.even, 32), _mm256_srli_epi64(v.odd, 32)}; }
    static Wide exclusive_or(Wide a, Wide b) { return {exclusive_or(a.even, b.even), exclusive_or(a.odd, b.odd)}; }

    // Of 24 elements every third one lies in lanes 0 3 6 of one vector, 1 4 7 of the next and 2 5 of the one after
    // it: no lane twice, so two blends gather them and one permutation sorts them.
    struct Planes {
        Floats channel[3];
    };
    static Planes planes(Floats a, Floats b, Floats c) {
        const auto mixed = [](Floats lanes_0_3, Floats lanes_1_4, Floats lanes_2_5) {
            return _mm256_blend_ps(_mm256_blend_ps(lanes_0_3, lanes_1_4, 0x92), lanes_2_5, 0x24);
        };
        const Bits first = _mm256_setr_epi32(0, 3, 6, 1, 4, 7, 2, 5);
        const Bits second = _mm256_setr_epi32(1, 4, 7, 2, 5, 0, 3, 6);
        const Bits third = _mm256_setr_epi32(2, 5, 0, 3, 6, 1, 4, 7);
        return {{_mm256_permutevar8x32_ps(mixed(a, b, c), first), _mm256_permutevar8x32_ps(mixed(c, a, b), second),
                 _mm256_permutevar8x32_ps(mixed(b, c, a), third)}};
    }

    static Bits look_up(const std::int32_t* table, Bits index) { return _mm256_i32gather_epi32(table, index, 4); }
    static void store_pixels(unsigned char* p, Bits v) {
        const Bits packed = _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10,
                                                                                            12, 13, 14, -1, -1, -1,
                                                                                            -1)));
        const Bits joined = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(joined));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p + 16), _mm256_extracti128_si256(joined, 1));
    }
    static void blend_pixels(unsigned char* out, const unsigned char* photo, Bits pixel, Bits weight) {
        const Bits below = load_pixels(photo);
        store_pixels(out, _mm256_or_si256(blended<0>(below, pixel, weight),
                                          _mm256_or_si256(blended<1>(below, pixel, weight),
                                                          blended<2>(below, pixel, weight))));
    }

private:
    // Four pixels of three bytes spread over each half of a vector.
    static Bits load_pixels(const unsigned char* p) {
        const Bits packed = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 16)), 1);
        const Bits spread = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 1, 2, 0, 3, 4, 5, 0));
        return _mm256_shuffle_epi8(spread, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8,
                                                                                    -1, 9, 10, 11, -1)));
    }
    // Colour k of 0, 1, 2, in its place in a pixel.
    template <int k>
    static Bits blended(Bits below, Bits above, Bits weight) {
        const Bits byte = set_bits(255);
        const Bits b = _mm256_and_si256(_mm256_srli_epi32(below, 8 * k), byte);
        const Bits a = _mm256_and_si256(_mm256_srli_epi32(above, 8 * k), byte);
        const Bits moved = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_sub_epi32(a, b), weight), set_bits(32768));
        return _mm256_slli_epi32(_mm256_add_epi32(b, _mm256_srai_epi32(moved, 16)), 8 * k);
    }

    template <class Combine>
    static std::int32_t folded(Bits v, Combine combine) {
        __m128i half = combine(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        half = combine(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
        half = combine(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
        return _mm_cvtsi128_si32(half);
    }
};

}  // namespace
}  // namespace onnxplain

#include "row_kernels_impl.hpp"

namespace onnxplain {

const RowKernels& avx2_kernels() noexcept { return kKernels; }

}  // namespace onnxplain
