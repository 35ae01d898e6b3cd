/* prelude_winograd.c - Winograd's transforms of one line of a tile, one direction of each, as generated code has them.
 *
 * F(4x4, 3x3) and F(2x2, 5x5) at the points 0, 1, -1, 1/2, -2, infinity: kernels/winograd.h has the method and the
 * paper, kernels/winograd_parts.c what calls these. Each is written to a generated file only where kernels use it
 * (prelude.c).
 */
#include "prelude.h"

const Helper winograd_helpers[] = {
    {"winograd_input(",
     "/* B' d: six pixels -> six points. */\n"
     "static inline void winograd_input(vec d[6])\n"
     "{\n"
     "    const vec p = d[4] - d[2], q = d[3] - d[1], sum = d[3] + d[2], difference = d[3] - d[2];\n"
     "    d[0] = d[0] - d[2] + p + 1.5 * q;\n"
     "    d[5] = d[5] - d[3] - q + 1.5 * p;\n"
     "    d[1] = p + q + 1.5 * sum;\n"
     "    d[2] = p - q + 1.5 * difference;\n"
     "    d[3] = p + 2 * q;\n"
     "    d[4] = p - 0.5 * q;\n"
     "}"},
    {"winograd_filter(",
     "/* G g: three taps -> six points. */\n"
     "static inline void winograd_filter(const vec g[3], vec u[6])\n"
     "{\n"
     "    const vec even = (g[0] + g[2]) * (real)(1 / 3.0), odd = g[1] * (real)(1 / 3.0);\n"
     "    u[0] = g[0];\n"
     "    u[1] = even + odd;\n"
     "    u[2] = odd - even;\n"
     "    u[3] = (g[0] + 0.5 * g[1] + 0.25 * g[2]) * (real)(-16 / 15.0);\n"
     "    u[4] = (g[0] - 2 * g[1] + 4 * g[2]) * (real)(1 / 15.0);\n"
     "    u[5] = g[2];\n"
     "}"},
    {"winograd_output(",
     "/* A' m: six points -> four pixels. */\n"
     "static inline void winograd_output(const vec m[6], vec y[4])\n"
     "{\n"
     "    const vec sum = m[1] + m[2], difference = m[1] - m[2];\n"
     "    y[0] = m[0] + sum + (m[3] + m[4]);\n"
     "    y[1] = difference + 0.5 * m[3] - 2 * m[4];\n"
     "    y[2] = sum + 0.25 * m[3] + 4 * m[4];\n"
     "    y[3] = difference + m[5] + 0.125 * m[3] - 8 * m[4];\n"
     "}"},
    {"winograd_spread(",
     "/* A y: four pixels -> six points. */\n"
     "static inline void winograd_spread(const vec y[4], vec m[6])\n"
     "{\n"
     "    const vec even = y[0] + y[2], odd = y[1] + y[3];\n"
     "    m[0] = y[0];\n"
     "    m[1] = even + odd;\n"
     "    m[2] = even - odd;\n"
     "    m[3] = y[0] + 0.5 * y[1] + 0.25 * y[2] + 0.125 * y[3];\n"
     "    m[4] = y[0] - 2 * y[1] + 4 * y[2] - 8 * y[3];\n"
     "    m[5] = y[3];\n"
     "}"},
    {"winograd_gather(",
     "/* G' u: six points -> three taps. */\n"
     "static inline void winograd_gather(const vec u[6], vec g[3])\n"
     "{\n"
     "    const vec sum = (u[1] + u[2]) * (real)(1 / 3.0), difference = (u[1] - u[2]) * (real)(1 / 3.0);\n"
     "    const vec half = u[3] * (real)(16 / 15.0), two = u[4] * (real)(1 / 15.0);\n"
     "    g[0] = u[0] + difference - half + two;\n"
     "    g[1] = sum - 0.5 * half - 2 * two;\n"
     "    g[2] = difference - 0.25 * half + 4 * two + u[5];\n"
     "}"},
    {"winograd_filter_5(",
     "/* G g: five taps -> six points. */\n"
     "static inline void winograd_filter_5(const vec g[5], vec u[6])\n"
     "{\n"
     "    const vec even = (g[0] + g[2] + g[4]) * (real)(1 / 3.0), odd = (g[1] + g[3]) * (real)(1 / 3.0);\n"
     "    u[0] = g[0];\n"
     "    u[1] = even + odd;\n"
     "    u[2] = odd - even;\n"
     "    u[3] = (g[0] + 0.5 * g[1] + 0.25 * g[2] + 0.125 * g[3] + 0.0625 * g[4]) * (real)(-16 / 15.0);\n"
     "    u[4] = (g[0] - 2 * g[1] + 4 * g[2] - 8 * g[3] + 16 * g[4]) * (real)(1 / 15.0);\n"
     "    u[5] = g[4];\n"
     "}"},
    {"winograd_output_2(",
     "/* A' m: six points -> two pixels. */\n"
     "static inline void winograd_output_2(const vec m[6], vec y[2])\n"
     "{\n"
     "    y[0] = m[0] + (m[1] + m[2]) + (m[3] + m[4]);\n"
     "    y[1] = m[1] - m[2] + m[5] + 0.5 * m[3] - 2 * m[4];\n"
     "}"},
    {"winograd_spread_2(",
     "/* A y: two pixels -> six points. */\n"
     "static inline void winograd_spread_2(const vec y[2], vec m[6])\n"
     "{\n"
     "    m[0] = y[0];\n"
     "    m[1] = y[0] + y[1];\n"
     "    m[2] = y[0] - y[1];\n"
     "    m[3] = y[0] + 0.5 * y[1];\n"
     "    m[4] = y[0] - 2 * y[1];\n"
     "    m[5] = y[1];\n"
     "}"},
    {"winograd_gather_5(",
     "/* G' u: six points -> five taps. */\n"
     "static inline void winograd_gather_5(const vec u[6], vec g[5])\n"
     "{\n"
     "    const vec sum = (u[1] + u[2]) * (real)(1 / 3.0), difference = (u[1] - u[2]) * (real)(1 / 3.0);\n"
     "    const vec half = u[3] * (real)(16 / 15.0), two = u[4] * (real)(1 / 15.0);\n"
     "    g[0] = u[0] + difference - half + two;\n"
     "    g[1] = sum - 0.5 * half - 2 * two;\n"
     "    g[2] = difference - 0.25 * half + 4 * two;\n"
     "    g[3] = sum - 0.125 * half - 8 * two;\n"
     "    g[4] = difference - 0.0625 * half + 16 * two + u[5];\n"
     "}"},
    {NULL, NULL},
};
