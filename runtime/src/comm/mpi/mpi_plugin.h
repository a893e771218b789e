/*===- mpi_plugin.h - What txrun asks of MPI --------------------------------===//
 *
 * txrun itself is not linked with MPI: it loads a library that is, and that
 * exports one function, which returns this table. Functions return 0, or a
 * number that `error` turns into words.
 */
#ifndef TXC_MPI_PLUGIN_H
#define TXC_MPI_PLUGIN_H

#include "txc/step_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TXC_MPI_PLUGIN_VERSION 1
#define TXC_MPI_PLUGIN_SYMBOL "txc_mpi_plugin"

typedef struct txc_mpi_plugin {
  int version;
  int (*open)(int *rank, int *size, int num_events);
  int (*start)(char *arena, const txc_collective_t *collective);
  /* `done`: whether the collective of `event` is complete; -1: asks for no event
     and lets all go on. */
  int (*test)(int event, int *done);
  int (*close)(void);
  void (*error)(int code, char *text, int bytes);
  const char *(*name)(void);
} txc_mpi_plugin_t;

#ifdef __cplusplus
}
#endif
#endif /* TXC_MPI_PLUGIN_H */
