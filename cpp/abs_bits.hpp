// The bits of |x| as float32, of one element of any supported type. In an anonymous namespace, like everything
// that is compiled for several instruction sets.
#pragma once

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

inline std::int32_t abs_bits(const float* p) {
    std::int32_t bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits & 0x7fffffff;
}

// Rounded to float32 first; a double beyond its range becomes infinity.
inline std::int32_t abs_bits(const double* p) {
    double value;
    std::memcpy(&value, p, sizeof value);
    return bits_of(static_cast<float>(value)) & 0x7fffffff;
}

// Exponent and fraction are moved into place, and a multiplication repairs the exponent's bias and normalises
// subnormal halves; infinity and NaN get an all-ones exponent.
inline std::int32_t abs_bits(const Half* p) {
    std::uint16_t half;
    std::memcpy(&half, p, sizeof half);
    const std::int32_t shifted = (half & 0x7fff) << 13;
    const std::int32_t finite = bits_of(float_of(shifted) * 0x1p112f);
    return shifted >= 0x0f800000 ? (shifted | 0x7f800000) : finite;
}

}  // namespace
}  // namespace onnxplain
