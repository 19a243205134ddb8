// The loops, over the vectors of an instruction set. Included once for each set; everything here is local to the file
// that includes it, so that the linker cannot take the code of one set for another.
#pragma once

#include <algorithm>

#include "kernels.hpp"
#include "steps_impl.hpp"
#include "vec_one.hpp"

namespace onnxplain::operators {
namespace {

//! Gates what is left from `start` on in whole vectors; returns where it ended.
template <class V, bool Add, bool Two>
std::size_t gate_from(std::size_t start, const float* const* dys, const float* y, float* out, std::size_t count,
                      const Ramp* ramps) {
    const float *first = dys[0], *second = dys[Add ? 1 : 0];
    std::size_t i = start;
    for (; i + V::width <= count; i += V::width) {
        const auto at = V::load(y + i), once = V::load(first + i);
        const auto dy = Add ? V::add(once, V::load(second + i)) : once;
        const auto mask = ramp<V>(at, ramps[0]);
        V::store(out + i, V::mul(dy, Two ? V::mul(mask, ramp<V>(at, ramps[1])) : mask));
    }
    return i;
}

template <class V, bool Add, bool Two>
void gate_all(const float* const* dys, const float* y, float* out, std::size_t count, const Ramp* ramps) {
    const std::size_t done = gate_from<V, Add, Two>(0, dys, y, out, count, ramps);
    gate_from<One, Add, Two>(done, dys, y, out, count, ramps);
}

template <class V>
void gate(const float* const* dys, std::size_t dy_count, const float* y, float* out, std::size_t count,
          const Ramp* ramps, std::size_t ramp_count) {
    if (dy_count == 1) {
        return ramp_count == 1 ? gate_all<V, false, false>(dys, y, out, count, ramps)
                               : gate_all<V, false, true>(dys, y, out, count, ramps);
    }
    return ramp_count == 1 ? gate_all<V, true, false>(dys, y, out, count, ramps)
                           : gate_all<V, true, true>(dys, y, out, count, ramps);
}

//! The rows or columns of a window that lie inside: from `first` up to `end`.
struct Span {
    std::int64_t first, end;
};

inline Span inside(std::int64_t start, std::int64_t extent, std::int64_t kernel, std::int64_t dilation) {
    Span span{0, kernel};
    while (span.first < kernel && start + span.first * dilation < 0) {
        ++span.first;
    }
    while (span.end > span.first && start + (span.end - 1) * dilation >= extent) {
        --span.end;
    }
    return span;
}

//! The gradient of one window of one vector of channels; `x` and `dx` are those channels' planes. It goes to the first
//! element that no later one is larger than, so to the first if that is no number.
template <class V, bool Add>
void window_gradient(const float* x, typename V::Floats dy, float* dx, std::ptrdiff_t corner, Span rows, Span columns,
                     std::ptrdiff_t row_step, std::ptrdiff_t column_step) {
    if (rows.first == rows.end || columns.first == columns.end) {
        return;
    }
    auto largest = V::load(x + corner + rows.first * row_step + columns.first * column_step);
    for (std::int64_t i = rows.first; i < rows.end; ++i) {
        for (std::int64_t j = columns.first; j < columns.end; ++j) {
            largest = V::larger(V::load(x + corner + i * row_step + j * column_step), largest);
        }
    }
    const auto number = V::equal(largest, largest);
    auto open = V::all();
    for (std::int64_t i = rows.first; i < rows.end; ++i) {
        for (std::int64_t j = columns.first; j < columns.end; ++j) {
            const std::ptrdiff_t at = corner + i * row_step + j * column_step;
            const auto hit = V::without(open, V::without(number, V::equal(V::load(x + at), largest)));
            const auto before = V::load(dx + at);
            V::store(dx + at, V::select(hit, Add ? V::add(before, dy) : dy, before));
            open = V::without(open, hit);
        }
    }
}

template <class V, bool Add>
void plane_gradient(const float* x, const float* dy, float* dx, const Windows& w, std::size_t lanes) {
    const std::int64_t step = static_cast<std::int64_t>(lanes);
    const std::ptrdiff_t column_step = w.dilation[1] * step, row_step = w.dilation[0] * w.width * step;
    std::fill_n(dx, static_cast<std::size_t>(w.height * w.width) * lanes, 0.0f);
    for (std::int64_t i = 0; i < w.pooled_height; ++i) {
        const std::int64_t y0 = i * w.stride[0] - w.top_left[0];
        const Span rows = inside(y0, w.height, w.kernel[0], w.dilation[0]);
        for (std::int64_t j = 0; j < w.pooled_width; ++j) {
            const std::int64_t x0 = j * w.stride[1] - w.top_left[1];
            const Span columns = inside(x0, w.width, w.kernel[1], w.dilation[1]);
            const std::ptrdiff_t corner = (y0 * w.width + x0) * step;
            const float* from = dy + (i * w.pooled_width + j) * step;
            for (std::size_t c = 0; c < lanes; c += V::width) {
                window_gradient<V, Add>(x + c, V::load(from + c), dx + c, corner, rows, columns, row_step, column_step);
            }
        }
    }
}

template <class V>
void plane_gradient(const float* x, const float* dy, float* dx, const Windows& w, std::size_t lanes) {
    return w.add ? plane_gradient<V, true>(x, dy, dx, w, lanes) : plane_gradient<V, false>(x, dy, dx, w, lanes);
}

template <class V8, class V16>
void pool_gradient(const float* x, const float* dy, float* dx, const Windows& windows, std::size_t lanes) {
    switch (lanes) {
        case 16: return plane_gradient<V16>(x, dy, dx, windows, lanes);
        case 8: return plane_gradient<V8>(x, dy, dx, windows, lanes);
        default: return plane_gradient<One>(x, dy, dx, windows, lanes);
    }
}

template <class V, std::size_t Lanes>
void copy(const float* from, float* to) {
    for (std::size_t c = 0; c < Lanes; c += V::width) {
        V::store(to + c, V::load(from + c));
    }
}

template <class V, std::size_t Lanes>
void interleave_lanes(const float* const* rows, const std::int64_t* widths, std::size_t count, float* out,
                      std::int64_t width) {
    const std::int64_t step = static_cast<std::int64_t>(count);
    for (std::int64_t phase = 0; phase < step; ++phase) {
        const float* row = rows[phase];
        const std::int64_t filled = row == nullptr ? 0 : std::min(width, widths[phase] * step);
        std::int64_t x = phase;
        for (; x < filled; x += step, row += Lanes) {
            copy<V, Lanes>(row, out + static_cast<std::size_t>(x) * Lanes);
        }
        for (; x < width; x += step) {
            std::fill_n(out + static_cast<std::size_t>(x) * Lanes, Lanes, 0.0f);
        }
    }
}

template <class V8, class V16>
void interleave(const float* const* rows, const std::int64_t* widths, std::size_t count, float* out,
                std::int64_t width, std::size_t lanes) {
    switch (lanes) {
        case 16: return interleave_lanes<V16, 16>(rows, widths, count, out, width);
        case 8: return interleave_lanes<V8, 8>(rows, widths, count, out, width);
        default: return interleave_lanes<One, 1>(rows, widths, count, out, width);
    }
}

//! All kernels, over vectors `V`; `V8` and `V16` are those whose width divides 8 and 16.
template <class V, class V8, class V16>
constexpr Kernels compiled() {
    return {gate<V>, pool_gradient<V8, V16>, interleave<V8, V16>, step<V>, add_up};
}

}  // namespace
}  // namespace onnxplain::operators
