// The loops of the operators, compiled once for each instruction set. All sets give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../cpu.hpp"

namespace onnxplain::operators {

//! min(max(alpha y + beta, 0), 1): ONNX's HardSigmoid.
struct Ramp {
    float alpha = 0, beta = 0;
};

//! Windows of a pooling over planes of `lanes` channels side by side: element (y, x) begins at (y width + x) lanes.
struct Windows {
    std::int64_t height = 0, width = 0, pooled_height = 0, pooled_width = 0;
    std::int64_t kernel[2] = {}, stride[2] = {}, dilation[2] = {}, top_left[2] = {};
    bool add = true;
};

//! What a step of a chain does with one to three values; `sum` is the sum over a whole row, in every place of it.
enum class Step : std::int64_t { add, sub, mul, div, ramp, exp, abs, sum };
constexpr std::int64_t steps = 8;

struct Kernels {
    //! out = dy · ramp(y), or dy · (first(y) · second(y)), where dy is the sum of `dys`, one or two; out may be any.
    void (*gate)(const float* const* dys, std::size_t dy_count, const float* y, float* out, std::size_t count,
                 const Ramp* ramps, std::size_t ramp_count);
    //! Puts dy on the first maximum of each window of x; one plane of `lanes` channels, 1, 8 or 16.
    void (*pool_gradient)(const float* x, const float* dy, float* dx, const Windows& windows, std::size_t lanes);
    //! One row of `width` elements: element x is element x / count of row x % count, or zero where that row is null or
    //! ends before.
    void (*interleave)(const float* const* rows, const std::int64_t* widths, std::size_t count, float* out,
                       std::int64_t width, std::size_t lanes);
    //! out = step(a, b, c), element by element; out may be any of them.
    void (*step)(Step step, const float* a, const float* b, const float* c, float* out, std::size_t count);
    //! Adds up every `lanes`-th number, 1, 8 or 16, onto `sums`; `count` is a multiple of it.
    void (*add_up)(const float* x, std::size_t count, std::size_t lanes, double* sums);
};

extern const Kernels kernels_portable, kernels_avx2, kernels_avx512;

//! The kernels of an instruction set, which must be one that can run here.
const Kernels& kernels(Isa isa);

//! The kernels of the best set here, or of the one that the environment names in ONNXPLAIN_ISA; throws
//! std::invalid_argument if that cannot run here.
const Kernels& chosen_kernels();

}  // namespace onnxplain::operators
