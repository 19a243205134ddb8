// The loops of row_kernels.hpp, written once over a vector type `Vec` and compiled for each instruction set.
//
// Include after defining `Vec` in an anonymous namespace. Everything here is in an anonymous namespace too, and
// nothing inline of the C++ library is used: the linker must never pick one file's AVX code for another.
// `Vec` has: width; Bits and Floats, vectors of int32 and float; load_abs(const T*), the bits of |x| as float32;
// load_bits, store_bits, set_bits, maximum, minimum, highest, lowest; load, store, stream, set, normalized;
// fence; and triples(a, b, c), lanes 0, 3, 6, ... of a, b and c put end to end.

#include "abs_bits.hpp"
#include "row_kernels.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kChannelGroup = 4;     // channels whose loads share one pass over the map
constexpr std::size_t kChannelChunk = 4096;  // positions whose map stays in the first-level cache meanwhile
constexpr std::size_t kBlendChunk = 256;     // pixels whose colours and weights are laid out before blending

inline const unsigned char* step(const unsigned char* p, std::size_t count, std::ptrdiff_t stride) {
    return p + static_cast<std::ptrdiff_t>(count) * stride;
}

inline std::int32_t larger(std::int32_t a, std::int32_t b) { return a > b ? a : b; }
inline std::int32_t smaller(std::int32_t a, std::int32_t b) { return a < b ? a : b; }

inline void put(float* map, std::int32_t bits, Extremes& extremes) {
    *map = float_of(bits);
    extremes.high = larger(extremes.high, bits);
    extremes.low = smaller(extremes.low, bits);
}

// `Group` channel planes whose neighbouring positions lie side by side. Unless they are the `First` ones, the
// maximum goes on from what the map holds.
template <class T, std::size_t Group, bool First>
void planar_group(const unsigned char* base, std::ptrdiff_t channel_stride, std::size_t length, float* map,
                  Extremes& extremes) {
    Vec::Bits high = Vec::set_bits(extremes.high), low = Vec::set_bits(extremes.low);
    std::size_t i = 0;
    for (; i + Vec::width <= length; i += Vec::width) {
        Vec::Bits value = First ? Vec::set_bits(0) : Vec::load_bits(map + i);
        for (std::size_t c = 0; c < Group; ++c) {
            const unsigned char* p = step(base, c, channel_stride) + i * sizeof(T);
            value = Vec::maximum(value, Vec::load_abs(reinterpret_cast<const T*>(p)));
        }
        Vec::store_bits(map + i, value);
        high = Vec::maximum(high, value);
        low = Vec::minimum(low, value);
    }
    extremes.high = Vec::highest(high);
    extremes.low = Vec::lowest(low);
    for (; i < length; ++i) {
        std::int32_t value = First ? 0 : bits_of(map[i]);
        for (std::size_t c = 0; c < Group; ++c) {
            const unsigned char* p = step(base, c, channel_stride) + i * sizeof(T);
            value = larger(value, abs_bits(reinterpret_cast<const T*>(p)));
        }
        put(map + i, value, extremes);
    }
}

template <class T, bool First>
void planar_up_to_four(const unsigned char* base, std::size_t channels, std::ptrdiff_t channel_stride,
                       std::size_t length, float* map, Extremes& extremes) {
    switch (channels) {
        case 1: return planar_group<T, 1, First>(base, channel_stride, length, map, extremes);
        case 2: return planar_group<T, 2, First>(base, channel_stride, length, map, extremes);
        case 3: return planar_group<T, 3, First>(base, channel_stride, length, map, extremes);
        default: return planar_group<T, 4, First>(base, channel_stride, length, map, extremes);
    }
}

template <class T>
void planar(const Row& row, float* map, Extremes& extremes) {
    if (row.channels <= kChannelGroup) {
        return planar_up_to_four<T, true>(row.base, row.channels, row.channel_stride, row.length, map, extremes);
    }
    for (std::size_t start = 0; start < row.length; start += kChannelChunk) {
        const std::size_t left = row.length - start;
        const std::size_t length = left < kChannelChunk ? left : kChannelChunk;
        const unsigned char* base = row.base + start * sizeof(T);
        for (std::size_t c = 0; c < row.channels; c += kChannelGroup) {
            const std::size_t rest = row.channels - c;
            const std::size_t group = rest < kChannelGroup ? rest : kChannelGroup;
            const unsigned char* plane = step(base, c, row.channel_stride);
            Extremes unfinished;  // the map holds its final values only after the last group
            Extremes& target = rest <= kChannelGroup ? extremes : unfinished;
            if (c == 0) {
                planar_up_to_four<T, true>(plane, group, row.channel_stride, length, map + start, target);
            } else {
                planar_up_to_four<T, false>(plane, group, row.channel_stride, length, map + start, target);
            }
        }
    }
}

// Any strides at all, one element at a time.
template <class T>
void strided(const Row& row, std::size_t first, float* map, Extremes& extremes) {
    for (std::size_t i = first; i < row.length; ++i) {
        const unsigned char* position = step(row.base, i, row.position_stride);
        std::int32_t value = 0;
        for (std::size_t c = 0; c < row.channels; ++c) {
            value = larger(value, abs_bits(reinterpret_cast<const T*>(step(position, c, row.channel_stride))));
        }
        put(map + i, value, extremes);
    }
}

// Three channels side by side (red, green, blue): the maximum of each element with its next two is taken at
// every offset, and every third of these is kept. The last positions are left to `strided`, because the loads
// read two elements further than they use.
template <class T>
void interleaved_triples(const Row& row, float* map, Extremes& extremes) {
    std::size_t i = 0;
    Vec::Bits high = Vec::set_bits(extremes.high), low = Vec::set_bits(extremes.low);
    for (; i + Vec::width + 1 <= row.length; i += Vec::width) {
        const T* p = reinterpret_cast<const T*>(row.base) + 3 * i;
        Vec::Bits runs[3];
        for (std::size_t k = 0; k < 3; ++k) {
            const T* q = p + k * Vec::width;
            runs[k] = Vec::maximum(Vec::load_abs(q), Vec::maximum(Vec::load_abs(q + 1), Vec::load_abs(q + 2)));
        }
        const Vec::Bits value = Vec::triples(runs[0], runs[1], runs[2]);
        Vec::store_bits(map + i, value);
        high = Vec::maximum(high, value);
        low = Vec::minimum(low, value);
    }
    extremes.high = Vec::highest(high);
    extremes.low = Vec::lowest(low);
    strided<T>(row, i, map, extremes);
}

// Many channels side by side: vectors along the channels.
template <class T>
void interleaved_many(const Row& row, float* map, Extremes& extremes) {
    for (std::size_t i = 0; i < row.length; ++i) {
        const T* p = reinterpret_cast<const T*>(step(row.base, i, row.position_stride));
        Vec::Bits high = Vec::set_bits(0);
        std::size_t c = 0;
        for (; c + Vec::width <= row.channels; c += Vec::width) {
            high = Vec::maximum(high, Vec::load_abs(p + c));
        }
        std::int32_t value = Vec::highest(high);
        for (; c < row.channels; ++c) {
            value = larger(value, abs_bits(p + c));
        }
        put(map + i, value, extremes);
    }
}

template <class T>
void max_abs(const Row& row, float* map, Extremes& extremes) {
    constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
    if (row.position_stride == size && row.channels > 0) {
        planar<T>(row, map, extremes);
    } else if (row.channel_stride == size && row.position_stride == 3 * size && row.channels == 3) {
        interleaved_triples<T>(row, map, extremes);
    } else if (row.channel_stride == size && row.channels >= Vec::width) {
        interleaved_many<T>(row, map, extremes);
    } else {
        strided<T>(row, 0, map, extremes);
    }
}

inline float normalized(float value, float low, float span) {
    const float scaled = (value - low) / span;
    return scaled < 1.0f ? scaled : 1.0f;
}

void normalize(const float* map, float* out, std::size_t length, float low, float span, bool stream) {
    std::size_t i = 0;
    const auto lows = Vec::set(low), spans = Vec::set(span);
    if (stream) {  // streaming stores want an aligned address
        constexpr std::uintptr_t vector_bytes = Vec::width * sizeof(float);
        while (i < length && reinterpret_cast<std::uintptr_t>(out + i) % vector_bytes != 0) {
            out[i] = normalized(map[i], low, span);
            ++i;
        }
        for (; i + Vec::width <= length; i += Vec::width) {
            Vec::stream(out + i, Vec::normalized(Vec::load(map + i), lows, spans));
        }
    } else {
        for (; i + Vec::width <= length; i += Vec::width) {
            Vec::store(out + i, Vec::normalized(Vec::load(map + i), lows, spans));
        }
    }
    for (; i < length; ++i) {
        out[i] = normalized(map[i], low, span);
    }
    if (stream) {
        Vec::fence();
    }
}

bool blend_chunk(const BlendRow& row, std::size_t start, std::size_t length) {
    unsigned char color[3 * kBlendChunk];
    std::int32_t weight[3 * kBlendChunk];
    bool nan = false;
    for (std::size_t i = 0; i < length; ++i) {
        const float saliency = row.saliency[start + i];
        const float clipped = saliency > 0.0f ? (saliency < 1.0f ? saliency : 1.0f) : 0.0f;
        nan |= saliency != saliency;
        const unsigned char* entry = row.colormap + 3 * static_cast<int>(clipped * 255.0f + 0.5f);
        const float share = row.weight_by_saliency ? row.weight * clipped : row.weight;
        const auto fixed = static_cast<std::int32_t>(share * 65536.0f + 0.5f);
        for (std::size_t k = 0; k < 3; ++k) {
            color[3 * i + k] = entry[k];
            weight[3 * i + k] = fixed;
        }
    }
    unsigned char* out = row.out + 3 * start;
    if (row.photo == nullptr) {
        std::memcpy(out, color, 3 * length);
        return nan;
    }
    const unsigned char* photo = row.photo + 3 * start;
    for (std::size_t i = 0; i < 3 * length; ++i) {
        const std::int32_t below = photo[i];
        out[i] = static_cast<unsigned char>(below + (((color[i] - below) * weight[i] + 32768) >> 16));
    }
    return nan;
}

bool blend(const BlendRow& row) {
    bool nan = false;
    for (std::size_t start = 0; start < row.length; start += kBlendChunk) {
        const std::size_t left = row.length - start;
        nan |= blend_chunk(row, start, left < kBlendChunk ? left : kBlendChunk);
    }
    return nan;
}

constexpr RowKernels kKernels{{max_abs<Half>, max_abs<float>, max_abs<double>}, normalize, blend};

}  // namespace
}  // namespace onnxplain
