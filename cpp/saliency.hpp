// Gradients to maps: the channels of each position reduced, and each image normalised.
#pragma once

#include <cstddef>

#include "gradient.hpp"

namespace onnxplain {

enum class Normalization { none, max, minmax, percentile };

struct SaliencyOptions {
    Operation operation;
    Normalization normalization;
    double percent;       // of the percentile normalisation, 0..100
    std::size_t threads;  // at least 1
    Isa isa;
};

// Writes the maps to `out`: contiguous, images x positions, not overlapping the gradient. Returns the images whose
// map holds NaN or infinity before it is normalised; their maps are left unspecified.
BadImages saliency(const Gradient& gradient, float* out, const SaliencyOptions& options);

}  // namespace onnxplain
