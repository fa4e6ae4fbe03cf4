{
  "target_defaults": {
    "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-fexceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
    "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS"]
  },
  "targets": [
    {
      "target_name": "corecast_host",
      "sources": [
        "native/affinity.cc",
        "native/arguments.cc",
        "native/cpu_times.cc",
        "native/errors.cc",
        "native/exit_watcher.cc",
        "native/host_addon.cc",
        "native/kept_file.cc",
        "native/notify.cc",
        "native/peer_credentials.cc",
        "native/priority.cc",
        "native/proc_sampler.cc",
        "native/proc_stat.cc",
        "native/process_info.cc",
        "native/sampler.cc",
        "native/task_dir.cc"
      ]
    },
    {
      "target_name": "corecast_lstm",
      "sources": ["native/lstm_addon.cc"],
      "include_dirs": ["/usr/include/eigen3"],
      "cflags_cc": ["-O3", "-DEIGEN_DONT_PARALLELIZE"]
    }
  ]
}
