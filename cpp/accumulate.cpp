#include "accumulate.hpp"

#include "thread_pool.hpp"

namespace onnxplain {
namespace {

constexpr std::size_t kElementsPerThread = std::size_t{1} << 18;  // fewer are not worth waking a thread for
constexpr std::size_t kBlock = std::size_t{1} << 13;              // positions of one task

}  // namespace

void accumulate(const Gradient& gradient, double* totals, double* squares, std::size_t threads, Isa isa) {
    const Rows rows(gradient);
    const Accumulate add = kernels_for(isa).accumulate[static_cast<std::size_t>(gradient.element)];
    const std::size_t positions = rows.positions();
    threads = std::min(threads, 1 + positions * gradient.channels.extent / kElementsPerThread);
    parallel_for((positions + kBlock - 1) / kBlock, threads, [&](std::size_t block, std::size_t) {
        const std::size_t begin = block * kBlock, end = std::min(begin + kBlock, positions);
        rows.each(0, begin, end, [&](const Row& row, std::size_t place) {
            add(row, totals + place, squares == nullptr ? nullptr : squares + place);
        });
    });
}

}  // namespace onnxplain
