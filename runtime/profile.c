/* profile.c - the clock, and the time that each kernel of a step takes.
 *
 * A generated step calls cnn_lap after each of its kernels. Whoever starts a step sets `last` to cnn_seconds() first.
 */
#include "cnn.h"
#include "command.h"

#include <time.h>

/* Seconds on a clock that never jumps; only differences mean something. */
double cnn_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Adds the time since the previous lap to kernel `kernel`. */
void cnn_lap(cnn_profile *p, int kernel)
{
    if (p == NULL)
        return;
    double now = cnn_seconds();
    p->seconds[kernel] += now - p->last;
    p->last = now;
}
