#include "percentile.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace onnxplain {
namespace {

constexpr float kAbove = std::numeric_limits<float>::infinity();
constexpr std::size_t kSelected = std::size_t{1} << 24;  // values of one call of the kernel

struct Bounds {
    float low = 0.0f;
    float high = kAbove;
};

// Bounds that hold the order statistics `rank` and `rank` + 1 of the magnitudes almost surely, from a sample
// (Floyd and Rivest 1975, "Expected time bounds for selection").
Bounds likely_bounds(const float* map, std::size_t length, std::size_t rank, float* sample) {
    const double size = std::ceil(std::pow(static_cast<double>(length), 2.0 / 3.0) / 2);
    const double share = (static_cast<double>(rank) + 0.5) / static_cast<double>(length);
    const double margin = 3 * std::sqrt(size * share * (1 - share)) + 2;
    const double first = std::floor(size * share - margin), last = std::ceil(size * share + margin);

    // Places at multiples of the golden ratio of the length: evenly spread, with no period in common with rows.
    float* const end = sample + static_cast<std::size_t>(size);
    std::uint32_t fraction = 0;
    for (float* value = sample; value != end; ++value) {
        *value = std::fabs(map[(static_cast<std::uint64_t>(fraction) * length) >> 32]);
        fraction += 2654435769u;
    }
    Bounds bounds;
    float* rest = sample;
    if (first >= 0) {
        rest += static_cast<std::size_t>(first);
        std::nth_element(sample, rest, end);
        bounds.low = *rest;
    }
    if (last < size) {
        float* const nth = sample + static_cast<std::size_t>(last);
        std::nth_element(rest, nth, end);
        bounds.high = *nth;
    }
    return bounds;
}

Selection selected(const float* map, std::size_t length, Bounds bounds, Select select, float* kept) {
    Selection found{0, 0};
    for (std::size_t start = 0; start < length; start += kSelected) {
        const std::size_t count = std::min(kSelected, length - start);
        const Selection part = select(map + start, count, bounds.low, bounds.high, kept + found.kept);
        found.below += part.below;
        found.kept += part.kept;
    }
    return found;
}

}  // namespace

double percentile_of(const float* map, std::size_t length, double percent, Select select, float* scratch) {
    const double place = percent / 100.0 * static_cast<double>(length - 1);
    const auto rank = std::min(static_cast<std::size_t>(std::floor(place)), length - 1);
    const std::size_t next = std::min(rank + 1, length - 1);
    const double fraction = place - static_cast<double>(rank);

    Bounds bounds = likely_bounds(map, length, rank, scratch);
    Selection found = selected(map, length, bounds, select, scratch);
    if (rank < found.below) {  // the sample misled
        bounds.low = 0.0f;
        found = selected(map, length, bounds, select, scratch);
    }
    if (next >= found.below + found.kept) {
        bounds.high = kAbove;
        found = selected(map, length, bounds, select, scratch);
    }
    float* const end = scratch + found.kept;
    float* const nth = scratch + (rank - found.below);
    std::nth_element(scratch, nth, end);
    const double lower = *nth;
    const double upper = next == rank ? lower : *std::min_element(nth + 1, end);
    const double gap = upper - lower;
    return fraction < 0.5 ? lower + gap * fraction : upper - gap * (1.0 - fraction);
}

}  // namespace onnxplain
