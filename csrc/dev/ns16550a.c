// ns16550a: the serial port of PCs and RISC-V boards, with 16-byte FIFOs.
// SPDX-License-Identifier: MIT
//
// Manual: National Semiconductor PC16550D. Registers are one byte apart. The wire has no baud rate: a byte
// leaves at once while the character device has room, and waits in the transmitter otherwise (THRE low).
// The receiver is filled from the character device as it is read, so it never overruns; the character
// timeout passes at once.
#include "dev/chardev.h"
#include <stdlib.h>
#include <string.h>

enum { FIFO_BYTES = 16 };

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };       // ORDER: offsets of the registers

enum { IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8, IER_ALL = 15 };
enum { IIR_MODEM = 0, IIR_NONE = 1, IIR_TX = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_ALL = 31 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_DELTAS = 0x0f, MSR_RI_FELL = 4, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

typedef struct Uart {
  Device   base;
  Chardev *chardev;
  Irq     *line;
  uint8_t  ier, fcr, lcr, mcr, msr, scr, divisor[2];
  uint8_t  overrun;                   // LSR_OVERRUN until LSR is read
  uint8_t  tx_empty_event;            // the transmitter became empty and nobody was told yet
  uint8_t  rx_count, tx_count;
  uint8_t  rx[FIFO_BYTES], tx[FIFO_BYTES];
} Uart;

static unsigned fifo_depth(const Uart *uart)
{
  return uart->fcr & FCR_ENABLE ? FIFO_BYTES : 1;
}

static unsigned rx_trigger(const Uart *uart)
{
  static const uint8_t levels[4] = { 1, 4, 8, 14 };
  return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> 6] : 1;
}

// The interrupt that IIR names: the most urgent of those that are enabled (table 5 of the manual).
static uint8_t pending_interrupt(const Uart *uart)
{
  if (uart->ier & IER_LINE && uart->overrun) return IIR_LINE;
  if (uart->ier & IER_RX && uart->rx_count >= rx_trigger(uart)) return IIR_RX;
  if (uart->ier & IER_RX && uart->rx_count) return IIR_TIMEOUT;
  if (uart->ier & IER_TX && uart->tx_empty_event) return IIR_TX;
  if (uart->ier & IER_MODEM && uart->msr & MSR_DELTAS) return IIR_MODEM;
  return IIR_NONE;
}

static void update_line(Uart *uart)
{
  device_line(uart->line, pending_interrupt(uart) != IIR_NONE);
}

static void fill_receiver(Uart *uart)
{
  unsigned depth = fifo_depth(uart);
  if (uart->mcr & MCR_LOOP || uart->rx_count >= depth) return;
  uart->rx_count += (uint8_t)chardev_get(uart->chardev, uart->rx + uart->rx_count, depth - uart->rx_count);
}

static void uart_input(Device *device)
{
  Uart *uart = (Uart *)device;
  fill_receiver(uart);
  update_line(uart);
}

static void uart_room(Device *device)
{
  Uart *uart = (Uart *)device;
  if (!uart->tx_count) return;
  uint8_t sent = (uint8_t)chardev_put(uart->chardev, uart->tx, uart->tx_count);
  uart->tx_count -= sent;
  memmove(uart->tx, uart->tx + sent, uart->tx_count);
  if (!uart->tx_count) uart->tx_empty_event = 1;
  update_line(uart);
}

static void transmit(Uart *uart, uint8_t byte)
{
  uart->tx_empty_event = 0;
  if (uart->mcr & MCR_LOOP) {
    if (uart->rx_count < fifo_depth(uart)) uart->rx[uart->rx_count++] = byte;
    else uart->overrun = LSR_OVERRUN;
    uart->tx_empty_event = 1;
  } else if (!uart->tx_count && chardev_put(uart->chardev, &byte, 1) == 1) {
    uart->tx_empty_event = 1;
  } else if (uart->tx_count < fifo_depth(uart)) {
    uart->tx[uart->tx_count++] = byte;            // else the guest did not look at THRE: lost, as on hardware
  }
}

static uint8_t receive(Uart *uart)
{
  uint8_t byte = uart->rx[0];
  if (!uart->rx_count) return 0;
  uart->rx_count--;
  memmove(uart->rx, uart->rx + 1, uart->rx_count);
  fill_receiver(uart);
  return byte;
}

// The lines of a modem that is always there; in loopback, those that MCR drives.
static uint8_t modem_lines(const Uart *uart)
{
  if (!(uart->mcr & MCR_LOOP)) return MSR_CTS | MSR_DSR | MSR_DCD;
  return (uint8_t)((uart->mcr & MCR_RTS ? MSR_CTS : 0) | (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
                   (uart->mcr & MCR_OUT1 ? MSR_RI : 0) | (uart->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void update_modem(Uart *uart)
{
  uint8_t lines = modem_lines(uart), changed = (uart->msr ^ lines) & 0xf0;
  uint8_t deltas = (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
  if (changed & MSR_RI && !(lines & MSR_RI)) deltas |= MSR_RI_FELL;
  uart->msr = (uint8_t)(lines | (uart->msr & MSR_DELTAS) | deltas);
}

static void write_fcr(Uart *uart, uint8_t value)
{
  bool toggled = (uart->fcr ^ value) & FCR_ENABLE;
  if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_RX)) uart->rx_count = 0;
  if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_TX)) {
    if (uart->tx_count) uart->tx_empty_event = 1;
    uart->tx_count = 0;
  }
  uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
  fill_receiver(uart);
}

static void write_ier(Uart *uart, uint8_t value)
{
  bool tx_enabled = value & IER_TX && !(uart->ier & IER_TX);
  if (tx_enabled && !uart->tx_count) uart->tx_empty_event = 1;      // enabling it interrupts at once when empty
  uart->ier = value & IER_ALL;
}

static uint8_t read_iir(Uart *uart)
{
  uint8_t pending = pending_interrupt(uart);
  if (pending == IIR_TX) uart->tx_empty_event = 0;
  return pending | (uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(Uart *uart)
{
  uint8_t value = (uint8_t)(uart->overrun | (uart->rx_count ? LSR_READY : 0) | (uart->tx_count ? 0 : LSR_THRE | LSR_TEMT));
  uart->overrun = 0;
  return value;
}

static uint64_t uart_read(void *device, uint64_t offset, unsigned size)
{
  Uart *uart = device;
  uint8_t value = 0;
  (void)size;
  switch (offset) {
  case RBR_THR: value = uart->lcr & LCR_DLAB ? uart->divisor[0] : receive(uart); break;
  case IER:     value = uart->lcr & LCR_DLAB ? uart->divisor[1] : uart->ier; break;
  case IIR_FCR: value = read_iir(uart); break;
  case LCR:     value = uart->lcr; break;
  case MCR:     value = uart->mcr; break;
  case LSR:     value = read_lsr(uart); break;
  case MSR:
    value = uart->msr;
    uart->msr &= (uint8_t)~MSR_DELTAS;
    break;
  case SCR:     value = uart->scr; break;
  default:      return 0;
  }
  update_line(uart);
  return value;
}

static void uart_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Uart *uart = device;
  uint8_t byte = (uint8_t)value;
  (void)size;
  switch (offset) {
  case RBR_THR:
    if (uart->lcr & LCR_DLAB) uart->divisor[0] = byte;
    else transmit(uart, byte);
    break;
  case IER:
    if (uart->lcr & LCR_DLAB) uart->divisor[1] = byte;
    else write_ier(uart, byte);
    break;
  case IIR_FCR: write_fcr(uart, byte); break;
  case LCR:     uart->lcr = byte; break;
  case MCR:
    uart->mcr = byte & MCR_ALL;
    update_modem(uart);
    fill_receiver(uart);
    break;
  case SCR:     uart->scr = byte; break;
  default:      return;                           // LSR and MSR are for factory tests only
  }
  update_line(uart);
}

static void uart_reset(Device *device)
{
  Uart *uart = (Uart *)device;
  uart->msr = modem_lines(uart);
  fill_receiver(uart);
  update_line(uart);
}

static void uart_close(Device *device)
{
  chardev_detach(((Uart *)device)->chardev, device);
}

static const DeviceState uart_state[] = {
  STATE(Uart, ier),
  STATE(Uart, fcr),
  STATE(Uart, lcr),
  STATE(Uart, mcr),
  STATE(Uart, msr),
  STATE(Uart, scr),
  STATE_ARRAY(Uart, divisor),
  STATE(Uart, overrun),
  STATE(Uart, tx_empty_event),
  STATE(Uart, rx_count),
  STATE(Uart, tx_count),
  STATE_ARRAY(Uart, rx),
  STATE_ARRAY(Uart, tx),
  { 0 },
};

// Wider accesses than a byte reach the one register at their address: programs do it, and boards let them.
static const DeviceModel uart_model = {
  .name = "ns16550a", .bytes = 0x100, .state = uart_state,
  .ops = { .read = uart_read, .write = uart_write, .min_size = 1, .max_size = 4 },
  .reset = uart_reset, .close = uart_close,
};

UM_EXPORT um_dev *um_ns16550a_new(um_chardev *chardev, um_irq *line, struct um_fault *why)
{
  Uart *uart = device_new(&uart_model, sizeof *uart, why);
  if (!uart) return NULL;
  if (chardev_attach(chardev, &uart->base, uart_room, uart_input, why) < 0) {
    free(uart);
    return NULL;
  }
  uart->chardev = chardev;
  uart->line = line;
  um_dev_reset(&uart->base);
  return &uart->base;
}
