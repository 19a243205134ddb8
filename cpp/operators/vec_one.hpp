// One float, for what is left over at an end and for planes of one channel.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace onnxplain::operators {
namespace {

struct One {
    static constexpr std::size_t width = 1;
    using Floats = float;
    using Mask = bool;

    static Floats load(const float* p) { return *p; }
    static void store(float* p, Floats v) { *p = v; }
    static Floats set(float v) { return v; }
    static Floats add(Floats a, Floats b) { return a + b; }
    static Floats sub(Floats a, Floats b) { return a - b; }
    static Floats mul(Floats a, Floats b) { return a * b; }
    static Floats div(Floats a, Floats b) { return a / b; }
    //! a b + c, rounded once.
    static Floats fma(Floats a, Floats b, Floats c) { return std::fma(a, b, c); }
    //! The float whose exponent's bits are the lowest ones of `v`.
    static Floats exponent(Floats v) {
        std::uint32_t bits;
        std::memcpy(&bits, &v, sizeof bits);
        bits <<= 23;
        std::memcpy(&v, &bits, sizeof bits);
        return v;
    }
    //! `b` where they are equal, or one is no number.
    static Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
    static Floats larger(Floats a, Floats b) { return a > b ? a : b; }
    static Mask all() { return true; }
    static Mask equal(Floats a, Floats b) { return a == b; }
    static Mask less(Floats a, Floats b) { return a < b; }
    static Mask without(Mask a, Mask b) { return a && !b; }
    static Floats select(Mask m, Floats a, Floats b) { return m ? a : b; }
};

}  // namespace
}  // namespace onnxplain::operators
