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
      "sources": ["native/host_addon.cc"]
    },
    {
      "target_name": "corecast_lstm",
      "sources": ["native/lstm_addon.cc"],
      "include_dirs": ["/usr/include/eigen3"],
      "cflags_cc": ["-O3", "-DEIGEN_DONT_PARALLELIZE"]
    }
  ]
}
