#include "nvml.h"

#include <dlfcn.h>

#include <cmath>
#include <stdexcept>

namespace corecast {
namespace {

// As in NVIDIA's nvml.h, whose licence does not let it be copied here; the ABI of these has not changed since NVML 6.
constexpr int kSuccess = 0;
constexpr unsigned kNameBytes = 96;  // NVML_DEVICE_NAME_V2_BUFFER_SIZE

using Device = void*;

struct Utilization {
  unsigned gpu;  // percent
  unsigned memory;
};

struct Memory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

template <typename Function>
void Resolve(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr) throw std::runtime_error(std::string("the library has no ") + name);
}

double Share(int code, unsigned percent) { return code == kSuccess ? percent / 100.0 : std::nan(""); }

}  // namespace

struct Nvml::Functions {
  int (*init)();
  int (*shutdown)();
  const char* (*errorString)(int code);
  int (*count)(unsigned* count);
  int (*handle)(unsigned index, Device* device);
  int (*name)(Device device, char* name, unsigned bytes);
  int (*utilization)(Device device, Utilization* utilization);
  int (*memory)(Device device, Memory* memory);
  int (*encoder)(Device device, unsigned* percent, unsigned* periodUs);
  int (*decoder)(Device device, unsigned* percent, unsigned* periodUs);

  explicit Functions(void* library) {
    Resolve(library, "nvmlInit_v2", &init);
    Resolve(library, "nvmlShutdown", &shutdown);
    Resolve(library, "nvmlErrorString", &errorString);
    Resolve(library, "nvmlDeviceGetCount_v2", &count);
    Resolve(library, "nvmlDeviceGetHandleByIndex_v2", &handle);
    Resolve(library, "nvmlDeviceGetName", &name);
    Resolve(library, "nvmlDeviceGetUtilizationRates", &utilization);
    Resolve(library, "nvmlDeviceGetMemoryInfo", &memory);
    Resolve(library, "nvmlDeviceGetEncoderUtilization", &encoder);
    Resolve(library, "nvmlDeviceGetDecoderUtilization", &decoder);
  }
};

Nvml::Nvml(const std::string& library) : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) throw std::runtime_error(dlerror());
  // The library stays loaded whatever happens: drivers start threads that outlive its last use.
  functions_ = std::make_unique<Functions>(library_);
  const int started = functions_->init();
  if (started != kSuccess) throw std::runtime_error("nvmlInit_v2: " + ErrorText(started));
  unsigned count = 0;
  const int counted = functions_->count(&count);
  if (counted != kSuccess) {
    functions_->shutdown();
    throw std::runtime_error("nvmlDeviceGetCount_v2: " + ErrorText(counted));
  }
  for (unsigned index = 0; index < count; index++) {
    Device device = nullptr;
    // A GPU that this process may not use (a container's device cgroup) is left out.
    if (functions_->handle(index, &device) != kSuccess) continue;
    char name[kNameBytes] = {};
    if (functions_->name(device, name, sizeof name) != kSuccess) name[0] = '\0';
    devices_.push_back(device);
    names_.emplace_back(name);
  }
}

Nvml::~Nvml() { functions_->shutdown(); }

std::vector<GpuSample> Nvml::Read() const {
  std::vector<GpuSample> samples;
  for (const Device device : devices_) {
    Utilization utilization = {};
    Memory memory = {};
    unsigned encoder = 0;
    unsigned decoder = 0;
    unsigned periodUs = 0;
    const int used = functions_->utilization(device, &utilization);
    const bool memoryKnown = functions_->memory(device, &memory) == kSuccess;
    const int encoded = functions_->encoder(device, &encoder, &periodUs);
    const int decoded = functions_->decoder(device, &decoder, &periodUs);
    samples.push_back({Share(used, utilization.gpu),
                       memoryKnown ? static_cast<double>(memory.used) : std::nan(""),
                       memoryKnown ? static_cast<double>(memory.total) : std::nan(""),
                       Share(encoded, encoder), Share(decoded, decoder)});
  }
  return samples;
}

std::string Nvml::ErrorText(int code) const {
  const char* text = functions_->errorString(code);
  return (text == nullptr ? "" : std::string(text)) + " (" + std::to_string(code) + ")";
}

}  // namespace corecast
