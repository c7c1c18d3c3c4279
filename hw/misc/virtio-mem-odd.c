/*
 * virtio-mem-odd-pci: a virtio memory device that tells lies, for guest tests
 *
 * Every field of its configuration space is a property that takes any value at
 * any time, and so is its answer to each type of request.  Left alone it is
 * sane, with a bit for each block, and counts and keeps what it was asked.  Its
 * memory is RAM all the time, also where nothing is plugged: a lie crashes no
 * guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "exec/address-spaces.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-pci.h"
#include "migration/vmstate.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mem.h"
#include "standard-headers/linux/virtio_pci.h"
#include "system/hostmem.h"
#include "system/reset.h"

#define TYPE_VIRTIO_MEM_ODD "virtio-mem-odd"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOMEMOdd, VIRTIO_MEM_ODD)

/* A region of more blocks than this is never sane: it gets only ERROR. */
#define ODD_MAX_BLOCKS  (1 << 20)

/* Requests that exist: of the specification by their type, and reports */
#define ROW_REPORT      (VIRTIO_MEM_REQ_STATE + 1)
#define NB_ROWS         (ROW_REPORT + 1)

/* What the device does when a request comes. */
typedef struct OddAnswer {
    const char *name;
    bool obey;          /* do what was asked, and say how that went */
    bool say;           /* say this type and state, whatever was done */
    uint16_t type;
    uint16_t state;
    uint32_t cut;       /* bytes to leave out at the end */
    bool owe;           /* ... but nothing, until another answer is set */
    /* Afterwards: harm the ring; @id is that of the descriptor. */
    void (*harm)(VirtIODevice *vdev, uint32_t id);
} OddAnswer;

struct VirtIOMEMOdd {
    VirtIODevice parent_obj;

    /* Configuration space, as told; sizes are bytes */
    uint64_t block_size;
    uint64_t node_id;
    uint64_t addr;
    uint64_t region_size;
    uint64_t usable_size;
    uint64_t plugged_size;
    uint64_t requested_size;

    /* Fixed when realized */
    HostMemoryBackend *memdev;      /* NULL: there is no memory */
    uint64_t features;
    uint64_t queues;
    uint64_t queue_size;

    /* What is true: as it was when realized, whatever is told since then */
    uint64_t true_addr;
    uint64_t true_block_size;
    unsigned long nb_blocks;
    unsigned long *plugged;         /* a bit for each of nb_blocks */
    uint64_t size;                  /* plugged bytes */

    /* The first odd_after requests get sane answers, odd_for others don't. */
    const OddAnswer *answer[NB_ROWS];
    uint64_t odd_after;
    uint64_t odd_for;
    uint64_t nb_seen;               /* of those that might get odd ones */

    uint64_t fill;                  /* byte in all that drivers must ignore */

    uint64_t nb_requests[NB_ROWS];
    uint64_t nb_wrong;              /* requests that broke the protocol */
    uint64_t nb_config_writes;
    GString *log;                   /* of all requests, a line each */

    VirtQueue *vq;
    VirtQueueElement *owed;         /* a request that has no answer yet */
    unsigned int owed_row;
    bool owed_done;                 /* it was obeyed; the answer is owed_resp */
    struct virtio_mem_resp owed_resp;
};

/* What a sane device does */

/* Whether a request names usable blocks, as all three of them do alike. */
static bool odd_find_range(const VirtIOMEMOdd *s,
                           const struct virtio_mem_req *req,
                           unsigned long *first, unsigned long *nb)
{
    uint64_t offset = le64_to_cpu(req->u.plug.addr) - s->true_addr;
    uint64_t usable;

    if (!s->nb_blocks || offset % s->true_block_size) {
        return false;
    }
    usable = MIN(s->usable_size / s->true_block_size, s->nb_blocks);
    *first = offset / s->true_block_size;
    *nb = le16_to_cpu(req->u.plug.nb_blocks);
    return *nb && *first < usable && *nb <= usable - *first;
}

static uint16_t odd_state(const VirtIOMEMOdd *s, unsigned long first,
                          unsigned long nb)
{
    if (find_next_zero_bit(s->plugged, first + nb, first) >= first + nb) {
        return VIRTIO_MEM_STATE_PLUGGED;
    }
    if (find_next_bit(s->plugged, first + nb, first) >= first + nb) {
        return VIRTIO_MEM_STATE_UNPLUGGED;
    }
    return VIRTIO_MEM_STATE_MIXED;
}

static uint16_t odd_plug(VirtIOMEMOdd *s, unsigned long first,
                         unsigned long nb)
{
    if (s->size + nb * s->true_block_size > s->requested_size) {
        return VIRTIO_MEM_RESP_NACK;
    }
    bitmap_set(s->plugged, first, nb);
    s->size += nb * s->true_block_size;
    s->plugged_size += nb * s->true_block_size;
    return VIRTIO_MEM_RESP_ACK;
}

static uint16_t odd_unplug(VirtIOMEMOdd *s, unsigned long first,
                           unsigned long nb)
{
    bitmap_clear(s->plugged, first, nb);
    s->size -= nb * s->true_block_size;
    s->plugged_size -= nb * s->true_block_size;
    return VIRTIO_MEM_RESP_ACK;
}

static uint16_t odd_unplug_all(VirtIOMEMOdd *s)
{
    if (s->nb_blocks) {
        bitmap_zero(s->plugged, s->nb_blocks);
    }
    s->size = 0;
    s->plugged_size = 0;
    return VIRTIO_MEM_RESP_ACK;
}

/* NB_ROWS: there is no such request. */
static unsigned int odd_row(VirtIOMEMOdd *s, const struct virtio_mem_req *req)
{
    uint16_t type = le16_to_cpu(req->type);

    if (type == VIRTIO_MEM_REQ_X_REPORT &&
        virtio_vdev_has_feature(VIRTIO_DEVICE(s), VIRTIO_MEM_F_X_REPORT)) {
        return ROW_REPORT;
    }
    return type <= VIRTIO_MEM_REQ_STATE ? type : NB_ROWS;
}

static uint16_t odd_obey(VirtIOMEMOdd *s, const struct virtio_mem_req *req,
                         uint16_t *state)
{
    unsigned int type = odd_row(s, req);
    unsigned long first, nb;

    if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
        return odd_unplug_all(s);
    }
    if (type == ROW_REPORT) {
        return VIRTIO_MEM_RESP_ACK;
    }
    if (type < ROW_REPORT && odd_find_range(s, req, &first, &nb)) {
        *state = odd_state(s, first, nb);
        if (type == VIRTIO_MEM_REQ_STATE) {
            return VIRTIO_MEM_RESP_ACK;
        }
        if (type == VIRTIO_MEM_REQ_PLUG &&
            *state == VIRTIO_MEM_STATE_UNPLUGGED) {
            return odd_plug(s, first, nb);
        }
        if (type == VIRTIO_MEM_REQ_UNPLUG &&
            *state == VIRTIO_MEM_STATE_PLUGGED) {
            return odd_unplug(s, first, nb);
        }
    }
    s->nb_wrong++;
    return VIRTIO_MEM_RESP_ERROR;
}

/* Harm to the ring, behind the back of QEMU's own code */

static void odd_add_used(VirtIODevice *vdev, uint32_t id, uint16_t nb)
{
    AddressSpace *as = &address_space_memory;
    hwaddr used = virtio_queue_get_used_addr(vdev, 0);
    uint16_t idx = lduw_le_phys(as, used + 2);
    hwaddr entry = used + 4 + idx % virtio_queue_get_num(vdev, 0) * 8;

    stl_le_phys(as, entry, id);
    stl_le_phys(as, entry + 4, sizeof(struct virtio_mem_resp));
    stw_le_phys(as, used + 2, idx + nb);
    virtio_queue_update_used_idx(vdev, 0);
}

static void odd_twice(VirtIODevice *vdev, uint32_t id)
{
    odd_add_used(vdev, id, 1);
}

static void odd_foreign(VirtIODevice *vdev, uint32_t id)
{
    odd_add_used(vdev, virtio_queue_get_num(vdev, 0) + 7, 1);
}

static void odd_jump(VirtIODevice *vdev, uint32_t id)
{
    odd_add_used(vdev, id, 1000);
}

static void odd_need_reset(VirtIODevice *vdev, uint32_t id)
{
    virtio_error(vdev, "virtio-mem-odd: needs a reset, for a test");
}

/* Answers; the first one is sane */

#define SAY(name, type, state) { name, false, true, type, state }

static const OddAnswer odd_answers[] = {
    { "sane", .obey = true },
    SAY("ack", VIRTIO_MEM_RESP_ACK, 0),
    SAY("nack", VIRTIO_MEM_RESP_NACK, 0),
    SAY("busy", VIRTIO_MEM_RESP_BUSY, 0),
    SAY("error", VIRTIO_MEM_RESP_ERROR, 0),
    SAY("unknown", 0x1234, 0),
    SAY("plugged", VIRTIO_MEM_RESP_ACK, VIRTIO_MEM_STATE_PLUGGED),
    SAY("unplugged", VIRTIO_MEM_RESP_ACK, VIRTIO_MEM_STATE_UNPLUGGED),
    SAY("mixed", VIRTIO_MEM_RESP_ACK, VIRTIO_MEM_STATE_MIXED),
    SAY("odd-state", VIRTIO_MEM_RESP_ACK, 0x4321),
    { "done-error", .obey = true, .say = true, .type = VIRTIO_MEM_RESP_ERROR },
    { "empty", .cut = sizeof(struct virtio_mem_resp) },
    { "short", .cut = sizeof(struct virtio_mem_resp) - 1 },
    { "none", .owe = true },
    { "late", .obey = true, .owe = true },
    { "twice", .obey = true, .harm = odd_twice },
    { "foreign", .obey = true, .harm = odd_foreign },
    { "jump", .obey = true, .harm = odd_jump },
    { "needs-reset", .obey = true, .harm = odd_need_reset },
};

static void odd_think(VirtIOMEMOdd *s, const struct virtio_mem_req *req,
                      const OddAnswer *answer, struct virtio_mem_resp *resp)
{
    uint16_t type = answer->type, state = answer->state;

    if (answer->obey) {
        type = odd_obey(s, req, &state);
    }
    memset(resp, s->fill, sizeof(*resp));
    resp->type = cpu_to_le16(answer->say ? answer->type : type);
    if (le16_to_cpu(req->type) == VIRTIO_MEM_REQ_STATE) {
        resp->u.state.state = cpu_to_le16(answer->say ? answer->state : state);
    }
}

static void odd_say(VirtIOMEMOdd *s, VirtQueueElement *elem,
                    const OddAnswer *answer,
                    const struct virtio_mem_resp *resp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    uint32_t len = sizeof(*resp) - answer->cut;

    iov_from_buf(elem->in_sg, elem->in_num, 0, resp, len);
    virtqueue_push(s->vq, elem, len);
    if (answer->harm) {
        answer->harm(vdev, elem->index);
    }
    virtio_notify(vdev, s->vq);
    g_free(elem);
}

static void odd_read(const VirtQueueElement *elem, struct virtio_mem_req *req)
{
    memset(req, 0xff, sizeof(*req));
    iov_to_buf(elem->out_sg, elem->out_num, 0, req, sizeof(*req));
}

/* Keeps the request until odd_settle(), but may do now what it asks for. */
static void odd_owe(VirtIOMEMOdd *s, VirtQueueElement *elem,
                    const struct virtio_mem_req *req, const OddAnswer *answer)
{
    s->owed = elem;
    s->owed_row = odd_row(s, req);
    s->owed_done = answer->obey;
    if (s->owed_done) {
        odd_think(s, req, answer, &s->owed_resp);
    }
}

static void odd_settle(VirtIOMEMOdd *s, const OddAnswer *answer)
{
    VirtQueueElement *elem = g_steal_pointer(&s->owed);
    struct virtio_mem_req req;

    if (!s->owed_done) {
        odd_read(elem, &req);
        odd_think(s, &req, answer, &s->owed_resp);
    }
    odd_say(s, elem, answer, &s->owed_resp);
}

static const OddAnswer *odd_choose(VirtIOMEMOdd *s, unsigned int row)
{
    uint64_t seen;

    if (row >= NB_ROWS || s->answer[row] == odd_answers) {
        return odd_answers;
    }
    seen = s->nb_seen++;
    return seen < s->odd_after || seen - s->odd_after >= s->odd_for ?
           odd_answers : s->answer[row];
}

static void odd_note(VirtIOMEMOdd *s, const struct virtio_mem_req *req)
{
    static const char *const names[] = {
        [VIRTIO_MEM_REQ_PLUG] = "plug",
        [VIRTIO_MEM_REQ_UNPLUG] = "unplug",
        [VIRTIO_MEM_REQ_UNPLUG_ALL] = "unplug-all",
        [VIRTIO_MEM_REQ_STATE] = "state",
        [ROW_REPORT] = "x-report",
    };
    unsigned int row = odd_row(s, req);

    if (row < NB_ROWS) {
        s->nb_requests[row]++;
    }
    g_string_append_printf(s->log, "%s 0x%" PRIx64 " %u\n",
                           row < NB_ROWS ? names[row] : "unknown",
                           le64_to_cpu(req->u.plug.addr),
                           le16_to_cpu(req->u.plug.nb_blocks));
}

static void odd_handle_output(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOMEMOdd *s = VIRTIO_MEM_ODD(vdev);
    struct virtio_mem_resp resp;
    struct virtio_mem_req req;
    const OddAnswer *answer;
    VirtQueueElement *elem;

    while (!s->owed && (elem = virtqueue_pop(vq, sizeof(*elem)))) {
        odd_read(elem, &req);
        odd_note(s, &req);
        answer = odd_choose(s, odd_row(s, &req));
        if (answer->owe) {
            odd_owe(s, elem, &req, answer);
        } else {
            odd_think(s, &req, answer, &resp);
            odd_say(s, elem, answer, &resp);
        }
    }
}

/* Properties, all of which can be set at any time */

typedef struct OddProperty {
    const char *name;
    size_t offset;
    bool told;          /* in the configuration space: a change is told */
} OddProperty;

#define TOLD(name, field) { name, offsetof(VirtIOMEMOdd, field), true }
#define NUMBER(name, field) { name, offsetof(VirtIOMEMOdd, field), false }

static const OddProperty odd_numbers[] = {
    TOLD("block-size", block_size),
    TOLD("node-id", node_id),
    TOLD("memaddr", addr),
    TOLD("region-size", region_size),
    TOLD("usable-region-size", usable_size),
    TOLD("plugged-size", plugged_size),
    TOLD("requested-size", requested_size),
    NUMBER("features", features),
    NUMBER("queues", queues),
    NUMBER("queue-size", queue_size),
    NUMBER("odd-after", odd_after),
    NUMBER("odd-for", odd_for),
    NUMBER("size", size),
    NUMBER("nb-plug", nb_requests[VIRTIO_MEM_REQ_PLUG]),
    NUMBER("nb-unplug", nb_requests[VIRTIO_MEM_REQ_UNPLUG]),
    NUMBER("nb-unplug-all", nb_requests[VIRTIO_MEM_REQ_UNPLUG_ALL]),
    NUMBER("nb-state", nb_requests[VIRTIO_MEM_REQ_STATE]),
    NUMBER("nb-x-report", nb_requests[ROW_REPORT]),
    NUMBER("nb-wrong", nb_wrong),
    NUMBER("nb-config-writes", nb_config_writes),
    NUMBER("fill", fill),
    NUMBER("driver-features", parent_obj.guest_features),
};

static const OddProperty odd_words[] = {
    NUMBER("plug", answer[VIRTIO_MEM_REQ_PLUG]),
    NUMBER("unplug", answer[VIRTIO_MEM_REQ_UNPLUG]),
    NUMBER("unplug-all", answer[VIRTIO_MEM_REQ_UNPLUG_ALL]),
    NUMBER("state", answer[VIRTIO_MEM_REQ_STATE]),
    NUMBER("x-report", answer[ROW_REPORT]),
};

static void odd_get_number(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    const OddProperty *property = opaque;

    visit_type_size(v, name, (void *)obj + property->offset, errp);
}

static void odd_set_number(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    const OddProperty *property = opaque;

    visit_type_size(v, name, (void *)obj + property->offset, errp);
    if (property->told && DEVICE(obj)->realized) {
        virtio_notify_config(VIRTIO_DEVICE(obj));
    }
}

/* What is owed gets the new answer at once. */
static void odd_begin(VirtIOMEMOdd *s)
{
    s->nb_seen = 0;
    if (s->owed && !s->answer[s->owed_row]->owe) {
        odd_settle(s, s->answer[s->owed_row]);
        odd_handle_output(VIRTIO_DEVICE(s), s->vq);
    }
}

static void odd_set_answer(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    const OddProperty *property = opaque;
    const OddAnswer **answer = (void *)obj + property->offset;
    g_autofree char *word = NULL;

    if (!visit_type_str(v, name, &word, errp)) {
        return;
    }
    for (int i = 0; i < ARRAY_SIZE(odd_answers); i++) {
        if (!strcmp(odd_answers[i].name, word)) {
            *answer = &odd_answers[i];
            odd_begin(VIRTIO_MEM_ODD(obj));
            return;
        }
    }
    error_setg(errp, "'%s' is no answer", word);
}

/* As the driver reads it, whatever it wrote */
static void odd_get_status(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    visit_type_uint8(v, name, &VIRTIO_DEVICE(obj)->status, errp);
}

static void odd_put_status(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    if (visit_type_uint8(v, name, &VIRTIO_DEVICE(obj)->status, errp)) {
        virtio_notify_config(VIRTIO_DEVICE(obj));
    }
}

static char *odd_get_log(Object *obj, Error **errp)
{
    return g_strdup(VIRTIO_MEM_ODD(obj)->log->str);
}

/* The device */

static void odd_get_config(VirtIODevice *vdev, uint8_t *data)
{
    const VirtIOMEMOdd *s = VIRTIO_MEM_ODD(vdev);
    struct virtio_mem_config *config = (void *)data;

    memset(config, s->fill, sizeof(*config));
    config->block_size = cpu_to_le64(s->block_size);
    config->node_id = cpu_to_le16(s->node_id);
    config->addr = cpu_to_le64(s->addr);
    config->region_size = cpu_to_le64(s->region_size);
    config->usable_region_size = cpu_to_le64(s->usable_size);
    config->plugged_size = cpu_to_le64(s->plugged_size);
    config->requested_size = cpu_to_le64(s->requested_size);
}

static void odd_set_config(VirtIODevice *vdev, const uint8_t *data)
{
    VIRTIO_MEM_ODD(vdev)->nb_config_writes++;
}

static uint64_t odd_get_features(VirtIODevice *vdev, uint64_t features,
                                 Error **errp)
{
    return features | VIRTIO_MEM_ODD(vdev)->features;
}

/* QEMU makes all queues as large as can be, whatever a device asks for. */
static void odd_set_status(VirtIODevice *vdev, uint8_t status)
{
    if (!(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        virtio_queue_set_num(vdev, 0, VIRTIO_MEM_ODD(vdev)->queue_size);
    }
}

/* Of the device: blocks stay as they are. */
static void odd_reset(VirtIODevice *vdev)
{
    VirtIOMEMOdd *s = VIRTIO_MEM_ODD(vdev);

    if (s->owed) {
        virtqueue_detach_element(s->vq, s->owed, 0);
        g_free(g_steal_pointer(&s->owed));
    }
}

static void odd_system_reset(void *opaque)
{
    VirtIOMEMOdd *s = opaque;

    if (s->size) {
        odd_unplug_all(s);
    }
}

static void odd_realize(DeviceState *dev, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOMEMOdd *s = VIRTIO_MEM_ODD(dev);

    s->true_addr = s->addr;
    s->true_block_size = s->block_size;
    if (s->block_size && s->region_size / s->block_size <= ODD_MAX_BLOCKS) {
        s->nb_blocks = s->region_size / s->block_size;
        s->plugged = bitmap_new(s->nb_blocks);
    }
    virtio_init(vdev, VIRTIO_ID_MEM, sizeof(struct virtio_mem_config));
    if (s->queues) {
        s->vq = virtio_add_queue(vdev, s->queue_size, odd_handle_output);
    }
    if (s->memdev) {
        host_memory_backend_set_mapped(s->memdev, true);
        memory_region_add_subregion_overlap(get_system_memory(), s->addr,
            host_memory_backend_get_memory(s->memdev), 1);
    }
    qemu_register_reset(odd_system_reset, s);
}

static void odd_unrealize(DeviceState *dev)
{
    VirtIOMEMOdd *s = VIRTIO_MEM_ODD(dev);

    qemu_unregister_reset(odd_system_reset, s);
    odd_reset(VIRTIO_DEVICE(dev));
    if (s->memdev) {
        memory_region_del_subregion(get_system_memory(),
            host_memory_backend_get_memory(s->memdev));
        host_memory_backend_set_mapped(s->memdev, false);
    }
    if (s->vq) {
        virtio_delete_queue(s->vq);
    }
    virtio_cleanup(VIRTIO_DEVICE(dev));
    g_free(s->plugged);
}

static void odd_instance_init(Object *obj)
{
    VirtIOMEMOdd *s = VIRTIO_MEM_ODD(obj);

    s->features = BIT(VIRTIO_MEM_F_ACPI_PXM) |
                  BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE) |
                  BIT(VIRTIO_MEM_F_PERSISTENT_SUSPEND);
    s->queues = 1;
    s->queue_size = 128;
    s->odd_for = UINT64_MAX;
    s->log = g_string_new(NULL);
    for (int i = 0; i < NB_ROWS; i++) {
        s->answer[i] = odd_answers;
    }
}

static void odd_instance_finalize(Object *obj)
{
    g_string_free(VIRTIO_MEM_ODD(obj)->log, true);
}

static const VMStateDescription odd_vmstate = {
    .name = TYPE_VIRTIO_MEM_ODD,
    .unmigratable = 1,
};

static const Property odd_properties[] = {
    DEFINE_PROP_LINK("memdev", VirtIOMEMOdd, memdev, TYPE_MEMORY_BACKEND,
                     HostMemoryBackend *),
};

static void odd_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    for (int i = 0; i < ARRAY_SIZE(odd_numbers); i++) {
        object_class_property_add(klass, odd_numbers[i].name, "size",
                                  odd_get_number, odd_set_number, NULL,
                                  (void *)&odd_numbers[i]);
    }
    for (int i = 0; i < ARRAY_SIZE(odd_words); i++) {
        object_class_property_add(klass, odd_words[i].name, "str", NULL,
                                  odd_set_answer, NULL,
                                  (void *)&odd_words[i]);
    }
    object_class_property_add(klass, "status", "uint8", odd_get_status,
                              odd_put_status, NULL, NULL);
    object_class_property_add_str(klass, "log", odd_get_log, NULL);
    device_class_set_props(dc, odd_properties);
    dc->vmsd = &odd_vmstate;
    vdc->realize = odd_realize;
    vdc->unrealize = odd_unrealize;
    vdc->get_config = odd_get_config;
    vdc->set_config = odd_set_config;
    vdc->get_features = odd_get_features;
    vdc->set_status = odd_set_status;
    vdc->reset = odd_reset;
}

static const TypeInfo odd_types[] = {
    {
        .name = TYPE_VIRTIO_MEM_ODD,
        .parent = TYPE_VIRTIO_DEVICE,
        .instance_size = sizeof(VirtIOMEMOdd),
        .instance_init = odd_instance_init,
        .instance_finalize = odd_instance_finalize,
        .class_init = odd_class_init,
    },
};

DEFINE_TYPES(odd_types)

/* The PCI transport */

#define TYPE_VIRTIO_MEM_ODD_PCI "virtio-mem-odd-pci-base"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOMEMOddPCI, VIRTIO_MEM_ODD_PCI)

struct VirtIOMEMOddPCI {
    VirtIOPCIProxy parent_obj;

    VirtIOMEMOdd vdev;
    bool no_config;     /* no capability for the configuration space */
};

static void odd_hide_config(PCIDevice *pci)
{
    uint8_t at = pci->config[PCI_CAPABILITY_LIST];

    for (; at; at = pci->config[at + PCI_CAP_LIST_NEXT]) {
        uint8_t *type = pci->config + at +
                        offsetof(struct virtio_pci_cap, cfg_type);

        if (pci->config[at] == PCI_CAP_ID_VNDR &&
            *type == VIRTIO_PCI_CAP_DEVICE_CFG) {
            *type = 0;
        }
    }
}

static void odd_pci_realize(VirtIOPCIProxy *proxy, Error **errp)
{
    proxy->nvectors = 2;    /* the queue and the configuration */
    virtio_pci_force_virtio_1(proxy);
    if (qdev_realize(DEVICE(&VIRTIO_MEM_ODD_PCI(proxy)->vdev),
                     BUS(&proxy->bus), errp) &&
        VIRTIO_MEM_ODD_PCI(proxy)->no_config) {
        odd_hide_config(PCI_DEVICE(proxy));
    }
}

static const Property odd_pci_properties[] = {
    DEFINE_PROP_BOOL("no-config", VirtIOMEMOddPCI, no_config, false),
};

static void odd_pci_instance_init(Object *obj)
{
    VirtIOMEMOddPCI *pci = VIRTIO_MEM_ODD_PCI(obj);

    virtio_instance_init_common(obj, &pci->vdev, sizeof(pci->vdev),
                                TYPE_VIRTIO_MEM_ODD);
}

static void odd_pci_class_init(ObjectClass *klass, void *data)
{
    set_bit(DEVICE_CATEGORY_MISC, DEVICE_CLASS(klass)->categories);
    VIRTIO_PCI_CLASS(klass)->realize = odd_pci_realize;
    PCI_DEVICE_CLASS(klass)->class_id = PCI_CLASS_OTHERS;
    device_class_set_props(DEVICE_CLASS(klass), odd_pci_properties);
}

static const VirtioPCIDeviceTypeInfo odd_pci_info = {
    .generic_name = "virtio-mem-odd-pci",
    .base_name = TYPE_VIRTIO_MEM_ODD_PCI,
    .class_init = odd_pci_class_init,
    .instance_init = odd_pci_instance_init,
    .instance_size = sizeof(VirtIOMEMOddPCI),
};

static void odd_pci_register_types(void)
{
    virtio_pci_types_register(&odd_pci_info);
}

type_init(odd_pci_register_types)
