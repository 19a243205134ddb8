// The steps of a chain, over the vectors of an instruction set; see kernels_impl.hpp. Functions are within two units in
// the last place, with the same bits in every set: sums and products are never contracted.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels.hpp"
#include "vec_one.hpp"

namespace onnxplain::operators {
namespace {

template <class V>
typename V::Floats ramp(typename V::Floats y, Ramp r) {
    const auto line = V::add(V::mul(V::set(r.alpha), y), V::set(r.beta));
    return V::larger(V::smaller(line, V::set(1.0f)), V::set(0.0f));
}

//! The value of a polynomial, its coefficients from the highest power down.
template <class V, std::size_t Count>
typename V::Floats polynomial(typename V::Floats x, const float (&coefficients)[Count]) {
    auto value = V::set(coefficients[0]);
    for (std::size_t i = 1; i < Count; ++i) {
        value = V::add(V::mul(value, x), V::set(coefficients[i]));
    }
    return value;
}

//! 2^n of whole numbers from -126 to 127.
template <class V>
typename V::Floats power_of_two(typename V::Floats n) {
    return V::exponent(V::add(n, V::set(12582912.0f + 127.0f)));  // 1.5 2^23: what is added ends up in the lowest bits
}

template <class V>
typename V::Floats nearest(typename V::Floats x) {
    const auto large = V::set(12582912.0f);
    return V::sub(V::add(x, large), large);
}

//! e^x = 2^n e^r, with r within half a logarithm of two; a Taylor polynomial of degree seven is exact to rounding there.
//! The power of two comes in two factors, so that results may be infinite or subnormal.
template <class V>
typename V::Floats exponential(typename V::Floats x) {
    static constexpr float taylor[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f};
    const auto inside = V::larger(V::smaller(x, V::set(89.0f)), V::set(-104.0f));
    const auto n = nearest<V>(V::mul(inside, V::set(1.44269504f)));
    // ln 2 in two parts: the first has zeros enough for its products with n to be exact.
    const auto r = V::sub(V::sub(inside, V::mul(n, V::set(0.693359375f))), V::mul(n, V::set(-2.12194440e-4f)));
    const auto rest = V::add(r, V::mul(V::mul(r, r), polynomial<V>(r, taylor)));
    const auto half = nearest<V>(V::mul(n, V::set(0.5f)));
    const auto scaled = V::mul(V::add(V::set(1.0f), rest), power_of_two<V>(half));
    const auto value = V::mul(scaled, power_of_two<V>(V::sub(n, half)));
    return V::select(V::equal(x, x), value, x);
}

//! Below one an even polynomial times x; from there on 1 - e^(-p(x)), where p is fitted to -log erfc. Both are least
//! squares at Chebyshev's points.
template <class V>
typename V::Floats error_function(typename V::Floats x) {
    static constexpr float low[] = {-9.67359003e-06f, 1.12682536e-04f,  -8.48439651e-04f, 5.22105341e-03f,
                                    -2.68654383e-02f, 1.12837826e-01f, -3.76126385e-01f, 1.28379167e-01f};
    static constexpr float high[] = {6.58285669e-08f, -1.61406158e-06f, 1.29761333e-05f, -7.73944256e-05f,
                                    4.20706939e-04f, -2.16516031e-03f, 1.08581655e-02f, 9.43893640e-01f,
                                    5.35268074e+00f, 7.80681528e+00f};
    const auto size = V::smaller(V::larger(x, V::sub(V::set(0.0f), x)), V::set(4.0f));
    const auto inner = V::add(x, V::mul(x, polynomial<V>(V::mul(x, x), low)));
    const auto exponent = polynomial<V>(V::sub(size, V::set(2.5f)), high);
    const auto outer = V::sub(V::set(1.0f), exponential<V>(V::sub(V::set(0.0f), exponent)));
    const auto signed_outer = V::select(V::less(x, V::set(0.0f)), V::sub(V::set(0.0f), outer), outer);
    const auto value = V::select(V::less(size, V::set(1.0f)), inner, signed_outer);
    return V::select(V::equal(x, x), value, x);
}

//! 1 / (1 + e^-x), of which e^-|x| is all that is computed, so that nothing overflows.
template <class V>
typename V::Floats logistic(typename V::Floats x) {
    const auto negative = V::smaller(x, V::sub(V::set(0.0f), x));
    const auto e = exponential<V>(negative);
    const auto value = V::div(V::select(V::less(x, V::set(0.0f)), e, V::set(1.0f)), V::add(V::set(1.0f), e));
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
        case Step::erf:
            return over<V>(start, out, count, [=](std::size_t i) { return error_function<V>(V::load(a + i)); });
        case Step::sigmoid:
            return over<V>(start, out, count, [=](std::size_t i) { return logistic<V>(V::load(a + i)); });
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
