#include "saliency.hpp"

#include <algorithm>
#include <cmath>

#include "abs_bits.hpp"
#include "percentile.hpp"
#include "thread_pool.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kElementsPerThread = std::size_t{1} << 18;  // less is not worth waking a thread for
constexpr std::size_t kCachedMap = std::size_t{1} << 18;          // positions of a map that stays in cache (1 MiB)
constexpr std::size_t kStreamedOutput = std::size_t{1} << 22;     // positions of an output that does not (16 MiB)
constexpr std::size_t kBlock = std::size_t{1} << 15;              // positions of one task when images are few
constexpr std::int32_t kInfinity = 0x7f800000;

// Joins axes that lie end to end in memory, so that rows are as long as they can be.
std::vector<Axis> coalesced(const std::vector<Axis>& axes) {
    std::vector<Axis> joined;
    for (const Axis& axis : axes) {
        if (axis.extent == 1) {
            continue;
        }
        if (!joined.empty() && joined.back().stride == axis.stride * static_cast<std::ptrdiff_t>(axis.extent)) {
            joined.back() = {joined.back().extent * axis.extent, axis.stride};
        } else {
            joined.push_back(axis);
        }
    }
    return joined;
}

std::size_t product(const std::vector<Axis>& axes) {
    std::size_t total = 1;
    for (const Axis& axis : axes) {
        total *= axis.extent;
    }
    return total;
}

class Reduction {
public:
    Reduction(const Gradient& gradient, float* out, const SaliencyOptions& options)
        : gradient_(gradient),
          out_(out),
          options_(options),
          kernels_(kernels_for(options.isa)),
          axes_(coalesced(gradient.positions)),
          images_(gradient.images.extent),
          positions_(product(gradient.positions)),
          extremes_(images_) {
        if (axes_.empty()) {  // one position
            axes_.push_back({1, 0});
        }
        const std::size_t work = images_ * positions_ * std::max<std::size_t>(gradient.channels.extent, 1);
        threads_ = std::min(options.threads, 1 + work / kElementsPerThread);
    }

    BadImages run() {
        if (positions_ > 0 && images_ > 0) {
            if (images_ >= threads_ && positions_ <= kCachedMap) {
                whole_images();
            } else {
                blocks();
            }
        }
        BadImages bad;
        for (std::size_t image = images_; image-- > 0;) {
            if (extremes_[image].high >= kInfinity) {
                ++bad.count;
                bad.first = image;
            }
        }
        return bad;
    }

private:
    // Each thread reduces one image into a map that stays in its cache, then writes it out normalised: memory
    // is read once and written once.
    void whole_images() {
        const bool stream = images_ * positions_ >= kStreamedOutput && options_.normalization != Normalization::none;
        std::vector<std::vector<float>> maps(stream ? threads_ : 0, std::vector<float>(positions_));
        std::vector<std::vector<float>> sorted(threads_);
        reserve(sorted);
        parallel_for(images_, threads_, [&](std::size_t image, std::size_t worker) {
            float* map = stream ? maps[worker].data() : map_of(image);
            reduce(image, 0, positions_, map, extremes_[image]);
            normalize(image, map, map_of(image), positions_, scale_of(image, map, sorted[worker]), stream);
        });
    }

    // Few or large images: blocks of positions, in two rounds.
    void blocks() {
        const std::size_t blocks = (positions_ + kBlock - 1) / kBlock;
        const auto length = [&](std::size_t block) { return std::min(kBlock, positions_ - block * kBlock); };
        std::vector<Extremes> found(images_ * blocks);
        parallel_for(found.size(), threads_, [&](std::size_t task, std::size_t) {
            const std::size_t image = task / blocks, block = task % blocks;
            reduce(image, block * kBlock, length(block), map_of(image) + block * kBlock, found[task]);
        });
        for (std::size_t task = 0; task < found.size(); ++task) {
            Extremes& all = extremes_[task / blocks];
            all.high = std::max(all.high, found[task].high);
            all.low = std::min(all.low, found[task].low);
        }
        std::vector<Scale> scales(images_);
        std::vector<std::vector<float>> sorted(threads_);
        reserve(sorted);
        parallel_for(images_, threads_, [&](std::size_t image, std::size_t worker) {
            scales[image] = scale_of(image, map_of(image), sorted[worker]);
        });
        parallel_for(found.size(), threads_, [&](std::size_t task, std::size_t) {
            const std::size_t image = task / blocks, block = task % blocks;
            float* map = map_of(image) + block * kBlock;
            normalize(image, map, map, length(block), scales[image], false);
        });
    }

    struct Scale {
        float low;
        float span;
    };

    float* map_of(std::size_t image) const { return out_ + image * positions_; }

    // Memory is asked for before the threads run, so that nothing throws on them.
    void reserve(std::vector<std::vector<float>>& sorted) const {
        if (options_.normalization == Normalization::percentile) {
            for (auto& scratch : sorted) {
                scratch.reserve(positions_);
            }
        }
    }

    // The map of positions [begin, begin + length) in row-major order, row by row.
    void reduce(std::size_t image, std::size_t begin, std::size_t length, float* map, Extremes& extremes) const {
        const Axis& inner = axes_.back();
        const MaxAbs max_abs = kernels_.max_abs[static_cast<std::size_t>(gradient_.element)];
        while (length > 0) {
            const std::size_t skipped = begin % inner.extent;
            const std::size_t count = std::min(inner.extent - skipped, length);
            std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(image) * gradient_.images.stride;
            std::size_t rest = begin;
            for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
                offset += static_cast<std::ptrdiff_t>(rest % axis->extent) * axis->stride;
                rest /= axis->extent;
            }
            const Row row{gradient_.data + offset, gradient_.channels.extent, gradient_.channels.stride, count,
                          inner.stride};
            max_abs(row, map, extremes);
            begin += count;
            map += count;
            length -= count;
        }
    }

    Scale scale_of(std::size_t image, const float* map, std::vector<float>& sorted) const {
        const float high = float_of(extremes_[image].high);
        if (extremes_[image].high >= kInfinity) {
            return {0.0f, 1.0f};
        }
        switch (options_.normalization) {
            case Normalization::max: return {0.0f, high};
            case Normalization::minmax: {
                const float low = float_of(extremes_[image].low);
                return {low, high - low};
            }
            case Normalization::percentile:
                return {0.0f, static_cast<float>(percentile_of(map, positions_, options_.percent, sorted))};
            case Normalization::none: break;
        }
        return {0.0f, 1.0f};
    }

    void normalize(std::size_t image, const float* map, float* out, std::size_t length, Scale scale,
                   bool stream) const {
        if (options_.normalization == Normalization::none || extremes_[image].high >= kInfinity) {
            return;
        }
        if (scale.span > 0.0f) {
            kernels_.normalize(map, out, length, scale.low, scale.span, stream);
            return;
        }
        // A flat map becomes zero. Where only the percentile is zero, dividing by it and clipping to 1 leaves
        // zero where the map is zero, and 1 elsewhere.
        const bool clip = options_.normalization == Normalization::percentile;
        std::transform(map, map + length, out, [clip](float value) { return clip && value > 0.0f ? 1.0f : 0.0f; });
    }

    const Gradient& gradient_;
    float* out_;
    const SaliencyOptions& options_;
    const RowKernels& kernels_;
    std::vector<Axis> axes_;
    std::size_t images_;
    std::size_t positions_;
    std::size_t threads_ = 1;
    std::vector<Extremes> extremes_;
};

}  // namespace

BadImages saliency(const Gradient& gradient, float* out, const SaliencyOptions& options) {
    return Reduction(gradient, out, options).run();
}

}  // namespace onnxplain
