// dev: device models at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_dev um_dev;

const char *um_dev_model(const um_dev *device);
uint64_t    um_dev_bytes(const um_dev *device);                    // size of its window
int         um_dev_map(um_dev *device, um_mem *mem, uint64_t at, const char *name, struct um_fault *why);
void        um_dev_reset(um_dev *device);
void        um_dev_free(um_dev *device);                           // unmaps; NULL is fine; lines and character devices stay the caller's
// Declared state, for people, hashes and snapshots. index from 0; UM_EINVAL past the end.
struct um_dev_state { char name[32]; uint32_t size, count; };
int         um_dev_state(const um_dev *device, int index, struct um_dev_state *row, struct um_fault *why);
int         um_dev_state_read(const um_dev *device, int index, void *to, uint64_t size, struct um_fault *why);

// A character device: bytes from the guest (a ring the host drains) and to the guest (a ring the host fills), 64 KiB each.
// Nothing is lost when the guest's ring is full: the device holds the guest back until the host takes.
typedef struct um_chardev um_chardev;
um_chardev *um_chardev_new(um_control *control);                   // control (may be NULL) is told when the guest's ring is half full
void        um_chardev_free(um_chardev *chardev);
uint32_t    um_chardev_waiting(const um_chardev *chardev);         // bytes the guest wrote and nobody took
uint32_t    um_chardev_room(const um_chardev *chardev);            // how many bytes um_chardev_give would take
// Take and give are for the thread that runs the harts, between runs: the device goes on within the call.
uint32_t    um_chardev_take(um_chardev *chardev, void *to, uint32_t size);           // bytes the guest wrote; returns how many
uint32_t    um_chardev_give(um_chardev *chardev, const void *from, uint32_t size);   // bytes for the guest; returns how many fitted
// Take for another thread, while harts run: the device is not told that there is room. Who finds it starved afterwards owes it a take.
uint32_t    um_chardev_skim(um_chardev *chardev, void *to, uint32_t size);
bool        um_chardev_starved(const um_chardev *chardev);

um_dev *um_clint_new(um_clock *clock, struct um_fault *why);                         // hart 0; um_clint_lines adds more, up to 8
int     um_clint_lines(um_dev *clint, int hart, um_irq *software, um_irq *timer, struct um_fault *why);
um_dev *um_plic_new(uint32_t sources, uint32_t contexts, struct um_fault *why);      // sources 1 to 1023
// line drives source; NULL: no longer. A line that may change after the PLIC was freed must be taken off before.
int     um_plic_source(um_dev *plic, uint32_t source, um_irq *line, struct um_fault *why);
int     um_plic_context(um_dev *plic, uint32_t context, um_irq *line, struct um_fault *why);    // context drives line; NULL: none
um_dev *um_ns16550a_new(um_chardev *chardev, um_irq *line, struct um_fault *why);
um_dev *um_syscon_new(um_control *control, struct um_fault *why);                    // SiFive test finisher: 0x5555 pass, 0x3333 | code << 16 fail, 0x7777 reset
um_dev *um_goldfish_rtc_new(um_clock *clock, um_irq *line, struct um_fault *why);
um_dev *um_htif_new(um_chardev *chardev, um_control *control, struct um_fault *why);
// Lays the two words (8 bytes each) over RAM; fromhost 0: the program has none.
int     um_htif_map(um_dev *htif, um_mem *mem, uint64_t tohost, uint64_t fromhost, struct um_fault *why);

// virtio-mmio version 2 (a page each). `line` may be NULL: a device that is only polled.
um_dev *um_virtio_console_new(um_chardev *chardev, um_irq *line, struct um_fault *why);          // device id 3, one port
um_dev *um_virtio_rng_new(uint64_t seed, um_irq *line, struct um_fault *why);                    // device id 4; seed 0: the host's entropy, else the same bytes after every reset
// Device id 2. `id` at most 20 bytes (VIRTIO_BLK_T_GET_ID); block_size 512 or 4096; the image stays the caller's. An image opened read-only gives a read-only disk.
um_dev *um_virtio_blk_new(um_block *block, const char *id, uint32_t block_size, int read_only, um_irq *line, struct um_fault *why);
// Why a virtio device set DEVICE_NEEDS_RESET since its last reset ("descriptor loop"); NULL when it has not, or for other devices.
const char *um_virtio_broken(const um_dev *device);
