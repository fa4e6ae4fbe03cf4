#include "gpu_watch.h"

#include <chrono>
#include <exception>
#include <optional>

namespace corecast {

using Clock = std::chrono::steady_clock;

struct GpuWatch::State {
  std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool ended = false;
  // When the open question was asked; the first is to load the library.
  std::optional<Clock::time_point> askedAt = Clock::now();
  Reading reading;
};

GpuWatch::GpuWatch(const std::string& library)
    : state_(std::make_shared<State>()), thread_(&GpuWatch::Run, state_, library) {}

GpuWatch::~GpuWatch() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  // Half a second for a call that is under way. A driver that hangs keeps its thread; the process may go.
  const bool ended = state_->changed.wait_for(lock, std::chrono::milliseconds(500), [&] { return state_->ended; });
  lock.unlock();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

GpuWatch::Reading GpuWatch::Poll() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  Reading reading = state_->reading;
  if (state_->askedAt) {
    reading.pendingMs = std::chrono::duration<double, std::milli>(Clock::now() - *state_->askedAt).count();
  } else if (!state_->ended) {
    state_->askedAt = Clock::now();
    state_->changed.notify_all();
  }
  return reading;
}

void GpuWatch::Run(std::shared_ptr<State> state, std::string library) {
  const auto answer = [&](auto&& fill) {
    const std::lock_guard<std::mutex> lock(state->mutex);
    state->askedAt.reset();
    fill(&state->reading);
    state->changed.notify_all();
  };
  try {
    const Nvml nvml(library);
    answer([&](Reading* reading) { reading->names = nvml.names(); });
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(state->mutex);
        state->changed.wait(lock, [&] { return state->stop || state->askedAt; });
        if (state->stop) break;
      }
      std::vector<GpuSample> gpus = nvml.Read();
      answer([&](Reading* reading) {
        reading->gpus = std::move(gpus);
        reading->answers++;
      });
    }
  } catch (const std::exception& error) {
    answer([&](Reading* reading) { reading->absent = error.what(); });
  }
  const std::lock_guard<std::mutex> lock(state->mutex);
  state->ended = true;
  state->changed.notify_all();
}

}  // namespace corecast
