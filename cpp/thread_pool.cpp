#include "thread_pool.hpp"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(_WIN32)
#include <process.h>
#else
#include <unistd.h>
#endif

namespace onnxplain {
namespace {

int process_id() {
#if defined(_WIN32)
    return _getpid();
#else
    return static_cast<int>(getpid());
#endif
}

class Pool {
public:
    explicit Pool(int owner) : owner_(owner) {}

    int owner() const { return owner_; }

    void run(std::size_t workers, const std::function<void(std::size_t)>& job) {
        std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
        if (!turn.owns_lock()) {  // the cores are busy with another call already
            job(0);
            return;
        }
        start(workers - 1);
        {
            std::lock_guard<std::mutex> lock(state_);
            job_ = &job;
            wanted_ = workers - 1;
            ++generation_;
        }
        wake_.notify_all();
        job(0);
        std::unique_lock<std::mutex> lock(state_);
        job_ = nullptr;  // threads that have not woken by now find nothing to do
        done_.wait(lock, [this] { return active_ == 0; });
    }

private:
    void start(std::size_t threads) {
        try {
            while (started_ < threads) {
                std::thread(&Pool::serve, this, started_).detach();
                ++started_;
            }
        } catch (const std::system_error&) {
            // The system grants no more threads: the caller does what is left.
        }
    }

    void serve(std::size_t index) {
        std::uint64_t seen = 0;
        std::unique_lock<std::mutex> lock(state_);
        for (;;) {
            wake_.wait(lock, [&] { return generation_ != seen; });
            seen = generation_;
            if (job_ == nullptr || index >= wanted_) {
                continue;
            }
            const std::function<void(std::size_t)>& job = *job_;
            ++active_;
            lock.unlock();
            job(index + 1);
            lock.lock();
            if (--active_ == 0) {
                done_.notify_one();
            }
        }
    }

    const int owner_;
    std::mutex turn_;
    std::size_t started_ = 0;  // guarded by turn_, like the calls of run
    std::mutex state_;         // guards all below
    std::condition_variable wake_, done_;
    const std::function<void(std::size_t)>* job_ = nullptr;
    std::size_t wanted_ = 0;
    std::size_t active_ = 0;
    std::uint64_t generation_ = 0;
};

// The pool is never destroyed: its threads may wait on it until the process ends. It is found without a lock,
// because a lock that another thread held during a fork would stay locked in the child.
std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
    const int here = process_id();
    Pool* found = current_pool.load();
    while (found == nullptr || found->owner() != here) {
        Pool* fresh = new Pool(here);
        if (current_pool.compare_exchange_strong(found, fresh)) {
            return *fresh;
        }
        delete fresh;
    }
    return *found;
}

}  // namespace

void run_on_pool(std::size_t workers, const std::function<void(std::size_t)>& job) { pool().run(workers, job); }

}  // namespace onnxplain
