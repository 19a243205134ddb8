// The innermost loops, one table of them for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu.hpp"

namespace onnxplain {

enum class Element { f16, f32, f64 };

// A run of positions of one image, each with all its channels. Strides are in bytes, of any sign, or zero.
struct Row {
    const unsigned char* base;
    std::size_t channels;
    std::ptrdiff_t channel_stride;
    std::size_t length;
    std::ptrdiff_t position_stride;
};

// Extremes of a saliency map as float32 bit patterns: without their sign bit, floats sort like integers,
// and infinity and NaN sort above every finite number, so one integer maximum also finds them.
struct Extremes {
    std::int32_t low = 0x7fffffff;
    std::int32_t high = 0;
};

// Images that a kernel refuses: how many, and the first of them.
struct BadImages {
    std::size_t count = 0;
    std::size_t first = 0;
};

// map[i] = max over channels of |gradient[i, channel]| as float32, and the extremes of the row folded in.
using MaxAbs = void (*)(const Row& row, float* map, Extremes& extremes);

// out[i] = min((map[i] - low) / span, 1). `out` may be `map`. With `stream` the stores bypass the caches.
using Normalize = void (*)(const float* map, float* out, std::size_t length, float low, float span, bool stream);

// Pixels to blend: saliency in 0..1, colours of 256 levels, weights in 1/65536.
struct BlendRow {
    const float* saliency;
    const unsigned char* photo;
    const unsigned char* colormap;
    unsigned char* out;
    std::size_t length;
    float weight;
    bool weight_by_saliency;
};

// photo == nullptr: the colour alone. Returns whether a saliency value is NaN.
using Blend = bool (*)(const BlendRow& row);

struct RowKernels {
    MaxAbs max_abs[3];  // indexed by Element
    Normalize normalize;
    Blend blend;
};

const RowKernels& portable_kernels() noexcept;
const RowKernels& avx2_kernels() noexcept;
const RowKernels& avx512_kernels() noexcept;

const RowKernels& kernels_for(Isa isa) noexcept;

}  // namespace onnxplain
