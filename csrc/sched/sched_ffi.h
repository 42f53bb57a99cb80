// sched: runs the harts of a machine on a thread of their own.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_runner um_runner;

// A thread for the harts of `first`; they, the clock, the control and the alarm (may be NULL) outlive it. NULL without memory or thread.
// While the harts run there, nothing that a run touches may be touched here: um_runner_pause makes them stand still.
um_runner *um_runner_new(um_hart *first, um_clock *clock, um_control *control, um_alarm *alarm, struct um_fault *why);
void       um_runner_free(um_runner *runner);                // at the next instruction where a run may end; NULL is fine
bool       um_runner_post(um_runner *runner, uint64_t budget);   // they run on, if they stand still; false: they do not, or are held
// As um_hart_run, but the harts run on their thread. Posts the budget if they stand still, looks out for what comes back for at most
// 50 microseconds (not at all where host_ns is 0), and takes it. UM_EXIT_TIME and nothing executed if there is nothing yet: a later
// call takes it. With a wall clock kicks and console rings that fill do not come back, they are news.
int        um_runner_run(um_runner *runner, uint64_t budget, uint64_t host_ns, struct um_exit *exit);
bool       um_runner_busy(const um_runner *runner);          // a budget was posted, and what came back has not been taken
bool       um_runner_runs(const um_runner *runner);          // nothing came back yet: the machine is the thread's
bool       um_runner_pause(um_runner *runner);               // makes them stand still at an instruction; false: they did already
void       um_runner_resume(um_runner *runner);              // they go on, unless there is something to take
void       um_runner_hold(um_runner *runner, bool on);       // on: nothing is posted
// News of all runners of this process: something came back, or there is text for somebody to take. A number to compare, and a sleep of
// up to `host_ns` until it is another than `seen` (or a signal came).
uint32_t   um_sched_news(void);
void       um_sched_sleep(uint32_t seen, uint64_t host_ns);
// The same for a poll that waits for other things too: um_sched_bell is a descriptor that becomes readable with the first news after
// um_sched_arm, which is false where there are some already. One sleeper a process. Below 0: the host has no descriptor.
int        um_sched_bell(struct um_fault *why);
bool       um_sched_arm(uint32_t seen);
