#ifndef CORECAST_TASK_DIR_H_
#define CORECAST_TASK_DIR_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "unique_fd.h"

namespace corecast {

// Opens /proc/PID/task; SystemError ESRCH when there is no such process.
UniqueFd OpenTaskDir(const std::string& procRoot, pid_t pid);

// Fills `tids` with the threads that the directory lists now. The descriptor stays with its process: once
// that has ended, false. Threads that start or end meanwhile may be missing.
bool ListTasks(int taskDir, std::vector<pid_t>* tids);

}  // namespace corecast

#endif  // CORECAST_TASK_DIR_H_
