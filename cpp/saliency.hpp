// Gradients to saliency maps: absolute value, maximum over channels, normalisation of each image.
#pragma once

#include <cstddef>
#include <vector>

#include "row_kernels.hpp"

namespace onnxplain {

enum class Normalization { none, max, minmax, percentile };

struct Axis {
    std::size_t extent;
    std::ptrdiff_t stride;  // bytes, of any sign, or zero
};

// A gradient in memory. Positions are the axes of one map, outermost first.
struct Gradient {
    const unsigned char* data;
    Element element;
    Axis images;
    Axis channels;
    std::vector<Axis> positions;
};

struct SaliencyOptions {
    Normalization normalization;
    double percent;       // of the percentile normalisation, 0..100
    std::size_t threads;  // at least 1
    Isa isa;
};

// Writes the maps to `out`: contiguous, images x positions, not overlapping the gradient. Returns the images whose
// gradient holds NaN or infinity; their maps are left unspecified.
BadImages saliency(const Gradient& gradient, float* out, const SaliencyOptions& options);

}  // namespace onnxplain
