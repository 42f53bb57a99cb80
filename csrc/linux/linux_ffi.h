// linux: RISC-V Linux programs as processes, at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_linux um_linux;

struct um_linux_options {
  uint64_t    extensions;      // as in um_hart_options, with u and s
  const char *sysroot;         // where absolute paths are tried first, without a slash at its end; NULL: nowhere
  const char *jail;            // the only folder that the program finds, by its calls and by the host, for good; NULL: no jail
  uint32_t    engine;          // the next three as in um_hart_options
  uint32_t    threshold;
  uint64_t    code_bytes;
  bool        fuse;            // fused sequences in tier 0
  bool        strace;          // every system call is printed to standard error
};

// Why um_linux_run() came back.
enum { UM_LINUX_EXITED, UM_LINUX_KILLED, UM_LINUX_CALL };

struct um_linux_event {
  uint32_t reason;             // UM_LINUX_*
  int32_t  code;               // EXITED: 0 to 255; KILLED: the signal's number
  uint64_t pc, address;        // KILLED by a fault of the program: of the instruction, and what it touched
  bool     fault;              // the registers are those of the fault
  uint32_t call;               // CALL: the number
  uint64_t argument[6];        // CALL: may be changed before the next run
  int64_t  result;             // CALL, the second time: what it returned, may be changed
  bool     returned;           // CALL: it has been made; false: it is about to be
  bool     skip;               // CALL, the first time: set it to give `result` without making the call
};

struct um_linux_counts {
  uint64_t instructions, accesses;     // of all threads that this process had
  uint64_t decoded, invalidated;       // blocks
  uint64_t calls, unknown;             // system calls; those that answered ENOSYS because there is no such call here
  uint64_t threads, forks, signals;    // started; made; delivered
  uint64_t mapped_bytes;               // of guest memory now
};

// A system call of the table, for people and hooks.
struct um_linux_call { char name[32]; uint32_t number, arguments; uint64_t count, children; };

// A stretch of guest memory, as /proc/self/maps has it. `name`: the file, or "[heap]" and the like, or "".
struct um_linux_area { uint64_t from, to, offset; bool readable, writable, executable, shared; char name[4096]; };

// A process of which nothing runs yet. One at a time: signals belong to the host's process as a whole.
um_linux *um_linux_new(const struct um_linux_options *options, struct um_fault *why);
void      um_linux_free(um_linux *process);
// Loads a program: `argv` and `envp` end in NULL. A refusal names the file and what is wrong with it.
int       um_linux_load(um_linux *process, const char *path, const char *const *argv, const char *const *envp, struct um_fault *why);
// Runs until the program ends or a hooked call is about to be made or has been made. A child that the program forks runs here too,
// in a process of its own, and never comes back.
int       um_linux_run(um_linux *process, struct um_linux_event *event, struct um_fault *why);
// Calls of this number come back from um_linux_run, before and after, as long as they are made by the program's first thread.
int       um_linux_hook(um_linux *process, uint32_t number, bool on, struct um_fault *why);
int       um_linux_read(um_linux *process, uint64_t gva, void *to, uint64_t size, struct um_fault *why);
int       um_linux_write(um_linux *process, uint64_t gva, const void *from, uint64_t size, struct um_fault *why);
uint64_t  um_linux_reg(const um_linux *process, uint32_t index);       // of the first thread, after a fault of the faulting one: x0 to x31, 32: pc
void      um_linux_counts(const um_linux *process, struct um_linux_counts *counts);
// How many of its children, and of theirs, have ended by themselves, and what they did. One that the host's kernel killed is not among them.
uint64_t  um_linux_children(const um_linux *process, struct um_linux_counts *counts);
int       um_linux_call(const um_linux *process, uint32_t index, struct um_linux_call *call);   // row `index` of the table; UM_EINVAL past its end
// Ends this host process as the signal would: what a shell then reports is right.
void      um_linux_die(int signal);
int       um_linux_area(um_linux *process, uint32_t index, struct um_linux_area *area);       // by address; UM_EINVAL past the last
// Moves a descriptor of ours out of the program's way and sight; its new number, which the caller closes.
int       um_linux_keep(um_linux *process, int fd);
