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

struct Kernels {
    //! out = dy · ramp(y), or dy · (first(y) · second(y)), where dy is the sum of `dys`, one or two; out may be the first.
    void (*gate)(const float* const* dys, std::size_t dy_count, const float* y, float* out, std::size_t count,
                 const Ramp* ramps, std::size_t ramp_count);
    //! Puts dy on the first maximum of each window of x; one plane of `lanes` channels, 1, 8 or 16.
    void (*pool_gradient)(const float* x, const float* dy, float* dx, const Windows& windows, std::size_t lanes);
    //! One row of `width` elements: element x is element x / count of row x % count, or zero where that row is null or
    //! ends before.
    void (*interleave)(const float* const* rows, const std::int64_t* widths, std::size_t count, float* out,
                       std::int64_t width, std::size_t lanes);
};

extern const Kernels kernels_portable, kernels_avx2, kernels_avx512;

//! The kernels of an instruction set, which must be one that can run here.
const Kernels& kernels(Isa isa);

//! The kernels of the best set here, or of the one that the environment names in ONNXPLAIN_ISA; throws
//! std::invalid_argument if that cannot run here.
const Kernels& chosen_kernels();

}  // namespace onnxplain::operators
