/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio-mem driver for qtests: it starts the device, puts requests of any
 * shape on its queue and collects the answers and the interrupts.  It never
 * judges an answer; that is left to the tests.
 */

#ifndef TESTS_LIBQOS_VIRTIO_MEM_H
#define TESTS_LIBQOS_VIRTIO_MEM_H

#include "qgraph.h"
#include "virtio.h"
#include "virtio-pci.h"
#include "standard-headers/linux/virtio_mem.h"
#include "standard-headers/linux/virtio_ring.h"

/* Features that the requests below do without, unless a test asks for them */
#define QVIRTIO_MEM_DECLINED (QVIRTIO_F_BAD_FEATURE | \
                              (1ull << VIRTIO_RING_F_INDIRECT_DESC) | \
                              (1ull << VIRTIO_RING_F_EVENT_IDX))

/* Bits of the interrupt status register */
#define QVIRTIO_MEM_QUEUE_IRQ  1
#define QVIRTIO_MEM_CONFIG_IRQ 2

typedef struct QVirtioMem {
    QVirtioDevice *vdev;
    QVirtQueue *vq;
    QVirtioPCIDevice *pci;
    QGuestAllocator *alloc;
    /* What the driver makes of the queue at its next start; 0: all there is */
    uint16_t queue_size;
    /* Interrupts that were seen and not yet taken */
    uint8_t irqs;
    /* Configuration fields that cannot change while the device operates */
    uint64_t block_size;
    uint64_t addr;
    uint64_t region_size;
} QVirtioMem;

typedef struct QVirtioMemPCI {
    QVirtioPCIDevice pci_vdev;
    QVirtioMem mem;
} QVirtioMemPCI;

/* One descriptor: memory that the device reads, or that it writes (in) */
typedef struct QVirtioMemDesc {
    uint64_t addr;
    uint32_t len;
    bool in;
} QVirtioMemDesc;

/*
 * How a request is laid out: sizes in bytes of its two buffers and of the
 * descriptors that each is cut into.  A buffer of no bytes has no descriptor.
 */
typedef struct QVirtioMemShape {
    uint32_t out_len;
    uint32_t out_piece;
    uint32_t in_len;
    uint32_t in_piece;
} QVirtioMemShape;

/* A request that is on the queue */
typedef struct QVirtioMemPending {
    uint32_t head;
    uint64_t out;
    uint64_t in;
    uint32_t in_len;
} QVirtioMemPending;

/*
 * How a machine is put to sleep: the PCI function with its power management,
 * and the byte in its configuration space that enables it.
 */
typedef struct QVirtioMemPower {
    uint32_t devfn;
    uint8_t enable_reg;
    uint8_t enable;
} QVirtioMemPower;

extern const QVirtioMemPower qvirtio_mem_power_pc;
extern const QVirtioMemPower qvirtio_mem_power_q35;

/* The shape that a driver uses: one descriptor each, nothing to spare */
extern const QVirtioMemShape qvirtio_mem_plain;

QTestState *qvirtio_mem_qts(QVirtioMem *mem);

/* A device outside of the graph, at this place on the bus; not yet started. */
QVirtioMemPCI *qvirtio_mem_pci_new(QPCIBus *bus, QGuestAllocator *alloc,
                                   QPCIAddress *addr);
void qvirtio_mem_pci_free(QVirtioMemPCI *mem_pci);

/* The machine has migrated to @to, and the driver with it. */
void qvirtio_mem_move(QVirtioMem *mem, QTestState *to);

/*
 * (Re)starts the driver: device reset, all offered features but @declined
 * (QVIRTIO_MEM_DECLINED and maybe more), a fresh queue.
 */
void qvirtio_mem_start(QVirtioMem *mem, uint64_t declined);

/* Finds the device again after a system reset and starts the driver. */
void qvirtio_mem_power_on(QVirtioMem *mem);

/* Suspends the machine to RAM, wakes it up, and starts the driver. */
void qvirtio_mem_sleep(QVirtioMem *mem, const QVirtioMemPower *power);

/* Reads the whole configuration space, into host byte order. */
struct virtio_mem_config qvirtio_mem_config(QVirtioMem *mem);

/* Returns whether this interrupt came since it was last taken. */
bool qvirtio_mem_take_irq(QVirtioMem *mem, uint8_t irq);

/* Waits for this interrupt and takes it. */
void qvirtio_mem_wait_irq(QVirtioMem *mem, uint8_t irq);

/* Waits until the device says that it needs a reset. */
void qvirtio_mem_wait_needs_reset(QVirtioMem *mem);

/* Makes the chain that starts at @head available, without a notification. */
void qvirtio_mem_expose(QVirtioMem *mem, uint32_t head);

/* Adds a chain of @n descriptors, makes it available, returns its head. */
uint32_t qvirtio_mem_offer_chain(QVirtioMem *mem, const QVirtioMemDesc *chain,
                                 size_t n);

/* PLUG, UNPLUG and STATE carry the same fields in the same places. */
struct virtio_mem_req qvirtio_mem_req(uint16_t type, uint64_t addr,
                                      uint16_t nb_blocks);

/*
 * Offers @req, without a notification.  What the shape has beyond the request,
 * and the whole response buffer, are filled with garbage.
 */
QVirtioMemPending qvirtio_mem_offer(QVirtioMem *mem,
                                    const struct virtio_mem_req *req,
                                    const QVirtioMemShape *shape);

void qvirtio_mem_kick(QVirtioMem *mem);

/* Waits for the next used element; @len is the size that the device wrote. */
uint32_t qvirtio_mem_wait_used(QVirtioMem *mem, uint32_t *len);

/* Waits for the answer, which must be the next one to arrive. */
struct virtio_mem_resp qvirtio_mem_finish(QVirtioMem *mem,
                                          QVirtioMemPending *pending);

/* Frees a request that the device never answered. */
void qvirtio_mem_forget(QVirtioMem *mem, QVirtioMemPending *pending);

/* Sends one request while no other is on the queue. */
struct virtio_mem_resp qvirtio_mem_send(QVirtioMem *mem,
                                        const struct virtio_mem_req *req,
                                        const QVirtioMemShape *shape);

/*
 * Sends @n plain requests while no other is on the queue, as many with one
 * notification as fit.  Costs few messages to QEMU, however many requests.
 */
void qvirtio_mem_send_all(QVirtioMem *mem, const struct virtio_mem_req *reqs,
                          struct virtio_mem_resp *resps, size_t n);

#endif
