/*===- mpi_plugin.c - Collectives by MPI ------------------------------------===//
 *
 * Nonblocking collectives on the world communicator. MPI starts them in the
 * order of the calls, which is the same on all ranks. They advance only inside
 * calls of MPI, so the caller asks for progress between its computations.
 */
#include "comm/mpi/mpi_plugin.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define RUN(call)                                                                                            \
  do {                                                                                                       \
    int code = (call);                                                                                       \
    if (code != MPI_SUCCESS)                                                                                 \
      return code;                                                                                           \
  } while (0)

/* Elements of one call: counts are int. */
#define PIECE ((uint64_t)1 << 30)

typedef struct {
  MPI_Request *requests;
  int used, room;
} event_t;

static event_t *events;
static int num_events, world_size, world_rank;

static int add(event_t *event, MPI_Request **request) {
  if (event->used == event->room) {
    int room = event->room ? 2 * event->room : 16;
    MPI_Request *more = realloc(event->requests, (size_t)room * sizeof(MPI_Request));
    if (!more)
      return MPI_ERR_NO_MEM;
    event->requests = more;
    event->room = room;
  }
  *request = &event->requests[event->used];
  **request = MPI_REQUEST_NULL;
  ++event->used;
  return MPI_SUCCESS;
}

static int plugin_open(int *rank, int *size, int count) {
  int provided = 0;
  RUN(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
  RUN(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  RUN(MPI_Comm_rank(MPI_COMM_WORLD, rank));
  RUN(MPI_Comm_size(MPI_COMM_WORLD, size));
  world_size = *size;
  world_rank = *rank;
  num_events = count;
  events = calloc((size_t)(count > 0 ? count : 1), sizeof(event_t));
  return events ? MPI_SUCCESS : MPI_ERR_NO_MEM;
}

static MPI_Datatype type_of(uint32_t dtype) {
  return dtype == TXC_DTYPE_F32 ? MPI_FLOAT : dtype == TXC_DTYPE_F64 ? MPI_DOUBLE : MPI_DATATYPE_NULL;
}

static size_t bytes_of(uint32_t dtype) {
  return dtype == TXC_DTYPE_F64 ? 8 : dtype == TXC_DTYPE_BF16 ? 2 : dtype == TXC_DTYPE_U8 ? 1 : 4;
}

static int plugin_start(char *arena, const txc_collective_t *c) {
  if ((int)c->event >= num_events)
    return MPI_ERR_ARG;
  event_t *event = &events[c->event];
  MPI_Datatype type = type_of(c->dtype);
  MPI_Op op = c->op == TXC_REDUCE_MIN ? MPI_MIN : c->op == TXC_REDUCE_MAX ? MPI_MAX : MPI_SUM;
  size_t bytes = bytes_of(c->dtype);
  MPI_Request *request;
  event->used = 0;
  for (uint32_t i = 0; i < c->num_parts; ++i) {
    const txc_collective_part_t *part = &c->parts[i];
    char *send = arena + part->send, *receive = arena + part->receive;
    if (c->kind == TXC_COLLECTIVE_ALL_GATHER) {
      /* Bytes, whatever they mean. */
      uint64_t size = part->count * bytes;
      MPI_Datatype unit = MPI_BYTE;
      if (size % 4 == 0)
        unit = MPI_FLOAT, size /= 4;
      if (size > PIECE)
        return MPI_ERR_COUNT;
      RUN(add(event, &request));
      RUN(MPI_Iallgather(send == receive ? MPI_IN_PLACE : send, (int)size, unit, receive, (int)size, unit,
                         MPI_COMM_WORLD, request));
    } else if (type == MPI_DATATYPE_NULL) {
      return MPI_ERR_TYPE;
    } else if (c->kind == TXC_COLLECTIVE_EXCHANGE) {
      if (part->count > PIECE)
        return MPI_ERR_COUNT;
      size_t size = part->count * bytes;
      for (int k = 0; k + 1 < world_size; ++k) {
        int from = (world_rank + 1 + k) % world_size, to = (world_rank + world_size - 1 - k) % world_size;
        /* All post them in one order, which is how they find each other. */
        RUN(add(event, &request));
        RUN(MPI_Irecv(receive + (size_t)k * size, (int)part->count, type, from, 0, MPI_COMM_WORLD, request));
        RUN(add(event, &request));
        RUN(MPI_Isend(send + (size_t)to * size, (int)part->count, type, to, 0, MPI_COMM_WORLD, request));
      }
    } else {
      for (uint64_t at = 0; at < part->count; at += PIECE) {
        uint64_t count = part->count - at < PIECE ? part->count - at : PIECE;
        RUN(add(event, &request));
        RUN(MPI_Iallreduce(send == receive ? MPI_IN_PLACE : send + at * bytes, receive + at * bytes, (int)count,
                           type, op, MPI_COMM_WORLD, request));
      }
    }
  }
  return MPI_SUCCESS;
}

static int plugin_test(int event, int *done) {
  if (event < 0) {
    int flag;
    return MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
  }
  if (event >= num_events)
    return MPI_ERR_ARG;
  RUN(MPI_Testall(events[event].used, events[event].requests, done, MPI_STATUSES_IGNORE));
  if (*done)
    events[event].used = 0;
  return MPI_SUCCESS;
}

static int plugin_close(void) { return MPI_Finalize(); }

static void plugin_error(int code, char *text, int bytes) {
  char words[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, words, &length);
  strncpy(text, words, (size_t)bytes - 1);
  text[bytes - 1] = 0;
}

static const char *plugin_name(void) {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  /* "Open MPI v4.1.4, package: ..." */
  text[strcspn(text, ",\n")] = 0;
  return text;
}

__attribute__((visibility("default"))) const txc_mpi_plugin_t *txc_mpi_plugin(void) {
  static const txc_mpi_plugin_t plugin = {TXC_MPI_PLUGIN_VERSION, plugin_open,  plugin_start, plugin_test,
                                          plugin_close,           plugin_error, plugin_name};
  return &plugin;
}
