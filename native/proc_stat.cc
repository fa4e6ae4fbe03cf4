#include "proc_stat.h"

namespace corecast {

bool ParseProcStat(std::string_view text, ProcStat* stat) {
  // Field 2, the name, may itself hold spaces and parentheses: the last ')' ends it.
  const size_t nameEnd = text.rfind(')');
  if (nameEnd == std::string_view::npos || nameEnd + 2 >= text.size()) return false;
  stat->state = text[nameEnd + 2];

  NumberCursor numbers(text.substr(nameEnd + 3));
  numbers.Skip(6);  // 4 ppid, 5 pgrp, 6 session, 7 tty_nr, 8 tpgid, 9 flags
  stat->minorFaults = numbers.Next();
  numbers.Skip(1);  // 11 cminflt
  stat->majorFaults = numbers.Next();
  numbers.Skip(1);  // 13 cmajflt
  stat->userTicks = numbers.Next();
  stat->systemTicks = numbers.Next();
  numbers.Skip(4);  // 16 cutime, 17 cstime, 18 priority, 19 nice
  stat->threads = numbers.Next();
  numbers.Skip(1);  // 21 itrealvalue
  stat->startTicks = numbers.Next();
  numbers.Skip(1);  // 23 vsize
  stat->rssPages = numbers.Next();
  numbers.Skip(14);  // 25 rsslim to 38 exit_signal
  if (numbers.AtEnd()) return false;
  stat->cpu = static_cast<int>(numbers.Next());
  return true;
}

}  // namespace corecast
