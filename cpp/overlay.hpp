// Saliency maps to RGB: colour-mapping and blending over a photo in one pass.
#pragma once

#include <cstddef>

#include "row_kernels.hpp"

namespace onnxplain {

// Strides in bytes, of any sign, or zero: image, row, column (and colour, of a photo).
struct SaliencyView {
    const unsigned char* data;
    std::ptrdiff_t strides[3];
};

struct PhotoView {
    const unsigned char* data;  // nullptr: no photo, the colours alone
    std::ptrdiff_t strides[4];
};

struct OverlayOptions {
    float alpha;
    bool weight_by_saliency;
    std::size_t threads;  // at least 1
    Isa isa;
};

// Writes images x height x width x 3 contiguous bytes, not overlapping the rest; `colormap` holds 256 x 3. Returns
// the images whose saliency holds NaN.
BadImages overlay(const SaliencyView& saliency, const PhotoView& photo, const unsigned char* colormap,
                   unsigned char* out, std::size_t images, std::size_t height, std::size_t width,
                   const OverlayOptions& options);

}  // namespace onnxplain
