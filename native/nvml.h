#ifndef CORECAST_NVML_H_
#define CORECAST_NVML_H_

#include <memory>
#include <string>
#include <vector>

namespace corecast {

// One GPU. Shares 0-1; NaN for what this GPU does not tell.
struct GpuSample {
  double busy;
  double memoryUsedBytes;
  double memoryTotalBytes;
  double encoderBusy;
  double decoderBusy;
};

// NVIDIA's management library, loaded at run time: corecast neither needs nor ships it. Every call may take as long as the
// driver likes, so this belongs on a thread of its own (gpu_watch.h).
class Nvml {
 public:
  // Loads and initialises `library`. A runtime_error says why there is none: no such library, no driver, a symbol missing.
  explicit Nvml(const std::string& library);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // In NVML's order. A GPU that fell off the bus has NaN for all.
  std::vector<GpuSample> Read() const;
  const std::vector<std::string>& names() const { return names_; }

 private:
  struct Functions;

  std::string ErrorText(int code) const;

  void* library_;
  std::unique_ptr<Functions> functions_;
  std::vector<void*> devices_;
  std::vector<std::string> names_;
};

}  // namespace corecast

#endif  // CORECAST_NVML_H_
