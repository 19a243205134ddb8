#include "saliency.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "percentile.hpp"
#include "scalar.hpp"
#include "thread_pool.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kElementsPerThread = std::size_t{1} << 18;  // less is not worth waking a thread for
constexpr std::size_t kCachedMap = std::size_t{1} << 18;          // positions of a map that stays in cache (1 MiB)
constexpr std::size_t kStreamedOutput = std::size_t{1} << 22;     // positions of an output that does not (16 MiB)
constexpr std::size_t kStreamedShared = std::size_t{1} << 19;     // ... if several cores write it: what lies changed
                                                                  // in another core's cache is slower to read
constexpr std::size_t kBlock = std::size_t{1} << 15;              // positions of one task when images are few

class Reduction {
public:
    Reduction(const Gradient& gradient, float* out, const SaliencyOptions& options)
        : rows_(gradient),
          out_(out),
          options_(options),
          kernels_(kernels_for(options.isa)),
          reduce_(kernels_.reduce[static_cast<std::size_t>(options.operation)]
                                 [static_cast<std::size_t>(gradient.element)]),
          images_(gradient.images.extent),
          positions_(rows_.positions()),
          extremes_(images_) {
        const std::size_t work = images_ * positions_ * std::max<std::size_t>(gradient.channels.extent, 1);
        threads_ = std::min(options.threads, 1 + work / kElementsPerThread);
    }

    BadImages run() {
        BadImages bad;
        if (positions_ == 0 || images_ == 0) {
            return bad;
        }
        if (images_ >= threads_ && positions_ <= kCachedMap) {
            whole_images();
        } else {
            blocks();
        }
        for (std::size_t image = images_; image-- > 0;) {
            if (!finite(image)) {
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
        const bool large = images_ * positions_ >= (threads_ > 1 ? kStreamedShared : kStreamedOutput);
        const bool stream = large && options_.normalization != Normalization::none;
        const auto cached = maps(stream);
        const auto scratch = maps(options_.normalization == Normalization::percentile);
        const auto task = [&](std::size_t image, std::size_t worker) {
            float* map = stream ? cached[worker].get() : map_of(image);
            reduce(image, 0, positions_, map, extremes_[image]);
            normalize(image, map, map_of(image), positions_, scale_of(image, map, scratch[worker].get()), stream);
        };
        parallel_for(images_, threads_, task, std::max<std::size_t>(kBlock / positions_, 1));
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
        const auto scratch = maps(options_.normalization == Normalization::percentile);
        parallel_for(images_, threads_, [&](std::size_t image, std::size_t worker) {
            scales[image] = scale_of(image, map_of(image), scratch[worker].get());
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

    // Room for a map for each thread, or none. It is asked for before the threads run, so that nothing throws on
    // them, and left as it is, so that the pages that nobody writes cost nothing.
    std::vector<std::unique_ptr<float[]>> maps(bool used) const {
        std::vector<std::unique_ptr<float[]>> rooms(threads_);
        for (auto& room : rooms) {
            room.reset(used ? new float[positions_] : nullptr);
        }
        return rooms;
    }

    float lowest(std::size_t image) const { return float_of(ordered(extremes_[image].low)); }
    float highest(std::size_t image) const { return float_of(ordered(extremes_[image].high)); }

    // Whether the map, and the range that it may be divided by, is finite.
    bool finite(std::size_t image) const {
        const float low = lowest(image), high = highest(image);
        const bool ranged = options_.normalization == Normalization::minmax;
        return std::isfinite(low) && std::isfinite(high) && (!ranged || std::isfinite(high - low));
    }

    // The map of positions [begin, begin + length).
    void reduce(std::size_t image, std::size_t begin, std::size_t length, float* map, Extremes& extremes) const {
        rows_.each(image, begin, begin + length,
                   [&](const Row& row, std::size_t place) { reduce_(row, map + (place - begin), extremes); });
    }

    // What is subtracted from the map, and what it is divided by then.
    Scale scale_of(std::size_t image, const float* map, float* scratch) const {
        if (!finite(image)) {
            return {0.0f, 1.0f};
        }
        const float low = lowest(image), high = highest(image);
        switch (options_.normalization) {
            case Normalization::max: return {0.0f, std::max(high, -low)};
            case Normalization::minmax: return {low, high - low};
            case Normalization::percentile:
                return {0.0f, static_cast<float>(
                                  percentile_of(map, positions_, options_.percent, kernels_, scratch))};
            case Normalization::none: break;
        }
        return {0.0f, 1.0f};
    }

    void normalize(std::size_t image, const float* map, float* out, std::size_t length, Scale scale,
                   bool stream) const {
        if (options_.normalization == Normalization::none || !finite(image)) {
            return;
        }
        if (scale.span > 0.0f) {
            kernels_.normalize(map, out, length, scale.low, scale.span, stream);
            return;
        }
        // A flat map becomes zero. Where only the percentile is zero, dividing by it and clipping leaves zero where
        // the map is zero, and 1 or -1 elsewhere.
        const bool clip = options_.normalization == Normalization::percentile;
        std::transform(map, map + length, out, [clip](float value) {
            return clip ? static_cast<float>((value > 0.0f) - (value < 0.0f)) : 0.0f;
        });
    }

    const Rows rows_;
    float* out_;
    const SaliencyOptions& options_;
    const RowKernels& kernels_;
    const Reduce reduce_;
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
