#include "percentile.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "abs_bits.hpp"

namespace onnxplain {
namespace {

constexpr int kDigitShift = 20;  // the exponent and three bits of the fraction
constexpr std::size_t kDigits = std::size_t{1} << (31 - kDigitShift);

std::size_t digit(float value) { return static_cast<std::size_t>(bits_of(value) >> kDigitShift); }

}  // namespace

double percentile_of(const float* map, std::size_t length, double percent, std::vector<float>& scratch) {
    const double place = percent / 100.0 * static_cast<double>(length - 1);
    const auto rank = std::min(static_cast<std::size_t>(std::floor(place)), length - 1);
    const double fraction = place - static_cast<double>(rank);

    // Bits of floats without sign sort like the floats: count by leading bits, then sort within one count only.
    std::array<std::size_t, kDigits> count{};
    for (std::size_t i = 0; i < length; ++i) {
        ++count[digit(map[i])];
    }
    std::size_t chosen = 0, before = 0;
    while (before + count[chosen] <= rank) {
        before += count[chosen++];
    }
    scratch.clear();
    float above = std::numeric_limits<float>::infinity();  // the smallest value beyond the chosen count
    for (std::size_t i = 0; i < length; ++i) {
        const std::size_t d = digit(map[i]);
        if (d == chosen) {
            scratch.push_back(map[i]);
        } else if (d > chosen) {
            above = std::min(above, map[i]);
        }
    }
    const auto nth = scratch.begin() + static_cast<std::ptrdiff_t>(rank - before);
    std::nth_element(scratch.begin(), nth, scratch.end());
    const double lower = *nth;
    if (rank + 1 >= length) {
        return lower;
    }
    const double upper = nth + 1 == scratch.end() ? above : *std::min_element(nth + 1, scratch.end());
    const double gap = upper - lower;
    return fraction < 0.5 ? lower + gap * fraction : upper - gap * (1.0 - fraction);
}

}  // namespace onnxplain
