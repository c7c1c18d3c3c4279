// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs random steps against the device and against the model of it
 * (virtio-mem-model.c), and compares all that can be seen after each step:
 * answers, the state of every block, the configuration space, what QMP tells,
 * and interrupts.
 *
 * SEED in the environment chooses the device and the steps, STEPS how many.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include <glib/gstdio.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "libqos/virtio-mem.h"
#include "virtio-mem-model.h"

#define DEFAULT_STEPS 2500

/* Enough for most maps at once; a longer queue takes longer to set up. */
#define QUEUE_SIZE    256

/* A migration at this rate does not end before it is let go. */
#define TRICKLE       64
#define FULL_SPEED    (10ull * GiB)

/* The seed modulo their number chooses one. */
typedef struct Config {
    const char *machine;
    uint64_t block_size;
    uint64_t nb_blocks;
    /* Options of the device */
    const char *inaccessible;
    const char *ioeventfd;
    const char *more;
    bool refuses_unrequested;
} Config;

static const Config configs[] = {
    { "pc-q35-10.0", 2 * MiB, 512, "on", "off", "" },
    { "pc-q35-7.2", 2 * MiB, 131, "off", "off", "" },
    { "pc-q35-10.0", 1 * MiB, 334, "off", "off", "" },
    { "pc-q35-7.2", 1 * MiB, 700, "on", "off", "" },
    { "pc-q35-10.0", 4 * MiB, 250, "on", "on", "" },
    { "pc-q35-7.2", 4 * MiB, 97, "on", "off", "" },
    { "pc-q35-10.0", 128 * MiB, 16, "off", "off", "" },
    { "pc-q35-7.2", 512 * MiB, 7, "on", "on", "" },
    { "pc-q35-10.0", 1 * MiB, 96, "off", "off", ",prealloc=on" },
    { "pc-q35-10.0", 64 * MiB, 72, "on", "on", ",dynamic-memslots=on" },
    { "pc-q35-7.2", 2 * MiB, 300, "on", "off",
      ",refuse-unrequested-unplug=on", true },
};

typedef struct Run {
    uint32_t seed;
    GRand *rand;
    const Config *config;

    Model model;
    QVirtioMemPCI *device;
    QVirtioMem *mem;
    QPCIBus *bus;
    QGuestAllocator alloc;

    /* A migration that is going on: where to, or NULL */
    QTestState *target;
    char *command_line;

    /* The step: its number, in words, and what is expected of it */
    unsigned int step;
    GString *words;
    GArray *requests;       /* struct virtio_mem_req */
    GArray *answers;        /* ModelAnswer, for each request */
    unsigned int nb_own;    /* requests before those that read the map */
    bool notified;          /* of a changed configuration */

    /* What was seen, to show that there was something to see */
    unsigned int nb_answers[4];
    unsigned int nb_resizes;
    unsigned int nb_resets;
    unsigned int nb_migrations;
} Run;

/* Random numbers */

static uint64_t below(Run *run, uint64_t end)
{
    uint64_t high = g_rand_int(run->rand);

    return (high << 32 | g_rand_int(run->rand)) % end;
}

static bool once_in(Run *run, unsigned int n)
{
    return below(run, n) == 0;
}

/* From @first to @last, half of the time one of these two */
static int64_t pick(Run *run, int64_t first, int64_t last)
{
    switch (below(run, 4)) {
    case 0:
        return first;
    case 1:
        return last;
    default:
        return first + below(run, last - first + 1);
    }
}

/* Reports */

static void G_GNUC_PRINTF(2, 3) say(Run *run, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_string_append_vprintf(run->words, fmt, ap);
    va_end(ap);
}

static void show_picture(const char *who, uint64_t requested_size,
                         uint64_t usable_size, uint64_t plugged_size,
                         const char *map)
{
    fprintf(stderr, "# %s requested 0x%" PRIx64 " usable 0x%" PRIx64
            " plugged 0x%" PRIx64 "\n#   %s\n", who, requested_size,
            usable_size, plugged_size, map);
}

/* Also when QEMU or a helper ends the test, so nothing is asked of QEMU. */
static void show_step(void *opaque)
{
    Run *run = opaque;
    g_autofree char *map = model_map(&run->model);

    fprintf(stderr, "# seed %u, step %u: %s\n", run->seed, run->step,
            run->words->str);
    show_picture("the model: ", run->model.requested_size,
                 run->model.usable_size, model_plugged_size(&run->model), map);
    fprintf(stderr, "# to replay: SEED=%u STEPS=%u\n", run->seed, run->step);
}

static void show_device(Run *run)
{
    static const char states[] = "#.?";
    struct virtio_mem_config config = qvirtio_mem_config(run->mem);
    size_t nb = config.usable_region_size / config.block_size;
    g_autofree struct virtio_mem_req *reqs = g_new0(struct virtio_mem_req, nb);
    g_autofree struct virtio_mem_resp *resps = g_new(struct virtio_mem_resp,
                                                     nb);
    g_autofree char *map = g_strnfill(nb, '!');
    size_t i;

    for (i = 0; i < nb; i++) {
        reqs[i].type = cpu_to_le16(VIRTIO_MEM_REQ_STATE);
        reqs[i].u.state.addr = cpu_to_le64(config.addr + i * config.block_size);
        reqs[i].u.state.nb_blocks = cpu_to_le16(1);
    }
    qvirtio_mem_send_all(run->mem, reqs, resps, nb);
    for (i = 0; i < nb; i++) {
        if (resps[i].type == VIRTIO_MEM_RESP_ACK) {
            map[i] = states[MIN(resps[i].u.state.state, 2)];
        }
    }
    show_picture("the device:", config.requested_size,
                 config.usable_region_size, config.plugged_size, map);
}

static G_NORETURN void G_GNUC_PRINTF(2, 3)
disagree(Run *run, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "# the device and the model disagree: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    show_device(run);
    abort();
}

static void compare(Run *run, const char *what, uint64_t device, uint64_t model)
{
    if (device != model) {
        disagree(run, "%s is 0x%" PRIx64 ", must be 0x%" PRIx64, what, device,
                 model);
    }
}

/* QEMUs */

static QTestState *start_qemu(Run *run, const char *more)
{
    return qtest_initf("%s %s", run->command_line, more);
}

static void start_device(Run *run)
{
    QTestState *qts = start_qemu(run, "");
    QPCIAddress addr = { .devfn = QPCI_DEVFN(4, 0) };

    pc_alloc_init(&run->alloc, qts, ALLOC_NO_FLAGS);
    run->bus = qpci_new_pc(qts, &run->alloc);
    run->device = qvirtio_mem_pci_new(run->bus, &run->alloc, &addr);
    run->mem = &run->device->mem;
    run->mem->queue_size = QUEUE_SIZE;
    qvirtio_mem_power_on(run->mem);
}

static void stop_device(Run *run)
{
    QTestState *qts = qvirtio_mem_qts(run->mem);

    qvirtio_mem_pci_free(run->device);
    qpci_free_pc(run->bus);
    alloc_destroy(&run->alloc);
    qtest_quit(qts);
}

/* What QMP tells of the device */
static QDict *query_device(Run *run)
{
    g_autoptr(QDict) answer = qtest_qmp(qvirtio_mem_qts(run->mem),
                                  "{ 'execute': 'query-memory-devices' }");
    const QListEntry *first = qlist_first(qdict_get_qlist(answer, "return"));
    QDict *device = qobject_to(QDict, qlist_entry_obj(first));

    return qobject_ref(qdict_get_qdict(device, "data"));
}

/* Comparing */

/* Sends a request with the step, and asks the model for the answer. */
static void request(Run *run, uint16_t type, uint64_t addr, uint16_t nb_blocks)
{
    ModelAnswer answer = model_request(&run->model, type, addr, nb_blocks);
    struct virtio_mem_req req;
    uint8_t *bytes = (uint8_t *)&req;
    size_t i;

    for (i = 0; i < sizeof(req); i++) {
        bytes[i] = below(run, 256);         /* the padding */
    }
    req.type = cpu_to_le16(type);
    if (type != VIRTIO_MEM_REQ_UNPLUG_ALL) {
        req.u.plug.addr = cpu_to_le64(addr);
        req.u.plug.nb_blocks = cpu_to_le16(nb_blocks);
    }
    g_array_append_val(run->requests, req);
    g_array_append_val(run->answers, answer);
}

static void ask_state(Run *run, uint64_t first, uint64_t nb_blocks)
{
    request(run, VIRTIO_MEM_REQ_STATE,
            run->model.addr + first * run->model.block_size, nb_blocks);
}

/*
 * Every run of blocks in the same state, which tells the whole map; across
 * each border of two runs; all that is usable; and one block more.
 */
static void ask_map(Run *run)
{
    uint64_t nb_usable = model_nb_usable(&run->model);
    uint64_t first, end;

    run->nb_own = run->requests->len;
    for (first = 0; first < nb_usable; first = end) {
        end = model_run_end(&run->model, first);
        ask_state(run, first, end - first);
        ask_state(run, end - 1, 2);
    }
    ask_state(run, 0, nb_usable);
}

static const char *name_of(const char *const *names, size_t n, uint16_t value)
{
    return value < n ? names[value] : "unknown";
}

static char *answer_in_words(uint16_t type, uint16_t state, bool with_state)
{
    static const char *const types[] = { "ACK", "NACK", "BUSY", "ERROR" };
    static const char *const states[] = { "PLUGGED", "UNPLUGGED", "MIXED" };

    return g_strdup_printf("%s%s%s", name_of(types, ARRAY_SIZE(types), type),
                           with_state ? " " : "", with_state ?
                           name_of(states, ARRAY_SIZE(states), state) : "");
}

static void compare_answer(Run *run, unsigned int i,
                           const struct virtio_mem_resp *resp)
{
    struct virtio_mem_req *req = &g_array_index(run->requests,
                                                struct virtio_mem_req, i);
    ModelAnswer *answer = &g_array_index(run->answers, ModelAnswer, i);
    uint16_t type = le16_to_cpu(req->type);
    bool with_state = type == VIRTIO_MEM_REQ_STATE &&
                      answer->type == VIRTIO_MEM_RESP_ACK;
    g_autofree char *device = answer_in_words(resp->type, resp->u.state.state,
                                              with_state);
    g_autofree char *model = answer_in_words(answer->type, answer->state,
                                             with_state);

    if (!g_str_equal(device, model)) {
        disagree(run, "%s: type %u, %u blocks at 0x%" PRIx64 ": %s, must be %s",
                 i < run->nb_own ? "a request of the step"
                                 : "the state after the step", type,
                 le16_to_cpu(req->u.plug.nb_blocks),
                 le64_to_cpu(req->u.plug.addr), device, model);
    }
    if (i < run->nb_own) {
        run->nb_answers[answer->type]++;
    }
}

static void compare_answers(Run *run)
{
    unsigned int i, n = run->requests->len;
    g_autofree struct virtio_mem_resp *resps = g_new(struct virtio_mem_resp, n);

    qvirtio_mem_send_all(run->mem,
                         (struct virtio_mem_req *)run->requests->data, resps,
                         n);
    for (i = 0; i < n; i++) {
        compare_answer(run, i, &resps[i]);
    }
}

/* D02, D03, D09, D10: each step has requests, if only those for the map. */
static void compare_config(Run *run)
{
    struct virtio_mem_config config = qvirtio_mem_config(run->mem);
    bool answered = qvirtio_mem_take_irq(run->mem, QVIRTIO_MEM_QUEUE_IRQ);
    bool notified = qvirtio_mem_take_irq(run->mem, QVIRTIO_MEM_CONFIG_IRQ);

    compare(run, "block_size", config.block_size, run->model.block_size);
    compare(run, "node_id", config.node_id, 0);
    compare(run, "addr", config.addr, run->model.addr);
    compare(run, "region_size", config.region_size, run->model.region_size);
    compare(run, "usable_region_size", config.usable_region_size,
            run->model.usable_size);
    compare(run, "plugged_size", config.plugged_size,
            model_plugged_size(&run->model));
    compare(run, "requested_size", config.requested_size,
            run->model.requested_size);

    compare(run, "the queue interrupt", answered, true);
    compare(run, "the configuration interrupt", notified, run->notified);
}

static void compare_query(Run *run)
{
    g_autoptr(QDict) device = query_device(run);

    compare(run, "QMP's memaddr", qdict_get_int(device, "memaddr"),
            run->model.addr);
    compare(run, "QMP's size", qdict_get_int(device, "size"),
            model_plugged_size(&run->model));
    compare(run, "QMP's requested-size",
            qdict_get_int(device, "requested-size"),
            run->model.requested_size);
    compare(run, "QMP's max-size", qdict_get_int(device, "max-size"),
            run->model.region_size);
    compare(run, "QMP's block-size", qdict_get_int(device, "block-size"),
            run->model.block_size);
}

/* Ranges that requests are about */

typedef struct Range {
    uint64_t addr;
    uint16_t nb_blocks;
} Range;

/* Blocks that are all in the state that the request wants them to be in. */
static Range draw_proper(Run *run, bool plugged)
{
    const Model *model = &run->model;
    uint64_t nb_usable = model_nb_usable(model);
    uint64_t first = pick(run, 0, nb_usable - 1);
    uint64_t end, room;

    if (model->plugged[first] != plugged) {
        first = model_run_end(model, first) % nb_usable;
    }
    end = model_run_end(model, first);
    first = pick(run, first, end - 1);
    end = pick(run, first + 1, end);
    room = (model->requested_size - MIN(model->requested_size,
                                        model_plugged_size(model))) /
           model->block_size;
    if (!plugged && room && once_in(run, 2)) {
        end = MIN(end, first + room);
    }
    return (Range) { model->addr + first * model->block_size, end - first };
}

/* Any blocks of the region, and some behind its end. */
static Range draw_any(Run *run)
{
    const Model *model = &run->model;
    uint64_t nb = once_in(run, 2) ? model->nb_blocks : model_nb_usable(model);
    uint64_t first = pick(run, 0, nb);

    return (Range) { model->addr + first * model->block_size,
                     pick(run, 1, nb - first + 1) };
}

/* Makes something wrong of a range: an edge, a size or a wrap-around. */
static Range draw_wrong(Run *run, Range range)
{
    uint64_t block_size = run->model.block_size;
    uint64_t wide = 1ull << pick(run, 28, 63);

    switch (below(run, 10)) {
    case 0:
        range.addr += pick(run, 1, block_size - 1);
        break;
    case 1:
        range.nb_blocks = 0;
        break;
    case 2:
        range.nb_blocks = pick(run, 1, UINT16_MAX);
        break;
    case 3:
        range.nb_blocks += 1 << pick(run, 8, 15);
        break;
    case 4:     /* A size of 4 GiB more, where so many blocks can be named */
        range.nb_blocks += 4 * GiB / block_size;
        break;
    case 5:
        range.addr = run->model.addr - pick(run, 1, 9) * block_size;
        break;
    case 6:
        range.addr += wide;
        break;
    case 7:
        range.addr -= wide;
        break;
    case 8:     /* Ends at 0, or wraps around */
        range.addr = -(pick(run, 1, range.nb_blocks + 1) * block_size);
        break;
    default:
        range.addr = once_in(run, 2) ? 0 : UINT64_MAX;
        break;
    }
    return range;
}

static Range draw_range(Run *run, bool plugged)
{
    unsigned int dice = below(run, 10);
    Range range = dice < 6 ? draw_proper(run, plugged) : draw_any(run);

    return dice < 8 ? range : draw_wrong(run, range);
}

/* Steps */

static void range_request(Run *run, const char *name, uint16_t type,
                          bool plugged)
{
    Range range = draw_range(run, plugged);
    int64_t offset = range.addr - run->model.addr;

    say(run, "%s %u blocks at 0x%" PRIx64 " (block %g); ", name,
        range.nb_blocks, range.addr, (double)offset / run->model.block_size);
    request(run, type, range.addr, range.nb_blocks);
}

static void step_plug(Run *run)
{
    range_request(run, "PLUG", VIRTIO_MEM_REQ_PLUG, false);
}

static void step_unplug(Run *run)
{
    range_request(run, "UNPLUG", VIRTIO_MEM_REQ_UNPLUG, true);
}

static void step_state(Run *run)
{
    range_request(run, "STATE", VIRTIO_MEM_REQ_STATE, once_in(run, 2));
}

static void step_unplug_all(Run *run)
{
    say(run, "UNPLUG_ALL; ");
    request(run, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
}

static void step_unknown(Run *run)
{
    uint16_t type = pick(run, VIRTIO_MEM_REQ_STATE + 1, UINT16_MAX);
    Range range = draw_range(run, once_in(run, 2));

    say(run, "unknown type %u; ", type);
    request(run, type, range.addr, range.nb_blocks);
}

/* Several requests with one notification */
static void step_burst(Run *run)
{
    static void (*const requests[])(Run *run) = {
        step_plug, step_unplug, step_plug, step_unplug, step_state,
        step_unknown,
    };
    unsigned int n = pick(run, 2, 20);

    while (n--) {
        requests[below(run, ARRAY_SIZE(requests))](run);
    }
}

static uint64_t draw_size(Run *run)
{
    const Model *model = &run->model;
    uint64_t size = below(run, model->nb_blocks + 1) * model->block_size;

    switch (below(run, 12)) {
    case 0:
        return 0;
    case 1:
        return model->region_size;
    case 2:
        return model->requested_size;
    case 3:
    case 4:
    case 5:     /* A little above or below what is plugged */
        return model_plugged_size(model) +
               (pick(run, 0, 6) - 2) * model->block_size;
    case 6:     /* Too large, or so much below 0 */
        return size + (1ull << pick(run, 28, 63));
    case 7:
        return size + pick(run, 1, model->block_size - 1);
    default:
        return size;
    }
}

static void step_resize(Run *run)
{
    uint64_t size = draw_size(run);
    bool expected = model_resize(&run->model, size);
    g_autoptr(QDict) answer = NULL;

    say(run, "request 0x%" PRIx64 " bytes; ", size);
    answer = qtest_qmp(qvirtio_mem_qts(run->mem),
                       "{ 'execute': 'qom-set', 'arguments': {"
                       "  'path': '/machine/peripheral/vmem0',"
                       "  'property': 'requested-size', 'value': %" PRIu64
                       " } }", size);
    compare(run, "the resize accepted", qdict_haskey(answer, "return"),
            expected);
    run->notified = expected;
    run->nb_resizes += expected;
}

static void step_device_reset(Run *run)
{
    say(run, "device reset; ");
    qvirtio_mem_start(run->mem, QVIRTIO_MEM_DECLINED);
    run->nb_resets++;
}

static void step_system_reset(Run *run)
{
    say(run, "system reset; ");
    model_system_reset(&run->model);
    qtest_system_reset(qvirtio_mem_qts(run->mem));
    qvirtio_mem_power_on(run->mem);
    run->nb_resets++;
}

static void step_sleep(Run *run)
{
    say(run, "sleep and wake up; ");
    qvirtio_mem_sleep(run->mem, &qvirtio_mem_power_q35);
    run->nb_resets++;
}

/* Migrations: begun in one step, and ended or cancelled in a later one */

static void wait_migration(QTestState *qts, const char *status)
{
    bool reached = false;

    while (!reached) {
        g_autoptr(QDict) event = qtest_qmp_eventwait_ref(qts, "MIGRATION");
        QDict *data = qdict_get_qdict(event, "data");
        const char *now = qdict_get_str(data, "status");

        g_assert_cmpstr(now, !=, "failed");
        reached = g_str_equal(now, status);
    }
}

static void enable_migration_events(QTestState *qts)
{
    qtest_qmp_assert_success(qts,
                             "{ 'execute': 'migrate-set-capabilities',"
                             "  'arguments': { 'capabilities': [ {"
                             "    'capability': 'events', 'state': true"
                             "  } ] } }");
}

static void set_migration_speed(QTestState *qts, uint64_t speed)
{
    qtest_qmp_assert_success(qts,
                             "{ 'execute': 'migrate-set-parameters',"
                             "  'arguments': { 'max-bandwidth': %" PRIu64
                             " } }", speed);
}

static void step_migrate(Run *run)
{
    QTestState *qts = qvirtio_mem_qts(run->mem);
    g_autofree char *dir = g_dir_make_tmp("virtio-mem-model-XXXXXX", NULL);
    g_autofree char *socket = g_strdup_printf("%s/socket", dir);
    g_autofree char *uri = g_strdup_printf("unix:%s", socket);

    say(run, "begin to migrate; ");
    g_assert_nonnull(dir);
    run->target = start_qemu(run, "-incoming defer");
    enable_migration_events(run->target);
    /* So that it can be ended in the same way however it went. */
    qtest_qmp_assert_success(run->target,
                             "{ 'execute': 'migrate-incoming', 'arguments': {"
                             "  'uri': %s, 'exit-on-error': false } }",
                             uri);

    enable_migration_events(qts);
    set_migration_speed(qts, TRICKLE);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    wait_migration(qts, "active");
    g_unlink(socket);
    g_rmdir(dir);
    run->model.migrating = true;
}

static void step_finish_migration(Run *run)
{
    QTestState *from = qvirtio_mem_qts(run->mem);

    say(run, "finish the migration; ");
    set_migration_speed(from, FULL_SPEED);
    wait_migration(from, "completed");
    wait_migration(run->target, "completed");
    qvirtio_mem_move(run->mem, run->target);
    qtest_quit(from);
    run->target = NULL;
    run->model.migrating = false;
    run->nb_migrations++;
}

static void step_cancel_migration(Run *run)
{
    QTestState *qts = qvirtio_mem_qts(run->mem);

    say(run, "cancel the migration; ");
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate_cancel' }");
    wait_migration(qts, "cancelled");
    qtest_quit(run->target);
    run->target = NULL;
    run->model.migrating = false;
}

typedef enum When {
    ALWAYS,
    SETTLED,        /* only while there is no migration */
    MIGRATING,      /* only during one */
} When;

/* Each with its weight among those that can be taken. */
static const struct {
    void (*take)(Run *run);
    When when;
    unsigned int weight;
} kinds[] = {
    { step_plug, ALWAYS, 340 },
    { step_unplug, ALWAYS, 260 },
    { step_state, ALWAYS, 100 },
    { step_unplug_all, ALWAYS, 10 },
    { step_unknown, ALWAYS, 20 },
    { step_burst, ALWAYS, 60 },
    { step_resize, ALWAYS, 190 },
    { step_device_reset, ALWAYS, 8 },
    { step_system_reset, ALWAYS, 4 },
    { step_sleep, SETTLED, 3 },
    { step_migrate, SETTLED, 2 },
    { step_finish_migration, MIGRATING, 30 },
    { step_cancel_migration, MIGRATING, 20 },
};

static unsigned int weight_now(const Run *run, size_t kind)
{
    When now = run->target ? MIGRATING : SETTLED;

    return kinds[kind].when == ALWAYS || kinds[kind].when == now
           ? kinds[kind].weight : 0;
}

static size_t draw_kind(Run *run)
{
    unsigned int sum = 0, dice;
    size_t kind;

    for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        sum += weight_now(run, kind);
    }
    dice = below(run, sum);
    for (kind = 0; dice >= weight_now(run, kind); kind++) {
        dice -= weight_now(run, kind);
    }
    return kind;
}

static void take_step(Run *run)
{
    run->step++;
    run->notified = false;
    g_string_truncate(run->words, 0);
    g_array_set_size(run->requests, 0);
    g_array_set_size(run->answers, 0);

    kinds[draw_kind(run)].take(run);
    ask_map(run);
    compare_answers(run);
    compare_config(run);
    compare_query(run);
}

/* Runs */

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = g_getenv(name);

    return text && *text ? g_ascii_strtoull(text, NULL, 0) : otherwise;
}

static void init_run(Run *run, uint32_t seed)
{
    const Config *config = &configs[seed % ARRAY_SIZE(configs)];

    *run = (Run) {
        .seed = seed,
        .rand = g_rand_new_with_seed(seed),
        .config = config,
        .words = g_string_new(NULL),
        .requests = g_array_new(false, false, sizeof(struct virtio_mem_req)),
        .answers = g_array_new(false, false, sizeof(ModelAnswer)),
    };
}

static void start_run(Run *run)
{
    const Config *config = run->config;
    uint64_t region_size = config->nb_blocks * config->block_size;
    uint64_t requested_size = below(run, config->nb_blocks + 1) *
                              config->block_size;

    run->command_line = g_strdup_printf(
        "-machine %s -nodefaults -m 128M,maxmem=8G "
        "-object memory-backend-ram,id=mem0,size=%" PRIu64 ",reserve=off "
        "-device virtio-mem-pci,id=vmem0,addr=04.0,memdev=mem0,block-size=%"
        PRIu64 ",requested-size=%" PRIu64 ",unplugged-inaccessible=%s,"
        "ioeventfd=%s%s", config->machine, region_size, config->block_size,
        requested_size, config->inaccessible, config->ioeventfd, config->more);
    start_device(run);
    model_init(&run->model, qvirtio_mem_config(run->mem).addr, region_size,
               config->block_size, requested_size);
    run->model.refuses_unrequested = config->refuses_unrequested;
}

static void destroy_run(Run *run)
{
    if (run->target) {
        step_cancel_migration(run);
    }
    stop_device(run);
    model_destroy(&run->model);
    g_free(run->command_line);
    g_string_free(run->words, true);
    g_array_free(run->requests, true);
    g_array_free(run->answers, true);
    g_rand_free(run->rand);
}

static void test_model(void)
{
    uint32_t seed = number_from_env("SEED", g_random_int());
    uint64_t steps = number_from_env("STEPS", DEFAULT_STEPS);
    Run run;

    init_run(&run, seed);
    g_test_message("SEED=%u STEPS=%" PRIu64 ": %" PRIu64 " blocks of %" PRIu64
                   " MiB, %s, unplugged-inaccessible=%s, ioeventfd=%s%s", seed,
                   steps, run.config->nb_blocks, run.config->block_size / MiB,
                   run.config->machine, run.config->inaccessible,
                   run.config->ioeventfd, run.config->more);
    start_run(&run);
    qtest_add_abrt_handler(show_step, &run);
    while (run.step < steps) {
        take_step(&run);
    }
    g_test_message("%u steps: %u ACK, %u NACK, %u BUSY, %u ERROR, %u resizes, "
                   "%u resets, %u migrations", run.step,
                   run.nb_answers[VIRTIO_MEM_RESP_ACK],
                   run.nb_answers[VIRTIO_MEM_RESP_NACK],
                   run.nb_answers[VIRTIO_MEM_RESP_BUSY],
                   run.nb_answers[VIRTIO_MEM_RESP_ERROR], run.nb_resizes,
                   run.nb_resets, run.nb_migrations);
    destroy_run(&run);
    qtest_remove_abrt_handler(&run);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("virtio-mem/model", test_model);
    return g_test_run();
}
