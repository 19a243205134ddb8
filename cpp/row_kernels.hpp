// The innermost loops, one table of them for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu.hpp"

namespace onnxplain {

enum class Element { f16, f32, f64 };
constexpr std::size_t kElements = 3;

// Of the channels of one position: max |x|, sum x, |sum x|, max(sum x, 0). Sums go from the first channel to the last.
enum class Operation { max_abs, sum, abs_sum, positive_sum };
constexpr std::size_t kOperations = 4;

// A run of positions of one image, each with all its channels. Strides are in bytes, of any sign, or zero.
struct Row {
    const unsigned char* base;
    std::size_t channels;
    std::ptrdiff_t channel_stride;
    std::size_t length;
    std::ptrdiff_t position_stride;
};

// Extremes of a map as integers of the same order (`ordered` in scalar.hpp): infinity and NaN sort outside all
// finite numbers, so one integer maximum and minimum also find them.
struct Extremes {
    std::int32_t low = INT32_MAX;
    std::int32_t high = INT32_MIN;
};

// Images that a kernel refuses: how many, and the first of them.
struct BadImages {
    std::size_t count = 0;
    std::size_t first = 0;
};

// map[i] = the channels at i reduced, as float32, and the extremes of the row folded in.
using Reduce = void (*)(const Row& row, float* map, Extremes& extremes);

// totals[i] += sum over channels of x and, unless `squares` is null, squares[i] += sum of x^2, in double, from the
// first channel to the last.
using Accumulate = void (*)(const Row& row, double* totals, double* squares);

// out[i] = (map[i] - low) / span, at most 1 and at least -1. `out` may be `map`. With `stream` the stores bypass
// the caches.
using Normalize = void (*)(const float* map, float* out, std::size_t length, float low, float span, bool stream);

// How many of |map[i]| have bits below `bits`. `length` < 2^31.
using CountBelow = std::size_t (*)(const float* map, std::size_t length, std::int32_t bits);

// Writes |map[i]| to `kept`, which has room for all, where its bits are in low..high - 1; returns how many.
using Select = std::size_t (*)(const float* map, std::size_t length, std::int32_t low, std::int32_t high, float* kept);

// Pixels to blend: saliency in 0..1, 256 colours as red | green << 8 | blue << 16, weights in 1/65536.
struct BlendRow {
    const float* saliency;
    const unsigned char* photo;  // nullptr: the colours alone
    const std::int32_t* colors;
    unsigned char* out;
    std::size_t length;
    float weight;
    bool weight_by_saliency;
};

// Returns whether a saliency value is NaN.
using Blend = bool (*)(const BlendRow& row);

// Numbers of noise that are made together.
constexpr std::size_t kNoiseGroup = 64;

// out[i] = x[i] + deviation e[i], the e being the numbers from N(0, 1) that `key` has from the first of `group` on.
// `out` may be `x`.
using AddNoise = void (*)(const float* x, float* out, std::size_t length, float deviation, std::uint64_t key,
                          std::uint64_t group);

struct RowKernels {
    Reduce reduce[kOperations][kElements];
    Accumulate accumulate[kElements];
    Normalize normalize;
    CountBelow count_below;
    Select select;
    Blend blend;
    AddNoise add_noise;
};

const RowKernels& portable_kernels() noexcept;
const RowKernels& avx2_kernels() noexcept;
const RowKernels& avx512_kernels() noexcept;

const RowKernels& kernels_for(Isa isa) noexcept;

}  // namespace onnxplain
