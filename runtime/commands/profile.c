/* profile.c - the clock, and the time that each kernel of a step takes: a watch (cnn.h) that waits for nobody.
 *
 * Whoever starts a step sets `last` to cnn_seconds() first.
 */
#include "output.h"

#include <time.h>

/* Seconds on a clock that never jumps; only differences mean something. */
double cnn_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Adds the time since the kernel before to kernel `kernel`. */
static void add_time(void *context, int kernel)
{
    cnn_profile *p = context;
    double now = cnn_seconds();
    p->seconds[kernel] += now - p->last;
    p->last = now;
}

cnn_watch cnn_profile_watch(cnn_profile *p)
{
    return (cnn_watch){.after = add_time, .context = p};
}
