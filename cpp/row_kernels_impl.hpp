// The loops of row_kernels.hpp, written once over a vector type `Vec` and compiled for each instruction set.
//
// Include after defining `Vec`, with the interface of `Scalar`, in an anonymous namespace. Everything here is in an
// anonymous namespace too, and nothing inline of the C++ library is used: the linker must never pick one file's
// AVX code for another. Loops are templates over the vector type: `Vec` does what fills vectors, `Scalar` the rest.

#include "noise_impl.hpp"
#include "row_kernels.hpp"
#include "scalar.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kGroup = 4;           // channels whose loads share one pass over the map
constexpr std::size_t kChunk = 4096;        // positions whose map stays in the first-level cache meanwhile
constexpr std::size_t kDoubleChunk = 1024;  // the same for two sums in double
constexpr std::size_t kStrip = 8;           // positions whose chains of dependent operations overlap

inline std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

inline const unsigned char* step(const unsigned char* p, std::size_t count, std::ptrdiff_t stride) {
    return p + static_cast<std::ptrdiff_t>(count) * stride;
}

template <class T>
const T* at(const unsigned char* p) {
    return reinterpret_cast<const T*>(p);
}

// The operations: a state that starts at zero takes in each channel, is finished, and has an order.

template <class V>
struct MaxAbs {
    using Floats = typename V::Floats;
    static constexpr bool any_order = true;  // of the channels gives the same bits
    static Floats add(Floats state, Floats x) { return V::floats(V::maximum(V::bits(state), V::magnitude(x))); }
    static Floats finish(Floats state) { return state; }
    static typename V::Bits order(Floats value) { return V::bits(value); }
};

template <class V>
struct Sum {
    using Floats = typename V::Floats;
    static constexpr bool any_order = false;
    static Floats add(Floats state, Floats x) { return V::add(state, x); }
    static Floats finish(Floats state) { return state; }
    static typename V::Bits order(Floats value) { return V::ordered(value); }
};

template <class V>
struct AbsSum : Sum<V> {
    using Floats = typename V::Floats;
    static Floats finish(Floats state) { return V::floats(V::magnitude(state)); }
    static typename V::Bits order(Floats value) { return V::bits(value); }
};

// Zero times infinity or NaN is NaN, which keeps negative infinity from passing for a zero.
template <class V>
struct PositiveSum : AbsSum<V> {
    using Floats = typename V::Floats;
    static Floats finish(Floats state) {
        const Floats nothing = V::multiply(state, V::set(0.0f));
        return V::add(AbsSum<V>::finish(nothing), V::floats(V::maximum(V::bits(state), V::set_bits(0))));
    }
};

// Finishes, stores and folds in the extremes, in registers until it is destroyed.
template <class V, template <class> class Op>
class Finisher {
public:
    explicit Finisher(Extremes& extremes)
        : extremes_(extremes), low_(V::set_bits(extremes.low)), high_(V::set_bits(extremes.high)) {}
    Finisher(const Finisher&) = delete;
    Finisher& operator=(const Finisher&) = delete;
    ~Finisher() { extremes_ = {V::lowest(low_), V::highest(high_)}; }

    void put(float* map, typename V::Floats state) {
        const auto value = Op<V>::finish(state);
        const auto order = Op<V>::order(value);
        V::store(map, value);
        low_ = V::minimum(low_, order);
        high_ = V::maximum(high_, order);
    }

private:
    Extremes& extremes_;
    typename V::Bits low_, high_;
};

// `Group` channel planes whose neighbouring positions lie side by side, from position i on as far as vectors fill.
// Unless they are the `First` ones, the map holds the state so far; unless they are the `Last` ones, it will.
template <class V, class T, template <class> class Op, std::size_t Group, bool First, bool Last>
std::size_t planar_steps(Row row, std::size_t i, float* map, Extremes& extremes) {
    Finisher<V, Op> finisher(extremes);
    for (; i + V::width <= row.length; i += V::width) {
        auto state = First ? V::set(0.0f) : V::load(map + i);
        for (std::size_t c = 0; c < Group; ++c) {
            state = Op<V>::add(state, V::load(at<T>(step(row.base, c, row.channel_stride)) + i));
        }
        if (Last) {
            finisher.put(map + i, state);
        } else {
            V::store(map + i, state);
        }
    }
    return i;
}

template <class T, template <class> class Op, std::size_t Group, bool First, bool Last>
void planar_group(const Row& row, float* map, Extremes& extremes) {
    const std::size_t i = planar_steps<Vec, T, Op, Group, First, Last>(row, 0, map, extremes);
    planar_steps<Scalar, T, Op, Group, First, Last>(row, i, map, extremes);
}

template <class T, template <class> class Op, bool First>
void planar_last_group(const Row& row, float* map, Extremes& extremes) {
    switch (row.channels) {
        case 1: return planar_group<T, Op, 1, First, true>(row, map, extremes);
        case 2: return planar_group<T, Op, 2, First, true>(row, map, extremes);
        case 3: return planar_group<T, Op, 3, First, true>(row, map, extremes);
        default: return planar_group<T, Op, 4, First, true>(row, map, extremes);
    }
}

template <class T, template <class> class Op>
void planar(const Row& row, float* map, Extremes& extremes) {
    if (row.channels <= kGroup) {
        return planar_last_group<T, Op, true>(row, map, extremes);
    }
    for (std::size_t start = 0; start < row.length; start += kChunk, map += kChunk) {
        Row rest = row;
        rest.base += start * sizeof(T);
        rest.length = smaller(kChunk, row.length - start);
        planar_group<T, Op, kGroup, true, false>(rest, map, extremes);
        for (;;) {
            rest.base = step(rest.base, kGroup, row.channel_stride);
            rest.channels -= kGroup;
            if (rest.channels <= kGroup) {
                break;
            }
            planar_group<T, Op, kGroup, false, false>(rest, map, extremes);
        }
        planar_last_group<T, Op, false>(rest, map, extremes);
    }
}

template <class T, template <class> class Op, std::size_t Strip>
std::size_t strips(Row row, std::size_t i, float* map, Extremes& extremes) {
    Finisher<Scalar, Op> finisher(extremes);
    for (; i + Strip <= row.length; i += Strip) {
        const unsigned char* position = step(row.base, i, row.position_stride);
        float state[Strip] = {};
        for (std::size_t c = 0; c < row.channels; ++c) {
            const unsigned char* p = step(position, c, row.channel_stride);
            for (std::size_t k = 0; k < Strip; ++k) {
                state[k] = Op<Scalar>::add(state[k], Scalar::load(at<T>(step(p, k, row.position_stride))));
            }
        }
        for (std::size_t k = 0; k < Strip; ++k) {
            finisher.put(map + i + k, state[k]);
        }
    }
    return i;
}

// Any strides at all.
template <class T, template <class> class Op>
void strided(const Row& row, float* map, Extremes& extremes) {
    const std::size_t i = strips<T, Op, kStrip>(row, 0, map, extremes);
    strips<T, Op, 1>(row, i, map, extremes);
}

// Three channels side by side (red, green, blue).
template <class V, class T, template <class> class Op>
std::size_t triple_steps(Row row, std::size_t i, float* map, Extremes& extremes) {
    Finisher<V, Op> finisher(extremes);
    for (; i + V::width <= row.length; i += V::width) {
        const T* p = at<T>(row.base) + 3 * i;
        const auto planes = V::planes(V::load(p), V::load(p + V::width), V::load(p + 2 * V::width));
        auto state = V::set(0.0f);
        for (const auto& channel : planes.channel) {
            state = Op<V>::add(state, channel);
        }
        finisher.put(map + i, state);
    }
    return i;
}

template <class T, template <class> class Op>
void triples(const Row& row, float* map, Extremes& extremes) {
    const std::size_t i = triple_steps<Vec, T, Op>(row, 0, map, extremes);
    triple_steps<Scalar, T, Op>(row, i, map, extremes);
}

// Many channels side by side whose order does not matter: vectors along the channels.
template <class T>
void max_abs_of_many(const Row& row, float* map, Extremes& extremes) {
    Finisher<Scalar, MaxAbs> finisher(extremes);
    for (std::size_t i = 0; i < row.length; ++i) {
        const T* p = at<T>(step(row.base, i, row.position_stride));
        auto high = Vec::set(0.0f);
        std::size_t c = 0;
        for (; c + Vec::width <= row.channels; c += Vec::width) {
            high = MaxAbs<Vec>::add(high, Vec::load(p + c));
        }
        float state = float_of(Vec::highest(Vec::bits(high)));
        for (; c < row.channels; ++c) {
            state = MaxAbs<Scalar>::add(state, Scalar::load(p + c));
        }
        finisher.put(map + i, state);
    }
}

template <class T, template <class> class Op>
void reduce(const Row& row, float* map, Extremes& extremes) {
    constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
    if (row.position_stride == size && row.channels > 0) {
        return planar<T, Op>(row, map, extremes);
    }
    if (row.channel_stride == size && row.position_stride == 3 * size && row.channels == 3) {
        return triples<T, Op>(row, map, extremes);
    }
    if constexpr (Op<Vec>::any_order) {
        if (row.channel_stride == size && row.channels >= Vec::width) {
            return max_abs_of_many<T>(row, map, extremes);
        }
    }
    strided<T, Op>(row, map, extremes);
}

inline double as_double(const double* p) {
    double value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

template <class T>
double as_double(const T* p) {
    return Scalar::load(p);
}

// One channel. Compilers vectorise it where the stride is a constant. Squares of float32 are exact in double.
template <class T, bool WithSquares>
void accumulate_channel(const unsigned char* p, std::ptrdiff_t stride, std::size_t length, double* totals,
                        double* squares) {
    for (std::size_t i = 0; i < length; ++i) {
        const double value = as_double(at<T>(step(p, i, stride)));
        totals[i] += value;
        if (WithSquares) {
            squares[i] += value * value;
        }
    }
}

template <class T, bool WithSquares>
void accumulate_chunks(const Row& row, double* totals, double* squares) {
    constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
    for (std::size_t start = 0; start < row.length; start += kDoubleChunk) {
        const std::size_t length = smaller(kDoubleChunk, row.length - start);
        double* const chunk_squares = WithSquares ? squares + start : nullptr;
        for (std::size_t c = 0; c < row.channels; ++c) {
            const unsigned char* p = step(step(row.base, start, row.position_stride), c, row.channel_stride);
            if (row.position_stride == size) {
                accumulate_channel<T, WithSquares>(p, size, length, totals + start, chunk_squares);
            } else {
                accumulate_channel<T, WithSquares>(p, row.position_stride, length, totals + start, chunk_squares);
            }
        }
    }
}

template <class T>
void accumulate(const Row& row, double* totals, double* squares) {
    if (squares == nullptr) {
        accumulate_chunks<T, false>(row, totals, squares);
    } else {
        accumulate_chunks<T, true>(row, totals, squares);
    }
}

template <class V>
typename V::Floats normalized(typename V::Floats v, typename V::Floats low, typename V::Floats span) {
    return V::clip(V::divide(V::subtract(v, low), span), V::set(-1.0f), V::set(1.0f));
}

template <class V>
std::size_t normalize_steps(const float* map, float* out, std::size_t i, std::size_t length, float low, float span) {
    const auto lows = V::set(low), spans = V::set(span);
    for (; i + V::width <= length; i += V::width) {
        V::store(out + i, normalized<V>(V::load(map + i), lows, spans));
    }
    return i;
}

// Streaming stores want an aligned address.
std::size_t normalize_streaming(const float* map, float* out, std::size_t length, float low, float span) {
    constexpr std::uintptr_t vector_bytes = Vec::width * sizeof(float);
    const std::size_t ahead = (vector_bytes - reinterpret_cast<std::uintptr_t>(out) % vector_bytes) % vector_bytes;
    const std::size_t skipped = ahead / sizeof(float);
    std::size_t i = normalize_steps<Scalar>(map, out, 0, smaller(skipped, length), low, span);
    const auto lows = Vec::set(low), spans = Vec::set(span);
    for (; i + Vec::width <= length; i += Vec::width) {
        Vec::stream(out + i, normalized<Vec>(Vec::load(map + i), lows, spans));
    }
    Vec::fence();
    return i;
}

void normalize(const float* map, float* out, std::size_t length, float low, float span, bool stream) {
    const std::size_t i = stream ? normalize_streaming(map, out, length, low, span)
                                 : normalize_steps<Vec>(map, out, 0, length, low, span);
    normalize_steps<Scalar>(map, out, i, length, low, span);
}

template <class V>
std::size_t count_below_steps(const float* map, std::size_t& i, std::size_t length, std::int32_t bits) {
    auto count = V::set_bits(0);
    const auto bound = V::set_bits(bits);
    for (; i + V::width <= length; i += V::width) {
        count = V::count_below(count, V::magnitude(V::load(map + i)), bound);
    }
    return static_cast<std::size_t>(V::total(count));
}

std::size_t count_below(const float* map, std::size_t length, std::int32_t bits) {
    std::size_t i = 0;
    const std::size_t most = count_below_steps<Vec>(map, i, length, bits);
    return most + count_below_steps<Scalar>(map, i, length, bits);
}

template <class V>
float* select_steps(const float* map, std::size_t& i, std::size_t length, std::int32_t low, std::int32_t high,
                    float* end) {
    const auto lows = V::set_bits(low), highs = V::set_bits(high);
    for (; i + V::width <= length; i += V::width) {
        end = V::append(end, V::magnitude(V::load(map + i)), lows, highs);
    }
    return end;
}

std::size_t select(const float* map, std::size_t length, std::int32_t low, std::int32_t high, float* kept) {
    std::size_t i = 0;
    float* const end = select_steps<Vec>(map, i, length, low, high, kept);
    return static_cast<std::size_t>(select_steps<Scalar>(map, i, length, low, high, end) - kept);
}

// The first position that vectors do not fill, and whether a value before it is NaN.
struct Blended {
    std::size_t end;
    bool nan;
};

template <class V, bool WithPhoto>
Blended blend_steps(BlendRow row, std::size_t i) {
    const auto zero = V::set(0.0f), one = V::set(1.0f), half = V::set(0.5f), weights = V::set(row.weight);
    bool nan = false;
    for (; i + V::width <= row.length; i += V::width) {
        const auto saliency = V::load(row.saliency + i);
        nan |= V::any_nan(saliency);
        const auto level = V::clip(saliency, zero, one);
        const auto color = V::look_up(row.colors, V::truncated(V::add(V::multiply(level, V::set(255.0f)), half)));
        if constexpr (WithPhoto) {
            const auto share = row.weight_by_saliency ? V::multiply(weights, level) : weights;
            const auto weight = V::truncated(V::add(V::multiply(share, V::set(65536.0f)), half));
            V::blend_pixels(row.out + 3 * i, row.photo + 3 * i, color, weight);
        } else {
            V::store_pixels(row.out + 3 * i, color);
        }
    }
    return {i, nan};
}

template <bool WithPhoto>
bool blend_all(const BlendRow& row) {
    const Blended most = blend_steps<Vec, WithPhoto>(row, 0);
    return blend_steps<Scalar, WithPhoto>(row, most.end).nan | most.nan;
}

bool blend(const BlendRow& row) { return row.photo == nullptr ? blend_all<false>(row) : blend_all<true>(row); }

constexpr RowKernels kKernels{{{reduce<Half, MaxAbs>, reduce<float, MaxAbs>, reduce<double, MaxAbs>},
                               {reduce<Half, Sum>, reduce<float, Sum>, reduce<double, Sum>},
                               {reduce<Half, AbsSum>, reduce<float, AbsSum>, reduce<double, AbsSum>},
                               {reduce<Half, PositiveSum>, reduce<float, PositiveSum>, reduce<double, PositiveSum>}},
                              {accumulate<Half>, accumulate<float>, accumulate<double>},
                              normalize,
                              count_below,
                              select,
                              blend,
                              add_noise};

}  // namespace
}  // namespace onnxplain
