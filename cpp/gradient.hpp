// Gradients in memory, and the rows that kernels take them in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "row_kernels.hpp"

namespace onnxplain {

struct Axis {
    std::size_t extent;
    std::ptrdiff_t stride;  // bytes, of any sign, or zero
};

// Positions are the axes of one map, outermost first.
struct Gradient {
    const unsigned char* data;
    Element element;
    Axis images;
    Axis channels;
    std::vector<Axis> positions;
};

// The positions of each image in row-major order, in rows of one stride as long as they can be.
class Rows {
public:
    explicit Rows(const Gradient& gradient) : gradient_(gradient) {
        for (const Axis& axis : gradient.positions) {
            positions_ *= axis.extent;
            if (axis.extent == 1) {
                continue;
            }
            if (!axes_.empty() && axes_.back().stride == axis.stride * static_cast<std::ptrdiff_t>(axis.extent)) {
                axes_.back() = {axes_.back().extent * axis.extent, axis.stride};  // they lie end to end
            } else {
                axes_.push_back(axis);
            }
        }
        if (axes_.empty()) {  // one position
            axes_.push_back({1, 0});
        }
    }

    std::size_t positions() const { return positions_; }  // of one image

    // Calls visit(row, place) for the rows of positions [begin, end), `place` being the first position of each.
    template <class Visit>
    void each(std::size_t image, std::size_t begin, std::size_t end, const Visit& visit) const {
        const Axis& inner = axes_.back();
        while (begin < end) {
            const std::size_t length = std::min(inner.extent - begin % inner.extent, end - begin);
            std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(image) * gradient_.images.stride;
            std::size_t rest = begin;
            for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
                offset += static_cast<std::ptrdiff_t>(rest % axis->extent) * axis->stride;
                rest /= axis->extent;
            }
            visit(Row{gradient_.data + offset, gradient_.channels.extent, gradient_.channels.stride, length,
                      inner.stride},
                  begin);
            begin += length;
        }
    }

private:
    const Gradient& gradient_;
    std::vector<Axis> axes_;
    std::size_t positions_ = 1;
};

}  // namespace onnxplain
