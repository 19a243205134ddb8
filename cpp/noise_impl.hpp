// The noise of row_kernels.hpp, over a vector type like the loops of row_kernels_impl.hpp, under the same rules.
//
// 16 blocks of Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") give 64 numbers:
// word k of block 16 g + j becomes number 64 g + 16 k + j, so that vectors are stored as they are. Words 0 and 1, and
// words 2 and 3, become two numbers each by the transform of Box and Muller 1958. The float32 operations are the same
// one by one on every instruction set, and in numpy_twins.py.
#pragma once

#include "row_kernels.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kLanes = 16;
static_assert(kNoiseGroup == 4 * kLanes, "four words a block");

template <class V>
struct Block {
    typename V::Bits word[4];
};

// Recursive rather than a loop, so that compilers unroll it and vectorise what is around it.
template <class V, int rounds>
void philox_rounds(typename V::Wide (&word)[4], std::uint32_t key_low, std::uint32_t key_high) {
    const auto p = V::product(word[0], 0xD2511F53u), q = V::product(word[2], 0xCD9E8D57u);
    word[0] = V::exclusive_or(V::exclusive_or(V::upper(q), word[1]), V::set_wide(key_low));
    word[1] = q;
    word[2] = V::exclusive_or(V::exclusive_or(V::upper(p), word[3]), V::set_wide(key_high));
    word[3] = p;
    if constexpr (rounds > 1) {
        philox_rounds<V, rounds - 1>(word, key_low + 0x9E3779B9u, key_high + 0xBB67AE85u);
    }
}

template <class V>
Block<V> philox(const Block<V>& counter, std::uint32_t key_low, std::uint32_t key_high) {
    typename V::Wide word[4] = {V::widened(counter.word[0]), V::widened(counter.word[1]),
                                V::widened(counter.word[2]), V::widened(counter.word[3])};
    philox_rounds<V, 10>(word, key_low, key_high);
    return {{V::narrowed(word[0]), V::narrowed(word[1]), V::narrowed(word[2]), V::narrowed(word[3])}};
}

// first + second x + third x^2 + ...
template <class V>
typename V::Floats polynomial(typename V::Floats, float last) {
    return V::set(last);
}

template <class V, class... Rest>
typename V::Floats polynomial(typename V::Floats x, float first, Rest... rest) {
    return V::add(V::multiply(polynomial<V>(x, rest...), x), V::set(first));
}

// ln u of u in (0, 1] = 2^e m, m in [sqrt(1/2), sqrt(2)): e ln 2 + f + f^2 P(f), f = m - 1.
template <class V>
typename V::Floats logarithm(typename V::Floats u) {
    const auto root_half = V::set_bits(0x3f3504f3);
    const auto scaled = V::subtract_bits(V::bits(u), root_half);
    const auto e = V::converted(V::template shifted_right_signed<23>(scaled));
    const auto m = V::floats(V::add_bits(V::both(scaled, V::set_bits(0x007fffff)), root_half));
    const auto f = V::subtract(m, V::set(1.0f));
    const auto p = polynomial<V>(f, -0.499999911f, 0.333339512f, -0.250017554f, 0.199620724f, -0.16570507f,
                                 0.149179757f, -0.143075287f, 0.0873484612f);
    return V::add(V::multiply(e, V::set(0.693147182f)), V::add(f, V::multiply(V::multiply(f, f), p)));
}

template <class V>
struct Point {
    typename V::Floats x, y;
};

// cos and sin of 2 pi v / 2^32: those of the distance x from the nearest multiple of a quarter turn, |x| <= pi / 4,
// exchanged after an odd number of quarters, with the signs of the quadrant.
template <class V>
Point<V> on_unit_circle(typename V::Bits v) {
    const auto turned = V::add_bits(v, V::set_bits(0x20000000));  // by an eighth: its two highest bits count quarters
    const auto rest = V::subtract_bits(V::both(turned, V::set_bits(0x3fffffff)), V::set_bits(0x20000000));
    const auto x = V::multiply(V::converted(rest), V::set(1.46291808e-9f));  // 2 pi / 2^32
    const auto z = V::multiply(x, x);
    const auto s = polynomial<V>(z, -0.166666552f, 0.0083321603f, -0.000195152825f);
    const auto c = polynomial<V>(z, 0.0416666456f, -0.00138873165f, 2.44331568e-05f);
    const auto sine = V::bits(V::add(x, V::multiply(V::multiply(x, z), s)));
    const auto cosine = V::bits(V::add(V::subtract(V::set(1.0f), V::multiply(V::set(0.5f), z)),
                                       V::multiply(V::multiply(z, z), c)));
    const auto odd = V::template shifted_right_signed<31>(V::add_bits(turned, turned));
    const auto exchange = V::both(V::exclusive_or(cosine, sine), odd);
    const auto sign = V::set_bits(INT32_MIN);
    const auto sign_x = V::both(V::add_bits(turned, V::set_bits(0x40000000)), sign);
    return {V::floats(V::exclusive_or(V::exclusive_or(cosine, exchange), sign_x)),
            V::floats(V::exclusive_or(V::exclusive_or(sine, exchange), V::both(turned, sign)))};
}

// sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v) with u = (a + 1/2) / 2^32, rounded once, and v = b / 2^32.
template <class V>
Point<V> box_muller(typename V::Bits a, typename V::Bits b) {
    const auto high = V::multiply(V::converted(V::template shifted_right<8>(a)), V::set(256.0f));
    const auto low = V::add(V::converted(V::both(a, V::set_bits(255))), V::set(0.5f));
    const auto u = V::multiply(V::add(high, low), V::set(0x1p-32f));
    const auto radius = V::square_root(V::multiply(V::set(-2.0f), logarithm<V>(u)));
    const auto direction = on_unit_circle<V>(b);
    return {V::multiply(radius, direction.x), V::multiply(radius, direction.y)};
}

// The numbers of one group: first the words, in the same places.
template <class V>
void fill_with_noise(float* noise, std::uint64_t key, std::uint64_t group) {
    const std::uint64_t first = group * kLanes;
    for (std::size_t lane = 0; lane < kLanes; lane += V::width) {
        const auto low = V::add_bits(V::set_bits(static_cast<std::int32_t>(first + lane)), V::lane_numbers());
        const auto high = V::set_bits(static_cast<std::int32_t>(first >> 32)), zero = V::set_bits(0);
        const auto block = philox<V>({{low, high, zero, zero}}, static_cast<std::uint32_t>(key),
                                     static_cast<std::uint32_t>(key >> 32));
        for (std::size_t k = 0; k < 4; ++k) {
            V::store(noise + k * kLanes + lane, V::floats(block.word[k]));
        }
    }
    for (float* pair = noise; pair < noise + kNoiseGroup; pair += 2 * kLanes) {
        for (std::size_t lane = 0; lane < kLanes; lane += V::width) {
            float *const x = pair + lane, *const y = x + kLanes;
            const auto point = box_muller<V>(V::bits(V::load(x)), V::bits(V::load(y)));
            V::store(x, point.x);
            V::store(y, point.y);
        }
    }
}

template <class V>
std::size_t add_scaled(const float* x, const float* noise, float* out, std::size_t i, std::size_t length,
                       float deviation) {
    const auto scale = V::set(deviation);
    for (; i + V::width <= length; i += V::width) {
        V::store(out + i, V::add(V::load(x + i), V::multiply(scale, V::load(noise + i))));
    }
    return i;
}

void add_noise(const float* x, float* out, std::size_t length, float deviation, std::uint64_t key,
               std::uint64_t group) {
    float noise[kNoiseGroup];
    for (std::size_t start = 0; start < length; start += kNoiseGroup) {
        fill_with_noise<Vec>(noise, key, group++);
        const std::size_t count = length - start < kNoiseGroup ? length - start : kNoiseGroup;
        const std::size_t i = add_scaled<Vec>(x + start, noise, out + start, 0, count, deviation);
        add_scaled<Scalar>(x + start, noise, out + start, i, count, deviation);
    }
}

}  // namespace
}  // namespace onnxplain
