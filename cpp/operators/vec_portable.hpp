// Four floats in plain C++, which compilers turn into the vectors of any processor.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace onnxplain::operators {
namespace {

struct Four {
    static constexpr std::size_t width = 4;
    struct Floats {
        float of[4];
    };
    struct Mask {
        std::uint32_t of[4];
    };

    template <class Lane>
    static Floats each(const Lane& lane) {
        return {{lane(0), lane(1), lane(2), lane(3)}};
    }
    template <class Lane>
    static Mask each_bit(const Lane& lane) {
        return {{lane(0), lane(1), lane(2), lane(3)}};
    }

    static Floats load(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static void store(float* p, const Floats& v) {
        for (std::size_t i = 0; i < width; ++i) {
            p[i] = v.of[i];
        }
    }
    static Floats set(float v) { return {{v, v, v, v}}; }
    static Floats add(const Floats& a, const Floats& b) {
        return each([&](int i) { return a.of[i] + b.of[i]; });
    }
    static Floats sub(const Floats& a, const Floats& b) {
        return each([&](int i) { return a.of[i] - b.of[i]; });
    }
    static Floats div(const Floats& a, const Floats& b) {
        return each([&](int i) { return a.of[i] / b.of[i]; });
    }
    static Floats fma(const Floats& a, const Floats& b, const Floats& c) {
        return each([&](int i) { return std::fma(a.of[i], b.of[i], c.of[i]); });
    }
    static Floats exponent(const Floats& v) {
        Floats out;
        std::uint32_t bits[4];
        std::memcpy(bits, v.of, sizeof bits);
        for (std::uint32_t& one : bits) {
            one <<= 23;
        }
        std::memcpy(out.of, bits, sizeof bits);
        return out;
    }
    static Floats mul(const Floats& a, const Floats& b) {
        return each([&](int i) { return a.of[i] * b.of[i]; });
    }
    static Floats smaller(const Floats& a, const Floats& b) {
        return each([&](int i) { return a.of[i] < b.of[i] ? a.of[i] : b.of[i]; });
    }
    static Floats larger(const Floats& a, const Floats& b) {
        return each([&](int i) { return a.of[i] > b.of[i] ? a.of[i] : b.of[i]; });
    }
    static Mask all() { return {{1, 1, 1, 1}}; }
    static Mask equal(const Floats& a, const Floats& b) {
        return each_bit([&](int i) { return static_cast<std::uint32_t>(a.of[i] == b.of[i]); });
    }
    static Mask less(const Floats& a, const Floats& b) {
        return each_bit([&](int i) { return static_cast<std::uint32_t>(a.of[i] < b.of[i]); });
    }
    static Mask without(const Mask& a, const Mask& b) {
        return each_bit([&](int i) { return a.of[i] & (b.of[i] ^ 1u); });
    }
    static Floats select(const Mask& m, const Floats& a, const Floats& b) {
        return each([&](int i) { return m.of[i] != 0 ? a.of[i] : b.of[i]; });
    }
};

}  // namespace
}  // namespace onnxplain::operators
