/*
 * metrics: counters and gauges in the Prometheus text format, on /metrics and in `status` messages.
 *
 *     static struct metric layers_known = METRIC_COUNTER("stowage_layers_known_total", "Layers that were linked.");
 *     metric_add(&layers_known, 1);
 *
 * A metric registers itself at its first use and lives as long as the process. All operations are atomic and may be
 * used by any thread. A name may carry labels, `stowage_rpc_total{method="image.add"}`: metrics that differ in labels
 * only are one family, printed together under the help of the first.
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/buf.h"

#include <stdatomic.h>

struct metric {
	const char *name, *help;
	bool gauge;
	_Atomic int64_t value;
	_Atomic bool registered;
	struct metric *next;
};

#define METRIC_COUNTER(n, h)                                                                                           \
	{                                                                                                              \
		.name = (n), .help = (h)                                                                               \
	}
#define METRIC_GAUGE(n, h)                                                                                             \
	{                                                                                                              \
		.name = (n), .help = (h), .gauge = true                                                                \
	}

void metric_add(struct metric *m, int64_t by);
void metric_set(struct metric *m, int64_t value);
int64_t metric_read(const struct metric *m);

void metrics_print(struct buf *out); /* Prometheus text exposition format 0.0.4 */
/* Calls see for each registered metric, in no particular order. */
void metrics_each(void (*see)(const struct metric *m, void *arg), void *arg);

#endif
