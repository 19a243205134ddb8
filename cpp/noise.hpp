// Arrays with normal noise.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu.hpp"

namespace onnxplain {

// out[i] = x[i] + deviation e[i], the e independent numbers from N(0, 1) that depend on `key` and i alone. Both arrays
// are contiguous and do not overlap.
void add_noise(const float* x, float* out, std::size_t length, float deviation, std::uint64_t key,
               std::size_t threads, Isa isa);

}  // namespace onnxplain
