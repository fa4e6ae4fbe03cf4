#ifndef CORECAST_GPU_WATCH_H_
#define CORECAST_GPU_WATCH_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "nvml.h"

namespace corecast {

// Reads the GPUs on a thread of its own, so that a driver that hangs holds up nothing else: Poll() never waits. Knows
// nothing of JavaScript.
//
// Threads: everything but Run() is called on the thread that owns the watch. Both share State, under its mutex; the
// thread holds a reference of its own, since it is left behind when the driver does not let it go.
class GpuWatch {
 public:
  struct Reading {
    // Of the latest answer.
    std::vector<GpuSample> gpus;
    std::vector<std::string> names;
    // Answers so far.
    uint64_t answers = 0;
    // Milliseconds that the present question has been waiting for its answer; 0 when none is.
    double pendingMs = 0;
    // Why there are no GPUs; empty while that is not known, or when there are.
    std::string absent;
  };

  explicit GpuWatch(const std::string& library);
  ~GpuWatch();
  GpuWatch(const GpuWatch&) = delete;
  GpuWatch& operator=(const GpuWatch&) = delete;

  // What is known now, and asks for more unless a question is still open.
  Reading Poll();

 private:
  struct State;
  static void Run(std::shared_ptr<State> state, std::string library);

  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace corecast

#endif  // CORECAST_GPU_WATCH_H_
