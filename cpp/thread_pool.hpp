// Threads that are started once and kept for the life of the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace onnxplain {

// Calls job(worker) for worker 0 (the caller) and for up to `workers` - 1 others, and returns when all that
// began have ended. There may be fewer workers than asked for: if a thread cannot be started, if another call
// holds the pool, or if the caller is done before a thread wakes; so a job must take its work from a shared
// counter. A job must not throw. In a forked child, where the parent's threads are gone, new ones are started.
void run_on_pool(std::size_t workers, const std::function<void(std::size_t worker)>& job);

// Calls task(index, worker) once for each index below `count`, on at most `threads` threads, which take `grain`
// indices at a time from the shared counter: more than one where a task is short.
template <class Task>
void parallel_for(std::size_t count, std::size_t threads, const Task& task, std::size_t grain = 1) {
    const std::size_t grains = (count + grain - 1) / grain;
    if (threads > grains) {
        threads = grains;
    }
    if (threads <= 1) {
        for (std::size_t index = 0; index < count; ++index) {
            task(index, std::size_t{0});
        }
        return;
    }
    std::atomic<std::size_t> next{0};
    run_on_pool(threads, [&](std::size_t worker) {
        for (std::size_t begin = next.fetch_add(grain); begin < count; begin = next.fetch_add(grain)) {
            for (std::size_t index = begin; index < begin + grain && index < count; ++index) {
                task(index, worker);
            }
        }
    });
}

}  // namespace onnxplain
