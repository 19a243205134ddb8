#include "percentile.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "scalar.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kLargestSample = 512;
constexpr std::size_t kSampledShare = 16;           // a sample has no more than one value in so many
constexpr std::size_t kSampled = 512;               // shorter maps are searched whole
constexpr std::size_t kRun = std::size_t{1} << 30;  // values of one call of a kernel
constexpr std::int32_t kInfinity = 0x7f800000;

// Bits of magnitudes sort like them: low <= bits < high.
struct Range {
    std::int32_t low = 0;
    std::int32_t high = kInfinity;
};

std::size_t count_below(const float* map, std::size_t length, std::int32_t bits, CountBelow count) {
    std::size_t total = 0;
    for (std::size_t start = 0; start < length; start += kRun) {
        total += count(map + start, std::min(kRun, length - start), bits);
    }
    return total;
}

// The bits of the magnitude that has `rank` smaller ones before it, known to lie in `range`: the largest bits that no
// more than `rank` magnitudes are below, found by bisection. Counting takes no branch that could be mispredicted.
std::int32_t nth(const float* map, std::size_t length, std::size_t rank, Range range, CountBelow count) {
    while (range.high - range.low > 1) {
        const std::int32_t middle = range.low + (range.high - range.low) / 2;
        (count_below(map, length, middle, count) <= rank ? range.low : range.high) = middle;
    }
    return range.low;
}

// A range that almost surely holds the magnitudes of `rank` and `rank` + 1: that of two order statistics of a sample
// (Floyd and Rivest 1975, "Expected time bounds for selection").
Range likely_range(const float* map, std::size_t length, std::size_t rank, CountBelow count) {
    // Places at multiples of the golden ratio of the length: evenly spread, with no period in common with rows.
    float sample[kLargestSample];
    const std::size_t size = std::min(kLargestSample, length / kSampledShare);
    std::uint32_t fraction = 0;
    for (std::size_t i = 0; i < size; ++i) {
        sample[i] = map[(static_cast<std::uint64_t>(fraction) * length) >> 32];
        fraction += 2654435769u;
    }
    const double share = (static_cast<double>(rank) + 0.5) / static_cast<double>(length);
    const double center = static_cast<double>(size) * share;
    const double margin = 3 * std::sqrt(center * (1 - share)) + 2;
    const double first = std::floor(center - margin), last = std::ceil(center + margin);
    Range range;
    if (first >= 0) {
        range.low = nth(sample, size, static_cast<std::size_t>(first), range, count);
    }
    if (last < static_cast<double>(size)) {
        range.high = nth(sample, size, static_cast<std::size_t>(last), range, count) + 1;
    }
    return range;
}

std::size_t select(const float* map, std::size_t length, Range range, Select kernel, float* kept) {
    std::size_t total = 0;
    for (std::size_t start = 0; start < length; start += kRun) {
        total += kernel(map + start, std::min(kRun, length - start), range.low, range.high, kept + total);
    }
    return total;
}

}  // namespace

double percentile_of(const float* map, std::size_t length, double percent, const RowKernels& kernels, float* scratch) {
    const double place = percent / 100.0 * static_cast<double>(length - 1);
    std::size_t rank = std::min(static_cast<std::size_t>(std::floor(place)), length - 1);
    std::size_t next = std::min(rank + 1, length - 1);
    const double fraction = place - static_cast<double>(rank);

    Range range;
    if (length >= kSampled) {
        const Range likely = likely_range(map, length, rank, kernels.count_below);
        const std::size_t below = count_below(map, length, likely.low, kernels.count_below);
        const std::size_t kept = select(map, length, likely, kernels.select, scratch);
        if (below <= rank && next < below + kept) {  // else the sample misled
            map = scratch;
            length = kept;
            range = likely;
            rank -= below;
            next -= below;
        }
    }
    range.low = nth(map, length, rank, range, kernels.count_below);
    const double lower = float_of(range.low);
    const double upper = float_of(nth(map, length, next, range, kernels.count_below));
    const double gap = upper - lower;
    return fraction < 0.5 ? lower + gap * fraction : upper - gap * (1.0 - fraction);
}

}  // namespace onnxplain
