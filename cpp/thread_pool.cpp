#include "thread_pool.hpp"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(_WIN32)
#include <process.h>
#else
#include <unistd.h>
#endif
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
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

#if defined(__linux__)

// Keeps threads off the core of the thread that wakes them. A scheduler may wake them there although another is idle:
// they then wait for milliseconds, until the call is over or the load is balanced.
class Placement {
public:
    void add(std::thread::native_handle_type thread) {
        threads_.push_back(thread);
        core_ = kUnknown;
    }

    // Asked on every call; threads are told only if something has changed.
    void update() {
        cpu_set_t allowed;
        const int core = sched_getcpu();
        if (core < 0 || core >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0 ||
            (core == core_ && CPU_EQUAL(&allowed, &allowed_))) {
            return;
        }
        core_ = core;
        allowed_ = allowed;
        if (CPU_COUNT(&allowed) > 1) {
            CPU_CLR(core, &allowed);
        }
        for (const auto thread : threads_) {
            pthread_setaffinity_np(thread, sizeof allowed, &allowed);  // where it fails, they run where they did
        }
    }

private:
    static constexpr int kUnknown = -1;
    std::vector<std::thread::native_handle_type> threads_;
    int core_ = kUnknown;  // of the last call, like what it allowed
    cpu_set_t allowed_{};
};

#else

class Placement {
public:
    void add(std::thread::native_handle_type) {}
    void update() {}
};

#endif

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
        placement_.update();
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
                std::thread thread(&Pool::serve, this, started_);
                const auto handle = thread.native_handle();
                thread.detach();
                ++started_;
                placement_.add(handle);
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
    Placement placement_;      // and this
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
