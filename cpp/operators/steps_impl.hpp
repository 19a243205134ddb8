// The steps of a chain, over the vectors of an instruction set; see kernels_impl.hpp. Functions are within two units in
// the last place, with the same bits in every set: where sums and products are rounded once it is stated.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels.hpp"
#include "vec_one.hpp"

namespace onnxplain::operators {
namespace {

//! No number where the line is none, as HardSigmoid: of two values V's comparisons take the second where one is none.
template <class V>
typename V::Floats ramp(typename V::Floats y, Ramp r) {
    const auto line = V::add(V::mul(V::set(r.alpha), y), V::set(r.beta));
    return V::larger(V::set(0.0f), V::smaller(V::set(1.0f), line));
}

//! The value of a polynomial, its coefficients from the highest power down.
template <class V, std::size_t Count>
typename V::Floats polynomial(typename V::Floats x, const float (&coefficients)[Count]) {
    auto value = V::set(coefficients[0]);
    for (std::size_t i = 1; i < Count; ++i) {
        value = V::fma(value, x, V::set(coefficients[i]));
    }
    return value;
}

//! e^x = 2^n e^r, with r within half a logarithm of two; a Taylor polynomial of degree seven is exact to rounding there.
//! What would be below 2^-125 is zero.
template <class V>
typename V::Floats exponential(typename V::Floats x) {
    static constexpr float taylor[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f};
    static constexpr float large = 12582912.0f;  // 1.5 2^23: added to a number, it leaves whole ones in the lowest bits
    const auto inside = V::larger(V::smaller(x, V::set(89.0f)), V::set(-87.0f));
    const auto n = V::sub(V::fma(inside, V::set(1.44269504f), V::set(large)), V::set(large));
    const auto r = V::fma(n, V::set(2.12194440e-4f), V::fma(n, V::set(-0.693359375f), inside));  // ln 2 in two parts
    const auto rest = V::fma(V::mul(r, r), polynomial<V>(r, taylor), r);
    const auto half_power = V::exponent(V::add(n, V::set(large + 126.0f)));  // 2^(n - 1), since 2^128 is no float
    const auto half = V::mul(V::add(V::set(1.0f), rest), half_power);
    const auto value = V::select(V::less(x, V::set(-86.6f)), V::set(0.0f), V::add(half, half));
    return V::select(V::equal(x, x), value, x);
}

//! One step over what is left from `start` on in whole vectors; returns where it ended.
template <class V, class Function>
std::size_t over(std::size_t start, float* out, std::size_t count, const Function& function) {
    std::size_t i = start;
    for (; i + V::width <= count; i += V::width) {
        V::store(out + i, function(i));
    }
    return i;
}

template <class V>
std::size_t step_from(std::size_t start, Step step, const float* a, const float* b, const float* c, float* out,
                      std::size_t count) {
    switch (step) {
        case Step::add:
            return over<V>(start, out, count, [=](std::size_t i) { return V::add(V::load(a + i), V::load(b + i)); });
        case Step::sub:
            return over<V>(start, out, count, [=](std::size_t i) { return V::sub(V::load(a + i), V::load(b + i)); });
        case Step::mul:
            return over<V>(start, out, count, [=](std::size_t i) { return V::mul(V::load(a + i), V::load(b + i)); });
        case Step::div:
            return over<V>(start, out, count, [=](std::size_t i) { return V::div(V::load(a + i), V::load(b + i)); });
        case Step::ramp: {
            const Ramp line{*b, *c};
            return over<V>(start, out, count, [=](std::size_t i) { return ramp<V>(V::load(a + i), line); });
        }
        case Step::exp:
            return over<V>(start, out, count, [=](std::size_t i) { return exponential<V>(V::load(a + i)); });
        case Step::abs:
            return over<V>(start, out, count, [=](std::size_t i) {
                const auto x = V::load(a + i);
                return V::larger(x, V::sub(V::set(0.0f), x));
            });
        case Step::sum: break;
    }
    return count;
}

//! Adds up into `Lanes` sums at once, so that the compiler may use vectors, and every set adds in the same order.
template <std::size_t Lanes>
void add_lanes(const float* x, std::size_t count, double* sums) {
    double partial[Lanes] = {};
    std::size_t i = 0;
    for (; i + Lanes <= count; i += Lanes) {
        for (std::size_t lane = 0; lane < Lanes; ++lane) {
            partial[lane] += static_cast<double>(x[i + lane]);
        }
    }
    for (; i < count; ++i) {
        partial[i % Lanes] += static_cast<double>(x[i]);
    }
    for (std::size_t lane = 0; lane < Lanes; ++lane) {
        sums[lane] += partial[lane];
    }
}

inline void add_up(const float* x, std::size_t count, std::size_t lanes, double* sums) {
    if (lanes == 16) {
        return add_lanes<16>(x, count, sums);
    }
    if (lanes == 8) {
        return add_lanes<8>(x, count, sums);
    }
    double partial[16] = {};
    add_lanes<16>(x, count, partial);
    for (double one : partial) {
        *sums += one;
    }
}

template <class V>
void step(Step step, const float* a, const float* b, const float* c, float* out, std::size_t count) {
    if (step == Step::sum) {
        double sum = 0;
        add_up(a, count, 1, &sum);
        std::fill_n(out, count, static_cast<float>(sum));
        return;
    }
    const std::size_t done = step_from<V>(0, step, a, b, c, out, count);
    step_from<One>(done, step, a, b, c, out, count);
}

}  // namespace
}  // namespace onnxplain::operators
