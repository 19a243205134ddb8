#include "overlay.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "thread_pool.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kPixelsPerThread = std::size_t{1} << 15;  // fewer are not worth waking a thread for
constexpr std::size_t kPixelsPerTask = std::size_t{1} << 13;    // whole rows; some 64 KiB of pixels and saliency
constexpr std::size_t kRun = 1024;                              // pixels that are gathered at a time

const unsigned char* step(const unsigned char* p, std::size_t count, std::ptrdiff_t stride) {
    return p + static_cast<std::ptrdiff_t>(count) * stride;
}

// `count` values as an aligned, contiguous run: in place where they are one, else copied to `copy`.
const float* values(const unsigned char* p, std::ptrdiff_t stride, std::size_t count, float* copy) {
    if (stride == sizeof(float) && reinterpret_cast<std::uintptr_t>(p) % alignof(float) == 0) {
        return reinterpret_cast<const float*>(p);
    }
    for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(copy + i, step(p, i, stride), sizeof(float));
    }
    return copy;
}

// `count` pixels of three bytes as one contiguous run, in place or copied.
const unsigned char* pixels(const unsigned char* p, std::ptrdiff_t stride, std::ptrdiff_t color_stride,
                            std::size_t count, unsigned char* copy) {
    if (stride == 3 && color_stride == 1) {
        return p;
    }
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t k = 0; k < 3; ++k) {
            copy[3 * i + k] = *step(step(p, i, stride), k, color_stride);
        }
    }
    return copy;
}

}  // namespace

BadImages overlay(const SaliencyView& saliency, const PhotoView& photo, const unsigned char* colormap,
                   unsigned char* out, std::size_t images, std::size_t height, std::size_t width,
                   const OverlayOptions& options) {
    const Blend blend = kernels_for(options.isa).blend;
    std::int32_t colors[256];
    for (std::size_t i = 0; i < 256; ++i) {
        colors[i] = colormap[3 * i] | colormap[3 * i + 1] << 8 | colormap[3 * i + 2] << 16;
    }
    const std::size_t rows = images * height;
    const std::size_t threads = std::min(options.threads, 1 + rows * width / kPixelsPerThread);
    std::vector<unsigned char> nan(rows);
    const std::size_t grain = 1 + kPixelsPerTask / std::max<std::size_t>(width, 1);
    const auto task = [&](std::size_t index, std::size_t) {
        const std::size_t image = index / height, line = index % height;
        float value_copy[kRun];
        unsigned char pixel_copy[3 * kRun];
        for (std::size_t column = 0; column < width; column += kRun) {
            const std::size_t count = std::min(kRun, width - column);
            const unsigned char* s = step(step(step(saliency.data, image, saliency.strides[0]), line,
                                               saliency.strides[1]), column, saliency.strides[2]);
            BlendRow row{};
            row.saliency = values(s, saliency.strides[2], count, value_copy);
            if (photo.data != nullptr) {
                const unsigned char* p = step(step(step(photo.data, image, photo.strides[0]), line,
                                                   photo.strides[1]), column, photo.strides[2]);
                row.photo = pixels(p, photo.strides[2], photo.strides[3], count, pixel_copy);
            }
            row.colors = colors;
            row.out = out + 3 * (index * width + column);
            row.length = count;
            row.weight = options.alpha;
            row.weight_by_saliency = options.weight_by_saliency;
            nan[index] |= blend(row) ? 1 : 0;
        }
    };
    parallel_for(rows, threads, task, grain);
    BadImages bad;
    for (std::size_t image = images; image-- > 0;) {
        const unsigned char* lines = nan.data() + image * height;
        if (std::find(lines, lines + height, 1) != lines + height) {
            ++bad.count;
            bad.first = image;
        }
    }
    return bad;
}

}  // namespace onnxplain
