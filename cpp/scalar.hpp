// One element at a time: the vector type of the portable kernels, and the ends of rows in all others. In an
// anonymous namespace, like everything that is compiled for several instruction sets.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace onnxplain {
namespace {

struct Half {
    std::uint16_t bits;
};

inline std::int32_t bits_of(float value) {
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float float_of(std::int32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Bits of floats as integers of the same order: negative ones count downwards. Its own inverse.
inline std::int32_t ordered(std::int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// The interface of every vector type. `Floats` holds `width` floats, `Bits` as many integers of 32 bits.
struct Scalar {
    static constexpr std::size_t width = 1;
    using Bits = std::int32_t;
    using Floats = float;

    // From any supported type, at any address, as float32.
    static Floats load(const float* p) {
        float value;
        std::memcpy(&value, p, sizeof value);
        return value;
    }
    // Rounded; a double beyond float32's range becomes infinity.
    static Floats load(const double* p) {
        double value;
        std::memcpy(&value, p, sizeof value);
        return static_cast<float>(value);
    }
    // Exponent and fraction are moved into place, and a multiplication repairs the exponent's bias and normalises
    // subnormal halves; infinity and NaN get an all-ones exponent.
    static Floats load(const Half* p) {
        std::uint16_t half;
        std::memcpy(&half, p, sizeof half);
        const std::int32_t shifted = (half & 0x7fff) << 13;
        const std::int32_t finite = bits_of(float_of(shifted) * 0x1p112f);
        const std::int32_t magnitude = shifted >= 0x0f800000 ? (shifted | 0x7f800000) : finite;
        return float_of(magnitude | static_cast<std::int32_t>((half & 0x8000u) << 16));
    }
    static void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
    static void stream(float* p, Floats v) { *p = v; }  // past the caches, aligned
    static void fence() {}                              // after the last `stream`

    static Floats set(float v) { return v; }
    static Floats add(Floats a, Floats b) { return a + b; }
    static Floats subtract(Floats a, Floats b) { return a - b; }
    static Floats multiply(Floats a, Floats b) { return a * b; }
    static Floats divide(Floats a, Floats b) { return a / b; }
    static Floats clip(Floats v, Floats low, Floats high) {  // NaN becomes `low`
        const float raised = v > low ? v : low;
        return raised < high ? raised : high;
    }
    static Floats square_root(Floats v) { return sqrtf(v); }
    static bool any_nan(Floats v) { return v != v; }

    static Bits bits(Floats v) { return bits_of(v); }
    static Floats floats(Bits v) { return float_of(v); }
    static Bits magnitude(Floats v) { return bits_of(v) & 0x7fffffff; }  // the bits of |v|
    static Bits truncated(Floats v) { return static_cast<std::int32_t>(v); }
    static Floats converted(Bits v) { return static_cast<float>(v); }

    static Bits set_bits(std::int32_t v) { return v; }
    static Bits maximum(Bits a, Bits b) { return a > b ? a : b; }
    static Bits minimum(Bits a, Bits b) { return a < b ? a : b; }
    static Bits lane_numbers() { return 0; }
    static Bits add_bits(Bits a, Bits b) { return signed_bits(unsigned_bits(a) + unsigned_bits(b)); }
    static Bits subtract_bits(Bits a, Bits b) { return signed_bits(unsigned_bits(a) - unsigned_bits(b)); }
    static Bits both(Bits a, Bits b) { return a & b; }
    static Bits exclusive_or(Bits a, Bits b) { return a ^ b; }
    template <int k>
    static Bits shifted_right(Bits v) {
        return signed_bits(unsigned_bits(v) >> k);
    }
    template <int k>
    static Bits shifted_right_signed(Bits v) {
        return v >> k;
    }
    static std::int32_t highest(Bits v) { return v; }
    static std::int32_t lowest(Bits v) { return v; }
    static std::int32_t total(Bits v) { return v; }
    static float* append(float* end, Bits v, Bits low, Bits high) {  // the lanes in low..high - 1; the new end
        *end = float_of(v);
        return end + (low <= v && v < high ? 1 : 0);
    }
    static Bits count_below(Bits count, Bits v, Bits bound) { return count + (v < bound ? 1 : 0); }
    static Bits ordered(Floats v) { return onnxplain::ordered(bits_of(v)); }

    // The same lanes in 64 bits each, of which the upper ones matter only to `upper`.
    using Wide = std::uint64_t;
    static Wide widened(Bits v) { return unsigned_bits(v); }
    static Bits narrowed(Wide v) { return signed_bits(static_cast<std::uint32_t>(v)); }
    static Wide set_wide(std::uint32_t v) { return v; }
    static Wide product(Wide v, std::uint32_t factor) { return Wide{static_cast<std::uint32_t>(v)} * factor; }
    static Wide upper(Wide v) { return v >> 32; }
    static Wide exclusive_or(Wide a, Wide b) { return a ^ b; }

    // Positions of three interleaved channels end to end in a, b, c: `width` of them of each channel.
    struct Planes {
        Floats channel[3];
    };
    static Planes planes(Floats a, Floats b, Floats c) { return {{a, b, c}}; }

    // Pixels are red | green << 8 | blue << 16, and three bytes in memory.
    static Bits look_up(const std::int32_t* table, Bits index) { return table[index]; }
    static void store_pixels(unsigned char* p, Bits pixel) {
        for (int k = 0; k < 3; ++k) {
            p[k] = static_cast<unsigned char>(pixel >> (8 * k));
        }
    }
    // The photo's colours moved towards the pixel's by a weight in 1/65536, rounded.
    static void blend_pixels(unsigned char* out, const unsigned char* photo, Bits pixel, Bits weight) {
        for (int k = 0; k < 3; ++k) {
            const Bits below = photo[k], above = (pixel >> (8 * k)) & 255;
            out[k] = static_cast<unsigned char>(below + (((above - below) * weight + 32768) >> 16));
        }
    }

private:
    static std::uint32_t unsigned_bits(Bits v) { return static_cast<std::uint32_t>(v); }
    static Bits signed_bits(std::uint32_t v) { return static_cast<Bits>(v); }
};

}  // namespace
}  // namespace onnxplain
