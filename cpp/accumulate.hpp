// Sums over samples, for averages and variances of gradients.
#pragma once

#include <cstddef>

#include "gradient.hpp"

namespace onnxplain {

// totals[i] += sum over samples of x and, unless `squares` is null, squares[i] += sum of x^2. The samples are the
// channels of `gradient`, which has one image; both arrays are contiguous and do not overlap anything.
void accumulate(const Gradient& gradient, double* totals, double* squares, std::size_t threads, Isa isa);

}  // namespace onnxplain
