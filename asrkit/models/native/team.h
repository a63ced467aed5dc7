// Threads that do the stages of some work together.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace asrkit {

class Team {
 public:
  // Fewer than `size` where the system gives no more threads.
  explicit Team(std::int64_t size) {
    try {
      for (size_ = 1; size_ < size; ++size_) {
        threads_.emplace_back([this, member = size_] { serve(member); });
      }
    } catch (const std::system_error&) {
    }
  }
  ~Team() {
    work_ = nullptr;
    begin();
    for (std::thread& thread : threads_) thread.join();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  std::int64_t size() const { return size_; }

  // Every member does the work, this thread as number 0.
  void run(std::function<void(std::int64_t member)> work) {
    work_ = std::move(work);
    begin();
    work_(0);
    meet();
  }

  // For the work: wait until all members have come here.
  void meet() {
    if (size_ == 1) return;
    const std::uint32_t stage = stage_.load();
    if (num_waiting_.fetch_add(1) + 1 == size_) {
      num_waiting_ = 0;
      ++stage_;
      return;
    }
    // Stages take microseconds; who waits for long has lost the processor to something else.
    for (int spins = 0; stage_.load() == stage; ++spins) {
      if (spins > kSpins) std::this_thread::yield();
    }
  }

  // The share of a member of so many tasks: from, to.
  std::pair<std::int64_t, std::int64_t> share(std::int64_t member, std::int64_t num_tasks) const {
    return {num_tasks * member / size_, num_tasks * (member + 1) / size_};
  }

 private:
  static constexpr int kSpins = 20000;  // some ten microseconds

  void begin() {
    ++num_runs_;
    num_runs_.notify_all();
  }

  void serve(std::int64_t member) {
    for (std::uint32_t seen = 0;; ++seen) {
      num_runs_.wait(seen);
      if (!work_) return;
      work_(member);
      meet();
    }
  }

  std::int64_t size_ = 1;
  std::function<void(std::int64_t)> work_;
  std::atomic<std::uint32_t> num_runs_{0};
  std::atomic<std::uint32_t> stage_{0};
  std::atomic<std::int64_t> num_waiting_{0};
  std::vector<std::thread> threads_;
};

}  // namespace asrkit
