#include "noise.hpp"

#include <algorithm>

#include "row_kernels.hpp"
#include "thread_pool.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kNumbersPerThread = std::size_t{1} << 16;  // fewer are not worth waking a thread for
constexpr std::size_t kGroups = 128;                             // of one task

}  // namespace

void add_noise(const float* x, float* out, std::size_t length, float deviation, std::uint64_t key,
               std::size_t threads, Isa isa) {
    const AddNoise kernel = kernels_for(isa).add_noise;
    constexpr std::size_t block = kGroups * kNoiseGroup;
    threads = std::min(threads, 1 + length / kNumbersPerThread);
    parallel_for((length + block - 1) / block, threads, [&](std::size_t task, std::size_t) {
        const std::size_t begin = task * block;
        kernel(x + begin, out + begin, std::min(block, length - begin), deviation, key, task * kGroups);
    });
}

}  // namespace onnxplain
