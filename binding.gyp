{
  "variables": {
    "lstm_defines": ["EIGEN_DONT_PARALLELIZE", "EIGEN_NO_DEBUG", "NDEBUG"],
    # GCC 12 warns about its own AVX-512 header (uninitialized).
    "lstm_cflags": [
      "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-isystem", "/usr/include/eigen3", "-Wno-maybe-uninitialized",
      "-Wno-uninitialized"
    ]
  },
  "target_defaults": {
    "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-fexceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
    "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"]
  },
  "targets": [
    {
      "target_name": "corecast_host",
      "sources": [
        "native/affinity.cc",
        "native/arguments.cc",
        "native/confiner.cc",
        "native/cpu_times.cc",
        "native/exit_watcher.cc",
        "native/gpu_reader.cc",
        "native/gpu_watch.cc",
        "native/host_addon.cc",
        "native/kept_file.cc",
        "native/notify.cc",
        "native/nvml.cc",
        "native/peer_credentials.cc",
        "native/priority.cc",
        "native/proc_sampler.cc",
        "native/proc_stat.cc",
        "native/process_info.cc",
        "native/replace_process.cc",
        "native/sampler.cc",
        "native/system_error.cc",
        "native/task_dir.cc",
        "native/tcp_reader.cc",
        "native/tcp_sockets.cc",
        "native/thread_masks.cc"
      ]
    },
    {
      "target_name": "corecast_lstm",
      "sources": ["native/lstm_addon.cc", "native/lstm_dispatch.cc", "native/lstm_gradient_check.cc"],
      "dependencies": ["lstm_portable"],
      "cflags_cc": ["-O3"],
      "conditions": [
        ["target_arch=='x64'", {
          "dependencies": ["lstm_avx2", "lstm_avx512"],
          "defines": ["CORECAST_X64_KERNELS"]
        }]
      ]
    },
    {
      "target_name": "lstm_portable",
      "type": "static_library",
      "sources": ["native/lstm_kernel.cc"],
      "defines": ["CORECAST_KERNEL=portable", "CORECAST_KERNEL_EXACT", "<@(lstm_defines)"],
      "cflags_cc": ["<@(lstm_cflags)"]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "lstm_avx2",
          "type": "static_library",
          "sources": ["native/lstm_kernel.cc"],
          "defines": ["CORECAST_KERNEL=avx2", "CORECAST_X64_KERNELS", "<@(lstm_defines)"],
          "cflags_cc": ["<@(lstm_cflags)", "-mavx2", "-mfma"]
        },
        {
          "target_name": "lstm_avx512",
          "type": "static_library",
          "sources": ["native/lstm_kernel.cc"],
          "defines": ["CORECAST_KERNEL=avx512", "CORECAST_X64_KERNELS", "<@(lstm_defines)"],
          "cflags_cc": [
            "<@(lstm_cflags)", "-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl",
            "-mprefer-vector-width=512"
          ]
        }
      ]
    }]
  ]
}
