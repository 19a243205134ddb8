// One percentile of a map.
#pragma once

#include <cstddef>

#include "row_kernels.hpp"

namespace onnxplain {

// The p-th percentile of the magnitudes of `length` > 0 finite values, by linear interpolation between the two
// nearest order statistics (numpy.percentile's method "linear", evaluated in double). `scratch` has room for
// `length` values.
double percentile_of(const float* map, std::size_t length, double percent, const RowKernels& kernels, float* scratch);

}  // namespace onnxplain
