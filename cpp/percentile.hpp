// One percentile of a saliency map.
#pragma once

#include <cstddef>
#include <vector>

namespace onnxplain {

// The p-th percentile of `length` > 0 finite values without sign bit, by linear interpolation between the two
// nearest order statistics (numpy.percentile's method "linear", evaluated in double). `scratch` is reused.
double percentile_of(const float* map, std::size_t length, double percent, std::vector<float>& scratch);

}  // namespace onnxplain
